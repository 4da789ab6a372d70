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
from collections.abc import Iterator
from pathlib import Path

import endstate
import pytest
from power import environment, implops, ssh, write_demo, write_site
from releases import prepare

from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab
KILLER = Path(__file__).with_name("killer.py")
# When, at which record of the process that is killed. The run goes on from where the one before was cut off.
POINTS = [
    ("after", 1),
    ("before", 5),
    ("after", 7),
    ("before", 12),
    ("after", 20),
    ("before", 33),
    ("after", 46),
    ("before", 60),
]


def bare(folder: Path, reference: Site) -> Iterator[Site]:
    """Hosts of its own, with the secrets of the site that it will be compared with."""
    site = write_demo(write_site(folder))
    for secret in (reference.base / "secrets").iterdir():
        if secret.name != "id_ed25519":
            (site.base / "secrets" / secret.name).write_bytes(secret.read_bytes())
    try:
        implops("lab", "up", site.path)
        prepare(site)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


@pytest.fixture
def victim(deployed: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from bare(tmp_path_factory.mktemp("kill"), deployed)


def resume(site: Site) -> list[str]:
    started = Store.of(site.state).events(kind="deploy.started")
    return ["--resume", "last"] if started else []


def killed(site: Site, when: str, number: int) -> bool:
    """Whether it died there; False: it had come to its end before."""
    command = [sys.executable, KILLER, when, str(number), "deploy", site.path, "--yes", *resume(site)]
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=600,
                          env=environment())  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def compare(site: Site, reference: Site) -> None:
    assert endstate.differences(endstate.of(reference), endstate.of(site)) == []
    for name in site.hosts:
        left = ssh(site, name, "ls /var/lib/implops; find /etc /opt/implops -name '*.part' 2>/dev/null").stdout
        assert "lock" not in left
        assert "installing" not in left
        assert ".part" not in left


def test_1_killed_at_eight_records_and_resumed(victim: Site, deployed: Site) -> None:
    # Bare hosts first: the plan says what will be done, and what only its own steps can tell.
    plan = implops("deploy", victim.path, "--dry-run", timeout=300).stdout
    assert "安装 PostgreSQL 软件包" in plan
    assert "执行到此之前不能确定" in plan
    assert '+zone "his.example"' in plan
    password = (victim.base / "secrets" / "db_app").read_text(encoding="ascii").strip()
    assert password not in plan
    assert ssh(victim, "db1", "ls /etc/postgresql /var/lib/implops/bundle").returncode != 0
    for when, number in POINTS:
        assert killed(victim, when, number)
    implops("deploy", victim.path, "--yes", "--resume", "last", timeout=600)
    compare(victim, deployed)
    store = Store.of(victim.state)
    assert len(store.events(kind="deploy.started")) in range(len(POINTS), len(POINTS) + 2)
    # Nothing of the schema was executed twice, and no package installed twice.
    for name in victim.hosts:
        history = ssh(victim, name, "cat /var/log/apt/history.log 2>/dev/null; true").stdout
        lines = [line.partition(" install -- ")[2] for line in history.splitlines() if " install -- " in line]
        assert len(lines) == len(set(lines)), lines
    implops("record", "verify", victim.path)


def worker_of(parent: int) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            status = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(status[1]) == parent and b"implops.deploy.worker" in (process / "cmdline").read_bytes():
                return int(process.name)
    return None


def at_random(site: Site, chance: random.Random) -> str:
    """Kill the tool, its worker, or both, at some moment; what was done, empty when it came to its end before."""
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes", *resume(site)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=environment())  # fmt: skip
    time.sleep(chance.uniform(0.5, 25.0))
    victims = chance.choice(("tool", "worker", "both"))
    worker = worker_of(process.pid)
    if process.poll() is None and victims in ("tool", "both"):
        os.kill(process.pid, signal.SIGKILL)
    if worker is not None and victims in ("worker", "both"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    code = process.wait(600)
    return "" if code == 0 else f"{victims}:{code}"


def finished(site: Site) -> bool:
    """Whether the run came to its good end; what is killed after that are only its documents."""
    ended = Store.of(site.state).last("deploy.finished")
    return ended is not None and ended.payload["conclusion"] == "pass"


@pytest.mark.full
def test_2_killed_sixty_times(deployed: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    seed = int(os.environ.get("IMPLOPS_KILL_SEED", "20261125"))
    chance = random.Random(seed)
    kills: list[str] = []
    rounds = 0
    while len(kills) < 60:
        rounds += 1
        for site in bare(tmp_path_factory.mktemp(f"kill{rounds}"), deployed):
            number = 0
            while not finished(site):
                # Every other time at a record, further on each time; else at any moment.
                if len(kills) % 2:
                    number += chance.randint(1, 6)
                    done = f"{'before' if number % 2 else 'after'}:{number}"
                    if not killed(site, *done.split(":")[:1], number):
                        break
                elif not (done := at_random(site, chance)):
                    break
                kills.append(done)
            if not finished(site):
                implops("deploy", site.path, "--yes", "--resume", "last", timeout=600)
            compare(site, deployed)
    print(json.dumps({"kills": len(kills), "rounds": rounds, "seed": seed}))
