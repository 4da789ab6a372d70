"""What goes wrong at a customer's, one thing after the other, until the deployment comes to its end all the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import SECRETS, environment, implops, ssh, write_demo, write_site
from releases import last, prepare, write

from implops import lab
from implops.site import Site, load
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]


class Watch(threading.Thread):
    """Reads the argument list and the environment of every process of this machine and its hosts, all the time."""

    def __init__(self, words: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.words, self.found, self.rounds, self.stop = words, [], 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            self.rounds += 1
            for process in Path("/proc").glob("[0-9]*"):
                self._look(process)
            time.sleep(0.02)

    def _look(self, process: Path) -> None:
        for what in ("cmdline", "environ"):
            try:
                body = (process / what).read_bytes()
            except OSError:
                continue
            self.found += [(what, body.replace(b"\0", b" ")[:200]) for word in self.words if word in body]


def planted(site: Site) -> list[bytes]:
    return [(site.base / "secrets" / name).read_bytes().strip() for name in SECRETS[:3]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = write_demo(write_site(tmp_path_factory.mktemp("fail")))
    watch = Watch(planted(site))
    try:
        implops("lab", "up", site.path)
        # As hardened hosts are: nothing is executed where everybody may write (Java needs its /tmp: DSK06).
        for name in site.hosts:
            for place in ("/var/tmp", "/dev/shm", *([] if name == "app1" else ["/tmp"])):
                options = "mode=1777,noexec,nosuid,nodev"
                lab.enter(site, name, ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place])
        prepare(site)
        yield site
        watch.stop.set()
        watch.join()
        assert watch.rounds > 100
        assert watch.found == []
    finally:
        watch.stop.set()
        implops("lab", "down", site.path, code=None)


def start(site: Site, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes", *options]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=environment(), text=True)  # fmt: skip


def until(what: str, holds: object, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return
        time.sleep(0.2)
    raise AssertionError(f"never: {what}")


def filled(site: Site, left: int) -> None:
    """The disk of db1 but for about ``left`` KiB (2 MiB at the most more), also while others write to it."""
    for number in range(40):
        free = int(lab.enter(site, "db1", ["df", "-Pk", "/var"]).stdout.splitlines()[1].split()[3]) - left
        if free < 2048:
            return
        lab.enter(site, "db1", ["fallocate", "-l", f"{free * 9 // 10}K", f"/var/filler{number}"])
    raise AssertionError("still room")


def freed(site: Site) -> None:
    lab.enter(site, "db1", ["sh", "-c", "rm /var/filler*"])


def test_1_no_room_on_a_host_is_told_before_anything_is_copied(site: Site) -> None:
    filled(site, 40_000)
    told = implops("deploy", site.path, "--yes", code=3).stderr
    assert "db1" in told
    assert ssh(site, "db1", "ls /var/lib/implops/bundle/apt/*.deb").returncode != 0
    # The locks were given back: nothing is in the way of the next attempt.
    assert ssh(site, "app1", "ls -d /var/lib/implops/lock").returncode != 0
    freed(site)


def elsewhere(site: Site, folder: Path) -> Site:
    """The folder of the site on another laptop: records, secrets and bundle, not the lab."""
    shutil.copytree(site.base, folder, ignore=shutil.ignore_patterns("lab", "lock", "numbering"), dirs_exist_ok=True)
    return load(folder / "site.yml")


def begun(store: Store, after: int) -> bool:
    event = store.last("deploy.started")
    return event is not None and event.sequence > after


def test_1a_no_step_begins_whose_row_cannot_be_written(site: Site, tmp_path: Path) -> None:
    """The laptop's disk is full; then another program holds the records."""
    state = tmp_path / "laptop" / ".implops"
    state.mkdir(parents=True)
    # The program asks for 200 MiB before it begins.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=700", "tmpfs", state], check=True)
    try:
        copy = elsewhere(site, tmp_path / "laptop")
        store, filler = Store.of(copy.state), state / "filler"
        before = store.events()[-1].sequence
        process = start(copy)
        until("the deployment began", lambda: begun(store, before))
        with filler.open("wb") as file:
            while free := os.statvfs(state).f_bavail:
                os.posix_fallocate(file.fileno(), file.seek(0, 2), free * os.statvfs(state).f_bsize)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 3, said
        assert "没有记录就不继续" in said
        assert "Traceback" not in said
        filler.unlink()
        full = store.events()[-1].sequence
        process = start(copy, "--resume", "last")
        until("the deployment began again", lambda: begun(store, full))
        other = sqlite3.connect(state / "records.db", timeout=60)
        other.execute("BEGIN IMMEDIATE")
        said, _ = process.communicate(timeout=300)
        other.rollback()
        other.close()
        assert process.returncode == 3, said
        assert "正被其他程序占用" in said
        assert "Traceback" not in said
        rows = {one.payload["step"] for one in store.events(kind="step.started")}
        assert "postgresql@db1" not in rows
        implops("record", "verify", copy.path)
    finally:
        subprocess.run(["umount", "-l", state], check=True)
    for name in site.hosts:
        assert ssh(site, name, "ls -d /var/lib/implops/lock").returncode != 0
    assert ssh(site, "db1", "dpkg-query -W postgresql-15").returncode != 0


