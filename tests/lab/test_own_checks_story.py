"""Checks of a user's own on real hosts: fact with probe and texts, one that raises, pytest files, attestations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import implops

from implops.site import Site

pytestmark = pytest.mark.lab

FILES = {
    "checks/printers.py": '''"""Printers of the site."""
from dataclasses import dataclass

from implops.check.registry import check
from implops.facts.base import Fact, attempt


@dataclass(frozen=True)
class Printers(Fact, section="printers"):
    queues: object

    @classmethod
    def read(cls, section):
        return cls(attempt(lambda: section.number("queues")))


@check("PRT01", "printer.queues", roles=("app",), severity="warn")
def queues(case):
    found = case.fact(Printers).queues
    return case.good(found, "≥ 1") if found else case.bad(found, "≥ 1")


@check("PRT02", "printer.raises", roles=("db",), severity="warn")
def raises(case):
    return 1 // 0
''',
    "checks/probes/printers.sh": 'kv queues "$(ls /etc/cups/ppd 2>/dev/null | wc -l)"\n',
    "checks/locale/zh-Hans.toml": '[PRT01]\ntitle = "打印队列"\nwhy = "要打印"\nfix = "建立打印队列"\n'
    '[PRT02]\ntitle = "打印测试"\nwhy = "试"\nfix = "试"\n',
    "checks/testinfra/test_kernel.py": '''ROLES = ("app",)


def test_backlog(host):
    """连接队列"""
    assert host.sysctl("net.core.somaxconn") > 100


def test_root(host):
    with host.sudo():
        assert host.check_output("id -u") == "0"


def test_absent(host):
    assert host.file("/nowhere").exists, "没有 /nowhere"
''',
}
ATTEST = "\nattest:\n  - {id: M01, title: UPS, owner: 机房, required: true}\n"


@pytest.fixture
def own(site: Site) -> Iterator[Site]:
    kept = site.path.read_text(encoding="utf-8")
    try:
        for name, text in FILES.items():
            path = site.base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        site.path.write_text(kept + ATTEST, encoding="utf-8")
        yield site
    finally:
        site.path.write_text(kept, encoding="utf-8")
        shutil.rmtree(site.base / "checks")


def asked(site: Site, *words: str, code: int) -> tuple[dict[tuple[str, str], dict[str, str]], int]:
    shown = json.loads(implops("check", site.path, "--json", *words, code=code).stdout)
    found = {(one["host"], one["id"]): one for one in shown["verdicts"]}
    return found, max(one["trips"] - one["again"] for one in shown["hosts"].values())


def test_own_checks_are_asked_in_the_same_trips_and_stand_in_the_record(own: Site) -> None:
    found, trips = asked(own, code=1)
    assert trips == 2
    assert (found["app1", "PRT01"]["state"], found["app1", "PRT01"]["actual"]) == ("warn", "0")
    assert found["db1", "PRT02"]["state"] == "error"
    assert "ZeroDivisionError" in found["db1", "PRT02"]["params"]["detail"]
    assert found["db1", "MEM01"]["state"] == "pass"
    assert {id: one["state"] for (host, id), one in found.items() if id.startswith("T.")} == {
        "T.kernel.backlog": "pass", "T.kernel.root": "pass", "T.kernel.absent": "fail",
    }  # fmt: skip
    assert found["app1", "T.kernel.absent"]["params"]["detail"] == "没有 /nowhere"
    assert (found["*", "M01"]["state"], found["*", "M01"]["owner"]) == ("error", "机房")
    implops("check", own.path, "--attest", "M01=ok", "--note", "看过")
    only, _ = asked(own, "--only", "M01", "--only", "T.kernel.root", code=0)
    assert {id: one["state"] for (_, id), one in only.items()} == {"M01": "pass", "T.kernel.root": "pass"}


def test_a_kit_that_others_may_write_to_is_refused(own: Site) -> None:
    path = Path(own.base / "checks" / "testinfra" / "test_kernel.py")
    path.chmod(0o666)
    assert str(path) in implops("check", own.path, code=2).stderr
