"""``implops undo SITE [STEP…]``: stop what a deployment set up and remove what it wrote; data are never touched."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.deploy.engine import Done
    from implops.deploy.plan import Plan
    from implops.store.run import Run

_LANGUAGE = texts.from_environment()
# The record and its evidence.
_DISK = 50 * 2**20


@verb("undo")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option("--reason", default="", help=texts.say("undo.option.reason", lang=_LANGUAGE))
@click.option("--yes", is_flag=True, help=texts.say("deploy.yes", lang=_LANGUAGE))
@click.option("--break-lock", metavar="REASON", default="", help=texts.say("deploy.break_lock", lang=_LANGUAGE))
def undo(session: Session, steps: tuple[str, ...], reason: str, yes: bool, break_lock: str) -> int:
    from implops import lock
    from implops.cli.forms import emit
    from implops.deploy import hosts as reached
    from implops.deploy import plan, recipes
    from implops.errors import ImplopsError, InputError
    from implops.machine import ready
    from implops.store import record
    from implops.store.events import new_run

    site, store = session.site, session.store
    begun = {one.payload["step"] for one in store.events(kind="step.started")}
    made = plan.undo(plan.make(site, recipes.load(site.base)), steps, begun)
    if not reason.strip():
        raise InputError("undo.no_reason")
    _announce(session, made)
    session.ask(texts.say("undo.ask", hosts=len(made.hosts()), steps=len(made.steps)), yes=yes)
    machine, run_id = ready(site.state, disk=_DISK), new_run()
    with lock.hold(site.state, "undo", run_id, session.operator):
        try:
            with reached.held(
                site, made.hosts(), run_id, session.operator, break_lock, "undo", reason.strip()
            ) as connections:
                about = {
                    "reason": reason.strip(),
                    "machine_state": machine,
                    "plan": [{"step": one.id, "recipe": one.recipe.id, "host": one.host.name} for one in made.steps],
                    "leaves": leaves(made),
                }
                with record(store, site, "undo", session.operator, about, run_id) as run:
                    for pushed_aside in connections.broken:
                        run.event("lock.broken", {"reason": break_lock, **pushed_aside})
                    done = _carry_out(session, made, run)
        except (ImplopsError, KeyboardInterrupt):
            emit(session, "undo", run_id)
            raise
        emit(session, "undo", run_id)
    return _answer(session, run, done)


def leaves(made: Plan) -> list[dict[str, str]]:
    return [{"step": one.id, "host": one.host.name, "path": path}
            for one in made.steps for path in one.recipe.leaves(made.site, one.host)]  # fmt: skip


def _announce(session: Session, made: Plan) -> None:
    from implops.cli.steps import named

    if session.as_json:
        return
    for number, one in enumerate(made.steps, start=1):
        click.echo(texts.say("undo.step", number=number, host=one.host.name, step=named(one)))
    click.echo(texts.say("undo.stays"))
    for left in leaves(made):
        click.echo(texts.say("undo.leaves", host=left["host"], path=left["path"]))


def _carry_out(session: Session, made: Plan, run: Run) -> list[Done]:
    from implops.cli import steps

    # Nothing is ever taken over from an earlier run: the key only says what this step was.
    keys = {one.id: hashlib.sha256(f"undo {one.id} {one.recipe.digest()}".encode()).hexdigest() for one in made.steps}
    done = steps.carry_out(session, made, run, keys)
    undone: dict[str, list[str]] = {}
    for one in done:
        if one.good:
            undone.setdefault(one.step.host.name, []).append(one.step.recipe.id)
    good = all(one.good for one in done)
    payload = {"undone": undone, "changed": sum(one.changed for one in done), "leaves": leaves(made)}
    run.finish("pass" if good else "fail", payload)
    return done


def _answer(session: Session, run: Run, done: list[Done]) -> int:
    from implops.cli import steps

    assert run.finished
    payload: dict[str, Any] = run.finished.payload
    for one in (one for one in done if not one.good):
        session.story(steps.why(one))
    if session.as_json:
        session.answer({"run": run.id, **payload})
    elif payload["conclusion"] == "pass":
        click.echo(texts.say("undo.done", steps=len(done), changed=payload["changed"]))
    else:
        click.echo(texts.say("undo.way_out", site=session.path), err=True)
    return steps.code(done, [])


command = undo
