# ruff: noqa: S608 - names and texts in a statement went through identifier() or literal()
"""The way to the database: an SSH forward to the host's own socket, and the engine's own client behind it.

The password lies in a 0600 file in a private folder, in no argument and no environment. ssh runs ``cat`` on the host
with our pipe as its input: when this process dies, however it dies, the pipe closes and the forward goes with it.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from implops.baseload.column import ABSENT
from implops.errors import DataError, HostError, InputError, MachineError
from implops.remote import CONNECT_SECONDS, ssh_options
from implops.site import Site

if TYPE_CHECKING:
    from implops.baseload.mapping import Mapping
    from implops.baseload.target import Cell, Table

_EMPTY_TEXT = f'"{ABSENT}"'.encode()
# (schema, table), and (child, parent) of each foreign key.
Place = tuple[str, str]
Foreign = Collection[tuple[Place, Place]]
_PLACE, _PREFIX = "/tmp", "implops-import-"  # noqa: S108 - mkdtemp makes a private folder in it


def identifier(*names: str) -> str:
    """Quoted and dotted: ``identifier("public", "area")`` -> ``"public"."area"``. MariaDB runs with ANSI_QUOTES."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


@dataclass(frozen=True)
class Server(ABC):
    """A database behind a socket in ``folder``, which also holds the password. One subclass an engine."""

    folder: Path
    port: int
    database: str
    user: str
    host: str

    program: ClassVar[str]
    package: ClassVar[str]
    # The commands come on /dev/fd/N and the data on standard input; or the other way round, data in a fifo.
    data_on_stdin: ClassVar[bool]
    json_array: ClassVar[str]
    # Arguments that keep the client from collecting a whole answer before it prints it.
    unheld: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def socket(self) -> Path:
        """The forwarded socket on this machine."""

    @staticmethod
    @abstractmethod
    def socket_there(port: int) -> str:
        """The server's own socket on its host."""

    @abstractmethod
    def keep_password(self, password: str) -> None:
        """Write the password into ``folder``, mode 0600. Raises InputError for one that cannot be written."""

    @abstractmethod
    def arguments(self, commands: str = "-") -> list[str]:
        """The client that runs nothing of the user's, stops at the first error and prints bare values."""

    @abstractmethod
    def environment(self) -> dict[str, str]: ...

    @abstractmethod
    def opening(self, *, write: bool) -> str:
        """What every session says first."""

    @abstractmethod
    def failed(self, stderr: str) -> HostError | DataError:
        """The error of a client that ended badly: not reached (exit 3), or refused by the database (exit 1)."""

    @abstractmethod
    def literal(self, text: str) -> str: ...

    @abstractmethod
    def table(self, schema: str, table: str) -> str:
        """The quoted name of a table; a mapping that names no schema says ``public``."""

    def place(self, schema: str, table: str) -> Place:
        """A table's schema and name as ``foreign_keys`` tells them; a mapping that names no schema says ``public``."""
        return schema, table

    @abstractmethod
    def foreign_keys(self) -> Foreign:
        """The foreign keys of the database between two tables."""

    def empty(self, schema: str, table: str) -> bool:
        """There is such a table, we may read it, and it holds no row."""
        try:
            return not self.values(["1"], f"{self.table(schema, table)} limit 1")
        except DataError:
            return False

    @abstractmethod
    def text(self, column: str) -> str:
        """SQL: a column as the text that the canonical row has."""

    @abstractmethod
    def row_hash(self, cells: Sequence[Cell], alias: str = "") -> str:
        """SQL: over all rows the number that ``fingerprint`` reckons from the file's."""

    @abstractmethod
    def fingerprint(self, rows: Sequence[bytes]) -> int:
        """The sum of this engine's hash of each canonical row."""

    def repeatable(self, sql: str) -> str:
        """A statement of ours as anybody may run it, outside of our sessions."""
        return sql

    @abstractmethod
    def number(self, cell: Cell, column: str) -> str:
        """SQL: a column as an exact number."""

    @abstractmethod
    def same(self, one: str, other: str) -> str:
        """SQL: two columns hold the same value, byte for byte, or are both NULL."""

    @abstractmethod
    def describe(self, mapping: Mapping) -> Table:
        """Ask the catalogue. Raises InputError when the table or the log table is not there or not ours to fill."""

    @abstractmethod
    def begin(self, mapping: Mapping) -> str:
        """SQL that begins the transaction and prints ``t`` when no other import fills the table."""

    @abstractmethod
    def holder(self, mapping: Mapping) -> str:
        """Who holds the lock of another import, or an empty text."""

    @abstractmethod
    def lockers(self, table: Table) -> str:
        """Who holds locks on the table, or an empty text."""

    @abstractmethod
    def reclaim(self, table: Table) -> str:
        """The command with which an administrator gives back the room of rows that were rolled back."""

    @abstractmethod
    def hold(self, table: Table) -> str:
        """SQL that keeps other writers of the table out until the end, where the engine can."""

    @abstractmethod
    def copy(self, table: str, cells: Sequence[Cell], delimiter: str, source: str) -> str:
        """The commands that take CSV rows in the order of ``cells`` and print how many came in, and the warnings."""

    def sent(self, rows: bytes, delimiter: str, *, keeping: bool = True) -> bytes:
        """CSV rows as the copy command takes them. Empty cells are NULL; a quoted ABSENT, which is there only when a
        column is ``keeping`` them, is an empty text.
        """
        return rows.replace(_EMPTY_TEXT, b'""') if keeping else rows

    @abstractmethod
    def stage(self, table: Table, cells: Sequence[Cell]) -> str:
        """SQL that makes the temporary table ``implops_stage`` with the columns of ``cells``."""

    @abstractmethod
    def merge(self, table: Table, cells: Sequence[Cell], key: Sequence[str], update: Sequence[str]) -> str:
        """SQL that moves ``implops_stage`` into the table and prints rows updated and rows inserted."""

    @abstractmethod
    def sequences(self, table: Table, cells: Sequence[Cell]) -> str:
        """SQL that sets the sequences behind the loaded columns; empty when there are none."""

    @property
    @abstractmethod
    def mine(self) -> str:
        """SQL: a condition for the rows of this transaction; empty where the engine cannot tell them."""

    def values(self, columns: Sequence[str], tail: str) -> list[list[str]]:
        """The rows of ``select columns from tail``, NULL as an empty text."""
        # One JSON array a line: a value may hold tabs and line feeds.
        told = self.query(f"select {self.json_array}({', '.join(columns)}) from {tail};", timeout=3600)
        return [["" if one is None else str(one) for one in json.loads(line)] for line in told.splitlines()]

    def stream(self, columns: Sequence[str], tail: str) -> Iterator[list[str]]:
        """As ``values``, of any number of rows: neither this process nor the client holds them all."""
        with tempfile.TemporaryFile() as errors, subprocess.Popen(
            [*self.arguments(), *self.unheld], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env=self.environment(),
        ) as client:  # fmt: skip
            assert client.stdin and client.stdout
            script = f"{self.opening(write=False)}\nselect {self.json_array}({', '.join(columns)}) from {tail};\n"
            client.stdin.write(script.encode())
            client.stdin.close()
            try:
                for line in client.stdout:
                    yield ["" if one is None else str(one) for one in json.loads(line)]
            except BaseException:
                client.kill()
                raise
            if client.wait():
                errors.seek(0)
                raise self.failed(errors.read().decode("utf-8", "replace"))

    def query(self, sql: str, *, timeout: float = 120) -> str:
        """What the client prints for a read-only script. Raises HostError or DataError with the server's own words."""
        script = f"{self.opening(write=False)}\n{sql}\n"
        try:
            done = subprocess.run(
                self.arguments(), input=script.encode(), capture_output=True, env=self.environment(), timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HostError("import.server_silent", host=self.host, seconds=int(timeout)) from None
        if done.returncode:
            raise self.failed(done.stderr.decode("utf-8", "replace"))
        return done.stdout.decode("utf-8")


def environment() -> dict[str, str]:
    """What a client of ours gets of our own environment."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"}


def private(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def engine(name: str) -> type[Server]:
    """The class of an engine, by the name that the site file has for it."""
    module = importlib.import_module(f"implops.baseload.engines.{name}")
    found: type[Server] = module.ENGINE
    return found


@contextmanager
def reach(site: Site) -> Iterator[Server]:
    """The site's database server for as long as the block runs. Raises HostError when it cannot be reached."""
    if site.database is None or not site.with_role("db"):
        raise InputError("import.no_database", site=site.path.name)
    host, database = site.only("db"), site.database
    kind = engine(database.engine)
    for program, package in (("ssh", "openssh-client"), (kind.program, kind.package)):
        if shutil.which(program) is None:
            raise MachineError("import.no_program", program=program, package=package)
    _sweep()
    # A socket's path has room for 107 bytes; TMPDIR may be long.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    try:
        server = kind(folder, database.port, database.name, database.import_.role, host.name)
        server.keep_password(database.import_.password.resolve().reveal())
        with _forward(site, server):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(alive)


def _sweep() -> None:
    """Remove the folders of imports that were killed: a password must not outlive its process."""
    for folder in Path(_PLACE).glob(f"{_PREFIX}*"):
        try:
            status = folder.stat()
            # A folder this young may be another import's that has not taken its lock yet.
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < 10:
                continue
            alive = os.open(folder / "alive", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its import is at work
        finally:
            os.close(alive)


@contextmanager
def _forward(site: Site, server: Server) -> Iterator[None]:
    host = site.only("db")
    command = [
        "ssh", *ssh_options(site, host), "-T", "-oExitOnForwardFailure=yes", "-oStreamLocalBindMask=0177",
        "-L", f"{server.socket}:{server.socket_there(server.port)}",
        f"{site.ssh.user}@{host.address}", "exec cat >/dev/null",
    ]  # fmt: skip
    with (server.folder / "ssh.log").open("w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log,
                                   process_group=0)  # fmt: skip
        try:
            deadline = time.monotonic() + 2 * CONNECT_SECONDS
            while not server.socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode("utf-8", "replace").strip().splitlines()
                    raise HostError("import.no_forward", host=host.name, address=host.address,
                                    why=said[-1] if said else "timeout")  # fmt: skip
                time.sleep(0.02)
            yield
        finally:
            assert process.stdin
            process.stdin.close()
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
