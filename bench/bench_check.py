"""``make bench-check``: implops check against bare SSH on the same 20 lab hosts, whole processes, in one run.

(a) bare     one Python process, paramiko threads: connect to every host and run ``true``
(b) floor    the same with implops's own scripts, both trips, answers discarded
    check    ``implops check --json --no-document``

Prints a table and ends with one JSON line; the ratio is check / floor, medians of wall time.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from implops import kit
from implops.check import registry
from implops.check.gather import _parameters, kinds
from implops.deploy.recipes import planned
from implops.facts.script import assemble, load_probe
from implops.site import Site, load

HOSTS, ROUNDS, NETWORK = 20, 7, "10.77.240"
FLOOR = Path(__file__).with_name("floor.py")


def write_site(folder: Path) -> Site:
    """The annotated site with seventeen application hosts."""
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{NETWORK}.")
    hosts = [
        f"  app{number}: {{address: {NETWORK}.{20 + number}, roles: [app], owner: -}}" for number in range(2, HOSTS - 2)
    ]
    marker = "  dns1: {address:"
    text = text.replace(marker, "\n".join([*hosts, marker]), 1)
    (folder / "site.yml").write_text(text, encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic"):
        path = folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18), encoding="ascii")
    return load(folder / "site.yml")


def plan(site: Site) -> dict[str, object]:
    """What the floor program needs: addresses, key, pinned keys, both scripts of every host."""
    registry.load(site.base)
    probes, plans, found = kit.files("checks/probes", site.base, "*.sh"), planned(site), {}
    for host in site.hosts.values():
        mine = [one for one in plans if one.host == host.name]
        scripts = []
        for trip in (1, 2):
            chosen = [kind for kind in kinds() if kind.trip == trip]
            made = [load_probe(kind.section, probes, _parameters(kind, site, host, mine)) for kind in chosen]
            scripts.append(assemble(made, "bench"))
        found[host.name] = {"address": host.address, "scripts": scripts}
    about = {"user": site.ssh.user, "key": str(site.ssh.key), "known_hosts": str(site.known_hosts)}
    return {**about, "hosts": found}


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a whole process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"bench: {' '.join(command)}: exit {done.returncode}\n{done.stdout[-500:]}{done.stderr[-500:]}"
        )
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    os.environ.setdefault("IMPLOPS_OPERATOR", "bench/0")
    implops = [sys.executable, "-m", "implops.cli.main"]
    with tempfile.TemporaryDirectory(prefix="implops-bench-") as folder:
        site = write_site(Path(folder))
        try:
            subprocess.run([*implops, "lab", "up", str(site.path), "-q"], check=True, stdout=subprocess.DEVNULL)
            path = Path(folder) / "plan.json"
            path.write_text(json.dumps(plan(site)), encoding="utf-8")
            contenders = {
                "bare": [sys.executable, str(FLOOR), str(path), "true"],
                "floor": [sys.executable, str(FLOOR), str(path), "scripts"],
                "check": [*implops, "check", str(site.path), "--json", "--no-document"],
                "help": [*implops, "--help"],
            }
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
            for number in range(ROUNDS + 1):
                for name, command in contenders.items():
                    one = timed(command)
                    if number:  # the first round warms caches
                        times[name].append(one)
        finally:
            subprocess.run([*implops, "lab", "down", str(site.path), "-q"], stdout=subprocess.DEVNULL)
    report(times)


def report(times: dict[str, list[tuple[float, float]]]) -> None:
    wall = {name: statistics.median(one[0] for one in found) for name, found in times.items()}
    cpu = {name: statistics.median(one[1] for one in found) for name, found in times.items()}
    print(f"{HOSTS} hosts, {ROUNDS} rounds, medians\n{'':8}{'wall s':>10}{'CPU s':>10}{'x floor':>10}")
    for name in times:
        print(f"{name:8}{wall[name]:>10.2f}{cpu[name]:>10.2f}{wall[name] / wall['floor']:>10.2f}")
    own = (cpu["check"] - cpu["floor"]) * 1000 / HOSTS
    print(f"own CPU a host, start-up included: {own:.1f} ms; round trips a host: 2")
    line = {
        "bench": "check", "ratio": round(wall["check"] / wall["floor"], 3), "floor_s": round(wall["floor"], 3),
        "check_s": round(wall["check"], 3), "bare_s": round(wall["bare"], 3), "hosts": HOSTS,
        "own_cpu_ms_per_host": round(own, 1), "help_cpu_s": round(cpu["help"], 3),
    }  # fmt: skip
    print(json.dumps(line))


if __name__ == "__main__":
    main()
