"""The lab is what it says: real hosts, air-gapped, on time, with disks that forget what was not synced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from power import environment, free_network, implops, leftovers, ssh, write_site

from implops import lab, remote
from implops.lab import base, network
from implops.lab import host as lab_host
from implops.lab import plan as lab_plan
from implops.lab.state import State
from implops.site import Site, load

pytestmark = pytest.mark.lab


def _network(site: Site) -> str:
    assert site.lab
    return site.lab.network.rpartition(".")[0]


def test_the_user_logs_in_and_becomes_root(site: Site) -> None:
    for name, host in site.hosts.items():
        with remote.connect(site, host) as connection:
            plain = connection.run("id -un; hostname", timeout=10)
            root = connection.run("id -u", timeout=10, sudo=True)
        assert plain.text.split() == ["deploy", name]
        assert (root.rc, root.text.strip()) == (0, "0")


def test_hosts_are_healthy_bare_and_different(site: Site) -> None:
    ids = set()
    for name in site.hosts:
        done = lab.enter(site, name, ["sh", "-c", "systemctl is-system-running --wait; cat /etc/machine-id"])
        state, machine_id = done.stdout.split()
        assert state == "running", lab.enter(site, name, ["systemctl", "--failed"]).stdout
        ids.add(machine_id)
        assert lab.enter(site, name, ["sh", "-c", "command -v python3 curl"]).stdout == ""
    assert len(ids) == len(site.hosts)
    own = Path("/etc/machine-id").read_text(encoding="ascii").strip() if Path("/etc/machine-id").exists() else ""
    assert own not in ids


def test_nothing_of_this_machine_is_in_a_host(site: Site) -> None:
    script = "cat /etc/resolv.conf /etc/apt/sources.list; ls /etc/apt/sources.list.d; cat /etc/hostname; ls /etc/ssh"
    done = lab.enter(site, "app1", ["sh", "-c", script])
    words = done.stdout.split()
    assert "app1" in words
    assert [word for word in words if word.startswith("ssh_host")] == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    assert "nameserver" not in words and "deb" not in words


def test_data_disks_have_the_declared_size(site: Site) -> None:
    assert site.lab
    for name, disks in site.lab.disks.items():
        for path, size in disks.items():
            done = ssh(site, name, f"findmnt -n -b -o TARGET,FSTYPE,SIZE -M {path}; findmnt -s -n -o SOURCE -M {path}")
            target, kind, seen, fstab = done.stdout.split()
            assert (target, kind) == (path, "xfs")
            assert size <= int(seen) < size * 1.01
            assert fstab.startswith("UUID=")


def test_no_way_out(site: Site) -> None:
    bridge = lab_plan.of(site).bridge
    assert Path(f"/proc/sys/net/ipv4/conf/{bridge}/forwarding").read_text(encoding="ascii").strip() == "0"
    for name in site.hosts:
        assert ssh(site, name, "ip -4 route show default").stdout == ""
        assert ssh(site, name, "ping -c 1 -W 1 192.0.2.1").returncode != 0
    # Not even when somebody on the host sets a route over us.
    gateway = lab_plan.of(site).gateway.partition("/")[0]
    try:
        assert lab.enter(site, "app1", ["ip", "route", "add", "192.0.2.0/24", "via", gateway]).returncode == 0
        assert lab.enter(site, "app1", ["ping", "-c", "1", "-W", "1", "192.0.2.1"]).returncode != 0
    finally:
        lab.enter(site, "app1", ["ip", "route", "del", "192.0.2.0/24"])
    assert ssh(site, "app1", f"ping -c 1 -W 1 {site.hosts['db1'].address}").returncode == 0


def test_clients_are_in_time_within_ten_seconds_of_boot(fresh_site: Site) -> None:
    deadline = time.monotonic() + 10
    for name, host in fresh_site.hosts.items():
        while "Leap status     : Normal" not in (text := ssh(fresh_site, name, "chronyc tracking").stdout):
            assert time.monotonic() < deadline, f"{name}: {text}"
            time.sleep(0.2)
        server = host.address in fresh_site.time.ntp
        assert server or f"({fresh_site.time.ntp[0]})" in text


def test_up_again_changes_nothing_and_brings_back_what_is_missing(site: Site) -> None:
    before = {one.host: one.pid for one in lab.status(site)}
    keys = site.known_hosts.read_text(encoding="utf-8")
    lab.enter(site, "sto1", ["sh", "-c", "echo kept > /root/kept; sync"])
    lab.stop(site, "sto1")
    report = json.loads(implops("lab", "status", site.path, "--json", code=3).stdout)
    assert {one["host"]: one["state"] for one in report["hosts"]}["sto1"] == "stopped"
    after = {one["host"]: one for one in json.loads(implops("lab", "up", site.path, "--json").stdout)["hosts"]}
    assert all(one["ssh"] for one in after.values())
    assert {name: one["pid"] for name, one in after.items() if name != "sto1"} == {
        name: pid for name, pid in before.items() if name != "sto1"
    }
    assert lab.enter(site, "sto1", ["cat", "/root/kept"]).stdout == "kept\n"
    assert site.known_hosts.read_text(encoding="utf-8") == keys


def test_a_power_cut_loses_what_was_not_synced(site: Site) -> None:
    script = "mkdir $d; echo a > $d/synced; sync"
    lab.enter(site, "db1", ["sh", "-c", f"for d in /data/cut /var/cut; do {script}; done"])
    lab.enter(site, "db1", ["sh", "-c", "for d in /data/cut /var/cut; do echo b > $d/lost; done"])
    lab.power_cut(site, "db1")
    assert not next(one for one in lab.status(site) if one.host == "db1").ssh
    lab.boot(site, "db1")
    for folder in ("/data/cut", "/var/cut"):
        assert ssh(site, "db1", f"cd {folder} && cat *").stdout == "a\n"
        assert lab.enter(site, "db1", ["ls", folder]).stdout.split() == ["synced"]


def test_a_pulled_cable(site: Site) -> None:
    lab.cut_network(site, "app1")
    try:
        with pytest.raises(remote.HostUnreachable):
            remote.connect(site, site.hosts["app1"], timeout=1)
        assert ssh(site, "dns1", "true").returncode == 0
    finally:
        lab.mend_network(site, "app1")
    deadline = time.monotonic() + 5
    while ssh(site, "app1", "true").returncode:
        assert time.monotonic() < deadline


def test_trust_refuses_a_changed_key_and_reports_an_absent_host(site: Site) -> None:
    good = site.known_hosts.read_text(encoding="utf-8")
    told = implops("trust", site.path)
    assert told.stdout.count("SHA256:") == 4
    assert "均已登记且一致" in told.stderr

    # One unknown, one changed: the unknown is pinned, the changed refused.
    lines = {line.split()[0]: line for line in good.splitlines()}
    dns, db = site.hosts["dns1"].address, site.hosts["db1"].address
    other = lines[db].replace(db, dns)
    site.known_hosts.write_text(f"{lines[db]}\n{other}\n", encoding="utf-8")
    try:
        assert "--yes" in implops("trust", site.path, code=2).stderr
        refused = implops("trust", site.path, "--yes", "--json", code=3)
        states = {one["host"]: one for one in json.loads(refused.stdout)["hosts"]}
        assert states["dns1"]["state"] == "changed" and not states["dns1"]["pinned_now"]
        assert states["app1"]["state"] == "new" and states["app1"]["pinned_now"]
        assert "--replace dns1" in refused.stderr
        with pytest.raises(remote.HostKeyRefused):
            remote.connect(site, site.hosts["dns1"])
        implops("trust", site.path, "--yes", "--replace", "dns1")
        assert sorted(site.known_hosts.read_text(encoding="utf-8").split()) == sorted(good.split())
        assert site.known_hosts.stat().st_mode & 0o777 == 0o600

        lab.cut_network(site, "app1")
        absent = json.loads(implops("trust", site.path, "--json", code=3).stdout)["hosts"]
        assert {one["host"]: one["state"] for one in absent} == {
            "db1": "same",
            "app1": "absent",
            "dns1": "same",
            "sto1": "same",
        }
    finally:
        lab.mend_network(site, "app1")
        site.known_hosts.write_text(good, encoding="utf-8")


def test_sudo_asks_for_the_password_that_the_site_names(tmp_path: Path) -> None:
    one = write_site(tmp_path, lambda text: text.replace("# sudo_password:", "sudo_password:"))
    try:
        implops("lab", "up", one.path)
        host = one.hosts["app1"]
        assert ssh(one, "app1", "sudo -n id -u").returncode != 0
        with remote.connect(one, host) as connection:
            assert connection.run("id -u", timeout=20, sudo=True).text == "0\n"
        assert one.ssh.sudo_password
        one.ssh.sudo_password.path.write_text("not-the-password\n", encoding="ascii")
        with remote.connect(one, host) as connection, pytest.raises(remote.SudoPasswordWrong):
            connection.run("id -u", timeout=20, sudo=True)
    finally:
        implops("lab", "down", one.path)


@pytest.mark.parametrize("moment", ["bridge", "first process", "0.1 s later", "0.3 s later"])
def test_down_finds_everything_that_a_killed_up_has_made(tmp_path: Path, moment: str) -> None:
    one = write_site(tmp_path)
    before = int(network.INOTIFY.read_text(encoding="ascii"))
    state_file = tmp_path / ".implops" / "lab" / "state.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "implops.cli.main", "lab", "up", str(one.path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip

    def reached() -> bool:
        if not state_file.is_file():
            return False
        state = State(state_file.parent)
        return moment == "bridge" or any(state.pid(name) for name in state.hosts)

    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    if moment[0].isdigit():
        time.sleep(float(moment.split()[0]))
    process.send_signal(signal.SIGKILL)
    process.wait()
    implops("lab", "down", one.path)
    assert leftovers(one) == []
    assert not state_file.parent.exists()
    if not network.LEDGER.exists():  # no other lab on this machine
        assert int(network.INOTIFY.read_text(encoding="ascii")) <= before


@pytest.mark.full
def test_a_killed_base_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = write_site(tmp_path / "site")
    final = base.image_path("bookworm")
    assert final.is_relative_to(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "implops.cli.main", "lab", "up", str(one.path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    part = final.with_suffix(".part")
    deadline = time.monotonic() + 60
    while not (part / "usr" / "bin").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not final.exists()
    builders = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(part).encode() in _bytes(path)]
    while any(str(part).encode() in _bytes(path) for path in builders):
        assert time.monotonic() < deadline  # the build dies with us
        time.sleep(0.05)
    implops("lab", "down", one.path)
    assert leftovers(one) == []
    # The next run starts over and needs no help.
    try:
        implops("lab", "up", one.path)
        assert final.is_dir() and not part.exists()
    finally:
        implops("lab", "down", one.path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_up_after_a_crash_of_this_machine_boots_the_same_hosts(fresh_site: Site) -> None:
    lab.enter(fresh_site, "app1", ["sh", "-c", "echo kept > /root/kept; sync"])
    keys = fresh_site.known_hosts.read_text(encoding="utf-8")
    drawn = lab_plan.of(fresh_site)
    for one in lab.status(fresh_site):
        assert one.pid
        os.kill(one.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while lab_host.loops(drawn.folder):
        assert time.monotonic() < deadline  # the kernel unmounts what nobody holds
        time.sleep(0.05)
    network.remove_link(drawn.bridge)
    implops("lab", "up", fresh_site.path)
    assert lab.enter(fresh_site, "app1", ["cat", "/root/kept"]).stdout == "kept\n"
    assert fresh_site.known_hosts.read_text(encoding="utf-8") == keys


def test_a_small_disk_fills_up_and_a_changed_site_file_is_noticed(tmp_path: Path) -> None:
    small = write_site(tmp_path, lambda text: text.replace("db1:  {/data: 20 GB}", "db1:  {/data: 64 MB}"))
    try:
        implops("lab", "up", small.path)
        full = lab.enter(small, "db1", ["sh", "-c", "head -c 70000000 /dev/zero > /data/big"])
        assert "No space left" in full.stderr
        text = small.path.read_text(encoding="utf-8").replace("64 MB", "65 MB")
        small.path.write_text(text, encoding="utf-8")
        assert "lab down" in implops("lab", "up", small.path, code=2).stderr
        small.path.write_text(text[: text.index("\nlab:") + 1], encoding="utf-8")
    finally:
        implops("lab", "down", small.path)
    assert leftovers(small) == []


def test_down_leaves_nothing_and_other_labs_alone(site: Site, tmp_path: Path) -> None:
    one = write_site(tmp_path)
    implops("lab", "up", one.path)
    pids = {host.host: host.pid for host in lab.status(site)}
    assert leftovers(one)
    implops("lab", "down", one.path)
    assert leftovers(one) == []
    assert not one.known_hosts.exists()
    assert {host.host: host.pid for host in lab.status(site)} == pids
    assert ssh(site, "db1", "true").returncode == 0
    assert "没有演练环境" in implops("lab", "down", one.path).stderr


def test_one_network_belongs_to_one_lab(site: Site, tmp_path: Path) -> None:
    taken = write_site(tmp_path)
    text = taken.path.read_text(encoding="utf-8").replace(_network(taken), _network(site))
    taken.path.write_text(text, encoding="utf-8")
    refused = implops("lab", "up", load(taken.path).path, code=3)
    assert _network(site) in refused.stderr and "lab.network" in refused.stderr
    implops("lab", "down", taken.path)
    assert ssh(site, "db1", "true").returncode == 0


def test_a_customers_site_has_no_lab(tmp_path: Path) -> None:
    assert free_network()
    one = write_site(tmp_path, lambda text: text[: text.index("\nlab:") + 1])
    assert "lab 段" in implops("lab", "up", one.path, code=2).stderr
