"""TLS over an SSH channel, which is no socket that the ssl module could wrap."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TypeVar

import paramiko

T = TypeVar("T")


class TlsChannel:
    """The channel's ``sendall``, ``recv``, ``settimeout`` with TLS between. ``leaf``: the server's certificate (DER).

    Whether it is the right one is for the caller to judge: names say nothing about an address inside an SSH tunnel.
    Raises ssl.SSLError, and what the channel raises.
    """

    def __init__(self, channel: paramiko.Channel, name: str) -> None:
        self.channel = channel
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._pump(self._tls.do_handshake)
        self.leaf = self._tls.getpeercert(binary_form=True) or b""

    def _pump(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._flush()
                block = self.channel.recv(65536)
                if block:
                    self._in.write(block)
                else:
                    self._in.write_eof()
                continue
            self._flush()
            return done

    def _flush(self) -> None:
        if data := self._out.read():
            self.channel.sendall(data)

    def settimeout(self, seconds: float) -> None:
        self.channel.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._pump(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        try:
            return self._pump(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
