"""Real servers of both engines on this machine, each in a folder of its own, reached over its own socket only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

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
        self.data.mkdir(mode=0o700, exist_ok=True)
        user = _USERS[self.engine]
        shutil.chown(self.data, user, user)
        shutil.chown(self.folder, user, user)
        if self.engine == "postgresql":
            making = [binary("initdb"), "-D", self.data, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"]
        else:
            making = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}",
                      "--auth-root-authentication-method=socket", "--skip-test-db"]  # fmt: skip
        self._run(["runuser", "-u", user, "--", *map(str, making)])
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
            self.process = subprocess.Popen(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                                             *map(str, command)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)  # fmt: skip
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
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if self.engine == "postgresql" else signal.SIGTERM)
            self.process.wait(60)

    def sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run statements as the superuser; rows as lines, columns separated by a bar."""
        done = self._client(text, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip("\n").replace("\t", "|")

    def rows(self, table: str, order: str = "code") -> list[str]:
        return self.sql(f"select * from {table} order by {order}").splitlines()

    def count(self, table: str) -> int:
        return int(self.sql(f"select count(*) from {table}"))

    def _client(self, text: str, database: str) -> subprocess.CompletedProcess[str]:
        if self.engine == "postgresql":
            command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port), "-U",
                       "postgres", database]  # fmt: skip
        else:
            command = ["mariadb", "--no-defaults", "-N", "--raw", "--default-character-set=utf8mb4",
                       f"--socket={self.folder / 'mysqld.sock'}", database]  # fmt: skip
        return subprocess.run(command, input=f"{text};\n", capture_output=True, text=True, timeout=120)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Database]:
    database = Database(kind, folder)
    try:
        database.make()
        yield database
    finally:
        database.stop()
