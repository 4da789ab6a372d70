"""Runs a plan: starts the worker, hands it the steps that are ready, tells the journal before and after each.

No gevent here. Steps form a graph: hosts work side by side, a host does one step at a time, and what failed stops only
what needs it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from implops.deploy.plan import Plan, Step
from implops.errors import StepError
from implops.secrets import redactor

Worker = subprocess.Popen[bytes]


@dataclass
class Done:
    """How a step ended. ``state``: good, kept (the journal says good and it still holds), failed, lost (connection),
    unknown (the worker died under it), blocked (something it needs is not good). Times in whole milliseconds.
    """

    step: Step
    state: str
    changed: int = 0
    same: int = 0
    ms: int = 0
    error: dict[str, Any] | None = None
    probes: list[dict[str, Any]] = field(default_factory=list)
    # What its recipe asked the host (foreseen.py).
    asked: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.state in ("good", "kept")


@dataclass(frozen=True)
class Journal:
    """What the engine tells while it runs. ``started`` must have written its row when it returns."""

    started: Callable[[Step], None]
    op: Callable[[Step, dict[str, Any]], None]
    finished: Callable[[Done], None]
    # Asked before the first change of a step that interrupts its host's service (META["rolling"]): what is in its way,
    # or None. A step that finds nothing to change interrupts nobody.
    ready: Callable[[Step], dict[str, Any] | None] | None = None
    # Asked after a good step, before anything that needs it begins: what is wrong all the same, or None.
    accept: Callable[[Step], dict[str, Any] | None] = lambda step: None
    # Asked before a step begins at all: what keeps it from beginning, or None.
    before: Callable[[Step], dict[str, Any] | None] = lambda step: None


def run(
    plan: Plan, run_id: str, keep: frozenset[str], journal: Journal, log: Path, *, only_plan: bool = False,
    foreseen: Mapping[str, list[str]] | None = None, worker: Worker | None = None, strict: bool = True,
) -> list[Done]:  # fmt: skip
    """Run all steps; how each ended, in the order of the plan. ``keep``: ids that only have to be verified.

    ``only_plan``: nothing is changed; ``journal.op`` is told what each operation would do. ``foreseen``: step -> what
    it is going to ask. ``worker``: one that is up already (``waiting``). ``strict``: a host's next step waits until
    the one before is verified; otherwise only a step that needs it does.

    Raises StepError when the worker cannot be started. KeyboardInterrupt passes after the running operations ended.
    """
    with waiting(log) if worker is None else contextlib.nullcontext(worker) as one:
        assert one.stdin and one.stdout
        _greet(one.stdin, plan, only_plan, foreseen or {})
        return _conduct(plan, run_id, keep, journal, one.stdin, one.stdout, only_plan, strict)


@contextlib.contextmanager
def waiting(log: Path) -> Iterator[Worker]:
    """A worker that is coming up, for ``run``: reading its programs takes longer than many a step, and there are other
    things to do meanwhile. At the end of the block it finishes what it does and goes.
    """
    with log.open("ab") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "implops.deploy.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C is for us: the worker learns it by the end of its input, and finishes what it is doing.
            start_new_session=True,
        )
        assert worker.stdin and worker.stdout
        try:
            yield worker
        finally:
            _close(worker, worker.stdin)


def _greet(stdin: IO[bytes], plan: Plan, only_plan: bool, foreseen: Mapping[str, list[str]]) -> None:
    reference = plan.site.ssh.sudo_password
    password = reference.resolve().reveal() if reference else ""
    commands: dict[str, list[str]] = {host.name: [] for host in plan.hosts()}
    for step in plan.steps:
        if step.id in foreseen:
            commands[step.host.name] += foreseen[step.id]
            # A plan verifies nothing.
            commands[step.host.name] += [] if only_plan else [one.shell for one in plan.probes(step)]
    greeting = {
        "site": str(plan.site.path),
        "model": plan.site.model_sha256,
        "hosts": [host.name for host in plan.hosts()],
        "sudo_password": password,
        "secrets": redactor.known(),
        "plan": only_plan,
        "foreseen": commands,
    }
    _write(stdin, greeting)


def _write(stdin: IO[bytes], message: dict[str, Any]) -> None:
    try:
        stdin.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        stdin.flush()
    except BrokenPipeError:
        raise StepError("deploy.worker_died") from None


def _close(worker: Worker, stdin: IO[bytes]) -> None:
    """End its input and wait: the operation that runs on a host now is finished, none begins."""
    assert worker.stdout
    with contextlib.suppress(BrokenPipeError):
        stdin.close()
    while worker.stdout.read(65536):
        pass  # nobody asks any more, but a full pipe would hold the worker up
    worker.wait()


def _conduct(
    plan: Plan, run_id: str, keep: frozenset[str], journal: Journal, stdin: IO[bytes], stdout: IO[bytes],
    only_plan: bool, strict: bool,
) -> list[Done]:  # fmt: skip
    done: dict[str, Done] = {}
    running: dict[str, Step] = {}
    # Of those that run: what the recipe had to do is done, and its services are coming up.
    verifying: set[str] = set()
    # What was in the way of a step.
    refused: dict[str, dict[str, Any]] = {}

    def end(one: Done) -> None:
        done[one.step.id] = one
        journal.finished(one)

    def hand_out() -> None:
        while _hand_out():
            pass  # a step that may not begin ends at once, and others behind it

    def _hand_out() -> bool:
        """Whether a step was kept from beginning."""
        kept_back = False
        busy = {one.host.name for one in running.values() if strict or one.id not in verifying}
        for step in _ready(plan, done, running, busy, end):
            if not only_plan and (wrong := journal.before(step)):
                kept_back = True
                end(Done(step, "failed", error=wrong))
                continue
            # Params may read files and resolve secrets: a mistake there must come before the row says "started".
            mode = "plan" if only_plan else "verify" if step.id in keep else "run"
            # What its params resolved is blanked in whatever the worker tells.
            order = {**plan.order(step, run_id, mode), "secrets": redactor.known()}
            order["leave"] = journal.ready is not None and step.recipe.rolling
            journal.started(step)
            running[step.id] = step
            _write(stdin, order)
        return kept_back

    hand_out()
    while running:
        line = stdout.readline()
        if not line:
            for step in running.values():
                end(Done(step, "unknown", error={"code": "worker"}))
            running.clear()
            for step in plan.steps:
                if step.id not in done:
                    end(Done(step, "blocked", error={"code": "worker"}))
            break
        message = json.loads(line)
        step = plan.step(message["step"])
        if message["event"] == "op":
            journal.op(step, message)
            continue
        if message["event"] == "changing":
            if wrong := journal.ready(step) if journal.ready else None:
                refused[step.id] = wrong
            _write(stdin, {"step": step.id, "go": wrong is None})
            continue
        if message["event"] == "verifying":
            verifying.add(step.id)
            hand_out()
            continue
        del running[step.id]
        verifying.discard(step.id)
        if message["error"] and message["error"]["code"] == "probe" and step.id in keep:
            # Good then, not good now: do it again, from the start.
            keep -= {step.id}
        else:
            one = _done(step, message, kept=step.id in keep)
            one.error = refused.get(step.id, one.error)
            if one.good and (wrong := journal.accept(step)):
                one.state, one.error = "failed", wrong
            end(one)
        hand_out()
    return [done[step.id] for step in plan.steps]


def _ready(
    plan: Plan, done: dict[str, Done], running: dict[str, Step], busy: set[str], end: Callable[[Done], None]
) -> Iterator[Step]:
    """Steps that can start now, one a host that is not ``busy``, first what most others wait for; those that never will
    are ended as blocked.
    """
    for step in plan.urgent():
        if step.id in done or step.id in running:
            continue
        broken = [need for need in step.needs if need in done and not done[need].good]
        # A host that is gone or has failed gets no further step: its state is to be looked at first.
        broken += [one.step.id for one in done.values() if one.step.host.name == step.host.name and not one.good]
        if broken:
            end(Done(step, "blocked", error={"code": "needs", "steps": sorted(set(broken))}))
        elif step.host.name not in busy and all(need in done for need in step.needs):
            busy.add(step.host.name)
            yield step


def _done(step: Step, message: dict[str, Any], *, kept: bool) -> Done:
    error = message["error"]
    error = error or message.get("refused")
    state = "failed" if error else "kept" if kept else "good"
    if error and message.get("lost"):
        state = "lost"
    numbers = {name: message[name] for name in ("changed", "same", "ms")}
    return Done(step, state, error=error, probes=message["probes"], asked=message["asked"], **numbers)
