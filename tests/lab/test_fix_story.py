"""Fixing on real hosts: what is safe is mended and checked again, what the kernel refuses is said, all of it undone."""

from __future__ import annotations

import re

import pytest
from power import implops, ssh
from test_check_story import fault

from implops import lab
from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab

# Every file below /etc with what it holds, its mode and its time.
LOOK = "cd /etc && find . -type f -exec sha256sum {} + -exec stat -c '%n %a %Y' {} + | sort"
REFUSED = "echo 10000 >/run/small; mount --bind /run/small /proc/sys/fs/file-max; "
REFUSED += "mount -o remount,bind,ro /proc/sys/fs/file-max"


def inside(site: Site, host: str, command: str) -> str:
    done = lab.enter(site, host, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_safe_faults_are_mended_checked_again_and_undone(site: Site) -> None:
    away = "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'; sysctl -qw net.ipv4.ip_local_reserved_ports=''"
    database = fault(site, "db1", "sysctl -qw net.ipv4.ip_local_port_range='5000 60999'", away)
    web = fault(site, "app1", "sysctl -qw net.ipv4.ip_local_port_range='8000 60999'", away)
    refused = fault(site, "db1", REFUSED, "umount /proc/sys/fs/file-max")
    path = site.base / "fix.sh"
    with database, web, refused:
        before = inside(site, "db1", LOOK)
        done = implops("check", site.path, "--fix-script", path, "--apply", "--yes", "--no-document", code=1)
        lines = {match[1]: line for line in done.stdout.splitlines() if (match := re.match(r"  (\w+ LIM\d\d) ", line))}
        assert "5432 → 5000–60999,合格" in lines["db1 LIM08"]
        assert "8080 → 8000–60999,合格" in lines["app1 LIM08"]
        # Refused by the kernel: said, brought back, and still a fault; the others were mended nevertheless.
        assert "处理失败,已恢复原状" in lines["db1 LIM03"]
        assert lines["db1 LIM03"].endswith("10000,不合格")
        now = "sysctl -n net.ipv4.ip_local_reserved_ports"
        assert inside(site, "db1", f"{now}; cat /etc/sysctl.d/99-zz-implops-LIM08.conf") == (
            "5432\nnet.ipv4.ip_local_reserved_ports = 5432\n"
        )
        assert inside(site, "app1", now) == "8080\n"
        assert inside(site, "db1", "ls /etc/sysctl.d | grep -c LIM03 || true") == "0\n"

        store = Store.of(site.state)
        mended = store.last("fix.finished")
        assert mended
        assert mended.payload["conclusion"] == "fail"
        events = store.events(kind="host.fixed", run=mended.run)
        told = {(event.payload["host"], one["key"]): one for event in events for one in event.payload["fixes"]}
        assert {key: one["state"] for key, one in told.items()} == {
            ("db1", "LIM03"): "failed", ("db1", "LIM08"): "done", ("app1", "LIM08"): "done",
        }  # fmt: skip
        # The check after it asked for exactly these, on exactly these hosts; it opens nothing.
        again = store.last("check.finished")
        assert again
        assert again.sequence > mended.sequence
        assert not again.payload["complete"]
        (begun,) = store.events(kind="check.started", run=again.run)
        assert set(begun.payload["only"]) == {"LIM03", "LIM08"}
        assert set(begun.payload["chosen"]) == {"db1", "app1"}

        ssh(site, "db1", f"sudo -n {told['db1', 'LIM08']['said']}")
        assert inside(site, "db1", now) == "\n"
        assert inside(site, "db1", LOOK) == before

        # The script for people: on its host, by name, and back.
        text = path.read_text(encoding="utf-8").replace("/var/lib/implops/fixes/", "/var/lib/implops/by-hand/")

        def by_hand(host: str, *words: str) -> str:
            done = lab.enter(site, host, ["sh", "-c", text, "fix.sh", *words])
            return f"{done.returncode} {done.stdout}{done.stderr}"

        assert by_hand("db1", "db1").startswith("0 LIM03  safe")
        assert "it is not db1" in by_hand("app1", "db1", "apply")
        assert "LIM08\tdone" in by_hand("db1", "db1", "apply", "LIM08")
        assert inside(site, "db1", now) == "5432\n"
        assert by_hand("db1", "db1", "undo", "LIM08") == "0 undone\n"
        assert inside(site, "db1", now) == "\n"
        assert inside(site, "db1", LOOK) == before
    implops("check", site.path, "--apply", "--yes", "--no-document")
