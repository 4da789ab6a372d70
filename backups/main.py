"""implops-backup: the program on the customer's host that makes, lists and drills backups. Standard library only.

Python 3.9 is enough. It needs no implops installation and no controller: systemd timers start it. What it did stands in
status files (``/var/lib/implops/backup/status/JOB/RUN.json``), written when it starts and when it ends; the same JSON
is its answer on standard output. Exit codes: 0 good, 1 bad, 3 could not tell, 4 another run holds the lock.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import mariadb
import postgresql
import program
import restore
from repository import Failed, Repository, Unsure

CONFIG = Path("/etc/implops/backup/config.json")
STATE = Path("/var/lib/implops/backup")
LOCK = Path("/run/implops-backup.lock")
# Backups that stand for a stage of the project: the way back to it.
MILESTONES = ("before_deploy", "deploy", "after_import")
ENGINES = {"postgresql": postgresql, "mariadb": mariadb, "files": program}


class Stop(Exception):
    """SIGTERM: the pump still has to end restic before the end of its input, or half a dump would count."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="implops-backup")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("run", "drill", "restore"):
        one = verbs.add_parser(name)
        one.add_argument("--job", required=True)
        one.add_argument("--run", default=f"{datetime.now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}")
        one.add_argument("--trigger", default="manual")
        if name == "restore":
            one.add_argument("--backup", required=True, help="the backup's run")
        one.add_argument("--wait", type=int, default=0, help="seconds to wait for another run")
    verbs.add_parser("init")
    verbs.add_parser("ready")
    verbs.add_parser("status")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    os.umask(0o077)
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    repository = Repository(config["host"], config["repository"])
    if given.verb == "ready":
        return 0 if repository.ready() else 1
    if given.verb == "init":
        return _init(repository)
    if given.verb == "status":
        print(json.dumps({"runs": statuses()}))
        return 0
    if given.job not in config["jobs"]:
        print(f"implops-backup: no such job: {given.job}", file=sys.stderr)
        return 2
    return _locked(given, config, repository)


def _stop(number: int, _frame: object) -> None:
    raise Stop(signal.Signals(number).name)


def _init(repository: Repository) -> int:
    try:
        if not repository.ready():
            repository.init()
    except Failed as error:
        print(f"implops-backup: {error.code} {error.detail}", file=sys.stderr)
        return 1
    return 0


def _locked(given: argparse.Namespace, config: dict, repository: Repository) -> int:
    with LOCK.open("a+") as lock:
        deadline = time.monotonic() + given.wait
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    print(json.dumps({"run": given.run, "state": "failed", "error": {"code": "locked", "detail": ""}}))
                    return 4
                time.sleep(0.5)
        return _work(given, config, repository)


def _work(given: argparse.Namespace, config: dict, repository: Repository) -> int:
    job = config["jobs"][given.job]
    began = time.monotonic()
    status = {
        "schema": 1, "verb": given.verb, "run": given.run, "job": given.job, "host": config["host"],
        "trigger": given.trigger, "state": "running", "started": _now(), "finished": None, "ms": 0, "pid": os.getpid(),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "members": [], "error": None,
        "versions": {"python": ".".join(map(str, sys.version_info[:3]))},
    }  # fmt: skip
    path = STATE / "status" / given.job / f"{given.run}.json"
    write(path, status)
    code = 1
    try:
        status["versions"]["restic"] = repository.version()
        engine = ENGINES[job["engine"]]
        repository.unlock()
        if given.verb == "run":
            engine.check(job)
            engine.backup(job, repository, ["implops", f"run={given.run}", f"job={given.job}"], status)
            status["state"], code = "complete", 0
            status["retention"] = repository.retain(given.job, job["keep"], _kept(given.job, given.run))
        elif given.verb == "restore":
            restore.restore(job, repository, restore.find(STATE / "status", given.job, given.backup), given.run, status)
            status["state"], code = "complete", 0
        else:
            _drill(engine, job, given, repository, status)
            code = {"equal": 0, "different": 1}[status["verdict"]]
    except Unsure as error:
        status["state"], status["error"], code = "unsure", {"code": error.code, "detail": error.detail}, 3
    except Failed as error:
        code = 1
        status["error"] = {"code": error.code, "detail": error.detail}
        # The backup itself is whole when only old ones could not be removed.
        status["state"] = status["state"] if status["state"] == "complete" else "failed"
    except (Stop, KeyboardInterrupt) as error:
        status["state"], status["error"], code = "failed", {"code": "stopped", "detail": str(error)}, 130
    except Exception as error:
        status["state"], status["error"] = (
            "failed",
            {"code": "bug", "detail": f"{type(error).__name__}: {error}"[:1000]},
        )
    finally:
        status["finished"], status["ms"] = _now(), round((time.monotonic() - began) * 1000)
        write(path, status)
    print(json.dumps(status))
    return code


def _drill(engine: object, job: dict, given: argparse.Namespace, repository: Repository, status: dict) -> None:
    """The newest run is what is drilled: an older, better one says nothing about today."""
    runs = [one for one in statuses() if one["job"] == given.job and one["verb"] == "run"]
    if not runs:
        raise Unsure("no_backup", given.job)
    newest = max(runs, key=lambda one: one["started"])
    if newest["state"] != "complete":
        raise Failed("newest_bad", f"{newest['run']} {newest['state']}")
    listed = repository.ids()
    missing = [one["snapshot"] for one in newest["members"] if one["snapshot"] not in listed]
    if missing:
        raise Failed("snapshot_gone", " ".join(missing))
    age = datetime.now().astimezone() - datetime.fromisoformat(newest["started"])
    status["backup"] = {"run": newest["run"], "started": newest["started"], "age_s": int(age.total_seconds())}
    status["members"] = [{k: one[k] for k in ("role", "name", "snapshot")} for one in newest["members"]]
    engine.drill(job, repository, newest, STATE.parent / "drill" / given.run, status)  # type: ignore[attr-defined]
    status["state"] = "complete"


def statuses() -> list:
    """Every status file that can be read, oldest first; a run whose process is gone is ``failed`` (lost)."""
    found = []
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for path in sorted((STATE / "status").glob("*/*.json")):
        with contextlib.suppress(ValueError, OSError):
            one = json.loads(path.read_text(encoding="utf-8"))
            alive = one.get("boot_id") == boot and Path(f"/proc/{one.get('pid')}").exists()
            if one["state"] == "running" and not alive:
                one["state"], one["error"] = "failed", {"code": "lost", "detail": ""}
            found.append(one)
    return sorted(found, key=lambda one: one["started"])


def _kept(job: str, run: str) -> set:
    """Runs that retention never removes: the newest drilled one, everything younger, milestones, and this one."""
    runs = [one for one in statuses() if one["job"] == job]
    drilled = [
        one["backup"]["run"]
        for one in runs
        if one["verb"] == "drill" and one.get("verdict") == "equal" and one.get("backup")
    ]
    backups = [one["run"] for one in runs if one["verb"] == "run"]
    stones = {one["run"] for one in runs if one["trigger"] in MILESTONES}
    if not drilled or drilled[-1] not in backups:
        return {*backups, run}
    return {*backups[backups.index(drilled[-1]) :], *stones, run}


def write(path: Path, value: dict) -> None:
    """Beside its place, flushed, renamed: a power cut leaves the old status or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
