"""Start backups and drills on the hosts, all hosts side by side, and record what their own program answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from implops.backup import jobs
from implops.errors import BackupError, HostError, ImplopsError, InputError
from implops.machine import ready
from implops.remote import Connection, connect, each
from implops.site import Host, Site
from implops.store import Event, Store, record
from implops.store.run import Run

PROGRAM = "/opt/implops/bin/implops-backup"
# The record and its evidence.
_DISK = 50 * 2**20
# What the unit on the host allows a job too.
_SECONDS = 6 * 3600.0
_WAIT = 600

Say = Callable[[str, dict[str, Any]], None]


def run(
    site: Site,
    store: Store,
    operator: str,
    objects: Sequence[str] = jobs.OBJECTS,
    *,
    trigger: str = "manual",
    say: Say | None = None,
) -> Event:
    """Back up now; the ``backup.finished`` event. ``say(host, answer)`` is called for every job that ended.

    Raises BackupError when a job failed (the record says which), HostError, or InputError for a site without jobs.
    """
    return _start(site, store, operator, "backup", objects, trigger, say)


def drill(
    site: Site, store: Store, operator: str, objects: Sequence[str] = ("database",), *, say: Say | None = None
) -> Event:
    """Restore the newest backup on its own host into a scratch place and compare; the ``drill.finished`` event."""
    return _start(site, store, operator, "drill", objects, "manual", say)


def _start(
    site: Site, store: Store, operator: str, verb: str, objects: Sequence[str], trigger: str, say: Say | None
) -> Event:
    wanted = [(host, job) for host in jobs.sources(site) for job in jobs.jobs(site, host) if job in objects]
    if site.backup is None or not wanted:
        raise InputError("backup.none", site=site.path.name)
    about = {
        "objects": list(objects),
        "trigger": trigger,
        "machine_state": ready(site.state, disk=_DISK),
        "repository": {"host": site.backup.repository.host, "path": str(site.backup.repository.path)},
        "policy": site.backup.model_dump(mode="json", exclude={"repository"}),
    }
    with record(store, site, verb, operator, about) as entry:
        hosts = [host for host in site.hosts.values() if any(one is host for one, _ in wanted)]

        def work(host: Host) -> list[dict[str, Any]]:
            with connect(site, host) as connection:
                found = []
                for _, job in (one for one in wanted if one[0] is host):
                    answer = _ask(connection, verb, job, f"{entry.id}-{host.name}-{job}", trigger)
                    found.append(answer)
                    if say:
                        say(host.name, answer)
                return found

        answers = each(hosts, work)
        members = _record(entry, verb, wanted, answers)
        good = bool(members) and all(_good(one) for one in members)
        unsure = not good and all(_good(one) or one["state"] in ("unsure", "absent") for one in members)
        entry.finish(
            "pass" if good else "fail", {"objects": list(objects), "members": [_brief(one) for one in members]}
        )
        assert entry.finished
    if not good:
        bad = next(one for one in members if not _good(one))
        error = HostError if unsure else BackupError
        raise error(f"backup.{verb}_failed", run=entry.id, host=bad["host"], job=bad["job"], why=why(bad))
    return entry.finished


def _good(answer: dict[str, Any]) -> bool:
    return answer["state"] == "complete" and answer["error"] is None


def why(answer: dict[str, Any]) -> str:
    """One line about a job that went wrong."""
    from implops import texts

    error = answer["error"] or {"code": "bug", "detail": ""}
    if "key" in error:
        return texts.say(error["key"], **error["params"])
    lines = [line.strip() for line in str(error["detail"]).splitlines() if line.strip()]
    return texts.say(f"backup.error.{error['code']}", detail=(lines[-1] if lines else "-")[:300])


def _ask(connection: Connection, verb: str, job: str, run: str, trigger: str) -> dict[str, Any]:
    order = "run" if verb == "backup" else "drill"
    command = f"{PROGRAM} {order} --job {job} --run {run} --trigger {trigger} --wait {_WAIT}"
    return ask(connection, command, run, job)


def ask(connection: Connection, command: str, run: str, job: str) -> dict[str, Any]:
    """What the program on the host answers; a failed answer when it gives none."""
    result = connection.command(command, timeout=_SECONDS, sudo=True)
    try:
        answer = json.loads(result.text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        detail = result.err.decode("utf-8", "replace").strip()[-500:]
        answer = {"state": "failed", "error": {"code": "no_program" if result.rc == 127 else "bug", "detail": detail}}
    return {"run": run, "job": job, "host": connection.name, "members": [], "ms": 0, **answer}


def _record(
    entry: Run,
    verb: str,
    wanted: Sequence[tuple[Host, str]],
    answers: dict[str, list[dict[str, Any]] | ImplopsError],
) -> list[dict[str, Any]]:
    members = []
    for host, job in wanted:
        answer = answers[host.name]
        if isinstance(answer, ImplopsError):
            error = {"key": answer.key, "params": {name: str(value) for name, value in answer.params.items()}}
            one: dict[str, Any] = {
                "run": f"{entry.id}-{host.name}-{job}", "job": job, "host": host.name, "state": "absent",
                "error": error, "members": [], "ms": 0,
            }  # fmt: skip
        else:
            one = next(found for found in answer if found["job"] == job)
        # The whole answer, with the fingerprint of every table, is evidence; the event holds what the form prints.
        evidence = entry.keep(json.dumps(one, ensure_ascii=False, sort_keys=True).encode())
        entry.event(f"{verb}.member", plain(one), (evidence,))
        members.append(one)
    return members


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without its long parts; integers beyond 2^53 are texts in it already."""
    members = [
        {
            **{k: v for k, v in one.items() if k not in ("fingerprint", "manifest")},
            "tables": len(one.get("fingerprint", {})),
        }
        for one in answer["members"]
    ]
    return {**answer, "members": members}


def _brief(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": answer["host"], "job": answer["job"], "state": answer["state"], "run": answer["run"],
        "snapshots": [one["snapshot"] for one in answer["members"]],
    }  # fmt: skip


def collect(site: Site, store: Store, operator: str) -> int:
    """Read what the hosts did by themselves (their timers); how many runs were new. Raises the first host's error."""
    known = {one.payload["run"] for verb in ("backup", "drill") for one in store.events(kind=f"{verb}.member")}
    known |= {one.payload["run"] for one in store.events(kind="backup.collected")}

    def ask(host: Host) -> list[dict[str, Any]]:
        with connect(site, host) as connection:
            result = connection.command(f"{PROGRAM} status", timeout=120, sudo=True)
            if result.rc:
                raise HostError("backup.no_program", host=host.name)
            runs: list[dict[str, Any]] = json.loads(result.text)["runs"]
            return runs

    answers = each(jobs.sources(site), ask)
    new = []
    for answer in answers.values():
        if isinstance(answer, ImplopsError):
            raise answer
        new += [one for one in answer if one["run"] not in known and one["state"] != "running"]
    if new:
        with record(store, site, "collect", operator, {}) as entry:
            for one in new:
                evidence = entry.keep(json.dumps(one, ensure_ascii=False, sort_keys=True).encode())
                entry.event("backup.collected", plain(one), (evidence,))
            entry.finish("pass", {"runs": len(new)})
    return len(new)
