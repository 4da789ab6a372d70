"""Real servers of both engines on this machine, each in a folder of its own, reached over its own socket only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeVar

from implops.baseload.server import Server, engine

PASSWORD = "p\"w'x#1é:"
ROLE, DATABASE = "his_import", "his"
ENGINES = ("postgresql", "mariadb")
_USERS = {"postgresql": "postgres", "mariadb": "mysql"}


# As the recipe makes it on a customer's host.
_LOG = """create table implops_import_log (import_id varchar(64) not null, file_sha256 char(64) not null,
mapping_sha256 char(64) not null, target varchar(130) not null, batch_no integer not null, first_line bigint not null,
last_line bigint not null, last_byte bigint not null, `rows` bigint not null, row_hash text not null,
tool_version varchar(40) not null, committed_at timestamp(6) not null default current_timestamp(6),
primary key (file_sha256, mapping_sha256, target, batch_no)) engine = InnoDB;"""


def binary(name: str) -> str:
    """A server program, on the path or where Debian keeps PostgreSQL's."""
    found = shutil.which(name) or next(
        (str(one) for one in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    assert found, f"{name} is missing: .ci/setup installs postgresql and mariadb-server"
    return found


@dataclass
class Database:
    """A server with the database ``his``, its log table and its import account."""

    engine: str
    folder: Path
    port: int = 54321
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def server(self) -> Server:
        return engine(self.engine)(self.folder, self.port, DATABASE, ROLE, "db1")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        """A fresh data folder, started, with database, account and log table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        user = _USERS[self.engine]
        shutil.chown(self.folder, user, user)
        self._run(self._inside(["install", "-d", "-m", "700", "-o", user, "-g", user, str(self.data)]))
        if self.engine == "postgresql":
            making = [binary("initdb"), "-D", self.data, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"]
        else:
            making = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}",
                      "--auth-root-authentication-method=socket", "--skip-test-db"]  # fmt: skip
        self._run(self._inside(["runuser", "-u", user, "--", *map(str, making)]))
        self.start()
        if self.engine == "postgresql":
            self.sql(f"create role {ROLE} login", database="postgres")
            self.sql(f"create database {DATABASE}", database="postgres")
            table = resources.files("implops.baseload").joinpath("log_table.sql").read_text(encoding="utf-8")
            self.sql(f"{table} grant select, insert on implops_import_log to {ROLE};"
                     f"grant temporary on database {DATABASE} to {ROLE};"
                     "alter default privileges in schema public grant select, insert, update, delete on tables "
                     f"to {ROLE}; alter default privileges in schema public grant usage, select, update on sequences "
                     f"to {ROLE};")  # fmt: skip
        else:
            self.sql(f"create database {DATABASE} character set utf8mb4 collate utf8mb4_bin", database="mysql")
            password = PASSWORD.replace("'", "''")
            self.sql(f"{_LOG} create user {ROLE}@localhost identified by '{password}';"
                     f"grant select, insert, update, delete, create temporary tables on {DATABASE}.* "
                     f"to {ROLE}@localhost;")  # fmt: skip
        self.server.keep_password(PASSWORD)

    def start(self) -> None:
        user = _USERS[self.engine]
        if self.engine == "postgresql":
            command = [binary("postgres"), "-D", self.data, "-k", self.folder, "-p", str(self.port),
                       "-c", "listen_addresses=", "-c", "max_connections=30"]  # fmt: skip
        else:
            command = [binary("mariadbd"), "--no-defaults", f"--datadir={self.data}", "--skip-networking",
                       f"--socket={self.folder / 'mysqld.sock'}", f"--pid-file={self.folder / 'pid'}",
                       "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M",
                       "--innodb-log-file-size=32M"]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            alone = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *map(str, command)]
            self.process = subprocess.Popen(self._inside(alone), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        assert self.process
        deadline = time.monotonic() + 60
        while True:
            done = self._client("select 1", "postgres" if self.engine == "postgresql" else "mysql")
            if done.returncode == 0:
                return
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.05)

    def crash(self) -> None:
        """The server and all its processes are gone at once."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for one in (self.process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.process.wait()
        while any(Path(f"/proc/{one}").exists() for one in children):
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if self.engine == "postgresql" else signal.SIGTERM)
            self.process.wait(60)

    def sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run statements as the superuser; rows as lines, columns separated by a bar."""
        done = self._client(text, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip("\n").replace("\t", "|")

    @contextmanager
    def talking(self, text: str) -> Iterator[Callable[[], None]]:
        """A connection of the superuser that has run a statement and stays, with the function that ends it."""
        with subprocess.Popen(self._command(DATABASE), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin and client.stdout
            client.stdin.write(f"{text};\nselect 'done';\n".encode())
            client.stdin.flush()
            while client.stdout.readline().strip() != b"done":
                assert client.poll() is None
            try:
                yield client.kill
            finally:
                client.kill()

    def rows(self, table: str, order: str = "code") -> list[str]:
        return self.sql(f"select * from {table} order by {order}").splitlines()

    def count(self, table: str) -> int:
        return int(self.sql(f"select count(*) from {table}"))

    def _inside(self, command: list[str]) -> list[str]:
        """The command where it sees the data folder."""
        return command

    def _command(self, database: str) -> list[str]:
        """The superuser's client, which reads statements from its input."""
        if self.engine == "postgresql":
            return ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port), "-U",
                    "postgres", database]  # fmt: skip
        return ["mariadb", "--no-defaults", "-N", "--raw", "--unbuffered", "--default-character-set=utf8mb4",
                f"--socket={self.folder / 'mysqld.sock'}", database]  # fmt: skip

    def _client(self, text: str, database: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(database), input=f"{text};\n", capture_output=True, text=True, timeout=120)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout


