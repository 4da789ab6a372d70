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


def on_hosts(kind: str, faults: list[Fault], scenes: tuple[str, ...]) -> Iterator[tuple[list[Outcome], list[str]]]:
    """Of each scene on these hosts: outcomes of its faults, and false alarms before and after them."""
    with booted(kind) as site:
        bench = Bench(site, implops)
        for scene in scenes:
            alarms: list[str] = []
            if scene != "bare":
                try:
                    deploy(site)
                except AssertionError as error:
                    # Its faults count as missed: nothing was seen of them.
                    say(str(error))
                    yield scene, [], [f"{kind}: could not be deployed"]
                    return
            alarms += _told(kind, scene, bench.learn())
            outcomes: list[Outcome] = []
            for deep in (False, True):
                chosen = [one for one in faults if one.scene == scene and one.deep == deep]
                if deep and chosen:
                    # What it says about speeds is the machine's: many share its disk.
                    bench.learn(deep=True)
                outcomes += prove(bench, chosen, say)
                if chosen:
                    changed = bench.changes(bench.check(), deep=False, edited=False)
                    left = {key: one for key, one in changed.items() if one[0] in BAD or one[0] == "gone"}
                    alarms += _told(kind, f"{scene}, after all was undone", left)
                yield scene, outcomes, alarms


def _told(kind: str, scene: str, seen: Seen) -> list[str]:
    found = [f"{kind} {scene}: {'/'.join(key[:2])} {key[2]} {' '.join(one)}" for key, one in seen.items()]
    for line in found:
        say(f"false alarm: {line}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="these ids only; writes no page")
    parser.add_argument("--short", action="store_true", help="the short run; writes no page")
    parser.add_argument("--scene", choices=SCENES, help="this scene anew; of the others the page keeps what it has")
    parser.add_argument("--record", action="store_true", help="write the answers of healthy hosts anew, nothing else")
    given = parser.parse_args()
    if given.record:
        with booted("bookworm") as site:
            implops("check", site.path)
            recorded.keep(site)
        return 0
    part = bool(given.only or given.short)
    faults = [one for one in catalogue.load() if not given.only or one.id in given.only]
    faults = [one for one in faults if one.short or not given.short]
    proofs = recorded.prove()
    ids = list(registry.load(None))
    seen: page.Parts = {}
    for kind, shown in HOSTS.items():
        mine = [] if kind == "trixie" else faults
        chosen = [one for one in shown if given.scene in (None, one)]
        chosen = [one for one in chosen if not part or any(fault.scene == one for fault in mine)]
        if not chosen:
            continue
        for scene, outcomes, told in on_hosts(kind, mine, chosen):
            name = f"{kind} {scene}"
            seen[name] = page.part([page.row(one) for one in outcomes], told)
            if not part:
                # After each step: a run that is cut short has told what it saw.
                page.keep(name, seen[name])
                total = page.write(ids, proofs)
    rows = [one for found in seen.values() for one in found["rows"]]
    if part:
        alarms = [one for found in seen.values() for one in found["alarms"]]
        total = page.totals(sorted({one.id for one in faults}), rows, [], alarms)
    for one in rows:
        if part or one["result"] != "caught":
            print(page.line(one))
    print(json.dumps(total))
    return 0 if total["caught"] + total["recorded"] == total["total"] and not total["false_alarms"] else 1


if __name__ == "__main__":
    sys.exit(main())
