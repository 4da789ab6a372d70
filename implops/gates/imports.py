"""G4: base data goes into a deployed system only, after a check of the same bytes and a database backup, with the
project lead's consent.

Source: requirements G01 (review before the import), G07 (back up before the data changes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from implops.errors import GateRefused
from implops.gates import approval
from implops.gates.approval import Approval
from implops.site import Site
from implops.store import Event, Store
from implops.store.events import now

# Outcomes of a batch that changed the database.
_WRITES = ("loaded", "partly")


@dataclass(frozen=True)
class Wanted:
    """What one file's mapping asks of the records: a check (and a dry run) of exactly these bytes and this mapping."""

    name: str
    sha256: str
    mapping_sha256: str
    test_run: bool = False
    backup_minutes: int | None = None
    approved_by: str | None = None


@dataclass(frozen=True)
class Opened:
    """The records that open an import, and the refusals that somebody overruled. ``deploy`` is the end of the
    deployment, or of the rollback, that the system stands on.
    """

    deploy: Event
    backup: Event | None
    approval: Approval | None
    overruled: tuple[GateRefused, ...] = ()


def require(store: Store, site: Site, files: Sequence[Wanted] = (), *, overrule: bool = False) -> Opened:
    """Raises GateRefused for a missing deployment, check, backup or approval, in the order in which they are mended.

    With ``overrule`` refusals are collected instead; without a deployment there is nothing to load into.
    """
    deploy = standing(store)
    if deploy is None:
        raise GateRefused("import.gate.not_deployed", site=site.path.name)
    refused: list[GateRefused] = []

    def ask(gate: Callable[[], object]) -> object:
        try:
            return gate()
        except GateRefused as error:
            if not overrule:
                raise
            refused.append(error)
            return None

    for one in files:
        ask(lambda one=one: _checked(store, site, one))  # type: ignore[misc]
    since = last_write(store, deploy)
    minutes = min((one.backup_minutes for one in files if one.backup_minutes), default=None)
    backup = ask(lambda: _backed_up(store, site, since, minutes))
    named = sorted({one.approved_by for one in files if one.approved_by})
    consent = ask(lambda: _approved(store, site, deploy, named))
    assert backup is None or isinstance(backup, Event)
    assert consent is None or isinstance(consent, Approval)
    return Opened(deploy, backup, consent, tuple(refused))


def standing(store: Store) -> Event | None:
    """The end of the deployment or rollback that the system stands on: every module answered then, and nothing has
    begun since. None when there is no such thing.
    """
    kinds = [f"{verb}.{what}" for verb in ("deploy", "rollback", "undo") for what in ("started", "finished")]
    last = max((event for kind in kinds if (event := store.last(kind))), key=lambda one: one.sequence, default=None)
    if last is None or last.kind.endswith(".started") or last.kind == "undo.finished":
        return None
    if last.payload["conclusion"] != "pass" and last.payload.get("rollback_run"):
        # A deployment that failed went back by itself: what counts is how that ended.
        last = store.events(kind="rollback.finished", run=last.payload["rollback_run"])[-1]
    return last if last.payload["conclusion"] == "pass" else None


def _checked(store: Store, site: Site, wanted: Wanted) -> None:
    """The newest check of this import passed, and saw these bytes and this mapping; so did a dry run if asked for."""
    kinds = [("checked", "import.gate.not_checked")]
    if wanted.test_run:
        kinds.append(("rehearsed", "import.gate.not_rehearsed"))
    for kind, key in kinds:
        events = [one for one in store.events(kind=f"import.{kind}") if one.payload["import"] == wanted.name]
        last = events[-1].payload if events else {}
        seen = (last.get("sha256"), last.get("mapping_sha256"), last.get("good"))
        if seen != (wanted.sha256, wanted.mapping_sha256, True):
            raise GateRefused(key, name=wanted.name, site=site.path.name)


def _backed_up(store: Store, site: Site, since: Event, minutes: int | None) -> Event:
    backup = database_backup(store, since)
    if backup is None:
        raise GateRefused("import.gate.no_backup", since=since.time, site=site.path.name)
    if minutes is not None:
        age = datetime.fromisoformat(now()) - datetime.fromisoformat(backup.time)
        if age > timedelta(minutes=minutes):
            raise GateRefused("import.gate.old_backup", age=int(age.total_seconds() // 60), minutes=minutes,
                              site=site.path.name)  # fmt: skip
    return backup


def _approved(store: Store, site: Site, deploy: Event, named: Sequence[str]) -> Approval:
    found = approval.require(store, site, "import", since=deploy.sequence)
    for name in named:
        if found.approver != name:
            raise GateRefused("import.gate.other_approver", wanted=name, found=found.approver, site=site.path.name)
    return found


def last_write(store: Store, deploy: Event) -> Event:
    """The newest of the deployment and the batches that changed the database, or may have: a batch whose end nobody
    recorded was killed.
    """
    ended = store.events(kind="batch.finished")
    known = {(one.run, one.payload.get("batch")) for one in ended}
    killed = [one for one in store.events(kind="batch.started") if (one.run, one.payload.get("batch")) not in known]
    return max([deploy, *killed, *(one for one in ended if one.payload["outcome"] in _WRITES)],
               key=lambda one: one.sequence)  # fmt: skip


def database_backup(store: Store, since: Event) -> Event | None:
    """The newest good backup of the database that began after ``since``."""
    for event in reversed(store.events(kind="backup.finished")):
        if event.payload["conclusion"] == "pass" and "database" in event.payload["objects"]:
            started = store.events(kind="backup.started", run=event.run)
            return event if started and started[0].sequence > since.sequence else None
    return None