def test_1b_no_room_to_install_what_lies_there_already_is_told_before(site: Site) -> None:
    filled(site, 40_000)
    told = implops("deploy", site.path, "--yes", code=3).stderr
    assert "db1" in told
    assert ssh(site, "db1", "dpkg-query -W postgresql-15").returncode != 0
    freed(site)


def test_1c_a_disk_that_fills_up_while_packages_are_installed(site: Site) -> None:
    process = start(site, "--resume", "last")

    def unpacking() -> bool:
        assert process.poll() is None, "the deployment ended before it could be disturbed"
        seen = lab.enter(site, "db1", ["sh", "-c", "cat /var/lib/implops/jobs/*/out 2>/dev/null"]).stdout
        return "Unpacking " in seen and "postgresql" in seen

    until("packages are being unpacked on db1", unpacking)
    filled(site, 0)
    said, _ = process.communicate(timeout=300)
    freed(site)
    assert process.returncode == 1, said
    assert "No space left on device" in said
    assert "db1" in said


def test_2_a_second_operator_is_told_who_and_a_cut_cable_is_noticed(site: Site, tmp_path: Path) -> None:
    process = start(site, "--resume", "last")

    def installing() -> bool:
        seen = lab.enter(site, "db1", ["sh", "-c", "cat /var/lib/implops/jobs/*/out 2>/dev/null"]).stdout
        assert process.poll() is None, "the deployment ended before it could be disturbed"
        return "Setting up postgresql-common " in seen

    until("packages are being installed on db1", installing)
    # Somebody else with a copy of the folder on another laptop.
    copy = elsewhere(site, tmp_path / "other")
    lab.cut_network(site, "db1")
    done = subprocess.run(
        [sys.executable, "-m", "implops.cli.main", "deploy", str(copy.path), "--yes"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env={**environment(), "IMPLOPS_OPERATOR": "李工/E2"},
    )  # fmt: skip
    assert done.returncode in (3, 4)  # db1 is away; and the others are held
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 3, said
    assert "连接中断" in said
    lab.mend_network(site, "db1")
    done = subprocess.run(
        [sys.executable, "-m", "implops.cli.main", "deploy", str(copy.path), "--yes"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env={**environment(), "IMPLOPS_OPERATOR": "李工/E2"},
    )  # fmt: skip
    # db1's lock could not be given back through the cut cable: it still says who was there.
    assert done.returncode == 4, done.stderr
    assert "测试员/T001" in done.stderr


HOLD = (
    'perl -e \'use Fcntl; open(F, ">>", "/var/lib/dpkg/lock-frontend"); '
    '$l = pack("s s l l i", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; sleep 600\''
)


def test_3_a_held_package_lock_has_a_holder_and_a_deadline(site: Site) -> None:
    # What ran on db1 when the cable was cut has come to its end by itself.
    ended = ["sh", "-c", "ls /var/lib/implops/jobs/*/rc"]
    until("the job on db1 ended", lambda: lab.enter(site, "db1", ended).returncode == 0)
    lab.enter(site, "db1", ["systemd-run", "-q", "--unit=holder", "sh", "-c", HOLD])
    process = start(site, "--resume", "last")
    said, _ = process.communicate(timeout=600)
    lab.enter(site, "db1", ["systemctl", "stop", "holder"])
    assert process.returncode == 1, said
    assert "perl" in said
    assert "db1 备份作业" in said


def test_4_a_service_that_starts_and_dies_is_no_good_service(site: Site) -> None:
    drop = "/etc/systemd/system/named.service.d"
    body = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 1; exit 1'\nRestart=no\nType=simple\n"
    script = f"mkdir -p {drop}; cat > {drop}/x.conf; systemctl daemon-reload; systemctl stop named"
    lab.enter(site, "dns1", ["sh", "-c", script], given=body)
    process = start(site, "--resume", "last")
    said, _ = process.communicate(timeout=600)
    lab.enter(site, "dns1", ["sh", "-c", f"rm -r {drop}; systemctl daemon-reload"])
    assert process.returncode == 1, said
    assert "systemd:named.service" in said
    ended = [one.payload for one in Store.of(site.state).events(kind="step.finished")]
    bad = next(one for one in reversed(ended) if one["step"] == "bind9@dns1")["probes"]
    assert {one["id"]: one.get("said") for one in bad}["systemd:named.service"] in ("inactive", "failed")


def clock(patch: pytest.MonkeyPatch, off: str) -> None:
    """What is started from now on has a clock that is ``off`` by so much."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    patch.setenv("LD_PRELOAD", str(library))
    patch.setenv("FAKETIME", off)


def test_5_and_in_the_end_everything_stands_and_nothing_ran_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clock(patch, "+7m")
        done = implops("deploy", site.path, "--yes", "--resume", "last", timeout=600)
    assert "部署合格" in done.stdout
    assert last(site, "deploy.finished")["conclusion"] == "pass"
    history = ssh(site, "db1", "cat /var/log/apt/history.log").stdout
    lines = [line for line in history.splitlines() if line.startswith("Commandline:") and "postgresql-15" in line]
    assert len(lines) == 1, lines
    implops("deploy", site.path, "--drift", timeout=300)
    implops("record", "verify", site.path)


def test_5a_a_host_that_cannot_be_reached_changes_nothing_anywhere(site: Site) -> None:
    before = len(Store.of(site.state).events(kind="deploy.started"))
    lab.cut_network(site, "app1")
    try:
        done = implops("deploy", site.path, "--yes", code=3, timeout=120)
    finally:
        lab.mend_network(site, "app1")
    assert "app1" in done.stderr
    assert len(Store.of(site.state).events(kind="deploy.started")) == before
    for name in ("db1", "dns1", "sto1"):
        assert ssh(site, name, "ls /var/lib/implops/lock").returncode != 0


def test_5b_a_port_that_a_stranger_took_is_told(site: Site) -> None:
    """What was found free by the check is taken when the run comes to it."""
    unit = "[Service]\nExecStart=/usr/bin/python3 -m http.server 80 --bind 0.0.0.0\n"
    script = "cat > /run/systemd/system/stranger.service; systemctl stop nginx; systemctl start stranger"
    lab.enter(site, "app1", ["sh", "-c", script], given=unit)
    try:
        done = implops("deploy", site.path, "--yes", code=1, timeout=300)
    finally:
        lab.enter(site, "app1", ["sh", "-c", "systemctl stop stranger; rm /run/systemd/system/stranger.service"])
    assert "nginx" in done.stderr
    assert f"{site.hosts['app1'].address}:80 failed" in done.stderr
    implops("deploy", site.path, "--yes", "--resume", "last", timeout=300)
    assert last(site, "deploy.finished")["conclusion"] == "pass"


def test_5c_a_clock_that_was_put_back_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that seems to come from the future proves nothing; with a clock that is ahead all goes well (test 5)."""
    before = len(Store.of(site.state).events(kind="deploy.started"))
    implops("check", site.path, "-q")
    clock(monkeypatch, "-7m")
    assert "implops check" in implops("deploy", site.path, "--yes", code=5).stderr
    assert len(Store.of(site.state).events(kind="deploy.started")) == before


ON_ITS_OWN = """cp -a $1 /run/was; mount -t tmpfs -o size=64m tmpfs $1; cp -a /run/was/. $1; rm -r /run/was
chmod --reference=$1/.. $1"""


def test_5d_a_disk_that_is_full_when_a_file_is_written_leaves_the_old_one(site: Site) -> None:
    place, server = "/etc/tomcat10", "/etc/tomcat10/server.xml"
    spoil = f"{ON_ITS_OWN}\necho '<!-- by hand -->' >> {server}\ncat /dev/zero > $1/filler || true"
    lab.enter(site, "app1", ["sh", "-ec", spoil, "sh", place])
    was = lab.enter(site, "app1", ["sha256sum", server]).stdout
    told = implops("deploy", site.path, "--yes", code=1, timeout=300).stderr
    assert "No space left on device" in told
    assert lab.enter(site, "app1", ["sha256sum", server]).stdout == was
    lab.enter(site, "app1", ["rm", f"{place}/filler"])
    implops("deploy", site.path, "--yes", "--resume", "last", timeout=300)
    assert "by hand" not in lab.enter(site, "app1", ["cat", server]).stdout
    lab.enter(site, "app1", ["umount", "-l", place])
    implops("deploy", site.path, "--yes", timeout=300)
    implops("deploy", site.path, "--drift", timeout=300)


def test_5e_a_disk_that_is_full_when_a_release_is_unpacked_leaves_the_old_one(site: Site) -> None:
    home = "/opt/implops/releases/his"
    current = lab.enter(site, "app1", ["readlink", f"{home}/current"]).stdout
    new = write(site, "1.0.1", mark="新版")
    prepare(new)
    fill = f"{ON_ITS_OWN}\ncat /dev/zero > $1/filler || true"
    lab.enter(site, "app1", ["sh", "-ec", fill, "sh", home])
    told = implops("deploy", new.path, "--yes", code=1, timeout=400).stderr
    assert "No space left on device" in told
    assert lab.enter(site, "app1", ["readlink", f"{home}/current"]).stdout == current
    there = lab.enter(site, "app1", ["ls", home]).stdout.split()
    assert not [one for one in there if one.startswith("1.0.1") and not one.endswith(".part")]
    implops("verify", new.path, timeout=300)
    lab.enter(site, "app1", ["umount", "-l", home])
    implops("deploy", new.path, "--yes", timeout=400)
    assert lab.enter(site, "app1", ["readlink", f"{home}/current"]).stdout.startswith("1.0.1-")


def test_6_no_secret_anywhere(site: Site) -> None:
    words = planted(site)
    store = Store.of(site.state)
    shas = {one for event in store.events() for one in event.evidence}
    assert not [one for one in shas for word in words if word in store.evidence(one)]
    for folder in (site.state, site.out):
        for path in folder.rglob("*"):
            if path.is_file() and "lab" not in path.relative_to(site.base).parts[:2]:
                body = path.read_bytes()
                assert not [path for word in words if word in body]
    listed = "\n".join(word.decode() for word in words) + "\n"
    for name in site.hosts:
        # The words on standard input: an argument would be what the watch looks for.
        places = ("/etc", "/var", "/opt", "/tmp", "/root", "/home")
        found = lab.enter(site, name, ["grep", "-rlF", "-f", "/dev/stdin", *places], given=listed)
        for path in found.stdout.split():
            mode = lab.enter(site, name, ["stat", "-c", "%a", path]).stdout.strip()
            assert int(mode, 8) & 0o007 == 0, f"{name}:{path} {mode}"
