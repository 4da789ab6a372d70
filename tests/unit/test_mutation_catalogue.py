"""What ``make mutation`` stands on: a fault or a reason for every check, recorded faults, controls at the limit."""

from __future__ import annotations

from typing import Any

import pytest
from mutation import catalogue, recorded
from mutation.bench import batches
from mutation.controls import CONTROLS, Control, beyond
from mutation.fault import Fault, shell

from implops.check.limits import Limit, Limits

CHECKS = recorded.checks()
FAULTS = catalogue.load()


def test_a_fault_names_checks_that_exist_and_gives_reasons() -> None:
    known = set(CHECKS)
    for one in FAULTS:
        named = {one.id} | {id.rpartition("/")[2] for id in one.follows} - {"*"}
        assert named <= known, one.what
        assert all(one.follows.values()), one.what


def test_faults_that_could_meet_are_put_apart() -> None:
    def fault(id: str, host: str = "db1", **more: Any) -> Fault:
        return Fault(id, host, id, (shell("a", "b", touches=more.pop("touches", "")),), "fail", "x", **more)

    together = batches([fault("OS01"), fault("OS02"), fault("OS03", "app1", whole=True)])
    assert len(together) == 1
    for one, two in [
        (fault("OS01"), fault("OS01", "app1")),
        (fault("OS01", touches="/tmp"), fault("OS02", touches="/tmp")),
        (fault("OS01", whole=True), fault("OS02")),
        (fault("OS01", alone=True), fault("OS02", "app1")),
        (fault("OS01", follows={"OS02": "why"}), fault("OS02")),
        (fault("OS01", deep=True), fault("OS02", "app1")),
    ]:
        assert len(batches([one, two])) == 2


@pytest.mark.parametrize("proof", recorded.prove(), ids=lambda proof: proof.id)
def test_a_recorded_fault_is_caught(proof: recorded.Proof) -> None:
    assert proof.missed == ""


def _said(control: Control, value: int) -> str:
    site = recorded.site()
    told = recorded.answers(site)
    for host, sections in control.put(value).items():
        for section, lines in sections.items():
            trip = recorded.trip_of(told[host], section)
            told[host][trip] = recorded.edit(told[host][trip], section, lines)
    found = [one for one in recorded.look(site, told, control.id) if one.host == control.host]
    chosen = [one for one in found if not control.target or one.result.target == control.target]
    return chosen[0].state


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_at_the_limit_nothing_fires_and_one_step_beyond_it_does(control: Control) -> None:
    site = recorded.site()
    check = CHECKS[control.id]
    limit: Limit = control.limit or Limits(site, CHECKS).of(check, site.hosts[control.host])
    assert limit.need is not None or limit.want is not None
    if limit.want is not None:
        assert _said(control, limit.want) == "pass"
        assert _said(control, beyond(limit.want, control, ceiling=check.ceiling)) == "warn"
    if limit.need is not None:
        assert _said(control, limit.need) == ("pass" if limit.want in (None, limit.need) else "warn")
        assert _said(control, beyond(limit.need, control, ceiling=check.ceiling)) == (control.fires or check.severity)
