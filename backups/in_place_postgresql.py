"""PostgreSQL put back in its place: the database as it is now is renamed, the backup loaded under the old name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import postgresql
from repository import Failed, Repository, Unsure

SOCKET = "/var/run/postgresql"


def put_back(job: dict, repository: Repository, dump: dict, kept: str, status: dict) -> None:
    """``kept``: the name under which the database as it is now stays. Raises as ``restore.restore`` does."""
    name = job["database"]
    postgresql._room(Path(_sql(job, "postgres", "show data_directory")), dump["bytes"])
    times: dict = {}
    status["times_ms"] = times
    if not _there(job, kept):
        _quiesce(job, name)
        _sql(job, "postgres", f'alter database "{name}" rename to "{kept}"')
    elif _there(job, name):
        # An earlier attempt with this run was cut off: what it made is not whole.
        _drop(job, name)
    try:
        with postgresql._timed(times, "load"):
            _load(job, repository, dump)
        with postgresql._timed(times, "compare"):
            server = postgresql._psql(job, SOCKET, job["port"], name)
            text = (postgresql._SETTINGS + postgresql._TABLES).encode()
            done = subprocess.run(server, input=text, capture_output=True, cwd="/")
            if done.returncode:
                raise Failed("fingerprint", done.stderr.decode("utf-8", "replace"))
            postgresql.compare(dump["fingerprint"], postgresql._fingerprint(done.stdout), status)
        if status["verdict"] != "equal":
            raise Failed("different", str(status["first_difference"]["name"]))
    except BaseException:
        status["times_ms"] = times
        _back(job, name, kept)
        raise


def _back(job: dict, name: str, kept: str) -> None:
    if _there(job, kept):
        if _there(job, name):
            _drop(job, name)
        _sql(job, "postgres", f'alter database "{kept}" rename to "{name}"')


def _sql(job: dict, database: str, text: str) -> str:
    server = postgresql._psql(job, SOCKET, job["port"], database)
    done = subprocess.run(server, input=f"{text};\n".encode(), capture_output=True, cwd="/")
    if done.returncode:
        raise Failed("restore", done.stderr.decode("utf-8", "replace"))
    return done.stdout.decode().strip()


def _there(job: dict, name: str) -> bool:
    return _sql(job, "postgres", f"select 1 from pg_database where datname = '{name}'") == "1"


def _quiesce(job: dict, name: str) -> None:
    """The application was stopped; who is still connected holds the database and is sent away, once."""
    _sql(job, "postgres", f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
    for _ in range(50):
        if _sql(job, "postgres", f"select count(*) from pg_stat_activity where datname = '{name}'") == "0":
            return
        subprocess.run(["sleep", "0.1"], check=False)
    raise Unsure("in_use", name)


def _drop(job: dict, name: str) -> None:
    _sql(job, "postgres", f'drop database "{name}" with (force)')


def _load(job: dict, repository: Repository, dump: dict) -> None:
    """``--create``: owner, rights and settings of the database come from the dump too."""
    command = [
        postgresql._bin(job, "pg_restore"), "-w", "-h", SOCKET, "-p", str(job["port"]), "-C", "-d", "postgres",
        "--exit-on-error",
    ]  # fmt: skip
    postgresql.feed(postgresql._as_postgres(*command), repository, dump)
