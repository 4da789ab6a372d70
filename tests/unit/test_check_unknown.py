"""Nothing measured is nothing passed: for every check of the catalogue, before and after a deployment."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.check import registry
from implops.check.gather import Seen, kinds
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.deploy import recipes
from implops.facts.base import Section, build
from implops.site import load

CHECKS = registry.load(None)
# What this side measures itself, without an answer of the host: the login, and files of this machine.
OURS = {"ACC01", "ACC02", "ACC03", "ACC05", "ACC06", "SEC06"}
DECLARED = (
    ("# storage: ", "storage: {shares: [{path: /mnt/his, hosts: [app, db], user: tomcat, export: 'sto1:/srv'}]}\n# "),
    ("    listens: [53]", "    listens: [53]\n    mounts: {/srv: {size: 1 GB, options: [hard]}}"),
    ("/backup: {size: 20 GB, separate: true}", "/backup: {size: 1 GB}\n    snapshots: [v]\n    multipath: true"),
    ("      MEM04: {want: 100}", "      MEM04: {want: 100}\n      LIM11: {need: 262144}\n      NET12: {need: 60 s}"),
    ("# vips: [", "vips: ["),
    ("# huge_pages: true ", "  huge_pages: true #"),
)  # fmt: skip


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
@pytest.mark.parametrize("rows", [None, (), (("", "garbage"),)], ids=["missing", "empty", "noise"])
def test_a_host_that_told_nothing_passes_nothing(
    example: Path, done: bool, engine: str, rows: tuple[tuple[str, str], ...] | None
) -> None:  # fmt: skip
    text = example.read_text(encoding="utf-8")
    for old, new in DECLARED:
        assert old in text
        text = text.replace(old, new, 1)
    if engine == "mariadb":
        text = text.replace("engine: postgresql", "engine: mariadb").replace("major: 15", "major: 10")
        text = text.replace("encoding: UTF8", "encoding: utf8mb4").replace("listens: [5432]", "listens: [3306]")
    example.write_text(text, encoding="utf-8")
    site = load(example)
    planned = recipes.planned(site)
    ran = {name: [one.recipe for one in planned if one.host == name] for name in site.hosts} if done else {}
    told = {} if rows is None else {kind: build(kind, Section(rows)) for kind in kinds()}
    seen = {name: Seen(host, deep=True, facts=dict(told)) for name, host in site.hosts.items()}
    found = judge(Scene(site, seen, planned, ran, Limits(site, CHECKS)), CHECKS)
    assert {(one.id, one.result.actual) for one in found if one.state == "pass" and one.id not in OURS} == set()
    assert all(one.result.note != "reason.raised" for one in found)
    # Each check of the catalogue said something; but a second name server is not there, and a data directory in use may
    # be full.
    assert set(CHECKS) - {one.id for one in found} <= {"DNS09", *(["DSK09"] if done else [])}
