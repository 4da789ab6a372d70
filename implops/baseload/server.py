"""The way to the database: an SSH forward to the host's own socket, and psql with the import role behind it.

The password lies in a 0600 passfile in a private folder, in no argument and no environment. ssh runs ``cat`` on the
host with our pipe as its input: when this process dies, however it dies, the pipe closes and the forward goes with it.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from implops.errors import DataError, HostError, InputError, MachineError
from implops.remote import CONNECT_SECONDS, ssh_options
from implops.site import Site

_PLACE, _PREFIX = "/tmp", "implops-import-"  # noqa: S108 - mkdtemp makes a private folder in it
_PROGRAMS = {"ssh": "openssh-client", "psql": "postgresql-client"}
# What PostgreSQL says before anything of ours has run: the server could not be reached or would not let us in.
_CONNECTION = ("could not connect", "connection to server", "terminating connection", "closed the connection")
_LOCK_TIMEOUT = "55P03"
_STATE = re.compile(r"\b(?=[A-Z]*[0-9])([0-9A-Z]{5}): (.+)")  # not the word ERROR


def identifier(*names: str) -> str:
    """Quoted and dotted: ``identifier("public", "area")`` -> ``"public"."area"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A string constant; standard_conforming_strings is set by every session of ours."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Server:
    """A socket folder, a database and a role. ``folder`` also holds the passfile."""

    folder: Path
    port: int
    database: str
    user: str
    host: str

    def arguments(self) -> list[str]:
        """psql that runs nothing of the user's, stops at the first error, and prints bare values."""
        return [
            "psql", "-AtqXw", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
            "-h", str(self.folder), "-p", str(self.port), "-U", self.user, "-d", self.database,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "PGPASSFILE": str(self.folder / "passfile"),
            "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "15",
            "PGAPPNAME": "implops-import",
            "PGOPTIONS": "-c standard_conforming_strings=on -c datestyle=ISO,YMD -c lock_timeout=10s",
        }

    def query(self, sql: str, *, timeout: float = 120) -> str:
        """What psql prints for a read-only script. Raises HostError or DataError with the server's own words."""
        script = f"set default_transaction_read_only = on;\n{sql}\n"
        try:
            done = subprocess.run(
                [*self.arguments(), "-f", "-"], input=script.encode(), capture_output=True,
                env=self.environment(), timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HostError("import.server_silent", host=self.host, seconds=int(timeout)) from None
        if done.returncode:
            raise failed(self.host, done.stderr.decode("utf-8", "replace"))
        return done.stdout.decode("utf-8")

    def values(self, select: str) -> list[list[str]]:
        """The rows of a select, NULL as an empty text."""
        copied = self.query(f"copy ({select}) to stdout with (format csv);")
        return list(csv.reader(io.StringIO(copied, newline="")))


def failed(host: str, stderr: str) -> HostError | DataError:
    """The error of a psql that ended badly: not reached (exit 3), or refused by the database (exit 1).

    The server speaks the customer's language, so only codes are read: VERBOSITY=verbose prints the SQLSTATE.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    state = next((match for line in lines if (match := _STATE.search(line))), None)
    if state is None or any(word in stderr for word in _CONNECTION):
        return HostError("import.server_lost", host=host, why=lines[0].removeprefix("psql: error: ") if lines else "?")
    if state[1] == _LOCK_TIMEOUT:
        return HostError("import.table_locked", host=host, why=state[2])
    detail = next((match[1] for line in lines if (match := re.match(r"(?:DETAIL|详细信息|詳細資料): *(.+)", line))), "")
    return DataError("import.server_said", host=host, why=f"{state[2]} {detail}".strip(), state=state[1])


@contextmanager
def reach(site: Site) -> Iterator[Server]:
    """The site's database server for as long as the block runs. Raises HostError when it cannot be reached."""
    if site.database is None or not site.with_role("db"):
        raise InputError("import.no_database", site=site.path.name)
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise MachineError("import.no_program", program=program, package=package)
    host, database = site.only("db"), site.database
    _sweep()
    # A socket's path has room for 107 bytes; TMPDIR may be long.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    try:
        _passfile(folder, database.import_.role, database.import_.password.resolve().reveal())
        server = Server(folder, database.port, database.name, database.import_.role, host.name)
        with _forward(site, folder, database.port):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(alive)


def _sweep() -> None:
    """Remove the folders of imports that were killed: a passfile must not outlive its process."""
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


def _passfile(folder: Path, role: str, password: str) -> None:
    if "\n" in password:
        raise InputError("import.password_form", role=role)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.open(folder / "passfile", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"*:*:*:{role}:{escaped}\n")


@contextmanager
def _forward(site: Site, folder: Path, port: int) -> Iterator[None]:
    host = site.only("db")
    socket = folder / f".s.PGSQL.{port}"
    command = [
        "ssh", *ssh_options(site, host), "-T", "-oExitOnForwardFailure=yes", "-oStreamLocalBindMask=0177",
        "-L", f"{socket}:/run/postgresql/.s.PGSQL.{port}",
        f"{site.ssh.user}@{host.address}", "exec cat >/dev/null",
    ]  # fmt: skip
    with (folder / "ssh.log").open("w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        try:
            deadline = time.monotonic() + 2 * CONNECT_SECONDS
            while not socket.exists():
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
