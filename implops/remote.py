"""One connection to a host, scripts run through it; the only SSH for probes, pushes and small commands.

fabric opens the connection (paramiko below it, host keys strict); a script goes to ``sh -s`` on stdin, so nothing of it
stands in an argument list. With sudo the first line of the same trip tries ``sudo -n true``; only when that asks for a
password and the site names one, the shell on the target reads it once and hands it to ``sudo -S`` (one attempt: more
would lock an account).
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

import fabric
import paramiko

from implops.errors import HostError, ImplopsError, InputError
from implops.prompt import PromptSocket
from implops.secrets import Secret
from implops.site import Host, Site
from implops.trips import CONNECT_SECONDS as CONNECT_SECONDS
from implops.trips import ConnectionLost as ConnectionLost
from implops.trips import Held as Held
from implops.trips import Result as Result
from implops.trips import trip

T = TypeVar("T")
# What goes wrong on a connection is told by our errors; paramiko's own lines would reach the terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
KEEPALIVE_SECONDS, SILENCE_SECONDS = 10, 60
OUTPUT_LIMIT = 50 * 2**20
# A channel that was refused is an answer, and told as one.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
# SHA-1 RSA signatures are weak and paramiko 4 still offers them (CVE-2026-44405).
DISABLED = {"keys": ["ssh-rsa"], "pubkeys": ["ssh-rsa"]}
_NEEDS_PASSWORD, _NO_SUDO, _WRONG_PASSWORD = 213, 214, 215
_TRY = (
    "if sudo -n true 2>/dev/null; then exec sudo -n sh -s; fi; "
    f"command -v sudo >/dev/null 2>&1 || exit {_NO_SUDO}; exit {_NEEDS_PASSWORD}"
)
# The shell reads the password itself: a builtin's argument is in no process list, and a wrong one is tried once.
_ASK = (
    "IFS= read -r p; printf '%s\\n' \"$p\" | sudo -S -k -p '' true >/dev/null 2>&1 || "
    f"exit {_WRONG_PASSWORD}; {{ printf '%s\\n' \"$p\"; cat; }} | sudo -S -k -p '' sh -s"
)


class HostUnreachable(HostError):
    """No SSH server answered: the host is absent."""


class HostKeyRefused(HostError):
    """The host key is unknown or is not the pinned one."""


class AuthRefused(HostError):
    """The host answered and did not let us in."""


class SudoRefused(HostError):
    """sudo is missing, or asks for a password and the site names none."""


class SudoPasswordWrong(InputError):
    """The site's sudo password is wrong; it was tried once."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, name: str) -> None:
        self.name = name

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise HostKeyRefused("remote.key_unknown", host=self.name, fingerprint=key.fingerprint)


