"""A rollback carried out: as a verb of its own, or by a deployment whose release did not stand its test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implops import texts
from implops.cli import steps
from implops.cli.output import Session
from implops.errors import HostError, ImplopsError

if TYPE_CHECKING:
    from implops.backup.restore import Named
    from implops.deploy.release import Release, Releases
    from implops.deploy.rollback import Way
    from implops.remote import Connection
    from implops.store.run import Run
    from implops.verify.modules import Older


@dataclass(frozen=True)
class Intent:
    """What will be done, said before it is done. ``migrated``: schema files that only a backup undoes."""

    way: Way
    migrated: list[str]
    named: Named | None
    reason: str
    of_run: str = ""
    automatic: bool = False

    def about(self) -> dict[str, Any]:
        release, named = self.way.release, self.named
        return {
            "release": {"id": release.id, "version": release.version},
            "leaving": dict(self.way.leaving),
            "switched": [one for one in self.way.hosts if self.way.leaving[one] != release.id],
            "migrated": self.migrated,
            "backup": {"run": named.run, "started": named.started} if named else None,
            "reason": self.reason,
            "of_run": self.of_run,
            "automatic": self.automatic,
        }


def releases(open_: Mapping[str, Connection], home: str, hosts: Sequence[str]) -> dict[str, Releases]:
    """What every application host holds. Raises the first host's error."""
    from implops.deploy import release

    return {name: release.ask(open_[name], home) for name in hosts}


def announce(session: Session, intent: Intent) -> None:
    """What will be undone, what only the backup undoes, what nothing undoes."""
    way = intent.way
    say = session.story
    say(texts.say("rollback.undoes"))
    for host, leaving in way.leaving.items():
        key = "rollback.switch" if host in way.hosts and leaving != way.release.id else "rollback.stays"
        say(texts.say(key, host=host, leaving=leaving or "-", release=way.release.id))
    if intent.named:
        say(texts.say("rollback.restores", backup=intent.named.run, started=intent.named.started or "-"))
    else:
        files = ", ".join(intent.migrated)
        say(texts.say("rollback.keeps_schema", files=files) if files else texts.say("rollback.keeps_data"))
    say(texts.say("rollback.never"))


def carry_out(session: Session, open_: Mapping[str, Connection], run: Run, intent: Intent) -> int:
    """Stop and restore (with a backup), switch host after host, ask every module; the exit code.

    The records tell each step before and after. ``run`` is finished here.
    """
    from implops.cli.turns import Turns
    from implops.deploy import drain, plan, recipes, release

    site, way = session.site, intent.way
    assert site.system
    home = release.place(site.system.name)
    # A restore that fails leaves everything as it was, and what ran as good as it was.
    was = {host: found.find(found.current) for host, found in releases(open_, home, way.hosts).items()}
    # First of all: should we be killed now, nobody chooses what is left behind.
    for host in way.hosts:
        if way.leaving[host] not in ("", way.release.id):
            release.mark(open_[host], home, way.leaving[host], "bad")
    if intent.named and not _restored(session, open_, run, intent):
        for host, release_ in was.items():
            if release_ and release_.state != "bad":
                release.mark(open_[host], home, release_.id, release_.state)
        return 1
    hosts = [one.name for one in site.with_role("app")] if intent.named else list(way.hosts)
    older = _older(session, way.release)
    not_asked = [one.name for one in site.system.modules if one.id not in older.modules]
    if not_asked:
        session.story(texts.say("rollback.not_asked", modules=" ".join(not_asked), release=way.release.id))
    done = []
    if hosts:
        made = plan.back(site, recipes.load(site.base), way.release.id, hosts)
        keys = {one.id: _key(one.id, way.release.id) for one in made.steps}
        # With a database that was put back nobody is served anywhere: there is nothing to take turns for.
        several = len(site.with_role("app")) > 1 and not intent.named
        turns = Turns(session, open_, run, drain.away(site, open_), older) if several else None
        done = steps.carry_out(session, made, run, keys, turns=turns)
    modules: list[dict[str, Any]] = []
    if all(one.good for one in done):
        modules = steps.ask_modules(session, open_, run, [one for one in site.hosts.values() if one.name in open_],
                                    older=older)  # fmt: skip
    good = all(one.good for one in done) and not steps.bad(modules)
    if good:
        everybody_back(session, open_)
    run.finish(
        "pass" if good else "fail",
        {**intent.about(), "modules": modules, "not_asked": not_asked, "changed": sum(one.changed for one in done)},
    )
    for one in (one for one in done if not one.good):
        session.story(steps.why(one))
    for module in steps.bad(modules):
        about = {"name": module["name"], "url": module["url"], "why": steps.told(module)}
        session.story(texts.say("deploy.module_bad", **about))
    return steps.code(done, modules)


