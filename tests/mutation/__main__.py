"""``make mutation``: every fault on real hosts, healthy hosts of both releases, the table in docs/mutation.md.

Ends with one JSON line: ids caught, missed, with collateral, proved from recorded answers, false alarms, ids in all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from power import implops, write_demo, write_site

from implops.check import registry
from implops.site import Site
from mutation import catalogue, page, recorded
from mutation.bench import BAD, Bench, Outcome, Seen, prove
from mutation.fault import Fault

SCENES = ("bare", "deployed", "mariadb")
EDITS = {"bookworm": lambda text: text, "trixie": catalogue.of_trixie, "mariadb": catalogue.of_mariadb}
HOSTS = {"bookworm": ("bare", "deployed"), "mariadb": ("mariadb",), "trixie": ("bare", "deployed")}
EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def booted(kind: str) -> Iterator[Site]:
    """The bare hosts of docs/site.yml, as it is or edited."""
    with tempfile.TemporaryDirectory(prefix="implops-mutation-") as folder:
        site = write_demo(write_site(Path(folder) / kind, EDITS[kind]))
        shutil.copytree(EXAMPLES / "his" / "schema-mariadb", site.base / "release" / "schema-mariadb")
        try:
            implops("lab", "up", site.path)
            yield site
        finally:
            implops("lab", "down", site.path, code=None)


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def deploy(site: Site) -> None:
    implops("check", site.path, code=None)
    implops("bundle", "build", site.path, timeout=900)
    implops("deploy", site.path, "--yes", timeout=900)


def on_hosts(kind: str, faults: list[Fault], scenes: tuple[str, ...]) -> tuple[list[Outcome], list[str]]:
    """Outcomes of the faults on these hosts, and false alarms there: in each scene, before and after the faults."""
    outcomes: list[Outcome] = []
    alarms: list[str] = []
    with booted(kind) as site:
        bench = Bench(site, implops)
        for scene in scenes:
            if scene != "bare":
                try:
                    deploy(site)
                except AssertionError as error:
                    # Its faults count as missed: nothing was seen of them.
                    say(str(error))
                    alarms.append(f"{kind}: could not be deployed")
                    break
            chosen = [one for one in faults if one.scene == scene]
            alarms += _told(kind, scene, bench.learn())
            if any(one.deep for one in chosen):
                # What it says about speeds is the machine's: many share its disk.
                bench.learn(deep=True)
            outcomes += prove(bench, chosen, say)
            if chosen:
                changed = bench.changes(bench.check(), deep=False, edited=False)
                left = {key: one for key, one in changed.items() if one[0] in BAD or one[0] == "gone"}
                alarms += _told(kind, f"{scene}, after all was undone", left)
    return outcomes, alarms


def _told(kind: str, scene: str, seen: Seen) -> list[str]:
    found = [f"{kind} {scene}: {'/'.join(key[:2])} {key[2]} {' '.join(one)}" for key, one in seen.items()]
    for line in found:
        say(f"false alarm: {line}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="these ids only; writes no page")
    parser.add_argument("--short", action="store_true", help="the short run; writes no page")
    parser.add_argument("--scene", choices=SCENES, help="this scene only; writes no page")
    parser.add_argument("--record", action="store_true", help="write the answers of healthy hosts anew, nothing else")
    given = parser.parse_args()
    if given.record:
        with booted("bookworm") as site:
            implops("check", site.path)
            recorded.keep(site)
        return 0
    part = bool(given.only or given.short or given.scene)
    faults = [one for one in catalogue.load() if not given.only or one.id in given.only]
    faults = [one for one in faults if (one.short or not given.short) and given.scene in (None, one.scene)]
    scenes = tuple(one for one in SCENES if not part or any(fault.scene == one for fault in faults))
    outcomes: list[Outcome] = []
    alarms: list[str] = []
    proofs = [] if part else recorded.prove()
    ids = sorted({one.id for one in faults}) if part else list(registry.load(None))
    total: dict[str, int] = {}
    for kind, shown in HOSTS.items():
        chosen = tuple(one for one in shown if one in scenes)
        if not chosen or (part and kind == "trixie"):
            continue
        more, told = on_hosts(kind, [] if kind == "trixie" else faults, chosen)
        outcomes, alarms = outcomes + more, alarms + told
        total = page.totals(ids, outcomes, proofs, alarms)
        if not part:
            # After each kind of hosts: a run that is cut short has told what it saw.
            page.write(outcomes, proofs, alarms, total)
    for one in outcomes:
        if part or not one.good:
            print(page.line(one))
    print(json.dumps(total))
    return 0 if total["caught"] + total["recorded"] == total["total"] and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