class Connection:
    """An open connection. Made by ``connect``; close it, or use it as a context manager."""

    def __init__(self, site: Site, host: Host, ssh: fabric.Connection, seconds: float) -> None:
        self.site, self.host, self.name = site, host, host.name
        self._ssh = ssh
        self.connect_seconds = seconds
        self.trips = 0
        self._password_needed: bool | None = None
        # Given by who has resolved it already; otherwise the site's reference is resolved when sudo asks.
        self.sudo_password: Secret | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._ssh.client.close()

    @property
    def transport(self) -> paramiko.Transport:
        transport: paramiko.Transport | None = self._ssh.client.get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionLost("remote.lost", host=self.name)
        return transport

    def run(self, script: str | bytes, *, timeout: float, sudo: bool = False, limit: int = OUTPUT_LIMIT) -> Result:
        """Run a POSIX sh script in one trip. ``timeout`` is the deadline in seconds of the whole trip.

        Raises ConnectionLost, SudoRefused or SudoPasswordWrong; a script that fails is a Result with its ``rc``.
        """
        body = script.encode() if isinstance(script, str) else script
        if not sudo or not self.site.ssh.sudo:
            return self._trip("exec sh -s", body, timeout, limit)
        if not self._password_needed:
            result = self._trip(_TRY, body, timeout, limit)
            if result.rc == _NO_SUDO and not result.out:
                raise SudoRefused("remote.no_sudo", host=self.name)
            if result.rc != _NEEDS_PASSWORD or result.out:
                return result
            if self.sudo_password is None and self.site.ssh.sudo_password is None:
                raise SudoRefused("remote.sudo_password_needed", host=self.name, user=self.site.ssh.user)
            self._password_needed = True
        result = self._trip(_ASK, self._password() + b"\n" + body, timeout, limit)
        if result.rc == _WRONG_PASSWORD and not result.out:
            raise SudoPasswordWrong("remote.sudo_password_wrong", host=self.name, user=self.site.ssh.user)
        return result

    def command(self, script: str, stdin: bytes = b"", *, timeout: float, sudo: bool = False) -> Result:
        """Run sh text that stands in the argument list (so no secret may be in it), with a standard input of its own.

        Raises as ``run`` does.
        """
        whole = f"exec sh -c {shlex.quote(script)}"
        if not sudo or not self.site.ssh.sudo:
            return self._trip(whole, stdin, timeout, OUTPUT_LIMIT)
        # Asked once a connection: a command that starts must know that its standard input is its own.
        self._learn_sudo()
        if not self._password_needed:
            return self._trip(f"exec sudo -n sh -c {shlex.quote(script)}", stdin, timeout, OUTPUT_LIMIT)
        ask = _ASK.removesuffix("sh -s") + f"sh -c {shlex.quote(script)}"
        return self._trip(ask, self._password() + b"\n" + stdin, timeout, OUTPUT_LIMIT)

    def hold(self, script: str, *, ready: bytes, timeout: float, sudo: bool = False) -> Held:
        """Start a script that goes on until it is let go, and return when it has printed the line ``ready``.

        Its standard input stays open and ends with this connection: whatever the script starts can notice. Raises as
        ``run`` does; ConnectionLost also for a script that ends, or says nothing, before it is ready.
        """
        command, before = "exec sh -s", b""
        if sudo and self.site.ssh.sudo:
            self._learn_sudo()
            command = _ASK if self._password_needed else "exec sudo -n sh -s"
            before = self._password() + b"\n" if self._password_needed else b""
        self.trips += 1
        try:
            channel = self.transport.open_session(timeout=min(timeout, CONNECT_SECONDS))
            channel.settimeout(timeout)
            channel.exec_command(command)
            channel.sendall(before + script.encode())
            said = b""
            while not (said.startswith(ready + b"\n") or b"\n" + ready + b"\n" in said):
                block = channel.recv(65536)
                if not block or len(said) > OUTPUT_LIMIT:
                    raise EOFError
                said += block
        except TimeoutError:
            raise ConnectionLost("remote.deadline", host=self.name) from None
        except (paramiko.SSHException, EOFError, OSError):
            raise ConnectionLost("remote.lost", host=self.name) from None
        return Held(channel, said)

    def _learn_sudo(self) -> None:
        if self._password_needed is None:
            self.run("true", timeout=CONNECT_SECONDS * 2, sudo=True)
            self._password_needed = bool(self._password_needed)

    def _password(self) -> bytes:
        if self.sudo_password is None:
            assert self.site.ssh.sudo_password is not None
            self.sudo_password = self.site.ssh.sudo_password.resolve()
        return self.sudo_password.reveal().encode()

    def put(self, data: bytes, path: str, mode: int = 0o600) -> None:
        """Write a file as the login user: beside it, then renamed over it."""
        part = f"{path}.part"
        with self.sftp() as sftp:
            with sftp.open(part, "wb") as file:
                file.chmod(mode)
                file.write(data)
            sftp.posix_rename(part, path)

    @contextlib.contextmanager
    def sftp(self) -> Iterator[paramiko.SFTPClient]:
        client = paramiko.SFTPClient.from_transport(self.transport)
        assert client is not None
        try:
            yield client
        finally:
            client.close()

    def feed(self, command: Sequence[str], source: IO[bytes], *, timeout: float) -> Result:
        """Run ``command`` with the bytes of ``source`` as its standard input; no sudo."""
        return self._trip(shlex.join(command), source, timeout, OUTPUT_LIMIT)

    def _trip(self, command: str, stdin: bytes | IO[bytes], timeout: float, limit: int) -> Result:
        self.trips += 1
        return trip(self, command, stdin, timeout, limit)


class Wire(fabric.Connection):  # type: ignore[misc]  # fabric has no types
    """Fabric's connection, all of whose attributes are declared. Fabric forgets one (3.2.3): setting it changes the
    configuration that all connections share, and merges it anew under the eyes of the other threads.
    """

    inline_ssh_env: bool | None = None


def connect(site: Site, host: Host, *, timeout: float = CONNECT_SECONDS) -> Connection:
    """Open a connection with the site's key. Raises HostUnreachable, HostKeyRefused or AuthRefused."""
    started = time.monotonic()
    port = host.port or site.ssh.port
    if not site.ssh.key.is_file():
        raise InputError("remote.no_key", path=site.ssh.key)
    ssh = Wire(
        host.address,
        user=site.ssh.user,
        port=port,
        config=_fabric(),
        connect_timeout=timeout,
        connect_kwargs={
            "key_filename": str(site.ssh.key),
            "allow_agent": False,
            "look_for_keys": False,
            "disabled_algorithms": DISABLED,
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "transport_factory": prompt_transport,
        },
    )
    if site.known_hosts.is_file():
        for name, pinned in _pinned(site.known_hosts, known_hosts_name(host.address, port)):
            ssh.client.get_host_keys().add(name, pinned.get_name(), pinned)
    ssh.client.set_missing_host_key_policy(_Refuse(host.name))
    try:
        ssh.open()
    except HostKeyRefused:
        raise
    except paramiko.BadHostKeyException as error:
        key = error.key.fingerprint
        raise HostKeyRefused("remote.key_changed", host=host.name, address=host.address, fingerprint=key) from None
    except paramiko.AuthenticationException:
        raise AuthRefused("remote.auth", host=host.name, user=site.ssh.user, key=site.ssh.key) from None
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise HostUnreachable(
            f"remote.{_reason(error)}", host=host.name, address=host.address, port=port, seconds=int(timeout)
        ) from None
    _notice_silence(ssh.client.get_transport())
    return Connection(site, host, ssh, time.monotonic() - started)


