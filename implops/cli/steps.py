"""What deploy and rollback share: steps carried out with their journal and progress, modules asked, faults in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from implops.cli.turns import Turns
    from implops.deploy.engine import Done, Worker
    from implops.deploy.plan import Plan, Step
    from implops.errors import ImplopsError
    from implops.remote import Connection
    from implops.site import Host
    from implops.store.run import Run
    from implops.verify.modules import Older

# The recipe has waited for the port already: this is the time for the first pages to be compiled.
_MODULE_SECONDS = 45.0
_STABLE_SECONDS = 2.0
_OF_OP = ("op", "status", "ms", "commands", "files", "more")
# A step that took longer is worth a word at the end.
_SLOW_MS = 5000


def carry_out(
    session: Session,
    made: Plan,
    run: Run,
    keys: Mapping[str, str],
    keep: Collection[str] = (),
    turns: Turns | None = None,
    *,
    foresee: bool = False,
    worker: Worker | None = None,
    before: Callable[[Step], dict[str, Any] | None] = lambda step: None,
) -> list[Done]:
    """Run the steps of a plan; every one leaves a row before it starts and another when it has ended.

    ``turns``: application hosts are in use, and are taken out of it before they are changed. ``foresee``: most likely
    nothing is to be changed, so what the steps asked last time is asked of each host in one trip. ``worker``: one that
    is up already. ``before``: what keeps a step from beginning, or None.
    """
    from implops.deploy import engine, foreseen
    from implops.units import format_seconds

    total, counted = len(made.steps), iter(range(1, len(made.steps) + 1))

    def started(step: Step) -> None:
        payload = {"step": step.id, "host": step.host.name, "recipe": step.recipe.id, "key": keys[step.id]}
        run.event("step.started", {**payload, "expected": [one.id for one in made.probes(step)]})
        if session.verbose:
            session.story(texts.say("deploy.step_started", step=named(step), host=step.host.name))

    def op(step: Step, message: dict[str, Any]) -> None:
        evidence = (run.keep(message["output"].encode()),) if message["output"] and message["status"] != "same" else ()
        payload = {"step": step.id, **{name: message[name] for name in _OF_OP if name in message}}
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
            texts.say("deploy.step", number=number, host=done.step.host.name, step=named(done.step), result=result,
                      took=took)
        )  # fmt: skip

    with session.phase(texts.say("deploy.running", steps=total)):
        hooks: dict[str, Any] = {"ready": turns.ready, "accept": turns.accept} if turns else {}
        journal = engine.Journal(started, op, finished, before=before, **hooks)
        asked = foreseen.kept(session.site.state) if foresee else {}
        # Hosts that are in use are changed one step after the other.
        strict = turns is not None or made.call != "install"
        done = engine.run(
            made, run.id, frozenset(keep), journal, log(session, run), foreseen=asked, worker=worker, strict=strict
        )
    if made.call == "install" and all(one.good for one in done):
        foreseen.keep(session.site.state, {one.step.id: one.asked for one in done})
    if turns:
        turns.tell()
    slow = [one for one in sorted(done, key=lambda one: -one.ms) if one.ms >= _SLOW_MS][:3]
    if slow:
        told = ", ".join(f"{one.step.host.name} {named(one.step)} {format_seconds(one.ms / 1000)}" for one in slow)
        session.story(texts.say("deploy.slowest", steps=told))
    return done


def log(session: Session, run: Run) -> Path:
    """Where what the worker of a run complains about is kept."""
    spool = session.site.state / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    return spool / f"{run.id}.log"


def ask_modules(
    session: Session, open_: Mapping[str, Connection], run: Run, hosts: Sequence[Host], *, fresh: bool = True,
    older: Older | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every module that is asked on one of these hosts. ``fresh``: something was changed, and has to stay good.
    ``older``: the release that has to answer, when it is not the site file's.
    """
    from implops.units import format_seconds
    from implops.verify.modules import ask_all, modules_of

    site = session.site
    if site.system is None:
        return []
    found, stable = [], _STABLE_SECONDS if fresh else 0.0
    with session.phase(texts.say("deploy.asking_modules")):
        for host in hosts:
            modules = modules_of(site, host, older)
            answers = ask_all(site, open_[host.name], modules, deadline=_MODULE_SECONDS, stable_for=stable)
            for module, answer in zip(modules, answers, strict=True):
                evidence = (run.keep(answer.body),) if answer.body else ()
                payload = {**answer.payload(), "name": module.name, "requirement": module.requirement}
                run.event("module.finished", payload, evidence)
                found.append(payload)
                took = format_seconds(answer.ms / 1000)
                session.story(
                    texts.say("deploy.module", name=module.name, url=answer.url, result=told(payload), took=took)
                )
    return found


def told(module: dict[str, Any]) -> str:
    if module["state"] == "fail":
        return texts.say(module["error"]["key"], **module["error"]["params"])
    return texts.say(f"form.result.{module['state']}")


def bad(modules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in modules if one["state"] == "fail"]


def named(step: Step) -> str:
    return texts.find(f"recipe.{step.recipe.id}.title") or step.recipe.id


def code(steps: Sequence[Done], modules: Sequence[dict[str, Any]]) -> int:
    """The exit code: 1 a step or module failed, 2 a wrong password, 3 a host that went away."""
    wrong = [one for one in steps if not one.good]
    if any(one.error and one.error.get("exit") == 2 for one in wrong):
        return 2
    if any(one.state == "failed" and not away(one) for one in wrong):
        return 1
    if wrong:
        return 3
    return 1 if bad(modules) else 0


def away(done: Done) -> bool:
    """Whether nobody knows how the host is now; that a recipe refuses what it finds is no such thing."""
    error = done.error or {}
    return done.state in ("lost", "unknown") or (error.get("code") == "host" and error.get("exit") == 3)


def fault(error: ImplopsError) -> dict[str, Any]:
    """An error of our own as what a step ended with."""
    return {
        "code": "host",
        "exit": error.code,
        "key": error.key,
        "params": {name: str(value) for name, value in error.params.items()},
    }


def why(done: Done) -> str:
    """One line about a step that is not good."""
    error = done.error or {}
    step = {"host": done.step.host.name, "step": named(done.step)}
    what = error.get("code")
    if what == "host":
        return texts.say("deploy.why.host", **step, why=texts.say(error["key"], **error["params"]))
    if what == "needs":
        return texts.say("deploy.why.needs", **step, steps=" ".join(error["steps"]))
    if what == "probe":
        return texts.say("deploy.why.probe", **step, probes=" ".join(error["probes"]), why=_last(error))
    if what == "worker":
        return texts.say("deploy.why.worker", **step)
    if what == "module":
        return texts.say("deploy.why.module", **step, modules=" ".join(error["modules"]))
    if what == "unknown":
        return texts.say("deploy.why.unknown", **step, why=_last(error))
    op = error.get("op", "")
    return texts.say("deploy.why.failed", **step, op=texts.find(op) or op or "-", why=_last(error))


def _last(error: dict[str, Any]) -> str:
    lines = [line.strip() for line in str(error.get("detail", "")).splitlines() if line.strip()]
    return " / ".join(lines[-2:])[:400] or "-"
