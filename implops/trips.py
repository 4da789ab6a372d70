"""One command's way to a host and back over an open connection: its input sent, its output read, its end awaited."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import IO, Protocol

import paramiko

from implops.errors import HostError

CONNECT_SECONDS = 10.0


class ConnectionLost(HostError):
    """The connection broke or the deadline passed while a script ran."""


@dataclass(frozen=True)
class Result:
    """What a script answered. ``rc`` is its exit status, ``seconds`` wall time of the trip; ``sent`` and ``received``
    are this machine's clock, in microseconds, when the script was handed over and when its last word was read.
    """

    host: str
    rc: int
    out: bytes
    err: bytes
    seconds: float
    truncated: bool = False
    sent: int = 0
    received: int = 0

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "replace")


class Held:
    """A script that runs until ``close``. ``said`` is what it printed before it was ready."""

    def __init__(self, channel: paramiko.Channel, said: bytes) -> None:
        self._channel, self.said = channel, said

    def renew(self) -> None:
        """Send a byte: we are still there. A connection that has broken shows elsewhere."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.sendall(b"\n")

    def close(self) -> None:
        """End its standard input and wait a moment for it to go."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            self._channel.status_event.wait(10.0)
        self._channel.close()


class Open(Protocol):
    """A connection as far as a trip needs it. ``transport`` raises ConnectionLost when it is gone."""

    name: str

    @property
    def transport(self) -> paramiko.Transport: ...


def trip(connection: Open, command: str, stdin: bytes | IO[bytes], timeout: float, limit: int) -> Result:
    """One command there and back within ``timeout`` seconds; at most ``limit`` bytes of its output.

    Raises ConnectionLost for a connection that breaks, and for a command that is not done in time.
    """
    started = time.monotonic()
    deadline = started + timeout
    try:
        channel = connection.transport.open_session(timeout=min(timeout, CONNECT_SECONDS))
        channel.settimeout(1.0)
        with contextlib.closing(channel):
            channel.exec_command(command)
            sent = time.time_ns() // 1000
            sender = threading.Thread(target=_send, args=(channel, stdin, deadline), daemon=True)
            if isinstance(stdin, bytes) and len(stdin) < 2**15:
                _send(channel, stdin, deadline)  # fits the channel's window: no thread needed
            else:
                sender.start()
            out, err, truncated, received = _receive(connection, channel, deadline, limit)
            rc = channel.recv_exit_status() if not truncated else -1
        if rc == -1 and not truncated:
            # No exit status: a signal ended the command (the connection lives), or the connection broke and its
            # thread is about to say so.
            connection.transport.join(1.0)
            _ = connection.transport
    except (paramiko.SSHException, EOFError, OSError):
        raise ConnectionLost("remote.lost", host=connection.name) from None
    return Result(connection.name, rc, out, err, time.monotonic() - started, truncated, sent, received)


def _receive(
    connection: Open, channel: paramiko.Channel, deadline: float, limit: int
) -> tuple[bytes, bytes, bool, int]:
    out: list[bytes] = []
    err: list[bytes] = []
    size = 0
    while True:
        if time.monotonic() > deadline:
            raise ConnectionLost("remote.deadline", host=connection.name)
        try:
            block = channel.recv(65536)
        except TimeoutError:
            block = None
        while channel.recv_stderr_ready() and sum(map(len, err)) < 2**20:
            err.append(channel.recv_stderr(65536))
        if block == b"":
            break
        if block:
            out.append(block)
            size += len(block)
            if size > limit:
                return b"".join(out)[:limit], b"".join(err), True, time.time_ns() // 1000
    received = time.time_ns() // 1000
    while not channel.exit_status_ready() or channel.recv_stderr_ready():
        if time.monotonic() > deadline:
            raise ConnectionLost("remote.deadline", host=connection.name)
        if channel.recv_stderr_ready():
            err.append(channel.recv_stderr(65536))
        elif channel.closed or not channel.get_transport().is_active():
            break
        else:
            channel.status_event.wait(0.2)
    if not channel.exit_status_ready():
        raise ConnectionLost("remote.lost", host=connection.name)
    return b"".join(out), b"".join(err), False, received


def _send(channel: paramiko.Channel, stdin: bytes | IO[bytes], deadline: float) -> None:
    # A command may end before it has read everything; its exit status tells, not the broken pipe.
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        blocks = [stdin] if isinstance(stdin, bytes) else iter(lambda: stdin.read(2**18), b"")
        for block in blocks:
            sent = 0
            while sent < len(block) and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    sent += channel.send(block[sent : sent + 2**15])
        channel.shutdown_write()
