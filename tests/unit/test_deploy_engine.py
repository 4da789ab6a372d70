"""Which step begins when: a host is free while a step of it is verified, for steps that do not need that one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from implops.cli import steps
from implops.deploy import engine, plan, recipes
from implops.deploy.engine import Done, Journal
from implops.deploy.plan import Step
from implops.site import Site


class Script:
    """Stands for both pipes of a worker. ``steps``: step -> messages that it gives when it was ordered."""

    def __init__(self, steps: dict[str, list[dict[str, Any]]]) -> None:
        self.steps, self.waiting, self.ordered = steps, list[dict[str, Any]](), list[str]()
        # Steps that are to tell before they change something.
        self.leaving = list[str]()

    def write(self, line: bytes) -> None:
        message = json.loads(line)
        step = message["step"]
        if "go" in message:
            # Refused, a worker stops the step.
            self.waiting.append({"step": step, **(GOOD if message["go"] else STOPPED)})
            return
        self.ordered.append(step)
        if message.get("leave"):
            self.leaving.append(step)
        self.waiting += [{"step": step, **one} for one in self.steps.get(step, [GOOD])]

    def flush(self) -> None:
        pass

    def readline(self) -> bytes:
        # What a worker says of one step comes in its order; the verification ends last of all.
        self.waiting.sort(key=lambda one: one.get("last", False))
        return json.dumps(self.waiting.pop(0)).encode() + b"\n" if self.waiting else b""


END: dict[str, Any] = {"event": "step", "error": None, "probes": [], "asked": [], "changed": 1, "same": 0, "ms": 1}
GOOD = END
VERIFYING = {"event": "verifying"}
CHANGING = {"event": "changing"}
STOPPED = {**END, "error": {"code": "stopped", "detail": ""}, "changed": 0}
BAD = {**END, "error": {"code": "probe", "probes": ["tcp"], "detail": ""}, "last": True}


def conduct(
    site: Site,
    worker: Script,
    *,
    strict: bool,
    ready: Callable[[Step], dict[str, Any] | None] | None = None,
    before: Callable[[Step], dict[str, Any] | None] = lambda step: None,
    made: plan.Plan | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Orders in their sequence, and how each step ended (with the key of an error of our own)."""
    made = made or plan.make(site, recipes.load(site.base))
    journal = Journal(lambda step: None, lambda step, message: None, lambda done: None, ready, before=before)
    pipe: Any = worker
    done: list[Done] = engine._conduct(made, "R1", frozenset(), journal, pipe, pipe, False, strict)
    return worker.ordered, {one.step.id: (one.error or {}).get("key", one.state) for one in done}


@pytest.fixture
def ready(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(plan.Plan, "order", lambda self, step, run, mode: {"step": step.id})
    return site


def test_another_step_of_the_host_begins_while_one_is_verified(ready: Site) -> None:
    late = {**GOOD, "last": True}
    orders, states = conduct(ready, Script({"postgresql@db1": [VERIFYING, late]}), strict=False)
    assert set(states.values()) == {"good"}
    # The backup of the host does not need the database server; its schema does.
    assert orders.index("backup_jobs@db1") < orders.index("schema@db1")
    script = Script({"postgresql@db1": [VERIFYING, BAD]})
    orders, states = conduct(ready, script, strict=False)
    assert "backup_jobs@db1" in orders
    assert "schema@db1" not in orders
    assert (states["postgresql@db1"], states["backup_jobs@db1"], states["schema@db1"]) == ("failed", "good", "blocked")
    assert states["app_war@app1"] == "blocked"


def test_where_hosts_are_in_use_they_do_one_thing_after_the_other(ready: Site) -> None:
    orders, states = conduct(ready, Script({"postgresql@db1": [VERIFYING, BAD]}), strict=True)
    assert "backup_jobs@db1" not in orders
    assert states["backup_jobs@db1"] == "blocked"


def test_users_are_led_away_before_the_first_change_and_only_then(ready: Site) -> None:
    asked: list[str] = []
    script = Script({"tomcat@app1": [CHANGING]})
    _, states = conduct(ready, script, strict=True, ready=lambda step: asked.append(step.id))
    assert set(states.values()) == {"good"}
    # What interrupts the service says so first; what found nothing to change led nobody away.
    assert script.leaving == ["jdk@app1", "tomcat@app1", "app_war@app1"]
    assert asked == ["tomcat@app1"]
    # Nobody is led away where no host is in use.
    script = Script({})
    conduct(ready, script, strict=True)
    assert script.leaving == []


def test_a_host_that_users_cannot_be_led_away_from_is_not_changed(ready: Site) -> None:
    refusal = {"code": "host", "key": "deploy.front", "params": {}}
    _, states = conduct(ready, Script({"tomcat@app1": [CHANGING]}), strict=True, ready=lambda step: refusal)
    assert (states["tomcat@app1"], states["app_war@app1"]) == ("deploy.front", "blocked")


def test_data_that_cannot_be_saved_are_not_touched(ready: Site) -> None:
    made = plan.saved_first(plan.make(ready, recipes.load(ready.base)), "db1")
    orders, states = conduct(ready, Script({}), strict=False, made=made)
    # The backup jobs come before what changes the data, the server before the backup jobs' first run.
    for step in ("schema@db1", "app_war@app1"):
        assert orders.index("backup_jobs@db1") < orders.index(step)
        assert orders.index("postgresql@db1") < orders.index(step)
    assert set(states.values()) == {"good"}
    fault = {"code": "host", "exit": 1, "key": "backup.backup_failed", "params": {}}
    orders, states = conduct(
        ready, Script({}), strict=False, made=made, before=lambda step: fault if plan.touches_data(step) else None
    )
    assert (states["schema@db1"], states["app_war@app1"]) == ("backup.backup_failed", "blocked")
    assert not {"schema@db1", "app_war@app1"} & set(orders)
    assert "backup_jobs@db1" in orders


def test_what_a_recipe_refuses_is_a_failed_step_and_no_lost_host(ready: Site) -> None:
    step = plan.make(ready, recipes.load(ready.base)).step("app_war@app1")
    refused = Done(step, "failed", error={"code": "host", "exit": 1, "key": "recipe.app_war.in_the_way", "params": {}})
    silent = Done(step, "failed", error={"code": "host", "exit": 3, "key": "remote.timeout", "params": {}})
    assert (steps.away(refused), steps.code([refused], [])) == (False, 1)
    assert (steps.away(silent), steps.code([silent], [])) == (True, 3)
    assert steps.code([silent, refused], []) == 1
    assert steps.away(Done(step, "lost", error={"code": "failed"}))


def test_what_others_wait_for_comes_first(ready: Site) -> None:
    made = plan.make(ready, recipes.load(ready.base))
    place = {step.id: number for number, step in enumerate(made.urgent())}
    assert set(place) == {step.id for step in made.steps}
    assert all(place[need] < place[step.id] for step in made.steps for need in step.needs)
    # app_war waits for Tomcat, nobody for the backup of the host.
    assert place["tomcat@app1"] < place["backup_jobs@app1"]
