"""A database put back in its place, table by table as it was: a rollback's last resort, never a drill.

Nothing is thrown away: the database as it is now is renamed and stays until somebody removes it. A restore that fails,
or differs from its backup in one row, is undone again. Cut off and started again with the same run, it goes on.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import postgresql
from repository import Failed, Repository, Unsure

SOCKET = "/var/run/postgresql"


def restore(job: dict, repository: Repository, backup: dict, run: str, status: dict) -> None:
    """Put a backup's database back under its own name. Raises Failed (the old one is in its place again), Unsure."""
    members = {one["role"]: one for one in backup["members"]}
    dump = members.get("pg-db")
    if backup["state"] != "complete" or dump is None:
        raise Failed("newest_bad", f"{backup['run']} {backup['state']}")
    if dump["snapshot"] not in repository.ids():
        raise Failed("snapshot_gone", dump["snapshot"])
    name = job["database"]
    # 63 bytes are what a name may have; the end of a run's id is its random part.
    kept = f"{name[:40]}_before_{run[:26][-12:].lower()}"
    status["backup"] = {"run": backup["run"], "started": backup["started"], "age_s": 0}
    status["kept"] = kept
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


def find(folder: Path, job: str, run: str) -> dict:
    """The status of a backup run of this job: ``RUN-HOST-JOB`` or the run that started it. Raises Unsure."""
    found = []
    for path in sorted((folder / job).glob("*.json")):
        with contextlib.suppress(ValueError, OSError):
            one = json.loads(path.read_text(encoding="utf-8"))
            if one["verb"] == "run" and (one["run"] == run or one["run"].startswith(f"{run}-")):
                found.append(one)
    if len(found) != 1:
        raise Unsure("no_such_backup", run)
    return found[0]
