"""Paths proved by echo, the network between hosts, shares: each fault seen for what it is, nothing left behind."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from power import environment, implops

from implops import lab
from implops.site import Site, load

pytestmark = pytest.mark.lab

Found = dict[tuple[str, str, str], dict[str, str]]
# Accepts connections and says nothing.
MUTE = ("use IO::Socket::INET; $s = IO::Socket::INET->new(Listen => 9, LocalPort => shift, ReuseAddr => 1) or die; "
        "while ($c = $s->accept) { push @k, $c }")  # fmt: skip


def checked(site: Site, *options: str) -> Found:
    shown = json.loads(implops("check", site.path, "--json", *options, code=None).stdout)
    return {(one["host"], one["id"], one["target"]): one for one in shown["verdicts"]}


def bad(found: Found, *ids: str) -> set[tuple[str, str, str]]:
    return {key for key, one in found.items() if key[1] in ids and one["state"] in ("fail", "warn", "error")}


def on(site: Site, host: str, command: str) -> str:
    done = lab.enter(site, host, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def net(site: Site, host: str, command: str) -> None:
    """In the network of a host, with this machine's own programs."""
    inside = ["nsenter", "-t", str(lab.leader(site, host)), "-n", "--", "sh", "-c", command]
    subprocess.run(inside, check=True, capture_output=True)


@contextmanager
def edited(site: Site, *changes: tuple[str, str]) -> Iterator[Site]:
    kept = site.path.read_text(encoding="utf-8")
    text = kept
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    site.path.write_text(text, encoding="utf-8")
    try:
        yield load(site.path)
    finally:
        site.path.write_text(kept, encoding="utf-8")


@contextmanager
def redirected(site: Site) -> Iterator[None]:
    """Something on the way answers app1 in the name of db1:5432, whether db1 is there or not."""
    on(site, "app1", f"systemd-run -q --unit=proxy perl -e '{MUTE}' 15432")
    rule = f"OUTPUT -p tcp -d {site.hosts['db1'].address} --dport 5432 -j REDIRECT --to-ports 15432"
    net(site, "app1", f"iptables -t nat -A {rule}")
    try:
        yield
    finally:
        net(site, "app1", f"iptables -t nat -D {rule}")
        on(site, "app1", "systemctl stop proxy")


def test_a_redirect_opens_every_connection_and_only_the_echo_finds_out(site: Site) -> None:
    # Nothing but what this story looks at: the tests of disks take a minute.
    ids = ("NET01", "NET02", "NET04", "NET05")
    chosen = ("--deep", *(word for id in ids for word in ("--only", id)))
    healthy = checked(site, *chosen)
    assert bad(healthy, *ids) == set()
    assert healthy["app1", "NET02", "→ db1:5432/tcp"]["note"] == "echo_verified"
    assert healthy["app1", "NET02", "→ dns1:53/udp"]["note"] == "echo_verified"
    assert healthy["app1", "NET01", "→ db1:5432/tcp"]["note"] == "echo_verified"
    assert healthy["app1", "NET02", "→ sto1:22/tcp"]["note"] == "port_in_use"
    net(site, "dns1", "iptables -A INPUT -p udp --dport 53 -j DROP")
    try:
        with redirected(site):
            found = checked(site, *chosen)
    finally:
        net(site, "dns1", "iptables -F INPUT")
    fooled = found["app1", "NET01", "→ db1:5432/tcp"]
    assert (fooled["state"], fooled["note"], fooled["actual"][:4]) == ("pass", "connect_only", "open")
    caught = found["app1", "NET02", "→ db1:5432/tcp"]
    assert (caught["state"], caught["note"]) == ("fail", "echo_missing")
    dropped = {(host, "NET02", "→ dns1:53/udp") for host in ("db1", "app1", "sto1")}
    assert bad(found, "NET02") == {("app1", "NET02", "→ db1:5432/tcp"), *dropped}
    assert {found[key]["actual"] for key in dropped} == {"timeout"}