@dataclass
class OnDisk(Database):
    """The same with its data on a disk of its own, which can be full and whose power can be cut.

    The disk is mounted for the server's processes alone and goes when they end, whatever became of us.
    """

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def data(self) -> Path:
        return self.disk / "data"

    def make(self) -> None:
        self.disk.mkdir(parents=True)
        with (self.folder / "image").open("wb") as image:
            image.truncate(2**30)
        self._run(["mkfs.xfs", "-q", "-K", image.name])
        super().make()

    def cut_power(self) -> None:
        """What was not synced is gone: a disk that is shut down forgets what a mere SIGKILL would leave to it."""
        self._enter("xfs_io", "-x", "-c", "shutdown", str(self.disk))
        self.crash()

    def fill(self, left: int) -> None:
        """Leave so many bytes on the disk."""
        free = int(self._enter("stat", "-f", "-c", "%f", str(self.disk))) * 4096
        self._enter("fallocate", "-l", str(free - left), str(self.disk / "ballast"))

    def make_room(self) -> None:
        """The disk has room again, and the server is back; one that found none for its journal has ended itself."""
        assert self.process
        remove = ["rm", "-f", str(self.disk / "ballast")]
        try:
            self._enter(*remove)
            time.sleep(1)
        except subprocess.CalledProcessError:
            self.process.wait(60)
            self._run(self._inside(remove))
        if self.process.poll() is None:
            self.wait()
        else:
            self.start()

    def _enter(self, *command: str) -> str:
        assert self.process
        inside = ["nsenter", "-t", str(self.process.pid), "-m", "--", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=True, timeout=60).stdout

    def _inside(self, command: list[str]) -> list[str]:
        mounted = 'mount -o loop,noatime "$0" "$1" && shift && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, str(self.folder / "image"),
                str(self.disk), *command]  # fmt: skip


D = TypeVar("D", bound=Database)


@contextmanager
def running(database: type[D], kind: str) -> Iterator[D]:
    """A server of that engine in a folder of its own."""
    # A socket's path has room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="implops-db-") as folder:
        made = database(kind, Path(folder))
        try:
            made.make()
            yield made
        finally:
            made.stop()
