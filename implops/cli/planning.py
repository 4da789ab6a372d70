"""``deploy --dry-run`` and ``--drift``: what the recipes would do to the hosts as they are now. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from implops.bundle import Bundle
    from implops.deploy.engine import Done
    from implops.deploy.plan import Plan

# Characters of a command on one line, and with --verbose.
_BRIEF, _VERBOSE = 160, 1000


@dataclass
class Seen:
    """A step of the plan: its operations that would change something or could not tell, and how asking ended."""

    done: Done
    ops: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """unknown: nothing or not all can be told; would_change; same."""
        if not self.done.good:
            return "unknown"
        states = {one["status"] for one in self.ops}
        return "would_change" if "would_change" in states else "unknown" if "unknown" in states else "same"

    @property
    def later(self) -> bool:
        """Part of it is known only when an earlier change has been made; that is no failure."""
        return self.done.good and self.state == "would_change" and any(one["status"] == "unknown" for one in self.ops)


def versioned(made: Plan, bundle: Bundle) -> Plan:
    """The plan with the versions of packages that the bundle brings to each host."""
    from implops.bundle import index

    return replace(made, versions={host.name: index.versions(bundle, host.name) for host in made.hosts()})


def with_versions(session: Session, made: Plan) -> Plan:
    """The same of the bundle that a deployment would take; where there is none it is said, and any version is good."""
    from implops.bundle.signed import trusted
    from implops.deploy import recipes
    from implops.errors import ImplopsError

    try:
        with session.phase(texts.say("deploy.verifying_bundle")):
            return versioned(made, trusted(session.site, recipes.packages(session.site)))
    except ImplopsError as error:
        click.echo(texts.say("deploy.plan.no_versions", why=str(error)), err=True)
        return made


def show_steps(session: Session, made: Plan, bundle: Bundle | None) -> None:
    """Print the steps of a plan, and what is deployed."""
    from rich.table import Table

    from implops.cli.steps import named

    if session.as_json:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    for column in ("number", "host", "step", "packages", "after"):
        table.add_column(texts.say(f"deploy.column.{column}"), overflow="fold", no_wrap=column in ("number", "host"))
    numbers = {step.id: number for number, step in enumerate(made.steps, start=1)}
    for step in made.steps:
        needs = " ".join(str(number) for number in sorted(numbers[need] for need in step.needs))
        table.add_row(str(numbers[step.id]), step.host.name, named(step), " ".join(step.packages) or "—", needs or "—")
    session.console.print(table)
    if bundle:
        system = session.site.system
        release = f"{system.name} {system.version}" if system else "—"
        click.echo(texts.say("deploy.what", release=release, bundle=bundle.path.name))


def look(session: Session, made: Plan) -> list[Seen]:
    """Ask every host what its steps would change, in the order of the plan. Takes no lock, leaves no record."""
    from implops.deploy import engine, plan
    from implops.store.events import new_run

    ops: dict[str, list[dict[str, Any]]] = {}

    def op(step: Any, message: dict[str, Any]) -> None:
        ops.setdefault(step.id, []).append(message)

    spool = session.site.state / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    journal = engine.Journal(lambda step: None, op, lambda done: None)
    with session.phase(texts.say("deploy.plan.asking", hosts=len(made.hosts()))):
        done = engine.run(plan.alone(made), new_run(), frozenset(), journal, spool / "plan.log", only_plan=True)
    return [Seen(one, ops.get(one.step.id, [])) for one in done]


def show(session: Session, seen: list[Seen], *, drift: bool) -> int:
    """Print it; the exit code. A dry run is bad only when a host could not be asked; drift when anything differs."""
    unasked = [one for one in seen if not one.done.good]
    unsure = [one for one in seen if one.state == "unknown"]
    changes = [one for one in seen if one.state == "would_change"]
    if session.as_json:
        session.answer({"drift": bool(changes), "steps": [_json(number, one) for number, one in enumerate(seen, 1)]})
    else:
        for number, one in enumerate(seen, 1):
            _print(session, number, len(seen), one)
        key = "deploy.plan.drift" if drift else "deploy.plan.total"
        counts: dict[str, Any] = {
            "changes": len(changes),
            "same": len(seen) - len(changes) - len(unsure),
            "unknown": len(unsure),
        }
        click.echo(texts.say(key, **counts))
        if changes and not drift:
            click.echo(texts.say("deploy.plan.restarts"))
    if drift and changes:
        return 1
    if drift:
        return 3 if unsure else 0
    return 3 if unasked else 0


def _json(number: int, one: Seen) -> dict[str, Any]:
    step = one.done.step
    names = ("op", "status", "commands", "files", "output")
    return {
        "number": number, "step": step.id, "recipe": step.recipe.id, "host": step.host.name, "state": one.state,
        "error": one.done.error, "ops": [{name: op[name] for name in names if name in op} for op in one.ops],
    }  # fmt: skip


def _print(session: Session, number: int, total: int, one: Seen) -> None:
    from implops.cli.steps import named, why

    step = one.done.step
    head = texts.say(f"deploy.plan.state.{'later' if one.later else one.state}", number=number)
    click.echo(f"[{number:>{len(str(total))}}/{total}] {step.host.name}  {named(step)}:{head}")
    if not one.done.good:
        click.echo(f"      {_refused(one) or why(one.done)}")
    for op in one.ops:
        if op["status"] == "same":
            continue
        name = texts.find(op["op"]) or op["op"]
        if op["status"] == "unknown":
            reason = (op["output"].splitlines() or ["-"])[-1][:160]
            known = texts.say(
                "deploy.plan.unknown", name=name or texts.say("deploy.plan.rest"), number=number, why=reason
            )
            click.echo(f"      ? {known}")
            continue
        click.echo(f"      ~ {name}")
        for file in op.get("files", []):
            if not file["diff"]:
                click.echo(f"        {texts.say('deploy.plan.hidden', path=file['path'])}")
            for line in file["diff"].splitlines():
                click.echo(f"        {line}")
        for command in op.get("commands", []):
            text, most = " ".join(command.split()), _VERBOSE if session.verbose else _BRIEF
            click.echo(f"        $ {text if len(text) <= most else text[:most] + '…'}")


def _refused(one: Seen) -> str:
    error = one.done.error or {}
    return texts.say(error["key"], **error["params"]) if "key" in error and "code" not in error else ""
