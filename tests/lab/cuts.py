"""The power of a step's host is cut while it is carried out; the host is booted, the deployment taken up again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from kills import resume
from power import environment

from implops import lab
from implops.site import Site
from implops.store import Event, Store

_PATIENCE = 300.0


@dataclass(frozen=True)
class Cut:
    """``state``: of the step when the deployment had ended (good: it had come to its end before the power went).
    ``told``: what the deployment said.
    """

    step: str
    host: str
    state: str
    code: int
    told: str


def plan(site: Site) -> list[str]:
    """The steps of the last deployment, in their order."""
    started = Store.of(site.state).last("deploy.started")
    assert started
    return [one["step"] for one in started.payload["plan"]]


def took(site: Site) -> dict[str, int]:
    """Milliseconds of each step of the site's first deployment."""
    store = Store.of(site.state)
    first = store.events(kind="deploy.started")[0].run
    return {one.payload["step"]: one.payload["ms"] for one in store.events(kind="step.finished", run=first)}


def cut(site: Site, wanted: Callable[[str], bool], delay: Callable[[str], float]) -> Cut | None:
    """Begin or resume a deployment, and cut the host of the first ``wanted`` step that is carried out (not one that is
    only asked whether it is still good) ``delay`` seconds after its row; the host is up again when this returns.

    None: the deployment ended and no such step had begun.
    """
    store = Store.of(site.state)
    before = store.last("deploy.started")
    good = _good(store, before)
    since = before.sequence if before else 0
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes", *resume(site)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment(), text=True, encoding="utf-8")  # fmt: skip
    deadline = time.monotonic() + _PATIENCE
    found: Event | None = None
    while found is None and process.poll() is None and time.monotonic() < deadline:
        rows = [one for one in store.events(kind="step.started") if one.sequence > since]
        found = next((one for one in rows if one.payload["step"] not in good and wanted(one.payload["step"])), None)
        time.sleep(0.02)
    if found is None:
        told, _ = process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0, told
        return None
    step, host = found.payload["step"], found.payload["host"]
    time.sleep(delay(step))
    lab.power_cut(site, host)
    told, _ = process.communicate(timeout=_PATIENCE)
    ends = [one for one in store.events(kind="step.finished") if one.sequence > since and one.payload["step"] == step]
    lab.boot(site, host)
    return Cut(step, host, ends[-1].payload["state"], process.returncode, told)


def _good(store: Store, last: Event | None) -> set[str]:
    """What the run before left as good: a resumed one only asks whether it still is."""
    good: set[str] = set()
    for one in store.events(kind="step.", run=last.run) if last else []:
        if one.kind == "step.started":
            good.discard(one.payload["step"])
        elif one.payload["state"] in ("good", "kept"):
            good.add(one.payload["step"])
    return good
