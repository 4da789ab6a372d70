"""``make bench-check``: implops check against bare SSH and against peers on the same lab hosts, whole processes.

(a) bare     one Python process, paramiko threads: connect to every host and run ``true``
(b) floor    the same with implops's own scripts, both trips, answers discarded
    check    ``implops check --json --no-document``: every check without --deep
(c) pyinfra facts, (d) an Ansible playbook of the same facts, (e) testinfra, twelve assertions (20 hosts, one round)

At 20 hosts and at 100 (``--hosts``). Prints tables and ends with one JSON line; ratios are check / floor, medians of
wall time.
"""

from __future__ import annotations

import argparse
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

import peers

from implops import kit, lab
from implops.check import registry
from implops.check.gather import scripts_of
from implops.deploy.recipes import planned
from implops.facts.script import assemble
from implops.lab import base
from implops.site import Site, load

SIZES = {20: 5, 100: 3}  # hosts -> rounds
OTHER_ROUNDS = 3
NETWORK = "10.77.240"
FLOOR = Path(__file__).with_name("floor.py")
# Exit codes that still mean a whole run: check found faults (1) or could not measure (3); a test failed (1).
GOOD = (0, 1, 3)


def write_site(folder: Path, hosts: int) -> Site:
    """The annotated site with as many application hosts as make ``hosts`` in all."""
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{NETWORK}.")
    more = [
        f"  app{number}: {{address: {NETWORK}.{20 + number}, roles: [app], owner: -}}" for number in range(2, hosts - 2)
    ]
    marker = "  dns1: {address:"
    text = text.replace(marker, "\n".join([*more, marker]), 1)
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
    plans, found = planned(site), {}
    for host in site.hosts.values():
        scripts = [assemble(probes, "bench") for _, _, probes in scripts_of(site, plans, host, (1, 2))]
        found[host.name] = {"address": host.address, "scripts": scripts}
    about = {"user": site.ssh.user, "key": str(site.ssh.key), "known_hosts": str(site.known_hosts)}
    return {**about, "hosts": found}


def timed(command: list[str]) -> tuple[float, float, int]:
    """Wall and CPU seconds of a whole process with its children, and the most memory that one of them took (MiB)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in GOOD:
        raise SystemExit(f"bench: {' '.join(command)[:300]}: exit {process.returncode}\n{said.decode()[-1500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, usage.ru_maxrss // 1024


def measure(hosts: int, rounds: int, others: bool) -> dict[str, list[tuple[float, float, int]]]:
    """Boot the hosts, run every contender in turn, bring the hosts down."""
    implops = [sys.executable, "-m", "implops.cli.main"]
    times: dict[str, list[tuple[float, float, int]]] = {}
    with tempfile.TemporaryDirectory(prefix="implops-bench-") as folder:
        site = write_site(Path(folder), hosts)
        try:
            if others and "python3" not in base.PACKAGES:
                # Ansible cannot work without it on the hosts; implops and its floor do not use it.
                base.PACKAGES += ("python3",)
            lab.up(site)
            path = Path(folder) / "plan.json"
            path.write_text(json.dumps(plan(site)), encoding="utf-8")
            contenders = {
                "bare": [sys.executable, str(FLOOR), str(path), "true"],
                "floor": [sys.executable, str(FLOOR), str(path), "scripts"],
                "check": [*implops, "check", str(site.path), "--json", "--no-document"],
                "help": [*implops, "--help"],
            }
            for number in range(rounds + 1):
                for name, command in contenders.items():
                    one = timed(command)
                    if number:  # the first round warms caches
                        times.setdefault(name, []).append(one)
            if others:
                for name, command in peers.commands(site, Path(folder)).items():
                    times[name] = [timed(command)]
        finally:
            subprocess.run([*implops, "lab", "down", str(site.path), "-q"], stdout=subprocess.DEVNULL)
    return times


def report(hosts: int, times: dict[str, list[tuple[float, float, int]]]) -> dict[str, object]:
    """The table of one size, and its part of the last line."""
    wall = {name: statistics.median(one[0] for one in found) for name, found in times.items()}
    cpu = {name: statistics.median(one[1] for one in found) for name, found in times.items()}
    most = {name: max(one[2] for one in found) for name, found in times.items()}
    print(f"{hosts} hosts, {len(times['check'])} rounds, medians\n"
          f"{'':10}{'wall s':>10}{'CPU s':>10}{'x floor':>10}{'MiB':>8}")  # fmt: skip
    for name in times:
        print(f"{name:10}{wall[name]:>10.2f}{cpu[name]:>10.2f}{wall[name] / wall['floor']:>10.2f}{most[name]:>8}")
    sys.stdout.flush()
    return {
        "ratio": round(wall["check"] / wall["floor"], 3), "floor_s": round(wall["floor"], 3),
        "check_s": round(wall["check"], 3), "bare_s": round(wall["bare"], 3), "check_mib": most["check"],
        "own_cpu_ms_per_host": round((cpu["check"] - cpu["floor"]) * 1000 / hosts, 1),
        "help_cpu_s": round(cpu["help"], 3),
        **{f"{name}_s": round(wall[name], 1) for name in ("pyinfra", "ansible", "testinfra") if name in wall},
    }  # fmt: skip


def main() -> None:
    os.environ.setdefault("IMPLOPS_OPERATOR", "bench/0")
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    options = _options()
    sizes = sorted(set(options.hosts))
    if not options.no_peers:
        peers.ready()
    line: dict[str, object] = {"bench": "check"}
    cpus = {}
    for hosts in sizes:
        rounds = options.rounds or SIZES.get(hosts, OTHER_ROUNDS)
        times = measure(hosts, rounds, others=not options.no_peers and hosts == sizes[0])
        line |= {f"{key}_{hosts}": value for key, value in report(hosts, times).items()}
        cpus[hosts] = statistics.median(one[1] for one in times["check"]) - statistics.median(
            one[1] for one in times["floor"]
        )
    if len(sizes) > 1:
        # What each further host costs beyond the floor's share of it: start-up falls out of the difference.
        least, most = sizes[0], sizes[-1]
        line["own_cpu_ms_per_further_host"] = round((cpus[most] - cpus[least]) * 1000 / (most - least), 1)
    print(json.dumps(line))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: bench/bench_check.py --hosts 20 --rounds 2 --no-peers    a quick look",
    )  # fmt: skip
    parser.add_argument("--hosts", type=_size, nargs="+", default=list(SIZES), metavar="N",
                        help="sizes of the lab, at least 4 hosts each (default: 20 100)")  # fmt: skip
    parser.add_argument("--rounds", type=_rounds, metavar="N",
                        help="rounds of each size (default: 5 at 20 hosts, else 3)")  # fmt: skip
    parser.add_argument("--no-peers", action="store_true",
                        help="without pyinfra, Ansible and testinfra, which run at the smallest size")  # fmt: skip
    return parser.parse_args()


def _size(word: str) -> int:
    # The lab's network has room for these.
    if not word.isdecimal() or not 4 <= int(word) <= 200:
        raise argparse.ArgumentTypeError(f"{word}: a number of hosts from 4 to 200")
    return int(word)


def _rounds(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word}: a number of rounds, at least 1")
    return int(word)


if __name__ == "__main__":
    main()
