"""One client of the database on two channels: commands on one, data on the other.

``commit`` is written only by a living process that has read the proof, so neither the death of this process nor of
the client nor of the connection can commit half a file (import design §2.1, §4.2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from implops.baseload.server import Server

_PIPE_SIZE = 2**20
_BLOCKS = 8


class _Feeder:
    """A thread that writes blocks to a client. ``broken``: the client no longer reads; what it says tells why."""

    def __init__(self, process: subprocess.Popen[bytes], fifo: Path | None) -> None:
        self.process, self.fifo = process, fifo
        self.broken = threading.Event()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_BLOCKS)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def send(self, block: bytes) -> bool:
        if block:
            self._blocks.put(block)
        return not self.broken.is_set()

    def end(self) -> None:
        self._blocks.put(None)
        self._thread.join()

    def _write(self) -> None:
        pipe = self._open()
        while (block := self._blocks.get()) is not None:
            if pipe is None or self.broken.is_set():
                continue
            try:
                pipe.write(block)
                pipe.flush()
            except OSError:
                self.broken.set()
        with contextlib.suppress(OSError):
            if pipe:
                pipe.close()

    def _open(self) -> IO[bytes] | None:
        pipe = self.process.stdin if self.fifo is None else self._fifo(self.fifo)
        if pipe is None:
            self.broken.set()
        else:
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        return pipe

    def _fifo(self, fifo: Path) -> IO[bytes] | None:
        """Open it as soon as the client reads it; None when the client ended instead."""
        while self.process.poll() is None and not self.broken.is_set():
            try:
                descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # ENXIO: nobody reads it yet
                time.sleep(0.005)
                continue
            os.set_blocking(descriptor, True)
            fifo.unlink()
            return os.fdopen(descriptor, "wb")
        return None


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A Ctrl-C waits for the end of the block; a second one does not. What was committed must also be accounted for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def later(number: int, frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = {one: signal.signal(one, later) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if pressed:
        raise KeyboardInterrupt


class Session:
    """A client at work. Whatever it has not committed when it is closed is rolled back by the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the session
        self._marks = 0
        if server.data_on_stdin:
            reading, self._commands = os.pipe()
            self.process = self._start(server.arguments(f"/dev/fd/{reading}"), (reading,))
            os.close(reading)
        else:
            self.process = self._start(server.arguments(), ())
            assert self.process.stdin
            self._commands = os.dup(self.process.stdin.fileno())
            self.process.stdin.close()
        self.say(server.opening(write=True))

    def _start(self, arguments: list[str], passed: tuple[int, ...]) -> subprocess.Popen[bytes]:
        # Killed in the wrong moment we would leave a client that waits for our fifo for ever.
        ending = ["setpriv", "--pdeathsig", "KILL"]
        return subprocess.Popen(
            [*ending, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, pass_fds=passed,
            env=self.server.environment(), process_group=0,  # a terminal's Ctrl-C is for us: the client may commit
        )  # fmt: skip

    def ask(self, text: str) -> list[str]:
        """Send commands and wait for their answers. Raises HostError or DataError in the server's words."""
        self.say(text)
        return self.answers()

    def say(self, text: str) -> None:
        """Send commands; ``answers`` reads what they print. A dead client shows only there."""
        self._marks += 1
        mark = f"\\echo mark-{self._marks}" if self.server.data_on_stdin else f"select 'mark-{self._marks}';"
        with contextlib.suppress(BrokenPipeError):
            data = f"{text}\n{mark}\n".encode()
            while data:
                data = data[os.write(self._commands, data) :]

    def answers(self) -> list[str]:
        """Everything printed up to the end of what was said last."""
        assert self.process.stdout
        found: list[str] = []
        last = f"mark-{self._marks}"
        for line in self.process.stdout:
            text = line.decode().rstrip("\n")
            if text == last:
                return found
            if not text.startswith("mark-"):
                found.append(text)
        self.process.wait()
        self._errors.seek(0)
        raise self.server.failed(self._errors.read().decode("utf-8", "replace"))

    @contextlib.contextmanager
    def feeding(self) -> Iterator[tuple[str, Callable[[bytes], bool]]]:
        """(what the copy command reads from, a function that sends a block and tells whether it went on).

        Once a session. A thread writes, so that checking and sending overlap. Where the ``with`` ends, the data ends.
        """
        fifo = None if self.server.data_on_stdin else self.server.folder / f"rows-{self.process.pid}"
        if fifo:
            os.mkfifo(fifo, 0o600)
        feeder = _Feeder(self.process, fifo)
        try:
            yield str(fifo or ""), feeder.send
        except BaseException:
            self.process.kill()  # the client must not take the end of half a file for its end
            feeder.broken.set()
            feeder.end()
            raise
        feeder.end()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._commands)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self._errors.close()