@cache
def _fabric() -> fabric.Config:
    """Of no file on this machine. Made once: it takes longer than a trip."""
    return fabric.Config(overrides={"load_ssh_configs": False}, lazy=True)


def _pinned(path: Path, name: str) -> Iterator[tuple[str, paramiko.PKey]]:
    """The keys that a known_hosts file may have for ``name`` (hashed names are anybody's); an unreadable line is none.

    Of a hundred hosts each would read the keys of all the others: half of what its connection costs.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if name not in line and not line.startswith("|1|"):
            continue
        with contextlib.suppress(paramiko.SSHException, paramiko.hostkeys.InvalidHostKey):
            entry = paramiko.hostkeys.HostKeyEntry.from_line(line.strip(), number)
            if entry is not None and entry.key is not None:
                yield from ((one, entry.key) for one in entry.hostnames or ())


def prompt_transport(sock: Any, **arguments: Any) -> paramiko.Transport:
    """AES-GCM where the host has it: it seals a packet by itself. With the ciphers that paramiko prefers, a MAC is made
    and compared for every packet, byte by byte in Python, which took a tenth of a connection's CPU time.
    """
    transport = paramiko.Transport(PromptSocket.of(sock) if isinstance(sock, socket.socket) else sock, **arguments)
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)
    return transport


def _notice_silence(transport: paramiko.Transport) -> None:
    """A cable that was pulled says nothing: ask every few seconds, and take a minute without an answer for a loss."""
    transport.set_keepalive(KEEPALIVE_SECONDS)
    if isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)


def _reason(error: BaseException) -> str:
    """Why no SSH server answered: the four words of flows (refused, timeout, no_route) and two of SSH itself."""
    inner = list(getattr(error, "errors", {}).values()) or [error]
    for one in inner:
        if isinstance(one, ConnectionRefusedError):
            return "refused"
        if isinstance(one, TimeoutError | socket.timeout):
            return "timeout"
        if isinstance(one, OSError) and one.errno in (101, 113):
            return "no_route"
    return "no_banner"


def each(
    hosts: Sequence[Host], ask: Callable[[Host], T], *, parallel: int = 40, ended: Callable[[], None] | None = None
) -> dict[str, T | ImplopsError]:
    """``ask`` every host at the same time; answers or expected errors by host name, in the given order.

    When the user ends the run meanwhile, all answers are waited for; ``ended`` is called first and may shorten that by
    closing the connections that are asked.
    """

    def one(host: Host) -> T | ImplopsError:
        try:
            return ask(host)
        except ImplopsError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(hosts)))) as pool:
        try:
            return dict(zip([host.name for host in hosts], pool.map(one, hosts), strict=True))
        except KeyboardInterrupt:
            if ended:
                ended()
            raise


def host_key(host: Host, port: int, *, timeout: float = CONNECT_SECONDS) -> paramiko.PKey:
    """The key that answers now, without logging in. Raises HostUnreachable."""
    try:
        with contextlib.closing(socket.create_connection((host.address, port), timeout)) as plain:
            transport = paramiko.Transport(plain, disabled_algorithms=DISABLED)
            try:
                transport.start_client(timeout=timeout)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise HostUnreachable(
            f"remote.{_reason(error)}", host=host.name, address=host.address, port=port, seconds=int(timeout)
        ) from None


def known_hosts_name(address: str, port: int) -> str:
    """How known_hosts names a host: ``[ADDRESS]:PORT`` beside port 22."""
    return address if port == 22 else f"[{address}]:{port}"


def ssh_options(site: Site, host: Host) -> list[str]:
    """Arguments for OpenSSH programs that reach the host as strictly as ``connect`` does. No secret among them."""
    return [
        "-F", "none", "-i", str(site.ssh.key), "-p", str(host.port or site.ssh.port),
        *(f"-o{option}" for option in (
            "BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={site.known_hosts}",
            "GlobalKnownHostsFile=none", f"ConnectTimeout={int(CONNECT_SECONDS)}", "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
        )),
    ]  # fmt: skip
