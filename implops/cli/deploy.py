"""``implops deploy SITE``: the plan, then its steps, then every module asked, then the program backed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.bundle import Bundle
    from implops.deploy.engine import Done
    from implops.deploy.journal import Earlier
    from implops.deploy.plan import Plan, Step
    from implops.remote import Connection
    from implops.store import Event
    from implops.store.run import Run

_LANGUAGE = texts.from_environment()
# The record, the spool and the worker's log; the bundle is there already.
_DISK = 200 * 2**20
_MODULE_SECONDS = 120.0
_STABLE_SECONDS = 2.0
_SETTLE_SECONDS = 60.0


@dataclass
class _Outcome:
    """What is known at the end of a run, for the record and the answer."""

    steps: list[Done]
    modules: list[dict[str, Any]]
    backup: str | None = None


@verb("deploy")
@click.option("--yes", is_flag=True, help=texts.say("deploy.yes", lang=_LANGUAGE))
@click.option("--dry-run", is_flag=True, help=texts.say("deploy.dry_run", lang=_LANGUAGE))
@click.option("--resume", metavar="RUN", help=texts.say("deploy.resume", lang=_LANGUAGE))
@click.option("--break-lock", metavar="REASON", default="", help=texts.say("deploy.break_lock", lang=_LANGUAGE))
def deploy(session: Session, yes: bool, dry_run: bool, resume: str | None, break_lock: str) -> int:
    from implops import lock
    from implops.bundle import trusted
    from implops.check.sitehash import site_hash
    from implops.cli.forms import emit
    from implops.deploy import hosts as reached
    from implops.deploy import journal, plan, recipes
    from implops.errors import ImplopsError
    from implops.gates import environment
    from implops.machine import ready
    from implops.store import record
    from implops.store.events import new_run

    site, store = session.site, session.store
    made = plan.make(site, recipes.load(site.base))
    if dry_run:
        return _show(session, made)
    earlier = journal.unfinished(store, resume) if resume else None
    digest = site_hash(site)
    if earlier:
        check = environment.resume(store, site, digest, earlier.check_run)
    else:
        check = environment.require(store, site, digest)
    machine = ready(site.state, disk=_DISK)
    with session.phase(texts.say("deploy.verifying_bundle")):
        bundle = trusted(site)
    _print_plan(session, made, bundle)
    session.ask(texts.say("deploy.ask", hosts=len(made.hosts()), steps=len(made.steps)), yes=yes)
    run_id = earlier.run if earlier else new_run()
    about = {
        "check_run": check.run,
        "bundle_sha256": bundle.sha256,
        "resumed": bool(earlier),
        "machine_state": machine,
        "break_lock": break_lock,
        "plan": [{"step": step.id, "recipe": step.recipe.id, "host": step.host.name} for step in made.steps],
    }
    with lock.hold(site.state, "deploy", run_id, session.operator):
        try:
            # All hosts are reached and locked before anything is recorded: a refusal here changed nothing anywhere.
            with reached.held(site, made.hosts(), run_id, session.operator, break_lock) as connections:
                if earlier:
                    _ask_again(session)
                else:
                    environment.require_same_boot(check, connections.boot_ids, site)
                with record(store, site, "deploy", session.operator, about, run_id) as run:
                    for pushed_aside in connections.broken:
                        run.event("lock.broken", {"reason": break_lock, **pushed_aside})
                    outcome = _carry_out(session, made, bundle, run, check, earlier, connections.open)
        except (ImplopsError, KeyboardInterrupt):
            # The record says how it ended; the form is printed from it all the same.
            emit(session, "deploy", run_id)
            raise
        # The backup's record first: the installation record names its number.
        if outcome.backup:
            emit(session, "backup", outcome.backup)
        emit(session, "deploy", run.id)
    return _answer(session, outcome, run.finished)


def _carry_out(
    session: Session,
    made: Plan,
    bundle: Bundle,
    run: Run,
    check: Event,
    earlier: Earlier | None,
    open_: dict[str, Connection],
) -> _Outcome:
    with session.phase(texts.say("deploy.pushing")):
        _push(session, open_, bundle, run)
    steps = _steps(session, made, bundle, run, earlier)
    outcome = _Outcome(steps, [])
    if all(one.good for one in steps):
        outcome.modules = _modules(session, open_, run)
    if all(one.good for one in steps) and not _bad(outcome.modules):
        outcome.backup = _back_up(session)
    _finish(session, made, bundle, run, check, outcome)
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


def _push(session: Session, open_: dict[str, Connection], bundle: Bundle, run: Run) -> None:
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


def _steps(session: Session, made: Plan, bundle: Bundle, run: Run, earlier: Any) -> list[Done]:
    from implops.deploy import engine
    from implops.units import format_seconds

    keys = {step.id: made.key(step, run.id, bundle) for step in made.steps}
    keep = frozenset(id for id, key in keys.items() if earlier and earlier.good.get(id) == key)
    total, counted = len(made.steps), iter(range(1, len(made.steps) + 1))

    def started(step: Step) -> None:
        payload = {"step": step.id, "host": step.host.name, "recipe": step.recipe.id, "key": keys[step.id]}
        run.event("step.started", payload)
        if session.verbose:
            session.story(texts.say("deploy.step_started", step=_named(step), host=step.host.name))

    def op(step: Step, message: dict[str, Any]) -> None:
        evidence = (run.keep(message["output"].encode()),) if message["output"] and message["status"] != "same" else ()
        payload = {"step": step.id, **{name: message[name] for name in ("op", "status", "ms")}}
        run.event("op.finished", payload, evidence)
        if session.verbose and message["status"] != "same":
            session.story(f"      {texts.find(message['op']) or message['op']}")

    def finished(done: Done) -> None:
        payload = {
            "step": done.step.id, "host": done.step.host.name, "recipe": done.step.recipe.id, "state": done.state,
            "key": keys[done.step.id], "changed": done.changed, "same": done.same, "ms": done.ms,
            "error": done.error, "probes": done.probes,
        }  # fmt: skip
        run.event("step.finished", payload)
        result = texts.say(f"deploy.state.{done.state}")
        if done.state == "good":
            result = texts.say("deploy.changed", count=done.changed) if done.changed else texts.say("deploy.same")
        took = format_seconds(done.ms / 1000)
        number = f"{next(counted):>{len(str(total))}}/{total}"
        session.story(
            texts.say("deploy.step", number=number, host=done.step.host.name, step=_named(done.step), result=result,
                      took=took)
        )  # fmt: skip

    with session.phase(texts.say("deploy.running", steps=total)):
        spool = session.site.state / "spool"
        spool.mkdir(mode=0o700, exist_ok=True)
        return engine.run(made, run.id, keep, engine.Journal(started, op, finished), spool / f"{run.id}.log")


def _modules(session: Session, open_: dict[str, Connection], run: Run) -> list[dict[str, Any]]:
    """Every module on every application host."""
    from implops.units import format_seconds
    from implops.verify.modules import ask_all

    site = session.site
    if site.system is None:
        return []
    found = []
    with session.phase(texts.say("deploy.asking_modules")):
        for host in site.with_role("app"):
            modules = site.system.modules
            answers = ask_all(site, open_[host.name], modules, deadline=_MODULE_SECONDS, stable_for=_STABLE_SECONDS)
            for module, answer in zip(modules, answers, strict=True):
                evidence = (run.keep(answer.body),) if answer.body else ()
                payload = {**answer.payload(), "name": module.name, "requirement": module.requirement}
                run.event("module.finished", payload, evidence)
                found.append(payload)
                took = format_seconds(answer.ms / 1000)
                session.story(
                    texts.say("deploy.module", name=module.name, url=answer.url, result=_told(payload), took=took)
                )
    return found


def _told(module: dict[str, Any]) -> str:
    if module["state"] == "fail":
        return texts.say(module["error"]["key"], **module["error"]["params"])
    return texts.say(f"form.result.{module['state']}")


def _back_up(session: Session) -> str | None:
    """First run of the program's backup; the run's id, None for a site without ``backup:``."""
    from implops.backup.run import run as back_up

    if session.site.backup is None:
        session.story(texts.say("deploy.no_backup"))
        return None
    with session.phase(texts.say("deploy.backing_up")):
        return back_up(session.site, session.store, session.operator, objects=("program",), trigger="deploy").run


def _finish(session: Session, made: Plan, bundle: Bundle, run: Run, check: Event, outcome: _Outcome) -> None:
    good = all(one.good for one in outcome.steps) and not _bad(outcome.modules)
    recipes: dict[str, dict[str, str]] = {host.name: {} for host in made.hosts()}
    for one in outcome.steps:
        recipes[one.step.host.name][one.step.recipe.id] = "good" if one.good else one.state
    system = session.site.system
    run.finish(
        "pass" if good else "fail",
        {
            "recipes": recipes,
            "release": {"name": system.name, "version": system.version, "id": f"{system.version}-{run.id}"}
            if system
            else None,
            "bundle_sha256": bundle.sha256,
            "check_run": check.run,
            "changed": sum(one.changed for one in outcome.steps),
            "steps": {state: sum(one.state == state for one in outcome.steps) for state in _states(outcome.steps)},
            "modules": outcome.modules,
            "backup_run": outcome.backup,
        },
    )


def _bad(modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in modules if one["state"] == "fail"]


def _states(steps: list[Done]) -> list[str]:
    return sorted({one.state for one in steps})


def _show(session: Session, made: Plan) -> int:
    if session.as_json:
        session.answer({"steps": [_step_json(step) for step in made.steps]})
    else:
        _print_plan(session, made, None)
    return 0


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "step": step.id, "recipe": step.recipe.id, "host": step.host.name, "needs": list(step.needs),
        "packages": list(step.packages),
    }  # fmt: skip


def _named(step: Step) -> str:
    return texts.find(f"recipe.{step.recipe.id}.title") or step.recipe.id


def _print_plan(session: Session, made: Plan, bundle: Bundle | None) -> None:
    from rich.table import Table

    if session.as_json:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    for column in ("number", "host", "step", "packages", "after"):
        table.add_column(texts.say(f"deploy.column.{column}"), overflow="fold", no_wrap=column in ("number", "host"))
    numbers = {step.id: number for number, step in enumerate(made.steps, start=1)}
    for step in made.steps:
        needs = " ".join(str(number) for number in sorted(numbers[need] for need in step.needs))
        table.add_row(str(numbers[step.id]), step.host.name, _named(step), " ".join(step.packages) or "—", needs or "—")
    session.console.print(table)
    if bundle:
        system = session.site.system
        release = f"{system.name} {system.version}" if system else "—"
        click.echo(texts.say("deploy.what", release=release, bundle=bundle.path.name))


def _answer(session: Session, outcome: _Outcome, finished: Event | None) -> int:
    assert finished
    bad = [one for one in outcome.steps if not one.good]
    if session.as_json:
        session.answer({"run": finished.run, **finished.payload})
    elif finished.payload["conclusion"] == "pass":
        if not finished.payload["changed"]:
            click.echo(texts.say("deploy.nothing_changed", steps=len(outcome.steps)))
        else:
            click.echo(texts.say("deploy.done", changed=finished.payload["changed"], modules=len(outcome.modules)))
    for one in bad:
        click.echo(_why(one), err=True)
    for module in _bad(outcome.modules):
        about = {"name": module["name"], "url": module["url"], "why": _told(module)}
        click.echo(texts.say("deploy.module_bad", **about), err=True)
    if finished.payload["conclusion"] != "pass":
        click.echo(texts.say("deploy.way_out", site=session.path, run=finished.run), err=True)
    return _code(outcome)


def _code(outcome: _Outcome) -> int:
    bad = [one for one in outcome.steps if not one.good]
    if any(one.error and one.error.get("exit") == 2 for one in bad):
        return 2
    if any(one.state == "failed" and not (one.error and one.error["code"] == "host") for one in bad):
        return 1
    if bad:
        return 3
    return 1 if _bad(outcome.modules) else 0


def _why(done: Done) -> str:
    error = done.error or {}
    step = {"host": done.step.host.name, "step": _named(done.step)}
    code = error.get("code")
    if code == "host":
        return texts.say("deploy.why.host", **step, why=texts.say(error["key"], **error["params"]))
    if code == "needs":
        return texts.say("deploy.why.needs", **step, steps=" ".join(error["steps"]))
    if code == "probe":
        return texts.say("deploy.why.probe", **step, probes=" ".join(error["probes"]), why=_last(error))
    if code == "worker":
        return texts.say("deploy.why.worker", **step)
    op = error.get("op", "")
    return texts.say("deploy.why.failed", **step, op=texts.find(op) or op or "-", why=_last(error))


def _last(error: dict[str, Any]) -> str:
    lines = [line.strip() for line in str(error.get("detail", "")).splitlines() if line.strip()]
    return " / ".join(lines[-2:])[:400] or "-"


command = deploy
