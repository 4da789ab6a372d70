"""Checks that compare hosts: what is not known of one host keeps nobody else from being compared."""

from __future__ import annotations

import pytest
from mutation import recorded


@pytest.mark.parametrize("id", ["ACC08", "ACC10", "TIM03", "TIM04"])
def test_a_host_that_was_not_measured_is_the_only_error(id: str) -> None:
    site = recorded.site()
    told = recorded.answers(site)
    told["app1"][1] = b""
    states = {one.host: one.state for one in recorded.look(site, told, id)}
    # dns1 serves the time: TIM04 has nothing to say about it.
    assert {name: state for name, state in states.items() if state != "pass"} == {"app1": "error"}
    assert {"db1", "sto1"} <= set(states)


def test_a_controller_is_compared_with_the_hosts_that_have_a_clock() -> None:
    site = recorded.site()
    told = recorded.answers(site)
    told["db1"][1] = b""
    assert [one.host for one in recorded.look(site, told, "TIM07")] == ["app1"]
    assert [one.state for one in recorded.look(site, {name: {1: b""} for name in told}, "TIM07")] == ["error"]
