"""A database put back in its place, table by table as it was: a rollback's last resort, never a drill.

Nothing is thrown away: the database as it is now gets another name and stays until somebody removes it. A restore that
fails, or differs from its backup in one row, is undone again. Cut off and started again with the same run, it goes on.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import in_place_mariadb
import in_place_postgresql
from repository import Failed, Repository, Unsure

# Engine -> the role of its dump among a backup's members, who puts it back.
ENGINES = {"postgresql": ("pg-db", in_place_postgresql), "mariadb": ("mariadb", in_place_mariadb)}


def restore(job: dict, repository: Repository, backup: dict, run: str, status: dict) -> None:
    """Put a backup's database back under its own name. Raises Failed (the old one is in its place again), Unsure."""
    if job["engine"] not in ENGINES:
        raise Unsure("no_restore", job["engine"])
    role, engine = ENGINES[job["engine"]]
    dump = {one["role"]: one for one in backup["members"]}.get(role)
    if backup["state"] != "complete" or dump is None:
        raise Failed("newest_bad", f"{backup['run']} {backup['state']}")
    if dump["snapshot"] not in repository.ids():
        raise Failed("snapshot_gone", dump["snapshot"])
    # 63 bytes are what a name may have; the end of a run's id is its random part.
    kept = f"{job['database'][:40]}_before_{run[:26][-12:].lower()}"
    status["backup"] = {"run": backup["run"], "started": backup["started"], "age_s": 0}
    status["kept"] = kept
    engine.put_back(job, repository, dump, kept, status)


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
