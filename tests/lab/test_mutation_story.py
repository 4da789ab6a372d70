"""Planted faults, many at a time: each is caught on its host with its value, nothing else changes, and nothing is left.

The short run of ``make mutation``, which knows more faults, tries them on more hosts and writes docs/mutation.md.
"""

from __future__ import annotations

import pytest
from mutation import catalogue, page
from mutation.bench import BAD, Bench, prove
from power import implops

from implops.site import Site

pytestmark = pytest.mark.lab


def short_run(site: Site, scene: str) -> None:
    bench = Bench(site, implops)
    assert bench.learn() == {}
    outcomes = prove(bench, [one for one in catalogue.load() if one.short and one.scene == scene])
    assert [page.line(page.row(one)) for one in outcomes if not one.good] == []
    left = bench.changes(bench.check(), deep=False, edited=False)
    assert {key: one for key, one in left.items() if one[0] in BAD} == {}


def test_faults_of_bare_hosts_are_caught_each_alone(site: Site) -> None:
    short_run(site, "bare")


def test_faults_of_a_deployed_site_are_caught_each_alone(deployed: Site) -> None:
    short_run(deployed, "deployed")
