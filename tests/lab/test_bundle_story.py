"""A bundle on its way to hosts without a network: refused, cut off, resumed, damaged, mended, installed."""

from __future__ import annotations

import contextlib
import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import pytest
from power import implops, leftovers, ssh, write_site

from implops import remote
from implops.bundle import Bundle, Pushed, artifacts, build, install_command, push, simulate, verify
from implops.errors import GateRefused, HostError
from implops.remote import Connection, ConnectionLost
from implops.site import Site

WANTED = {"app1": ["nginx"], "db1": ["restic"], "dns1": ["restic"], "sto1": ["restic"]}
WAR = "files/his-1.0.0.war"


def _with_password(text: str) -> str:
    """Every story here goes through a sudo that asks: the harder way of the two."""
    return text.replace("  # sudo_password: file:secrets/sudo ", "  sudo_password: file:secrets/sudo #")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = write_site(tmp_path_factory.mktemp("bundle"), _with_password)
    release = site.base / "release"
    (release / "schema").mkdir(parents=True)
    (release / "his-1.0.0.war").write_bytes(bytes(range(256)) * 40_000)
    for name in ("001_base.sql", "002_departments.sql"):
        (release / "schema" / name).write_text(f"-- {name}\n", encoding="utf-8")
    try:
        implops("lab", "up", site.path)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)
    assert leftovers(site) == []


@pytest.fixture(scope="module")
def bundle(bare: Site) -> Bundle:
    return build(bare, WANTED, artifacts(bare), print)


@contextlib.contextmanager
def connected(site: Site, host: str) -> Iterator[Connection]:
    with remote.connect(site, site.hosts[host]) as connection:
        yield connection


def pushed(site: Site, bundle: Bundle, host: str) -> Pushed:
    with connected(site, host) as connection:
        return push(connection, bundle, host, print)


def root(site: Site, host: str, script: str) -> str:
    with connected(site, host) as connection:
        result = connection.run(script, timeout=120, sudo=True)
    assert result.rc == 0, result.err
    return result.text


def files(site: Site, host: str) -> set[str]:
    return set(root(site, host, "find /var/lib/implops/bundle -type f 2>/dev/null; true").split())


def test_another_release_is_refused_before_anything_is_copied(bare: Site, bundle: Bundle) -> None:
    hosts = {name: {**one, "release": "trixie"} for name, one in bundle.manifest["hosts"].items()}
    other = replace(bundle, manifest={**bundle.manifest, "hosts": hosts})
    with connected(bare, "sto1") as connection, pytest.raises(GateRefused) as raised:
        push(connection, other, "sto1", print)
    assert "debian bookworm amd64" in str(raised.value)
    assert "debian trixie amd64" in str(raised.value)
    assert connection.trips <= 2  # the question; one more when sudo turned out to want a password
    root(bare, "sto1", "[ ! -e /var/lib/implops ]")


def test_a_missing_dependency_is_named_before_anything_is_copied(bare: Site, bundle: Bundle) -> None:
    @dataclass(frozen=True)
    class Poorer(Bundle):
        def read(self, path: str) -> bytes:
            stanzas = super().read(path).split(b"\n\n")
            return b"\n\n".join(one for one in stanzas if b"Package: nginx-common\n" not in one)

    poorer = Poorer(**bundle.__dict__)
    with connected(bare, "app1") as connection, pytest.raises(GateRefused) as raised:
        push(connection, poorer, "app1", print)
    assert raised.value.key == "bundle.unmet"
    assert "nginx-common" in str(raised.value)
    assert files(bare, "app1") == set()


def test_no_room_is_refused_naming_need_and_rest(bare: Site, bundle: Bundle) -> None:
    root(bare, "sto1", "mkdir -p /var/lib/implops && mount -t tmpfs -o size=8m tmpfs /var/lib/implops")
    try:
        with connected(bare, "sto1") as connection, pytest.raises(HostError) as raised:
            push(connection, bundle, "sto1", print)
        assert raised.value.key == "bundle.room"
        assert raised.value.params["path"] == "/var/lib/implops"
        assert files(bare, "sto1") == set()
    finally:
        root(bare, "sto1", "umount /var/lib/implops")


