"""TLS over something that is no socket for the ssl module: against a real TLS server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from implops import certificates, kit
from implops.site import load
from implops.verify.tls import TlsChannel

BODY = b"x" * 300_000


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    text = kit.annotated_site().read_text(encoding="utf-8").replace("port: 80}", "port: 80, tls: generate}")
    (tmp_path / "site.yml").write_text(text, encoding="utf-8")
    certificates.of(load(tmp_path / "site.yml"))
    return tmp_path / "tls" / "generated.pem", tmp_path / "secrets" / "tls_site.key"


@contextlib.contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one() -> None:
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    answer(client)

        thread = threading.Thread(target=one)
        thread.start()
        try:
            with socket.create_connection(server.getsockname(), 10) as channel:
                yield channel
        finally:
            thread.join(10)


def test_a_long_answer_comes_whole_and_the_certificate_is_shown(pair: tuple[Path, Path]) -> None:
    cert, key = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as line:
            assert line.recv(100) == b"question"
            line.sendall(BODY)
            line.unwrap()

    with served(answer) as channel:
        line = TlsChannel(channel, "his.his.example")
        line.sendall(b"question")
        assert b"".join(iter(lambda: line.recv(65536), b"")) == BODY
    assert x509.load_pem_x509_certificate(cert.read_bytes()) == x509.load_der_x509_certificate(line.leaf)


def test_a_server_that_speaks_no_tls_is_an_error_and_not_an_answer() -> None:
    with served(lambda client: client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")) as channel, pytest.raises(ssl.SSLError):
        TlsChannel(channel, "his.his.example")
