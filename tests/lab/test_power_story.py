"""The power is cut in every step of a deployment, each time on the step's own host; the end is that of a quiet one."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator

import pytest
from cuts import cut, plan, took
from kills import compare, resume, share_secrets
from power import implops, write_demo, write_site
from releases import last, prepare

from implops.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.full]


@pytest.fixture
def bare(deployed: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = write_demo(write_site(tmp_path_factory.mktemp("cuts")))
    share_secrets(site, deployed)
    try:
        implops("lab", "up", site.path)
        prepare(site)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


# A host at a time: the others come to the end of their steps while one is away, and those would never be cut.
@pytest.mark.parametrize("host", ["db1", "app1", "dns1", "sto1"])
def test_power_cut_in_every_step_of_a_host(deployed: Site, bare: Site, host: str) -> None:
    seed = int(os.environ.get("IMPLOPS_POWER_SEED", "20261127"))
    chance = random.Random(f"{seed} {host}")
    usual = took(deployed)
    left = [step for step in plan(deployed) if step.endswith(f"@{host}")]
    done = []
    while left:
        # At any moment of the step, as long as it took where nothing happened.
        one = cut(bare, left.__contains__, lambda step: chance.uniform(0.0, 0.9) * usual[step] / 1000)
        assert one, f"never carried out: {left}"
        print(f"{one.step}: {'after its end' if one.ended else 'in it'}, exit {one.code}", flush=True)
        assert one.code == 3, one.told
        left.remove(one.step)
        done.append(one)
    implops("deploy", bare.path, "--yes", *resume(bare), timeout=600)
    assert last(bare, "deploy.finished")["conclusion"] == "pass"
    compare(bare, deployed, once=False)
    implops("record", "verify", bare.path)
    print(
        json.dumps({"host": host, "cuts": len(done), "in_the_step": sum(not one.ended for one in done), "seed": seed})
    )
