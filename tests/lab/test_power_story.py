"""The power is cut in every step of a deployment, each time on the step's own host; the end is that of a quiet one."""

from __future__ import annotations

import json
import os
import random
from contextlib import contextmanager
from pathlib import Path

import pytest
from cuts import cut, plan, took
from kills import bare, compare, resume
from power import implops
from releases import last

from implops.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.full]


# A host at a time: the others come to the end of their steps while one is away, and those would never be cut.
@pytest.mark.parametrize("host", ["db1", "app1", "dns1", "sto1"])
def test_power_cut_in_every_step_of_a_host(deployed: Site, tmp_path: Path, host: str) -> None:
    seed = int(os.environ.get("IMPLOPS_POWER_SEED", "20261127"))
    chance = random.Random(f"{seed} {host}")
    usual = took(deployed)
    left = [step for step in plan(deployed) if step.endswith(f"@{host}")]
    done = []
    # A step that came and went while the one before it was being verified gets its cut on another site.
    for attempt in range(3):
        with contextmanager(bare)(tmp_path / str(attempt), deployed) as site:
            # At any moment of the step, as long as it took where nothing happened.
            while left and (
                one := cut(site, left.__contains__, lambda step: chance.uniform(0.0, 0.9) * usual[step] / 1000)
            ):
                print(f"{one.step}: {one.state}, exit {one.code}", flush=True)
                assert one.state in ("lost", "good"), one.told
                # 1: while it is away, another host's step may fail that asks it.
                assert one.code in (1, 3), one.told
                left.remove(one.step)
                done.append(one)
            if not left:
                implops("deploy", site.path, "--yes", *resume(site), timeout=600)
            assert last(site, "deploy.finished")["conclusion"] == "pass"
            compare(site, deployed, once=False)
            implops("record", "verify", site.path)
        if not left:
            break
    assert not left
    inside = sum(one.state == "lost" for one in done)
    print(json.dumps({"host": host, "cuts": len(done), "in_the_step": inside, "seed": seed}))