def _older(session: Session, release: Release) -> Older:
    """The modules that the release was found good with; all of the site file's when no record tells."""
    from implops.verify.modules import Older

    assert session.site.system
    known = [
        frozenset(one["module"] for one in event.payload["modules"])
        for event in session.store.events(kind="deploy.finished")
        if event.payload["conclusion"] == "pass" and event.payload["release"]["id"] == release.id
    ]
    every = frozenset(one.id for one in session.site.system.modules)
    return Older(release.version, known[-1] if known else every)


def _key(step: str, release: str) -> str:
    return hashlib.sha256(f"rollback {step} {release}".encode()).hexdigest()


def _restored(session: Session, open_: Mapping[str, Connection], run: Run, intent: Intent) -> bool:
    """Stop what holds the database, put the backup in its place. On a failure the old one is back, and all runs."""
    import json

    from implops.backup import restore
    from implops.backup.run import plain, why
    from implops.cli.backup import told

    assert intent.named
    site, named = session.site, intent.named
    _services(session, open_, "stop")
    run.event("system.stopped", {"hosts": [one.name for one in site.with_role("app")]})
    run.event("database.restoring", {"backup": named.run, "host": named.host})
    with session.phase(texts.say("rollback.restoring", backup=named.run)):
        try:
            answer = restore.restore(open_[named.host], named, run.id)
        except ImplopsError:
            session.story(texts.say("rollback.restore_lost", site=session.path, run=run.id))
            raise
        evidence = (run.keep(json.dumps(answer, ensure_ascii=False, sort_keys=True).encode()),)
        run.event("database.restored", plain(answer), evidence)
        if answer["state"] == "complete" and not answer["error"]:
            session.story(told(named.host, answer))
            session.story(texts.say("rollback.kept", kept=answer["kept"], host=named.host))
            return True
    _services(session, open_, "start")
    error = {"key": "rollback.restore_failed", "params": {"host": named.host, "why": why(answer)}}
    run.finish("fail", {**intent.about(), "error": error, "modules": [], "changed": 0})
    session.story(texts.say(error["key"], **error["params"]))  # type: ignore[arg-type]
    return False


def _services(session: Session, open_: Mapping[str, Connection], verb: str) -> None:
    import shlex

    from implops.deploy import recipes
    from implops.remote import each

    site = session.site
    chosen = recipes.wanted(site, recipes.load(site.base))

    def one(host: Any) -> None:
        units = [unit for recipe in chosen[host.name] if recipe.system for unit in recipe.units(site, host)]
        if units:
            result = open_[host.name].command(f"systemctl {verb} {shlex.join(units)}", timeout=180, sudo=True)
            if result.rc:
                why = result.err.decode("utf-8", "replace").strip()[-200:] or "-"
                raise HostError("rollback.service", host=host.name, verb=verb, units=" ".join(units), why=why)

    for answer in each(site.with_role("app"), one).values():
        if isinstance(answer, ImplopsError):
            raise answer


def everybody_back(session: Session, open_: Mapping[str, Connection]) -> None:
    """Every module has answered on every host: users are sent to all of them."""
    from implops.deploy import drain

    if len(session.site.with_role("app")) > 1:
        drain.apart(session.site, open_, ())


def settle(session: Session, open_: Mapping[str, Connection], home: str, keep: int) -> dict[str, str]:
    """The modules have answered: what is active is good; old ones go. Host -> the release that is active there."""
    from implops.deploy import release

    active = {}
    for host in session.site.with_role("app"):
        active[host.name] = release.ask(open_[host.name], home).current
        if active[host.name]:
            release.mark(open_[host.name], home, active[host.name], "good")
            release.prune(open_[host.name], home, keep)
    return active
