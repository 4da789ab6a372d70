"""``--deep``: what loads a host is asked only when it is wanted, where the host can bear it, within its caps."""

from __future__ import annotations

import pytest

from implops.check import deep, registry, run
from implops.check.gather import Seen
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.errors import InputError
from implops.facts.base import Cost, Unknown
from implops.facts.deep import Repositories
from implops.facts.network import Listener, Ports
from implops.facts.system import Cpu
from implops.site import Site

CHECKS = registry.load(None)


def seen(site: Site, load: int | Unknown = 10, process: str = "sshd") -> Seen:
    cpu = Cpu(4, load, "tsc", "-", "x", frozenset())
    ports = Ports((Listener("tcp", "*", 22, (process,), (0,), 1024),))
    return Seen(site.hosts["db1"], facts={Cpu: cpu, Ports: ports})


@pytest.mark.parametrize(
    ("load", "process", "reason"),
    [
        (10, "sshd", None),
        (100, "sshd", None),
        (101, "sshd", "busy"),
        (10, "postgres", "live_database"),
        (10, "mariadbd", "live_database"),
        (Unknown("garbled"), "sshd", "load_unknown"),
    ],
)
def test_a_busy_host_and_a_running_database_are_left_alone(
    site: Site, load: int | Unknown, process: str, reason: str | None
) -> None:
    found = deep.refusal(seen(site, load, process), 100)
    assert (found.reason if found else None) == reason


def test_what_was_not_wanted_is_skipped_and_what_was_refused_is_not_measured(site: Site) -> None:
    one = seen(site)
    scene = Scene(site, {"db1": one}, [], {}, Limits(site, CHECKS))
    (left,) = judge(scene, CHECKS, ["OS10"])
    assert (left.state, left.result.note) == ("skip", "needs_deep")
    deep.untested(one, "busy", "350 %")
    (refused,) = judge(scene, CHECKS, ["OS10"])
    assert (refused.state, refused.result.note, refused.result.params) == ("error", "reason.busy", {"detail": "350 %"})


def test_every_fact_that_loads_a_host_names_its_cost_within_the_caps(site: Site) -> None:
    for cost in deep.costs(site, site.hosts.values()).values():
        assert 0 < cost.seconds <= deep.MOST_SECONDS
        assert cost.size <= deep.MOST_SIZE


def test_more_than_the_caps_is_refused_before_anything_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repositories, "cost", classmethod(lambda cls, site, host: Cost(1, 10_000)))
    with pytest.raises(InputError, match="db1"):
        deep.costs(site, site.hosts.values())


@pytest.mark.parametrize(
    ("sources", "state"),
    [
        ({}, "skip"),
        ({"http://a/dists/x/InRelease": "good"}, "pass"),
        ({"http://a/dists/x/InRelease": "dead"}, "warn"),
        ({"http://a/dists/x/InRelease": "good", "http://b/dists/x/InRelease": "dead"}, "warn"),
        ({"cdrom:[Debian]/InRelease": "media"}, "skip"),
    ],
)
def test_a_dead_source_is_told(site: Site, sources: dict[str, str], state: str) -> None:
    one = seen(site)
    one.deep, one.facts[Repositories] = True, Repositories(sources)
    (found,) = judge(Scene(site, {"db1": one}, [], {}, Limits(site, CHECKS)), CHECKS, ["OS10"])
    assert found.state == state


@pytest.mark.parametrize(
    ("only", "loads"),
    [
        (["ACC01", "NET01"], False),
        (["NET02", "NET12"], False),
        (["NET02", "NET06"], True),
        (["ACC01", "DSK14"], True),
        (["T.disks"], True),
        (["UPS"], False),
    ],
)
def test_a_choice_of_checks_loads_the_hosts_only_for_those_that_need_it(only: list[str], loads: bool) -> None:
    assert any(run._loads(CHECKS, id) for id in only) is loads
