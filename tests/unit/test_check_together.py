"""Checks that compare hosts: what is not known of one host keeps nobody else from being compared."""

from __future__ import annotations

import pytest
from mutation import recorded

from implops.facts.names import fqdns


@pytest.mark.parametrize("id", ["ACC08", "ACC10", "TIM03", "TIM04"])
def test_a_host_that_was_not_measured_is_the_only_error(id: str) -> None:
    site = recorded.site()
    told = recorded.answers(site)
    told["app1"][1] = b""
    states = {one.host: one.state for one in recorded.look(site, told, id)}
    # dns1 serves the time: TIM04 has nothing to say about it.
    assert {name: state for name, state in states.items() if state != "pass"} == {"app1": "error"}
    assert {"db1", "sto1"} <= set(states)


def test_names_of_the_hosts_file_are_known_while_no_name_server_runs_yet() -> None:
    site = recorded.site()
    told = recorded.answers(site)
    names = fqdns(site)
    known = tuple(f"{name} 0 {address}" for name, address in names.items())
    for host, trips in told.items():
        told[host][2] = recorded.edit(trips[2], "names", {"name": known})
    # Recorded on bare hosts: the server of the site refuses every question.
    found = recorded.look(site, told, "DNS02")
    assert [(one.host, one.result.target) for one in found] == [(host, "/etc/hosts") for host in site.hosts]
    assert {one.result.actual for one in found} == {f"{len(names)} / {len(names)}"}
    assert {(one.state, one.result.note) for one in found} == {("pass", "from_hosts_file")}
    # A name that was not asked of the server is not known to be served.
    (first, *rest) = (f"10.77.1.13 {name} Connection refused" for name in names)
    told["app1"][2] = recorded.edit(told["app1"][2], "served", {"served": tuple(rest)})
    wrong = [one for one in recorded.look(site, told, "DNS02") if one.state != "pass"]
    assert [(one.host, one.state, one.result.target) for one in wrong] == [("app1", "error", first.split(" ")[1])]


def test_a_controller_is_compared_with_the_hosts_that_have_a_clock() -> None:
    site = recorded.site()
    told = recorded.answers(site)
    told["db1"][1] = b""
    assert [one.host for one in recorded.look(site, told, "TIM07")] == ["app1"]
    assert [one.state for one in recorded.look(site, {name: {1: b""} for name in told}, "TIM07")] == ["error"]
