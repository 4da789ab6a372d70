"""Why a host cannot be reached, in words; keys are strict; the other hosts are still asked."""

from __future__ import annotations

import _thread
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import paramiko
import pytest

from implops import remote
from implops.errors import InputError
from implops.site import Host, Site, load

Make = Callable[..., Site]


def _key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A site of one host per port, all of them this machine."""

    def build(**ports: int) -> Site:
        hosts = "\n".join(
            f"  {name}: {{address: 127.0.0.{number}, roles: [app], port: {port}}}"
            for number, (name, port) in enumerate(ports.items(), start=1)
        )
        (tmp_path / "site.yml").write_text(
            "project: {name: a, contract: b, customer: c, environment: test, code: HIS}\n"
            "ssh: {user: deploy, key: secrets/key}\n"
            f"time: {{zone: Asia/Shanghai, ntp: [127.0.0.1]}}\nhosts:\n{hosts}\n",
            encoding="utf-8",
        )
        _key(tmp_path / "secrets" / "key")
        return load(tmp_path / "site.yml")

    return build


def _closed_port() -> int:
    with _listening() as server:
        return int(server.getsockname()[1])


def test_a_closed_port_is_refused_and_a_mute_one_has_no_banner(make: Make) -> None:
    with _listening() as server:
        site = make(mute=server.getsockname()[1], shut=_closed_port())
        found = remote.each(list(site.hosts.values()), lambda host: remote.connect(site, host, timeout=1))
    assert list(found) == ["mute", "shut"]
    assert isinstance(found["shut"], remote.HostUnreachable)
    assert found["shut"].key == "remote.refused"
    assert isinstance(found["mute"], remote.HostUnreachable)
    assert found["mute"].key == "remote.no_banner"
    assert found["mute"].code == 3


def test_who_ends_a_run_does_not_wait_for_answers_that_can_be_cut_off(make: Make) -> None:
    site, cut, found, both = make(one=1, two=2), threading.Event(), list[bool](), threading.Barrier(2)

    def ask(host: Host) -> None:
        both.wait(60)
        if host.name == "two":
            _thread.interrupt_main()
        found.append(cut.wait(60))

    # A shell without job control starts what runs in its background deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            remote.each(list(site.hosts.values()), ask, ended=cut.set)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found
    assert all(found)


def test_a_missing_key_is_our_input(make: Make) -> None:
    site = make(one=22)
    site.ssh.key.unlink()
    with pytest.raises(InputError) as caught:
        remote.connect(site, site.hosts["one"])
    assert caught.value.key == "remote.no_key"


class _Server(paramiko.ServerInterface):
    """Answers the key exchange and lets nobody in."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


@contextmanager
def _ssh_server(key: paramiko.PKey) -> Iterator[int]:
    with _listening() as server:
        transports = []

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                transport = paramiko.Transport(plain)
                transport.add_server_key(key)
                transports.append(transport)
                try:
                    transport.start_server(server=_Server())
                except (paramiko.SSHException, EOFError, OSError):
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for transport in transports:
            transport.close()


def _pin(site: Site, host: Host, key: paramiko.PKey) -> None:
    name = remote.known_hosts_name(host.address, host.port or 22)
    site.known_hosts.write_text(f"{name} {key.get_name()} {key.get_base64()}\n", encoding="utf-8")


def test_keys_are_strict(make: Make) -> None:
    key, other = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    with _ssh_server(key) as port:
        site = make(one=port)
        host = site.hosts["one"]
        assert remote.host_key(host, port, timeout=5) == key
        with pytest.raises(remote.HostKeyRefused) as caught:
            remote.connect(site, host, timeout=5)
        assert caught.value.key == "remote.key_unknown"
        assert key.fingerprint in str(caught.value)
        _pin(site, host, other)
        with pytest.raises(remote.HostKeyRefused) as caught:
            remote.connect(site, host, timeout=5)
        assert caught.value.key == "remote.key_changed"
        _pin(site, host, key)
        with pytest.raises(remote.AuthRefused):
            remote.connect(site, host, timeout=5)


def test_a_key_is_looked_for_among_those_of_others(make: Make) -> None:
    key, other = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()

    def line(names: str, one: paramiko.PKey) -> str:
        return f"{names} {one.get_name()} {one.get_base64()}\n"

    with _ssh_server(key) as port:
        site = make(one=port)
        host = site.hosts["one"]
        name = remote.known_hosts_name(host.address, port)
        others = f"# {name}\nnonsense {name}\n" + line(f"{name}0", other) + line(f"@revoked {name}", other)
        site.known_hosts.write_text(others, encoding="utf-8")
        with pytest.raises(remote.HostKeyRefused, match=re.escape(key.fingerprint)):
            remote.connect(site, host, timeout=5)
        for names in (f"elsewhere,{name}", paramiko.HostKeys.hash_host(name)):
            site.known_hosts.write_text(others + line(names, key), encoding="utf-8")
            with pytest.raises(remote.AuthRefused):
                remote.connect(site, host, timeout=5)
        site.known_hosts.write_text(others + line(paramiko.HostKeys.hash_host(name), other), encoding="utf-8")
        with pytest.raises(remote.HostKeyRefused) as caught:
            remote.connect(site, host, timeout=5)
        assert caught.value.key == "remote.key_changed"


def test_asking_for_the_key_of_a_closed_port(make: Make) -> None:
    site = make(one=_closed_port())
    with pytest.raises(remote.HostUnreachable) as caught:
        remote.host_key(site.hosts["one"], site.hosts["one"].port, timeout=1)
    assert caught.value.key == "remote.refused"


def test_openssh_is_as_strict_and_carries_no_secret(make: Make) -> None:
    site = make(one=2222)
    options = remote.ssh_options(site, site.hosts["one"])
    for wanted in (
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        f"-oUserKnownHostsFile={site.known_hosts}",
        "2222",
    ):
        assert wanted in options


@pytest.mark.parametrize(("port", "name"), [(22, "10.1.2.3"), (2222, "[10.1.2.3]:2222")])
def test_known_hosts_names_the_port(port: int, name: str) -> None:
    assert remote.known_hosts_name("10.1.2.3", port) == name


def test_a_connection_leaves_the_configuration_that_all_share_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = remote._fabric()
    merged: list[object] = []
    monkeypatch.setattr(type(shared), "merge", merged.append)
    assert remote.Wire("192.0.2.1", config=shared, connect_kwargs={"allow_agent": False}).host == "192.0.2.1"
    assert not merged
