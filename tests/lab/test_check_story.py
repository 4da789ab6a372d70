"""Checks on real hosts: silent on healthy ones, each planted fault caught with its value, nothing else changed."""

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


FAULTS = [
    ("db1", ("SEC03", "5432"),
     "systemd-run -q --unit=stranger systemd-socket-activate -l 0.0.0.0:5432 /bin/cat; sleep 0.5",
     "systemctl stop stranger"),
    ("app1", ("TIM01", ""), "systemctl stop chrony",
     "systemctl start chrony; chronyc waitsync 30 0.5 0 0.5 >/dev/null"),
    ("db1", ("DSK03", "/data"), "fallocate -l 17G /data/big", "rm /data/big"),
    ("db1", ("DSK09", "/data/pg"), "mkdir -p /data/pg; touch /data/pg/old", "rm -r /data/pg"),
    ("app1", ("OS08", ""), "hostname localhost", "hostname app1"),
    ("sto1", ("SEC05", ""), "sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs",
     "sed -i 's/^UMASK.*/UMASK 022/' /etc/login.defs"),
    ("app1", ("NET11", ""), "echo http_proxy=http://10.0.0.1:3128 >> /etc/environment", ": > /etc/environment"),
    ("app1", ("NET10", ""), "cp /etc/hosts /etc/hosts.kept; echo 10.9.9.9 db1 >> /etc/hosts",
     "mv /etc/hosts.kept /etc/hosts"),
    ("dns1", ("NET08", ""), "ip route add default dev host0 metric 5; ip route add default dev host0 metric 9",
     "ip route del default metric 5; ip route del default metric 9"),
    ("sto1", ("ACC05", ""), "cd /home/deploy; cp -p .bashrc .kept; sed -i '1i echo welcome' .bashrc",
     "cd /home/deploy; mv .kept .bashrc"),
    ("sto1", ("OS07", ""), "touch /run/reboot-required", "rm /run/reboot-required"),
    ("db1", ("OS09", ""), "mv /usr/bin/gzip /usr/bin/gzip.kept", "mv /usr/bin/gzip.kept /usr/bin/gzip"),
    ("app1", ("LIM08", ""), "sysctl -qw net.ipv4.ip_local_port_range='8000 60999'",
     "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'"),
    ("dns1", ("LIM12", "net.core.somaxconn"), "sysctl -qw net.core.somaxconn=2000",
     "sysctl -qw net.core.somaxconn=4096"),
    ("app1", ("OS12", ""), "touch /etc/systemd/system/tomcat10.service", "rm /etc/systemd/system/tomcat10.service"),
    ("sto1", ("DSK07", "/backup"), "cp /etc/fstab /etc/kept; sed -i 's/^UUID=[^ ]*/\\/dev\\/sdb1/' /etc/fstab",
     "mv /etc/kept /etc/fstab"),
    ("dns1", ("ACC09", ""), "chage -E $(date -d '+30 days' +%Y-%m-%d) deploy", "chage -E -1 deploy"),
    ("dns1", ("ACC08", ""), "cp /etc/machine-id /etc/kept; echo {machine_id} > /etc/machine-id",
     "mv /etc/kept /etc/machine-id"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "key", "do", "undo"), FAULTS, ids=[one[1][0] for one in FAULTS])
def test_a_planted_fault_is_caught_alone(site: Site, host: str, key: tuple[str, str], do: str, undo: str) -> None:
    do = do.replace("{machine_id}", lab.enter(site, "db1", ["cat", "/etc/machine-id"]).stdout.strip())
    with fault(site, host, do, undo):
        shown = json.loads(implops("check", site.path, "--json", code=None).stdout)
    found = {(one["host"], one["id"], one["target"]): one for one in shown["verdicts"]}
    assert found[host, *key]["state"] in ("fail", "warn", "info")
    # A wrong /etc/hosts is what the recipe is going to write anyway.
    assert found[host, *key]["state"] != "info" or found[host, *key]["note"] == "will_be_set"
    follows = {"TIM01": {"TIM02", "TIM04"}, "LIM08": {"LIM12"}}.get(key[0], set())
    assert {id for _, id, _ in bad(found)} <= {key[0], *follows}


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

    do, undo = next(one[2:] for one in FAULTS if one[1][0] == "SEC05")
    with fault(site, "sto1", do, undo):
        waive("077")
        found = findings(site, 0)
        assert found["sto1", "SEC05", ""]["state"] == "waived"
        waive("027")
        # Another value than the accepted one: the waiver has lapsed, and the fault says so.
        assert "豁免值为 027" in implops("check", site.path).stdout
    site.path.write_text(kept, encoding="utf-8")
