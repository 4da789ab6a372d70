"""MariaDB put back in its place. It cannot rename a database: the tables as they are now move into another one.

What does not move with tables (views, triggers, routines, events) is written to a file beside a mark that says how far
the work has come, so that a cut-off restore goes on, and a failed one leaves all as it was.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import mariadb
from postgresql import _room, _timed, compare
from repository import Failed, Repository

# Name of the kept database + .sql (its code), .moved (all tables are there), .returning (they are on their way back).
PLACE = Path("/var/lib/implops/backup/kept")
SOCKET = mariadb.SOCKET


def put_back(job: dict, repository: Repository, dump: dict, kept: str, status: dict) -> None:
    """``kept``: the database that gets the tables as they are now. Raises as ``restore.restore`` does."""
    pairs = {job["database"]: kept, mariadb.OURS: f"{mariadb.OURS}{kept[len(job['database'][:40]) :]}"}
    _room(Path(_sql("select @@datadir")), dump["bytes"])
    times: dict = {}
    status["times_ms"] = times
    PLACE.mkdir(parents=True, mode=0o700, exist_ok=True)
    if _mark(kept, "returning").exists():
        _return(kept, pairs)  # an earlier attempt was on its way back when it was cut off
    try:
        if not _mark(kept, "moved").exists():
            _keep_code(kept, pairs)
            for name, other in pairs.items():
                _move(name, other)
            _write(_mark(kept, "moved"), b"")
        with _timed(times, "load"):
            for name in pairs:
                # What is left of it is in the file of its code; or an earlier attempt was cut off while it loaded.
                _sql(f"drop database if exists `{name}`")
            mariadb._feed(repository, dump, SOCKET, "restore", b"-- Dump completed")
        with _timed(times, "compare"):
            session = mariadb._Session(SOCKET)
            try:
                found = mariadb._fingerprint(session.ask(mariadb._sums(job)))
            finally:
                session.close()
            # Accounts are not restored in place: passwords may have been changed since for good reasons.
            expected = {name: value for name, value in dump["fingerprint"].items() if name != "objects accounts"}
            compare(expected, found, status)
        if status["verdict"] != "equal":
            raise Failed("different", str(status["first_difference"]["name"]))
    except BaseException:
        if _mark(kept, "moved").exists() or _mark(kept, "sql").exists():
            _return(kept, pairs)
        raise


def _mark(kept: str, what: str) -> Path:
    return PLACE / f"{kept}.{what}"


def _write(path: Path, body: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _flush()


def _flush() -> None:
    folder = os.open(PLACE, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _sql(text: str, *options: str) -> str:
    done = subprocess.run(mariadb._client(SOCKET, *options), input=f"{text};\n".encode(), capture_output=True, cwd="/")
    if done.returncode:
        raise Failed("restore", done.stderr.decode("utf-8", "replace"))
    return done.stdout.decode("utf-8").rstrip("\n")


def _listed(query: str) -> list:
    return [line for line in _sql(query).split("\n") if line]


def _there(name: str) -> bool:
    return _sql(f"select count(*) from information_schema.schemata where schema_name = '{name}'") == "1"


def _tables(name: str, kinds: str) -> list:
    query = (
        f"select table_name from information_schema.tables where table_schema = '{name}' and table_type in ({kinds})"
    )
    return [f"`{one.replace('`', '``')}`" for one in _listed(f"{query} order by 1")]


def _keep_code(kept: str, pairs: dict) -> None:
    """Everything of the databases that is no table, as statements that may be run again; flushed to disk."""
    if _mark(kept, "sql").exists():
        return
    common = [
        "mariadb-dump", "--no-defaults", f"--socket={SOCKET}", "--no-data", "--default-character-set=utf8mb4",
        "--skip-lock-tables",
    ]  # fmt: skip
    body = b""
    for name in pairs:
        if not _there(name):
            continue
        views = [one.strip("`").replace("``", "`") for one in _tables(name, "'VIEW'")]
        use = f"USE `{name}`;\n".encode()
        if views:
            body += use + _dumped([*common, "--skip-triggers", name, *views])
        code = ["--no-create-info", "--routines", "--events", "--triggers", "--add-drop-trigger"]
        body += use + _dumped([*common, *code, name])
    _write(_mark(kept, "sql"), body)


def _dumped(command: list) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd="/")
    if done.returncode or b"-- Dump completed" not in done.stdout[-200:]:
        raise Failed("restore", done.stderr.decode("utf-8", "replace"))
    return done.stdout


def _quiesce(name: str) -> None:
    """The application was stopped; who is still connected would hold the tables and is sent away, once."""
    for one in _listed(f"select id from information_schema.processlist where db = '{name}'"):
        with contextlib.suppress(Failed):  # gone by itself
            _sql(f"kill {int(one)}")


def _move(name: str, other: str) -> None:
    """All tables that are (still) in ``name`` into ``other``, in one statement: all or none."""
    if not _there(name):
        return
    about = _sql(
        "select concat('character set ', default_character_set_name, ' collate ', default_collation_name) "
        f"from information_schema.schemata where schema_name = '{name}'"
    )
    _sql(f"create database if not exists `{other}` {about}")
    _quiesce(name)
    for one in _listed(f"select trigger_name from information_schema.triggers where trigger_schema = '{name}'"):
        _sql(f"drop trigger `{name}`.`{one.replace('`', '``')}`")  # a table with triggers cannot move
    tables = _tables(name, "'BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED'")
    if tables:
        moves = ", ".join(f"`{name}`.{one} to `{other}`.{one}" for one in tables)
        _sql(f"set session lock_wait_timeout = 60; rename table {moves}")


def _return(kept: str, pairs: dict) -> None:
    """The tables back where they were, and their code; may be cut off and begun again at any point."""
    if _mark(kept, "moved").exists():
        # Everything that was lies in the kept databases: what has their names now is what was loaded.
        for name in pairs:
            _sql(f"drop database if exists `{name}`")
        # From here on nothing of theirs may be dropped any more, also not after a power cut.
        _mark(kept, "moved").replace(_mark(kept, "returning"))
        _flush()
    elif not _mark(kept, "returning").exists():
        _write(_mark(kept, "returning"), b"")
    for name, other in pairs.items():
        if _there(other):
            _move(other, name)
            if _tables(other, "'BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED'"):
                raise Failed("restore", other)
            _sql(f"drop database `{other}`")
    code = _mark(kept, "sql")
    if code.exists():
        done = subprocess.run(mariadb._client(SOCKET), input=code.read_bytes(), capture_output=True, cwd="/")
        if done.returncode:
            raise Failed("restore", done.stderr.decode("utf-8", "replace"))
    for what in ("sql", "returning"):
        _mark(kept, what).unlink(missing_ok=True)