class _Cut(io.RawIOBase):
    """Reads like the stream it wraps, and cuts the cable after ``size`` bytes."""

    def __init__(self, stream: IO[bytes], size: int, connection: Connection) -> None:
        # The cable itself: the connection is not asked for it again when it is gone.
        self.stream, self.left, self.cable = stream, size, connection.transport.sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left <= 0:
            self.cable.close()
        block = self.stream.read(min(len(buffer), 4096))
        self.left -= len(block)
        buffer[: len(block)] = block
        return len(block)


def test_a_push_that_was_cut_off_goes_on_where_it_was(bare: Site, bundle: Bundle) -> None:
    @dataclass(frozen=True)
    class Thin(Bundle):
        cable: Connection | None = None
        cut: int = 0

        def tar(self, paths: Any) -> IO[bytes]:
            assert self.cable
            return io.BufferedReader(_Cut(super().tar(paths), self.cut, self.cable))

    with connected(bare, "app1") as connection, pytest.raises(ConnectionLost):
        thin = Thin(**bundle.__dict__, cable=connection, cut=bundle.items[WAR].size // 2 + 1_000_000)
        push(connection, thin, "app1", print)
    assert files(bare, "app1") == set()  # nothing is taken over before all of it was checked
    again = pushed(bare, bundle, "app1")
    assert {"nginx", "nginx-common"} <= {one.package for one in again.changes}
    assert again.sent == (WAR,)  # the packages before it had arrived whole
    assert again.mended == ()
    assert pushed(bare, bundle, "app1").sent == ()


def test_a_command_that_a_signal_ended_is_an_answer_not_a_lost_connection(bare: Site) -> None:
    with connected(bare, "app1") as connection:
        assert connection.run("kill -KILL $$", timeout=30).rc == -1
        assert connection.run("echo alive", timeout=30).text == "alive\n"


def test_the_second_push_is_one_question_and_sends_nothing(bare: Site, bundle: Bundle) -> None:
    first = pushed(bare, bundle, "db1")
    assert {"files/001_base.sql", "files/002_departments.sql"} <= set(first.sent)
    assert WAR not in first.sent
    before = root(bare, "db1", "cd /var/lib/implops; find bundle apt -type f -printf '%p %T@ %U:%G %m\\n' | sort")
    assert " 0:0 644" in before
    with connected(bare, "db1") as connection:
        connection.run("true", timeout=30, sudo=True)  # learns that sudo wants the password
        trips = connection.trips
        second = push(connection, bundle, "db1", print)
        assert connection.trips - trips == 1
    assert (second.sent, second.sent_bytes, second.removed) == ((), 0, ())
    assert second.present == len(first.sent)
    after = root(bare, "db1", "cd /var/lib/implops; find bundle apt -type f -printf '%p %T@ %U:%G %m\\n' | sort")
    assert after == before


def test_only_what_the_hosts_own_apt_wants_is_sent(bare: Site, bundle: Bundle) -> None:
    sent = pushed(bare, bundle, "dns1")
    assert "libc6" in bundle.versions
    assert [one.package for one in sent.changes] == ["restic"]
    assert [path for path in sent.sent if path.endswith(".deb")] == [
        path for path in bundle.for_host("dns1")["debs"] if "/restic_" in path
    ]


def test_a_damaged_byte_on_the_target_is_found_and_mended(bare: Site, bundle: Bundle) -> None:
    pushed(bare, bundle, "dns1")
    deb = next(path for path in files(bare, "dns1") if "/restic_" in path)
    root(bare, "dns1", f"printf X | dd of={deb} bs=1 seek=5000 conv=notrunc status=none")
    again = pushed(bare, bundle, "dns1")
    assert again.mended == again.sent == (deb.removeprefix("/var/lib/implops/bundle/"),)
    assert pushed(bare, bundle, "dns1").sent == ()


def test_damage_on_the_way_is_not_taken_over(bare: Site, bundle: Bundle) -> None:
    @dataclass(frozen=True)
    class Noisy(Bundle):
        def blocks(self, path: str) -> Iterator[bytes]:
            for block in super().blocks(path):
                yield block if path.startswith("apt/P") else bytes([block[0] ^ 1]) + block[1:]

    root(bare, "sto1", "rm -rf /var/lib/implops")
    with connected(bare, "sto1") as connection, pytest.raises(HostError) as raised:
        push(connection, Noisy(**bundle.__dict__), "sto1", print)
    assert raised.value.key == "bundle.damaged"
    assert "restic_" in str(raised.value)
    assert files(bare, "sto1") == set()
    assert len(pushed(bare, bundle, "sto1").sent) == 1


def test_files_of_an_older_bundle_go_and_the_index_follows(bare: Site, bundle: Bundle) -> None:
    pushed(bare, bundle, "sto1")
    root(bare, "sto1", "cd /var/lib/implops/bundle; touch files/his-0.9.war apt/old_1_all.deb; echo >apt/Packages")
    again = pushed(bare, bundle, "sto1")
    assert again.removed == ("bundle/apt/old_1_all.deb", "bundle/files/his-0.9.war")
    with connected(bare, "sto1") as connection:
        assert [one.package for one in simulate(connection, ["restic"])] == ["restic"]


def test_a_host_without_a_network_installs_and_keeps_its_own_sources(bare: Site, bundle: Bundle) -> None:
    pushed(bare, bundle, "app1")
    own = root(bare, "app1", "cat /etc/apt/sources.list; ls -lR /etc/apt /var/lib/apt/lists | sha256sum")
    with connected(bare, "app1") as connection:
        planned = simulate(connection, ["nginx"])
        result = connection.run(install_command(["nginx"]), timeout=300, sudo=True)
        assert result.rc == 0, result.text
        assert {"nginx", "nginx-common"} <= {one.package for one in planned}
        assert simulate(connection, ["nginx"]) == []
        refused = connection.run(install_command(["nosuch"]), timeout=60, sudo=True)
        assert refused.rc == 100
        with pytest.raises(GateRefused, match="nosuch"):
            simulate(connection, ["nosuch"])
    assert root(bare, "app1", "cat /etc/apt/sources.list; ls -lR /etc/apt /var/lib/apt/lists | sha256sum") == own
    assert root(bare, "app1", "systemctl is-active nginx").strip() == "active"
    after = pushed(bare, bundle, "app1")
    assert (after.sent, after.changes) == ((), ())


def test_an_installation_that_was_cut_off_is_finished(bare: Site, bundle: Bundle) -> None:
    """A power cut leaves packages unpacked, their dependencies absent: the state that ``--resume`` meets."""
    pushed(bare, bundle, "app1")
    repair = "dpkg --configure -a --force-confold </dev/null || true"
    root(bare, "app1", f"{repair}; dpkg --purge nginx nginx-common")
    root(bare, "app1", "dpkg --unpack /var/lib/implops/bundle/apt/nginx_*.deb")
    again = pushed(bare, bundle, "app1")
    assert "nginx-common" in {one.package for one in again.changes}
    root(bare, "app1", f"{repair}; {install_command(['nginx'])}")
    assert root(bare, "app1", "systemctl is-active nginx; dpkg --audit").strip() == "active"


def test_no_secret_and_no_password_stands_anywhere(bare: Site, bundle: Bundle) -> None:
    password = (bare.base / "secrets" / "sudo").read_text(encoding="utf-8").strip()
    for host in bare.hosts:
        assert ssh(bare, host, f"grep -rsF -e {password} /var/lib/implops; true").stdout == ""
    assert subprocess.run(["grep", "-cF", "-e", password, bundle.path], capture_output=True).stdout.strip() == b"0"


def test_the_command_line_verifies_and_names_the_damage(bare: Site, bundle: Bundle, tmp_path: Path) -> None:
    good = implops("bundle", "verify", bare.path)
    assert bundle.sha256 in good.stdout
    copy = tmp_path / bundle.path.name
    data = bytearray(bundle.path.read_bytes())
    data[bundle.offsets[WAR] + 17] ^= 1
    copy.write_bytes(data)
    bad = implops("bundle", "verify", bare.path, "--file", copy, code=1)
    assert WAR in bad.stderr
    assert len(bad.stderr.splitlines()) == 1
    assert verify(bundle.path).sha256 == bundle.sha256
