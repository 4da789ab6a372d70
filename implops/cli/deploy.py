"""``implops deploy SITE``: the plan, then its steps, then every module asked, then the program backed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from implops import texts
from implops.cli import upgrading
from implops.cli.output import Session, verb
from implops.gates.override import GATES

if TYPE_CHECKING:
    from implops.bundle import Bundle
    from implops.bundle.apt import Change
    from implops.cli.upgrading import Before, Outcome
    from implops.deploy.engine import Done
    from implops.deploy.hosts import Reached
    from implops.deploy.journal import Earlier
    from implops.deploy.plan import Plan
    from implops.gates.override import Passed
    from implops.remote import Connection
    from implops.store import Event
    from implops.store.run import Run

_LANGUAGE = texts.from_environment()
# The record, the spool and the worker's log; the bundle is there already.
_DISK = 200 * 2**20
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class _Options:
    yes: bool
    break_lock: str
    change: str
    overridden: tuple[str, ...]
    reason: str
    restore_database: bool


@verb("deploy")
@click.option("--yes", is_flag=True, help=texts.say("deploy.yes", lang=_LANGUAGE))
@click.option("--dry-run", is_flag=True, help=texts.say("deploy.dry_run", lang=_LANGUAGE))
@click.option("--drift", is_flag=True, help=texts.say("deploy.drift", lang=_LANGUAGE))
@click.option("--resume", metavar="RUN", help=texts.say("deploy.resume", lang=_LANGUAGE))
@click.option("--break-lock", metavar="REASON", default="", help=texts.say("deploy.break_lock", lang=_LANGUAGE))
@click.option("--change", metavar="ID", default="", help=texts.say("deploy.change", lang=_LANGUAGE))
@click.option("--override", multiple=True, type=click.Choice(GATES), help=texts.say("deploy.override", lang=_LANGUAGE))
@click.option("--reason", default="", help=texts.say("deploy.reason", lang=_LANGUAGE))
@click.option("--restore-database", is_flag=True, help=texts.say("deploy.restore_database", lang=_LANGUAGE))
def deploy(
    session: Session, yes: bool, dry_run: bool, drift: bool, resume: str | None, break_lock: str, change: str,
    override: tuple[str, ...], reason: str, restore_database: bool,
) -> int:  # fmt: skip
    from implops.bundle import trusted
    from implops.check.sitehash import site_hash
    from implops.cli import planning
    from implops.deploy import journal, plan, recipes, release
    from implops.gates import environment
    from implops.gates import override as gates

    site, store = session.site, session.store
    made = plan.make(site, recipes.load(site.base))
    if dry_run or drift:
        # Recipes read the vendor's files: a missing one is told before, in one line.
        release.of_site(site)
        made = planning.with_versions(session, made)
        planning.show_steps(session, made, None)
        return planning.show(session, planning.look(session, made), drift=drift)
    gates.refuse_empty(override, reason)
    options = _Options(yes, break_lock, change.strip(), override, reason, restore_database)
    earlier = None if resume is None else journal.unfinished(store, resume)
    digest = site_hash(site)
    with _refusals(session):
        if earlier:
            check = environment.resume(store, site, digest, earlier.check_run)
        else:
            check = environment.require(store, site, digest)
        release_sha256 = release.of_site(site)
        with session.phase(texts.say("deploy.verifying_bundle")):
            bundle = trusted(site, recipes.packages(site))
        made = planning.versioned(made, bundle)
        # What the gates let through may have been something else.
        same = earlier is not None and earlier.same(release_sha256, bundle.sha256)
        passed = [] if same else _gates(session, made, bundle, options, release_sha256)
    planning.show_steps(session, made, bundle)
    session.ask(texts.say("deploy.ask", hosts=len(made.hosts()), steps=len(made.steps)), yes=yes)
    return _locked(session, made, bundle, check, earlier, options, passed, release_sha256)


@contextmanager
def _refusals(session: Session) -> Iterator[None]:
    """A refusal is on record too: who wanted to, when, and what was in the way."""
    from implops.errors import GateRefused
    from implops.store.events import new_run

    try:
        yield
    except GateRefused as refused:
        params = {name: str(value) for name, value in refused.params.items()}
        payload = {"verb": "deploy", "error": {"key": refused.key, "params": params}}
        session.store.append("gate.refused", payload, run=new_run(), operator=session.operator)
        raise


def _gates(session: Session, made: Plan, bundle: Bundle, options: _Options, release_sha256: str) -> list[Passed]:
    """Promotion, change and window; each is passed, not demanded, or overridden with a reason."""
    from implops.deploy import software
    from implops.gates import change, override, promotion, window

    site, store = session.site, session.store
    asked: dict[str, Callable[[], str]] = {
        "promotion": lambda: promotion.require(site, release_sha256, software.of(made, bundle)),
        "change": lambda: change.require(store, site, options.change, release_sha256),
        "window": lambda: window.require(site),
    }
    return [override.ask(name, require, options.overridden, options.reason) for name, require in asked.items()]


def _locked(
    session: Session, made: Plan, bundle: Bundle, check: Event, earlier: Earlier | None, options: _Options,
    passed: list[Passed], release_sha256: str,
) -> int:  # fmt: skip
    from implops import lock
    from implops.bundle import source
    from implops.cli.forms import emit
    from implops.deploy import hosts as reached
    from implops.deploy import parameters
    from implops.errors import ImplopsError
    from implops.gates import change, environment, override
    from implops.machine import ready
    from implops.store import record
    from implops.store.events import new_run
    from implops.verify.modules import base_url

    site, store = session.site, session.store
    machine = ready(site.state, disk=_DISK)
    run_id = earlier.run if earlier else lock.left_behind(site.state, "deploy", store.knows) or new_run()
    with lock.hold(site.state, "deploy", run_id, session.operator):
        try:
            # All hosts are reached and locked before anything is recorded: a refusal here changed nothing anywhere.
            with reached.held(
                site, made.hosts(), run_id, session.operator, options.break_lock, "deploy", _why(session, options)
            ) as connections:
                if earlier:
                    _ask_again(session)
                else:
                    environment.require_same_boot(check, connections.boot_ids, site)
                before = upgrading.look(session, connections.open, earlier)
                if before.changes_data and not earlier:
                    passed.append(
                        override.ask("backup", lambda: change.require_backup(site), options.overridden, options.reason)
                    )
                made = upgrading.in_turns(session, made, before)
                about = {
                    "check_run": check.run,
                    "bundle_sha256": bundle.sha256,
                    "bundle": bundle.path.name,
                    "release_sha256": release_sha256,
                    "resumed": bool(earlier),
                    "machine_state": machine,
                    "break_lock": options.break_lock,
                    "change": options.change,
                    "gates": [one.payload() for one in passed],
                    "before": before.active,
                    "upgrade": before.upgrade,
                    "changes_data": before.changes_data,
                    "parameters": parameters.of(made, parameters.key(site.state)),
                    "files": parameters.files(made),
                    "source": source(site, bundle),
                    "recipes": {step.recipe.id: step.recipe.digest() for step in made.steps},
                    "access": [{"url": base_url(site, host), "host": host.name} for host in site.with_role("app")]
                    if site.web or (site.system and site.system.port)
                    else [],
                    "window": site.deploy.window,
                    "plan": [
                        {"step": step.id, "recipe": step.recipe.id, "host": step.host.name} for step in made.steps
                    ],
                }
                with record(store, site, "deploy", session.operator, about, run_id) as run:
                    for pushed_aside in connections.broken:
                        run.event("lock.broken", {"reason": options.break_lock, **pushed_aside})
                    outcome = _carry_out(
                        session, made, bundle, run, check, earlier, connections, before, options, release_sha256
                    )
        except (ImplopsError, KeyboardInterrupt):
            # The record says how it ended; the form is printed from it all the same.
            emit(session, "deploy", run_id)
            raise
        # The records that the installation record names by number come first.
        for verb_, made_run in (
            ("backup", outcome.saved["run"] if outcome.saved else None),
            ("backup", outcome.backup),
            ("rollback", outcome.rollback[0] if outcome.rollback else None),
        ):
            if made_run:
                emit(session, verb_, made_run)
        emit(session, "deploy", run.id)
    return _answer(session, outcome, run.finished)


def _why(session: Session, options: _Options) -> str:
    """What the lock of a host says is being deployed."""
    system = session.site.system
    return " ".join([*([system.name, system.version] if system else []), *([options.change] if options.change else [])])


def _carry_out(
    session: Session, made: Plan, bundle: Bundle, run: Run, check: Event, earlier: Earlier | None,
    reached: Reached, before: Before, options: _Options, release_sha256: str,
) -> Outcome:  # fmt: skip
    from implops.cli import going_back, steps
    from implops.cli.turns import Turns
    from implops.deploy import engine, hostlock, release
    from implops.gates import change, override

    site, open_ = session.site, reached.open
    keys = {step.id: made.key(step, run.id, bundle) for step in made.steps}
    keep = [id for id, key in keys.items() if earlier and earlier.good.get(id) == key]
    in_turns = len(site.with_role("app")) > 1 and any(before.active.values())
    turns = Turns(session, open_, run, before.away) if in_turns else None
    # Where hosts get another release, something is changed: then every step asks in its turn.
    foresee = not before.upgrade
    with engine.waiting(steps.log(session, run)) as worker:
        with session.phase(texts.say("deploy.pushing")):
            changes = _push(session, open_, bundle, run)
        saved, guard = earlier.saved if earlier else None, None
        if saved is None:

            def may_renew(can_save: bool) -> Passed:
                require = partial(change.require_backup, site, can_save=can_save)
                return override.ask("backup", require, options.overridden, options.reason)

            saved, guard, made = upgrading.protect(session, open_, run, made, before, changes, may_renew)
        hook = {"before": guard.before} if guard else {}
        done = steps.carry_out(session, made, run, keys, keep, turns, foresee=foresee, worker=worker, **hook)
    outcome = upgrading.Outcome(done, saved=guard.saved if guard else saved)
    if all(one.good for one in outcome.steps):
        # What was started anew has to stay up; what runs as before is asked as it is.
        fresh = any(one.changed for one in outcome.steps)
        outcome.modules = steps.ask_modules(session, open_, run, list(site.hosts.values()), fresh=fresh)
    if outcome.good:
        going_back.everybody_back(session, open_)
        if site.system:
            outcome.active = going_back.settle(session, open_, release.place(site.system.name), site.deploy.keep)
        outcome.backup = _back_up(session)
    else:
        upgrading.after_failure(session, open_, run, before, outcome, restore_database=options.restore_database)
    # Before the record ends: a run that is killed between the two is resumed, and one that is over leaves no lock.
    if outcome.rollback and outcome.rollback[1]:
        reached.keep = True  # nobody else is to change what has been neither brought forward nor back
    else:
        hostlock.give_back_all(list(open_.values()), run.id)
    _finish(session, made, bundle, run, check, outcome, release_sha256)
    return outcome


def _ask_again(session: Session) -> None:
    """What may have changed since the run was cut off: access, time, free space, the hosts themselves.

    A host that has just been started again gets a minute to find its time.
    """
    import time

    from implops.check.run import look
    from implops.deploy.recipes import planned
    from implops.errors import GateRefused
    from implops.gates.environment import RESUME_CHECKS

    site, until = session.site, time.monotonic() + _SETTLE_SECONDS
    with session.phase(texts.say("deploy.asking_again")):
        while True:
            _, _, verdicts = look(site, session.store, planned(site), only=RESUME_CHECKS)
            bad = [one for one in verdicts if one.blocks]
            if not bad:
                return
            if time.monotonic() > until:
                listed = " ".join(f"{one.host}/{one.id}" for one in bad)
                raise GateRefused("deploy.not_ready_to_resume", listed=listed, site=session.path.name)
            time.sleep(3)


def _push(session: Session, open_: dict[str, Connection], bundle: Bundle, run: Run) -> dict[str, list[Change]]:
    """Host -> what an installation will do there."""
    from implops.bundle import look, push
    from implops.errors import ImplopsError
    from implops.remote import each

    hosts = [session.site.hosts[name] for name in open_]
    # Nothing is copied anywhere before every host has said that the bundle fits it.
    fits = each(hosts, lambda host: look(open_[host.name], bundle, host.name))
    for fit in fits.values():
        if isinstance(fit, ImplopsError):
            raise fit
    there = {name: fit for name, fit in fits.items() if not isinstance(fit, ImplopsError)}
    answers = each(hosts, lambda host: push(open_[host.name], bundle, host.name, session.story, there[host.name]))
    for name, answer in answers.items():
        if isinstance(answer, ImplopsError):
            raise answer
        changes = [{"package": one.package, "old": one.old, "new": one.new} for one in answer.changes]
        payload = {"host": name, "sent": len(answer.sent), "sent_bytes": answer.sent_bytes, "changes": changes}
        run.event("bundle.pushed", {**payload, "mended": list(answer.mended), "ms": round(answer.seconds * 1000)})
    return {name: fit.changes for name, fit in there.items()}


def _back_up(session: Session) -> str | None:
    """First run of the program's backup; the run's id, None for a site that has nothing to back up."""
    from implops.backup.jobs import sources
    from implops.backup.run import run as back_up

    if not sources(session.site):
        session.story(texts.say("deploy.no_backup"))
        return None
    with session.phase(texts.say("deploy.backing_up")):
        return back_up(session.site, session.store, session.operator, objects=("program",), trigger="deploy").run


def _finish(
    session: Session, made: Plan, bundle: Bundle, run: Run, check: Event, outcome: Outcome, release_sha256: str
) -> None:
    from implops.deploy import software

    recipes: dict[str, dict[str, str]] = {host.name: {} for host in made.hosts()}
    sets: dict[str, dict[str, list[list[str]]]] = {host.name: {} for host in made.hosts()}
    for one in outcome.steps:
        host, recipe = one.step.host, one.step.recipe
        recipes[host.name][recipe.id] = "good" if one.good else one.state
        if one.good:
            sets[host.name][recipe.id] = [[it.kind, it.name, it.value] for it in recipe.sets(session.site, host)]
    system = session.site.system
    # A second run that changes nothing keeps the release that an earlier one made.
    active = sorted(set(outcome.active.values())) or ([f"{system.version}-{run.id}"] if system else [])
    run.finish(
        "pass" if outcome.good else "fail",
        {
            "recipes": recipes,
            "sets": sets,
            "release": {"name": system.name, "version": system.version, "id": active[0]} if system else None,
            "release_sha256": release_sha256,
            "bundle_sha256": bundle.sha256,
            "software": software.of(made, bundle),
            "check_run": check.run,
            "changed": sum(one.changed for one in outcome.steps),
            "steps": {state: sum(one.state == state for one in outcome.steps) for state in _states(outcome.steps)},
            "modules": outcome.modules,
            "backup_run": outcome.backup,
            "saved": outcome.saved,
            "rollback_run": outcome.rollback[0] if outcome.rollback else None,
        },
    )


def _states(steps: list[Done]) -> list[str]:
    return sorted({one.state for one in steps})


def _answer(session: Session, outcome: Outcome, finished: Event | None) -> int:
    from implops.cli import steps

    assert finished
    wrong = [one for one in outcome.steps if not one.good]
    if session.as_json:
        session.answer({"run": finished.run, **finished.payload})
    elif finished.payload["conclusion"] == "pass":
        if not finished.payload["changed"]:
            click.echo(texts.say("deploy.nothing_changed", steps=len(outcome.steps)))
        else:
            click.echo(texts.say("deploy.done", changed=finished.payload["changed"], modules=len(outcome.modules)))
    for one in wrong:
        click.echo(steps.why(one), err=True)
    for module in steps.bad(outcome.modules):
        about = {"name": module["name"], "url": module["url"], "why": steps.told(module)}
        click.echo(texts.say("deploy.module_bad", **about), err=True)
    if outcome.rollback:
        run, code = outcome.rollback
        release = session.store.events(kind="rollback.started", run=run)[0].payload["release"]["id"]
        key = "rollback.automatic_bad" if code else "rollback.automatic_done"
        click.echo(texts.say(key, release=release, site=session.path, run=run), err=True)
    elif finished.payload["conclusion"] != "pass":
        if outcome.advice:
            click.echo(outcome.advice, err=True)
        click.echo(texts.say("deploy.way_out", site=session.path, run=finished.run), err=True)
    return steps.code(outcome.steps, outcome.modules)


command = deploy
