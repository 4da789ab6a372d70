"""What a deployment does for a system that is in use: sees what runs, saves the database, takes turns, goes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from implops.bundle.apt import Change
    from implops.deploy.engine import Done
    from implops.deploy.journal import Earlier
    from implops.deploy.plan import Plan, Step
    from implops.deploy.release import Releases
    from implops.gates.override import Passed
    from implops.remote import Connection
    from implops.store.run import Run


@dataclass
class Outcome:
    """What is known at the end of a run, for the record and the answer. ``saved``: the backup of the database that was
    made before; ``rollback``: the run that went back, and its exit code.
    """

    steps: list[Done]
    modules: list[dict[str, Any]] = field(default_factory=list)
    backup: str | None = None
    saved: dict[str, Any] | None = None
    active: dict[str, str] = field(default_factory=dict)
    rollback: tuple[str, int] | None = None
    advice: str = ""

    @property
    def good(self) -> bool:
        from implops.cli import steps

        return all(one.good for one in self.steps) and not steps.bad(self.modules)


@dataclass(frozen=True)
class Before:
    """The hosts as the run finds them. ``active``: host -> release before the run; ``changes_data``: an upgrade, or
    schema files to execute, on a database that holds something, or may (its server is down); ``away``: application
    hosts that an earlier run left without users.
    """

    releases: dict[str, Releases]
    active: dict[str, str]
    changes_data: bool
    upgrade: bool
    away: frozenset[str] = frozenset()


def look(session: Session, open_: dict[str, Connection], earlier: Earlier | None) -> Before:
    """What runs now; for a run taken up again, what ran before it began. Raises HostError when a host cannot tell."""
    import hashlib

    from implops.cli import going_back
    from implops.deploy import drain, kept, release
    from implops.deploy.rollback import executed

    site, system = session.site, session.site.system
    if system is None:
        return Before({}, {}, False, False)
    found = going_back.releases(open_, release.place(system.name), [one.name for one in site.with_role("app")])
    database = open_[site.only("db").name] if site.database else None
    away = frozenset(drain.away(site, open_)) if len(found) > 1 else frozenset()
    if earlier:
        was = earlier.started
        return Before(found, was["before"], was["changes_data"], was["upgrade"], away)
    active = {host: one.current for host, one in found.items()}
    running = [now for one in found.values() if (now := one.find(one.current))]
    if not running:
        # Nobody works with it, but the data of a system that was taken away may lie there.
        there = database is not None and kept.look(site, database) != "none"
        return Before(found, active, there, False, away)
    with system.artifact.open("rb") as file:
        artifact = hashlib.file_digest(file, "sha256").hexdigest()
    upgrade = any(one.version != system.version or artifact not in one.files for one in running)
    # Somebody works with it: the database must tell what it has, or nothing is changed.
    schema = executed(site, database) if database else None
    pending = len(system.schema_) > len(schema or ())
    return Before(found, active, database is not None and (upgrade or pending), upgrade, away)


def in_turns(session: Session, made: Plan, before: Before) -> Plan:
    """Several application hosts that are in use are changed in turns; a first installation has nobody to spare.

    A host that an earlier run left without users is mended first: then there is somebody to lead them to.
    """
    from implops.deploy import plan, recipes

    site = session.site
    hosts = [one.name for one in site.with_role("app")]
    if len(hosts) < 2 or not any(before.active.values()):
        return made
    hosts.sort(key=lambda name: name not in before.away)
    turns = plan.batches(hosts, site.deploy.batch)
    session.story(texts.say("deploy.turns", turns=" → ".join(" ".join(one) for one in turns)))
    return replace(plan.make(site, recipes.load(site.base), turns), versions=made.versions)


def save(session: Session, run: Run) -> dict[str, Any]:
    """The database as it is before anything is changed. Raises BackupError: then nothing has been changed."""
    from implops.backup.run import run as back_up

    with session.phase(texts.say("deploy.saving")):
        made = back_up(session.site, session.store, session.operator, objects=("database",), trigger="before_deploy")
    members = [one["run"] for one in made.payload["members"]]
    payload = {"run": made.run, "member": members[0]}
    run.event("database.saved", payload)
    return payload


def protect(
    session: Session, open_: Mapping[str, Connection], run: Run, made: Plan, before: Before,
    changes: Mapping[str, Sequence[Change]], gate: Callable[[bool], Passed],
) -> tuple[dict[str, Any] | None, Guard | None, Plan]:  # fmt: skip
    """The database is saved before its data are touched: now, or in the midst of the run by a guard; with the plan that
    the guard stands in. ``changes``: what the installation does on each host; ``gate``: whether another version of the
    server may come under data that lie there, given whether they can be saved first (raises GateRefused).
    """
    from implops.deploy import kept, plan

    site = session.site
    if site.database is None:
        return None, None, made
    host = site.only("db").name
    renewed = kept.renewed(site, changes.get(host, ())) and kept.look(site, open_[host]) != "none"
    if not (before.changes_data or renewed):
        return None, None, made
    can_save = site.backup is not None and kept.can_save(open_[host])
    if renewed and not (before.changes_data and can_save):
        # A guard saves too late for this: the server is there before the backup jobs are.
        run.event("gate.passed", gate(can_save).payload())
    if site.backup is None:
        return None, None, made
    if can_save and (renewed or any(before.active.values())):
        return save(session, run), None, made
    # The server, or what backs it up, comes with this very run.
    return None, Guard(session, open_, run), plan.saved_first(made, host)


class Guard:
    """Saves the database in the midst of a run, once its server and its backup jobs are there, before the first step
    that touches the data begins: ``before`` of the engine's journal. ``saved`` is what it made, None so far.
    """

    def __init__(self, session: Session, open_: Mapping[str, Connection], run: Run) -> None:
        self.session, self.open, self.run = session, open_, run
        self.saved: dict[str, Any] | None = None
        self.fault: dict[str, Any] | None = None
        self.asked = False

    def before(self, step: Step) -> dict[str, Any] | None:
        from implops.cli import steps
        from implops.deploy import kept, plan
        from implops.errors import ImplopsError

        site = self.session.site
        if self.asked or not plan.touches_data(step):
            # What must not begin without a backup does not, whichever step asks.
            return self.fault if plan.touches_data(step) else None
        self.asked = True
        try:
            if kept.look(site, self.open[site.only("db").name]) != "none":
                self.saved = save(self.session, self.run)
        except ImplopsError as error:
            self.fault = steps.fault(error)
        return self.fault


def after_failure(
    session: Session,
    open_: dict[str, Connection],
    run: Run,
    before: Before,
    outcome: Outcome,
    *,
    restore_database: bool,
) -> None:
    """Back to the last good release when the new one did not stand its test, or the reason why not."""
    from implops.backup import restore
    from implops.cli import going_back, steps
    from implops.deploy import release, rollback
    from implops.errors import InputError
    from implops.store import record

    site = session.site
    gone = any(steps.away(one) for one in outcome.steps)
    if not before.upgrade or gone or site.system is None or site.deploy.rollback != "automatic":
        return
    found = going_back.releases(open_, release.place(site.system.name), list(before.releases))
    if all(found[host].current == was for host, was in before.active.items()):
        return  # nothing was switched: the old release runs on
    now = (rollback.executed(site, open_[site.only("db").name]) if site.database else None) or ()
    try:
        way = rollback.choose(found, failed_run=True)
    except InputError:
        outcome.advice = texts.say("rollback.stop_none")
        return
    migrated = rollback.since(way.release.schema, now)
    named = None
    if migrated and restore_database and outcome.saved:
        named = restore.find(session.store, site, outcome.saved["member"])
    if migrated and (named is None or rollback.unlike(way.release.schema, named.schema)):
        files, backup = ", ".join(migrated), outcome.saved["run"] if outcome.saved else "-"
        outcome.advice = texts.say("rollback.stop_migrated", files=files, site=session.path, backup=backup)
        return
    intent = going_back.Intent(way, migrated, named, "", run.id, automatic=True)
    session.story(texts.say("rollback.automatic", release=way.release.id))
    going_back.announce(session, intent)
    about = {**intent.about(), "resumed": False}
    with record(session.store, site, "rollback", session.operator, about) as back:
        run.event("deploy.rolled_back", intent.about())
        code = going_back.carry_out(session, open_, back, intent)
    outcome.rollback = (back.id, code)
