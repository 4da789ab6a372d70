"""Killed at every record and at any moment, taken up again: the end is the same as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kills import bare, compare, killed, resume
from power import environment, implops

from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]


def worker_of(parent: int) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            status = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(status[1]) == parent and b"implops.deploy.worker" in (process / "cmdline").read_bytes():
                return int(process.name)
    return None


def at_random(site: Site, chance: random.Random) -> str:
    """Kill the tool, its worker, or both, at some moment; what was struck, empty when there was nothing left to."""
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes", *resume(site)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=environment())  # fmt: skip
    victims = chance.choice(("tool", "worker", "both"))
    worker = None
    if victims != "tool" or chance.random() < 0.7:
        # Most moments at which steps are carried out, some before.
        while worker is None and process.poll() is None:
            worker = worker_of(process.pid)
            time.sleep(0.05)
    time.sleep(chance.uniform(0.0, 5.0))
    struck = []
    if process.poll() is None and victims in ("tool", "both"):
        os.kill(process.pid, signal.SIGKILL)
        struck.append("tool")
    if worker is not None and victims in ("worker", "both"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
            struck.append("worker")
    process.wait(600)
    return "+".join(struck)


def finished(site: Site) -> bool:
    """Whether the run came to its good end; what is killed after that are only its documents."""
    ended = Store.of(site.state).last("deploy.finished")
    return ended is not None and ended.payload["conclusion"] == "pass"


def test_killed_sixty_times(deployed: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    seed = int(os.environ.get("IMPLOPS_KILL_SEED", "20261125"))
    chance = random.Random(seed)
    count = int(os.environ.get("IMPLOPS_KILL_COUNT", "60"))
    kills: list[str] = []
    rounds = 0
    while len(kills) < count:
        rounds += 1
        for site in bare(tmp_path_factory.mktemp(f"kill{rounds}"), deployed):
            number = 0
            while not finished(site) and len(kills) < count:
                # Every other time at a record, further on each time; else at any moment.
                if len(kills) % 2:
                    number += chance.randint(1, 6)
                    done = f"{'before' if number % 2 else 'after'}:{number}"
                    if not killed(site, *done.split(":")[:1], number):
                        break
                else:
                    done = at_random(site, chance)
                kills += [done] if done else []
                print(f"round {rounds}: {len(kills)} {done or 'nothing left'}", flush=True)
            if not finished(site):
                implops("deploy", site.path, "--yes", *resume(site), timeout=600)
            compare(site, deployed)
    print(json.dumps({"kills": len(kills), "rounds": rounds, "seed": seed}))