@pytest.mark.full
def test_a_dead_host_that_something_answers_for_is_a_fault(site: Site) -> None:
    with redirected(site):
        lab.cut_network(site, "db1")
        try:
            found = checked(site, "--deep")
        finally:
            lab.mend_network(site, "db1")
    assert found["db1", "ACC01", ""]["state"] == "absent"
    assert found["app1", "NET01", "→ db1:5432/tcp"]["state"] == "pass"
    assert found["app1", "NET02", "→ db1:5432/tcp"]["state"] == "fail"


# Where a check listens meanwhile: host -> what ``ss`` shows of it. TCP and UDP end each in their own way.
LISTENERS = {"db1": ("-t", ":5432 "), "dns1": ("-u", ":53 ")}


def listening(site: Site) -> list[str]:
    return [host for host, (kind, port) in LISTENERS.items() if port in on(site, host, f"ss -Hln {kind}")]


def calling(site: Site) -> str:
    """The local end of app1's connection to the listener on db1."""
    return on(site, "app1", "ss -Htn state established '( dport = :5432 )' | awk '{print $3}'")


@pytest.fixture
def resting(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A check whose connections rest for a minute, while hosts listen for it."""
    with edited(site, ("    listens: [80, 8080]", "    listens: [80, 8080]\n    checks: {NET12: {need: 60 s}}")):
        command = [sys.executable, "-m", "implops.cli.main", "check", str(site.path), "--deep", "--no-document"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, env=environment()) as process:  # fmt: skip
            try:
                deadline, before = time.monotonic() + 120, ""
                # One and the same connection, seen twice: it rests.
                while not (now := calling(site)) or now != before:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    before = now
                    time.sleep(0.5)
                assert listening(site) == list(LISTENERS)
                yield process
            finally:
                process.kill()


def gone_after(site: Site, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not listening(site):
            return True
        time.sleep(0.5)
    return False


@pytest.mark.full
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_listener_outlives_a_check_that_is_ended(
    site: Site, resting: subprocess.Popen[bytes], way: signal.Signals
) -> None:  # fmt: skip
    # The lease would end it too, but later: what ends it here is the end of the connection.
    resting.send_signal(way)
    assert gone_after(site, 20)
    assert resting.wait(20) == (-signal.SIGKILL if way == signal.SIGKILL else 130)


@pytest.mark.full
def test_no_listener_outlives_its_lease_on_a_host_that_was_cut_off(
    site: Site, resting: subprocess.Popen[bytes]
) -> None:  # fmt: skip
    for host in LISTENERS:
        lab.cut_network(site, host)
    try:
        assert listening(site) == list(LISTENERS)
        assert gone_after(site, 45)
    finally:
        for host in LISTENERS:
            lab.mend_network(site, host)


def _network(site: Site) -> str:
    assert site.lab
    return site.lab.network.rpartition(".")[0]


@pytest.mark.full
def test_loss_black_holes_and_taken_addresses_are_told_apart(site: Site) -> None:
    vip = f"{_network(site)}.100"
    rules = {
        "sto1": "-p icmp -m statistic --mode nth --every 5 --packet 0",
        "dns1": "-p icmp -m length --length 1400:65535",
    }
    with edited(site, (f"# vips: [{vip}]", f"vips: [{vip}]")):
        for host, rule in rules.items():
            net(site, host, f"iptables -A INPUT {rule} -j DROP")
        # A holder that answers no ping still answers for its address.
        on(site, "sto1", f"ip address add {vip}/24 dev host0")
        net(site, "sto1", f"iptables -A INPUT -p icmp -d {vip} -j DROP")
        try:
            found = checked(site)
        finally:
            for host in rules:
                net(site, host, "iptables -F INPUT")
            on(site, "sto1", f"ip address del {vip}/24 dev host0")
        assert found["app1", "NET04", "→ sto1"]["state"] == "warn"
        assert {key[2] for key in bad(found, "NET05")} == {"→ dns1"}
        assert {key[0] for key in bad(found, "NET09")} == set(site.hosts)
        assert found["sto1", "NET09", vip]["actual"] == "sto1"
        assert re.fullmatch("[0-9a-f:]{17}", found["app1", "NET09", vip]["actual"])
        # Gone at once: what neighbours remember does not count.
        assert bad(checked(site), "NET04", "NET05", "NET09") == set()


@pytest.mark.full
def test_a_firewall_that_forgets_a_slow_link_and_a_server_that_does_not_greet(site: Site) -> None:
    outside = f"{_network(site)}.14:8443"
    flow = '  - "app -> storage: 22/tcp"\n'
    with edited(
        site,
        ("    listens: [80, 8080]", "    listens: [80, 8080]\n    checks: {NET12: {need: 10 s}}"),
        (flow, f'{flow}  - {{from: app, to: "{outside}", external: true}}\n'),
    ):
        on(site, "sto1", f"systemd-run -q --unit=mute perl -e '{MUTE}' 8443")
        forget = "net.netfilter.nf_conntrack_tcp_timeout_established=3 net.netfilter.nf_conntrack_tcp_loose=0"
        net(site, "db1", f"sysctl -qw {forget}; iptables -A INPUT -m conntrack --ctstate INVALID -j DROP")
        net(site, "app1", "tc qdisc add dev host0 root tbf rate 20mbit burst 64k latency 300ms")
        try:
            found = checked(site, "--deep", "--force-io")
        finally:
            on(site, "sto1", "systemctl stop mute")
            net(site, "db1", "iptables -F INPUT; sysctl -qw net.netfilter.nf_conntrack_tcp_loose=1 "
                "net.netfilter.nf_conntrack_tcp_timeout_established=432000")  # fmt: skip
            net(site, "app1", "tc qdisc del dev host0 root")
    assert bad(found, "NET12") == {("app1", "NET12", "→ db1:5432/tcp")}
    assert found["app1", "NET12", "→ dns1:53/tcp"]["state"] == "pass"
    assert {key[0] for key in bad(found, "NET06")} == {"app1"}
    assert 10 <= int(found["app1", "NET06", "→ db1 (Mb/s)"]["actual"]) <= 22
    assert found["app1", "NET13", f"→ {outside}/tcp"]["actual"] == "tls_silent"


def graft(site: Site, folder: Path, host: str, place: str) -> None:
    """Mount a folder of this machine into a running host: a clone of the mount is moved into the host's namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_fdcwd, clone, empty_path, newns = -100, 1, 4, 0x00020000
    open_tree, move_mount = 428, 429
    tree = libc.syscall(open_tree, at_fdcwd, str(folder).encode(), clone)
    assert tree >= 0, os.strerror(ctypes.get_errno())
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        os.close(tree)
        return
    leader = lab.leader(site, host)
    there, root = os.open(f"/proc/{leader}/ns/mnt", os.O_RDONLY), os.open(f"/proc/{leader}/root", os.O_RDONLY)
    good = libc.setns(there, newns) == 0
    os.fchdir(root)
    os.chroot(".")
    good = good and libc.syscall(move_mount, tree, b"", at_fdcwd, place.encode(), empty_path) == 0
    os._exit(0 if good else 1)


@pytest.mark.full
def test_one_share_is_one_and_two_folders_of_one_name_are_not(site: Site, tmp_path: Path) -> None:
    share = "storage: {shares: [{path: /mnt/his, hosts: [db, app], user: daemon}]}\n# storage:"
    shared = tmp_path / "share"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    for host in ("db1", "app1"):
        on(site, host, "mkdir -p -m 777 /mnt/his; chmod 777 /mnt/his")
    with edited(site, ("# storage:", share)):
        found = checked(site, "--deep")
        assert bad(found, "STO02", "STO03") == {("app1", "STO03", "/mnt/his ← db1")}
        for host in ("db1", "app1"):
            graft(site, shared, host, "/mnt/his")
        try:
            found = checked(site, "--deep")
            assert found["app1", "STO03", "/mnt/his ← db1"]["state"] == "pass"
            assert bad(found, "STO02", "STO03") == set()
            # Nothing of a test stays in the customer's share.
            assert list(shared.iterdir()) == []
            shared.chmod(0o755)
            refused = checked(site)
            assert {refused[host, "STO02", "/mnt/his"]["actual"] for host in ("db1", "app1")} == {"create"}
        finally:
            for host in ("db1", "app1"):
                on(site, host, "umount /mnt/his; rmdir /mnt/his")
