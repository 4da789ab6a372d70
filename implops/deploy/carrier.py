"""pyinfra's commands over our own connection, and where it must stop instead of going on with a default.

Used in the worker only, which patches its process before it imports this.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyinfra.api import State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

from implops.deploy.foreseen import Foreseen
from implops.remote import Connection
from implops.secrets import redactor

# A command ends itself on the target (shell.guarded: up to 900 s and 60 s of waiting); this is the fence around it.
COMMAND_SECONDS = 1100.0


class FactUnknown(PyinfraError):
    """The host gave no answer; the default of a fact must not pass for one."""


class Stopped(PyinfraError):
    """Asked to stop: no further operation begins."""


class StrictState(State):
    """A fact that cannot be had stops the recipe. pyinfra itself would go on with the fact's default."""

    def fail_hosts(self, hosts_to_fail: set[PyinfraHost], activated_count: int | None = None) -> None:
        if hosts_to_fail:
            raise FactUnknown(" ".join(sorted(one.name for one in hosts_to_fail)))


class StrictLog(logging.Handler):
    """A fact whose program is missing only warns in pyinfra 3, and the recipe would read the default."""

    def emit(self, record: logging.LogRecord) -> None:
        if "command not found" in record.getMessage():
            raise FactUnknown(record.getMessage())


class Carrier(BaseConnector):
    """pyinfra's commands over our own connection: strict host keys, one sudo attempt, no password in a command."""

    def __init__(self, state: State, host: PyinfraHost, connection: Connection, foreseen: Foreseen) -> None:
        super().__init__(state, host)
        self.connection, self.foreseen = connection, foreseen
        # What the step that runs has asked, in its order.
        self.asked: list[str] = []
        # Operation -> what it sent to the host, also where no answer came back.
        self.sent: dict[str, list[Any]] = {}
        # Called before the first command of a step that may change something.
        self.leave: Callable[[], None] | None = None
        self._asking = False
        # What the host said last when it did not answer a question.
        self.unanswered = ""

    def known(self, command: str) -> str | None:
        """What a question of this command was answered already; None where it has to be asked."""
        # A known secret in it would be blanked on its way to our parent, and is no business of a file.
        if redactor.text(command) == command:
            self.asked.append(command)
        answer = self.foreseen.take(self.connection.name, command)
        return None if answer is None else answer.text.removesuffix("\n")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What runs in the block only asks."""
        self._asking = True
        try:
            yield
        finally:
            self._asking = False

    def _change(self) -> None:
        self.foreseen.drop()
        leave, self.leave = self.leave, None
        if leave:
            leave()

    def _sent(self, command: Any) -> None:
        op = self.host.nested_executing_op_hash or self.host.executing_op_hash
        self.sent.setdefault(op or "", []).append(command)

    @staticmethod
    def make_names_data(name: str) -> Any:
        yield name, {}, []

    def disconnect(self) -> None:
        self.connection.close()

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        if not self._asking:
            self._change()
            self._sent(command)
        stdin = arguments.pop("_stdin", None) or ""
        timeout = arguments.pop("_timeout", None) or COMMAND_SECONDS
        good = arguments.pop("_success_exit_codes", None) or [0]
        for name in ("_get_pty", "_sudo_password", "_sudo_askpass_path"):
            arguments.pop(name, None)
        # We are root already; only another account needs sudo (without a password, as root).
        arguments["_sudo"] = bool(arguments.get("_sudo_user"))
        text = make_unix_command_for_host(self.state, self.host, command, **arguments).get_raw_value()
        data = stdin if isinstance(stdin, str) else "\n".join(stdin)
        result = self.connection.command(text, data.encode(), timeout=timeout, sudo=True)
        lines = [
            OutputLine(name, line)
            for name, raw in (("stdout", result.out), ("stderr", result.err))
            for line in raw.decode("utf-8", "replace").splitlines()
        ]
        if self._asking and result.rc not in good:
            self.unanswered = result.err.decode("utf-8", "replace").strip() or f"exit {result.rc}"
        return result.rc in good, CommandOutput(lines)

    def put_file(
        self, filename_or_io: Any, remote_filename: str, remote_temp_filename: str | None = None, **_: Any
    ) -> bool:
        self._change()
        body = filename_or_io.read() if hasattr(filename_or_io, "read") else Path(filename_or_io).read_bytes()
        body = body.encode() if isinstance(body, str) else body
        path = shlex.quote(remote_filename)
        command = f"umask 077; cat > {path}.part && mv -f {path}.part {path}"
        self._sent(command)
        return self.connection.command(command, body, timeout=COMMAND_SECONDS, sudo=True).rc == 0

    def get_file(self, remote_filename: str, filename_or_io: Any, *_: Any, **__: Any) -> bool:
        raise NotImplementedError("recipes read the target by facts")
