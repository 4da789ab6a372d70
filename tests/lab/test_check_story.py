"""Checks on real hosts: silent on healthy ones, what shuts the gate, absent hosts, waivers (faults: mutation)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from power import implops, ssh, write_site

from implops import lab
from implops.check import gather, registry
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.site import Site, load
from implops.store import Store

pytestmark = pytest.mark.lab


def findings(site: Site, code: int, trips: int = 2) -> dict[tuple[str, str, str], dict[str, str]]:
    """Verdicts of a run by host, id and target."""
    shown = json.loads(implops("check", site.path, "--json", code=code).stdout)
    # On a busy machine a clock may be read once more by itself; that is counted apart.
    assert all(one["trips"] - one["again"] <= trips for one in shown["hosts"].values())
    return {(one["host"], one["id"], one["target"]): one for one in shown["verdicts"]}


def bad(found: dict[tuple[str, str, str], dict[str, str]]) -> set[tuple[str, str, str]]:
    return {key for key, one in found.items() if one["state"] in ("fail", "warn", "error", "absent")}


@contextmanager
def fault(site: Site, host: str, do: str, undo: str) -> Iterator[None]:
    done = lab.enter(site, host, ["sh", "-c", do])
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        lab.enter(site, host, ["sh", "-c", undo])


def test_healthy_bare_hosts_pass_and_say_what_will_be_set(site: Site) -> None:
    found = findings(site, 0)
    assert bad(found) == set()
    assert len({id for _, id, _ in found}) >= 40
    assert {host for host, _, _ in found} == set(site.hosts)
    # A pass prints what was measured.
    assert all(one["actual"] != "" for one in found.values())
    assert found["db1", "LOC02", ""]["note"] == "will_be_set"
    assert found["app1", "NET01", "→ db1:5432/tcp"]["actual"] == "refused"
    finished = Store.of(site.state).last("check.finished")
    assert finished
    assert finished.payload["complete"]
    assert finished.payload["conclusion"] == "pass"


def test_a_dropped_flow_is_a_timeout_and_the_deployment_stays_shut(site: Site) -> None:
    rule = ["OUTPUT", "-p", "tcp", "-d", site.hosts["db1"].address, "--dport", "5432", "-j", "DROP"]
    inside = ["nsenter", "-t", str(lab.leader(site, "app1")), "-n", "--", "iptables"]
    subprocess.run([*inside, "-A", *rule], check=True)
    try:
        found = findings(site, 1)
        assert bad(found) == {("app1", "NET01", "→ db1:5432/tcp")}
        assert found["app1", "NET01", "→ db1:5432/tcp"]["actual"] == "timeout"
        assert "app1/NET01" in implops("deploy", site.path, "--yes", code=5).stderr
    finally:
        subprocess.run([*inside, "-D", *rule], check=True)
    assert bad(findings(site, 0)) == set()


def test_a_host_that_is_away_is_absent_and_the_others_are_checked(site: Site) -> None:
    lab.cut_network(site, "sto1")
    try:
        done = implops("check", site.path, code=None)
        assert done.returncode in (1, 3)
        assert "sto1 未到位" in done.stdout
        found = findings(site, done.returncode)
    finally:
        lab.mend_network(site, "sto1")
    assert {one["state"] for (host, _, _), one in found.items() if host == "sto1"} == {"absent"}
    assert {one["state"] for (host, _, _), one in found.items() if host == "dns1"} <= {"pass", "info", "skip"}


def test_a_changed_host_key_is_refused_and_named(site: Site) -> None:
    kept = site.known_hosts.read_text(encoding="ascii")
    lines = kept.splitlines()
    first, second = (next(one for one in lines if one.startswith(site.hosts[name].address)) for name in ("db1", "app1"))
    site.known_hosts.write_text(
        kept.replace(first, f"{first.split()[0]} {' '.join(second.split()[1:])}"), encoding="ascii"
    )
    try:
        found = findings(site, 1)
    finally:
        site.known_hosts.write_text(kept, encoding="ascii")
    assert found["db1", "ACC03", ""]["state"] == "fail"
    assert found["db1", "MEM01", ""]["state"] == "absent"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("sleep 30", "absent"),  # it lets us in and says nothing
        ("head -c 52428800 /dev/zero | tr '\\0' x", "error"),  # 50 MB before the first word
        ("head -c 100000 /dev/urandom", "pass"),  # garbage before the first word
    ],
)
def test_a_host_that_hangs_or_floods_is_its_own_trouble(
    site: Site, line: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "TRIP_SECONDS", 8.0)
    checks = registry.load(None)
    with fault(site, "sto1", f"cd /home/deploy; cp -p .bashrc .kept; sed -i \"1i {line}\" .bashrc",
               "cd /home/deploy; mv .kept .bashrc"):  # fmt: skip
        seen = gather.gather(site, [], list(site.hosts.values()))
    made = Scene(site, seen, [], {}, Limits(site, checks))
    found = {(one.host, one.id): one.state for one in judge(made, checks, ["CPU01", "MEM01", "OS05"])}
    assert {state for (host, _), state in found.items() if host == "sto1"} == {reason}
    assert {state for (host, _), state in found.items() if host != "sto1"} <= {"pass", "warn"}
    assert sum(map(len, seen["sto1"].raw.values())) <= gather.OUTPUT_LIMIT * 2


def test_without_sudo_what_only_root_sees_is_not_measured(site: Site) -> None:
    ssh(site, "dns1", "sudo -n sh -c 'mv /etc/sudoers.d /etc/sudoers.kept'")
    try:
        found = findings(site, 1, trips=3)
    finally:
        lab.enter(site, "dns1", ["mv", "/etc/sudoers.kept", "/etc/sudoers.d"])
    assert found["dns1", "ACC04", ""]["state"] == "fail"
    assert found["dns1", "OS01", ""]["state"] == "pass"
    assert found["dns1", "ACC09", ""]["state"] == "error"


def test_a_wrong_sudo_password_ends_at_once_without_a_question(tmp_path_factory: pytest.TempPathFactory) -> None:
    def edit(text: str) -> str:
        return text.replace("  # sudo_password: file:secrets/sudo ", "  sudo_password: file:secrets/sudo #")

    site = write_site(tmp_path_factory.mktemp("password"), edit)
    try:
        implops("lab", "up", site.path)
        # sudo is tried without the password first: one more trip, once a connection.
        assert bad(findings(site, 0, trips=3)) == set()
        (site.base / "secrets" / "sudo").write_text("not-the-password\n", encoding="ascii")
        assert "sudo" in implops("check", site.path, code=2, timeout=60).stderr
    finally:
        implops("lab", "down", site.path, code=None)


def test_a_waiver_holds_for_its_value_only(site: Site) -> None:
    kept = site.path.read_text(encoding="utf-8")

    def waive(at: str) -> None:
        line = (
            f'waive: [{{id: SEC05, host: sto1, at: "{at}", reason: 客户规定, approver: 项目经理, until: 2099-12-31}}]'
        )
        site.path.write_text(kept.replace("waive: []", line), encoding="utf-8")
        load(site.path)

    change = "sed -i 's/^UMASK.*/UMASK {}/' /etc/login.defs"
    with fault(site, "sto1", change.format("077"), change.format("022")):
        waive("077")
        found = findings(site, 0)
        assert found["sto1", "SEC05", ""]["state"] == "waived"
        waive("027")
        # Another value than the accepted one: the waiver has lapsed, and the fault says so.
        assert "豁免值为 027" in implops("check", site.path).stdout
    site.path.write_text(kept, encoding="utf-8")
