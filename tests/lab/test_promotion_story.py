"""One release through three environments: what was not verified before does not reach the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import implops, ssh
from releases import last, page
from test_program_story import CONFIG, archive, change, write

from implops.site import Site, load
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]

PARTS = """
web: {port: 80}
system:
  name: his
  version: "1.0"
  kind: archive
  artifact: release/his-1.0.tgz
  port: 9000
  start: {command: bin/server}
  config: {conf/server.properties: release/server.properties}
  modules:
    - {id: page, name: 页面, url: /, deadline: 15 s, expect: {status: 200, text: 'his@app1'}}
"""
PLACES = (("test", ""), ("pre-production", "../test/site.yml"), ("production", "../pre-production/site.yml"))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Three sites of one host each, side by side, each with the vendor's files of its own."""
    base: Path = tmp_path_factory.mktemp("promotion")
    made = {}
    with contextlib.ExitStack() as stack:
        for place, source in PLACES:
            folder = base / place
            folder.mkdir()
            site = write(folder, PARTS + (f"deploy: {{promote_from: {source}}}\n" if source else ""), "bookworm")
            made[place] = change(site, "environment: test", f"environment: {place}")
            (folder / "release" / "server.properties").write_text(CONFIG, encoding="utf-8")
            if place == "test":
                archive(folder / "release" / "his-1.0.tgz", "1.0")
            else:  # the same file travels, as it does to a customer
                body = (base / "test" / "release" / "his-1.0.tgz").read_bytes()
                (folder / "release" / "his-1.0.tgz").write_bytes(body)
            stack.callback(implops, "lab", "down", site.path, code=None)
            implops("lab", "up", site.path)
            implops("check", site.path, "-q")
            implops("bundle", "build", site.path, timeout=600)
        yield made


def approve(site: Site) -> None:
    implops("record", "approve", site.path, "--subject", "deploy", "--change", "CHG-7", "--approver", "王经理",
            "--reason", "变更会通过")  # fmt: skip


def deploy(site: Site, *options: str, code: int = 0) -> str:
    done = implops("deploy", site.path, "--yes", "--change", "CHG-7", *options, code=code, timeout=600)
    return done.stdout + done.stderr


def untouched(site: Site) -> bool:
    return Store.of(site.state).events(kind="deploy.started") == [] and (
        ssh(site, "app1", "ls /opt/implops /var/lib/implops/lock").returncode != 0
    )


def test_1_nothing_goes_further_than_where_it_was_verified(sites: dict[str, Site]) -> None:
    for place in ("pre-production", "production"):
        approve(sites[place])
        assert "还没有部署过" in deploy(sites[place], code=5)
        refused = Store.of(sites[place].state).events(kind="gate.refused")[-1]
        assert refused.payload["error"]["key"] == "gate.promotion_none"
    # An archive whose links lead out of it must not make us write there, as root.
    test = sites["test"]
    artifact = test.base / "release" / "his-1.0.tgz"
    right = artifact.read_bytes()
    archive(artifact, "1.0", links={"conf": "/etc"})
    assert "安装包" in deploy(test, code=5)  # the bundle holds other bytes
    implops("bundle", "build", test.path, timeout=600)
    assert "conf/server.properties leaves the release" in deploy(test, code=1)
    assert ssh(test, "app1", "ls /etc/server.properties").returncode != 0
    artifact.write_bytes(right)
    implops("bundle", "build", test.path, timeout=600)
    deploy(test, "--resume", "last")
    # Deployed is not verified.
    assert "没有合格的系统检查" in deploy(sites["pre-production"], code=5)
    implops("verify", sites["test"].path, timeout=300)
    assert untouched(sites["pre-production"])
    deploy(sites["pre-production"])
    assert "没有合格的系统检查" in deploy(sites["production"], code=5)
    implops("verify", sites["pre-production"].path, timeout=300)
    assert untouched(sites["production"])


def test_2_other_bytes_of_the_same_version_are_another_release(sites: dict[str, Site]) -> None:
    site = sites["production"]
    artifact = site.base / "release" / "his-1.0.tgz"
    right = artifact.read_bytes()
    archive(artifact, "1.0", status=201)
    implops("bundle", "build", site.path, timeout=600)
    assert "不是同一发布版本" in deploy(site, code=5)
    assert untouched(site)
    artifact.write_bytes(right)
    implops("bundle", "build", site.path, timeout=600)
    deploy(site)
    gates = {one["gate"]: one for one in last(site, "deploy.started")["gates"]}  # type: ignore[attr-defined]
    verified = Store.of(sites["pre-production"].state).last("verify.finished")
    assert verified
    assert (gates["promotion"]["state"], gates["promotion"]["ground"]) == ("pass", verified.run)
    assert gates["change"]["ground"] == "王经理"
    # One approval opens one deployment.
    assert "CHG-7" in deploy(site, code=5)


def test_3_an_emergency_goes_past_with_a_reason_that_is_printed(sites: dict[str, Site]) -> None:
    site = change(change(sites["production"], '"1.0"', '"1.1"'), "his-1.0.tgz", "his-1.1.tgz")
    archive(site.base / "release" / "his-1.1.tgz", "1.1")
    site = load(site.path)
    implops("check", site.path, "-q")
    implops("bundle", "build", site.path, timeout=600)
    approve(site)
    assert "不是同一发布版本" in deploy(site, code=5)
    assert "--reason" in deploy(site, "--override", "promotion", code=2)
    deploy(site, "--override", "promotion", "--reason", "门诊停摆,紧急修复 <夜间>")
    run = Store.of(site.state).events(kind="deploy.finished")[-1].run
    shown = page(site, "INST", run)
    assert "越过" in shown
    assert "门诊停摆,紧急修复 &lt;夜间&gt;" in shown
    assert "CHG-7" in shown
    implops("record", "verify", site.path)


def test_4_what_was_taken_back_is_not_promoted(sites: dict[str, Site]) -> None:
    implops("rollback", sites["production"].path, "--yes", timeout=300)
    first = change(change(sites["test"], '"1.0"', '"1.1"'), "his-1.0.tgz", "his-1.1.tgz")
    body = (sites["production"].base / "release" / "his-1.1.tgz").read_bytes()
    (first.base / "release" / "his-1.1.tgz").write_bytes(body)
    implops("check", first.path, "-q")
    implops("bundle", "build", first.path, timeout=600)
    deploy(first)
    implops("verify", first.path, timeout=300)
    implops("rollback", first.path, "--yes", timeout=300)
    second = change(change(sites["pre-production"], '"1.0"', '"1.1"'), "his-1.0.tgz", "his-1.1.tgz")
    (second.base / "release" / "his-1.1.tgz").write_bytes(body)
    implops("check", second.path, "-q")
    implops("bundle", "build", second.path, timeout=600)
    approve(second)
    assert "已回滚" in deploy(second, code=5)
