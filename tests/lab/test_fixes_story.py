"""Every fix that a machine can make, on deployed hosts: mended, still so after a reboot, and brought back as it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from power import implops
from test_check_story import fault
from test_reach_story import edited

from implops import lab
from implops.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.full]

# Every file and link below /etc: what it holds, its mode and its time.
LOOK = (
    "cd /etc && find . -type f -exec sha256sum {} + -exec stat -c '%n %a %Y' {} + -o -type l -printf '%p %l\\n' | sort"
)
# What the start of a host does; what the lab refuses of it is of no interest.
_SYSCTLS, _TMPFILES = "/lib/systemd/systemd-sysctl 2>/dev/null || :", "systemd-tmpfiles --create 2>/dev/null || :"
HEARS = "chronyc -h 127.0.0.1 waitsync 60 0 0 1 >/dev/null"


@dataclass(frozen=True)
class Broken:
    """``again``: what a reboot takes away of the fault, put back (the value of a shadowed kernel file); ``boots``
    then does what the start of a host does about it.
    """

    id: str
    host: str
    do: str
    undo: str
    again: str = ""
    boots: str = ""
    target: str = ""


def shadowed(
    id: str, host: str, path: str, value: str, more: str = "", more_away: str = "", target: str = ""
) -> Broken:
    """One kernel serves all hosts of the lab: a file of the host's own stands over the one that it would write."""
    kept = f"/run/fix/{path.strip('/').replace('/', '+')}"
    do = f"mkdir -p /run/fix; printf '%s\\n' '{value}' >{kept}; mount --bind {kept} {path}; {more}"
    boots = _SYSCTLS if path.startswith("/proc") else _TMPFILES
    return Broken(id, host, do, f"{more_away} umount {path}", do, boots, target)


def setting(id: str, host: str, name: str, value: str, was: str, target: str = "") -> Broken:
    """A value of the host's own network, running and in a file."""
    path = f"/etc/sysctl.d/70-{id}.conf"
    return Broken(id, host, f"sysctl -qw {name}='{value}'; echo '{name} = {value}' >{path}",
                  f"rm {path}; sysctl -qw {name}='{was}'; {_SYSCTLS}", target=target)  # fmt: skip


def unit(id: str, line: str) -> Broken:
    """What ``systemctl edit`` leaves."""
    folder = "/etc/systemd/system/tomcat10.service.d"
    path, again = f"{folder}/override.conf", "systemctl daemon-reload; systemctl restart tomcat10"
    return Broken(id, "app1", f"mkdir -p {folder}; grep -qs Service {path} || echo '[Service]' >{path}; echo '{line}' "
                  f">>{path}; {again}", f"rm -f {path}; {again}", target="tomcat10")  # fmt: skip


# A kernel keeps the chosen word of a list in brackets: this stands in for it.
_THP = "/sys/kernel/mm/transparent_hugepage/enabled"
_CHOOSES = (
    "systemd-run -q --unit=thp sh -c 'while sleep 0.05; do read -r l <" + _THP + "; case $l in *\\[*) ;; *) echo "
    '"always [$l] never" >' + _THP + "; esac; done'"
)
_NODES = (
    "mount -t tmpfs tmpfs /sys/devices/system/node; mkdir /sys/devices/system/node/node0 /sys/devices/system/node/node1"
)
_GOVERNOR = (
    "mount -t tmpfs tmpfs /sys/devices/system/cpu/cpu0; mkdir /sys/devices/system/cpu/cpu0/cpufreq; "
    "echo powersave >/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
)


def changed(id: str, host: str, path: str, command: str, target: str = "", then: str = "") -> Broken:
    kept = f"/var/tmp/kept-{id}"
    return Broken(id, host, f"cp -a {path} {kept}; {command}; {then}", f"cp -a {kept} {path}; rm {kept}; {then}",
                  target=target)  # fmt: skip


# chronyd may not set the clock of a container, so nothing there can be stepped: this tells of a clock that is three
# seconds off until somebody steps it.
_STEPPED = "/run/fix/stepped"
_CHRONYC = (
    "case $* in makestep) touch /run/fix/stepped; echo 200 OK;; "
    '*tracking*) if [ -e /run/fix/stepped ]; then /run/fix/chronyc.real "$@"; '
    'else /run/fix/chronyc.real "$@" | sed -E "s/^(([^,]*,){4})[^,]*/\\13.000/"; fi;; '
    '*) exec /run/fix/chronyc.real "$@";; esac'
)
_OFF = (
    "mkdir -p /run/fix; cp /usr/bin/chronyc /run/fix/chronyc.real; "
    f"printf '#!/bin/sh\\n%s\\n' '{_CHRONYC}' >/run/fix/chronyc; chmod 755 /run/fix/chronyc; "
    "mount --bind /run/fix/chronyc /usr/bin/chronyc"
)
# A login asks who calls, and the only name server is one that is not there.
_ASKS = (
    "cp -a /etc/resolv.conf /etc/ssh/sshd_config /var/tmp; echo UseDNS yes >>/etc/ssh/sshd_config; "
    "printf 'nameserver %s\\noptions timeout:3 attempts:1\\n' "
    "$(ip -4 -o addr show host0 | sed -E 's/.* ([0-9.]+)\\.[0-9]+\\/.*/\\1.99/') >/etc/resolv.conf; "
    "systemctl reload ssh"
)

# Containers do not see the devices of their disks; with this they do.
_NODE = (
    "d=$(findmnt -vno SOURCE /data); [ -b $d ] || mknod $d b $(mountpoint -d /data | tr : ' '); "
    "mkdir -p /dev/disk/by-uuid; ln -sf $d /dev/disk/by-uuid/$(blkid -p -o value -s UUID $d);"
)
SAFE = [
    shadowed("LIM03", "app1", "/proc/sys/fs/file-max", "10000"),
    shadowed("LIM05", "db1", "/proc/sys/kernel/sem", "32 64 1 2"),
    shadowed("LIM06", "db1", "/proc/sys/kernel/shmmax", "1048576", "cat /proc/sys/kernel/shmall >/run/fix/all; "
             "mount --bind /run/fix/all /proc/sys/kernel/shmall", "umount /proc/sys/kernel/shmall;", target="shmmax"),
    setting("LIM07", "app1", "net.core.somaxconn", "512", "4096"),
    setting("LIM08", "db1", "net.ipv4.ip_local_port_range", "5000 60999", "32768 60999"),
    setting("LIM09", "app1", "net.ipv4.tcp_keepalive_time", "7200", "600"),
    shadowed("LIM11", "db1", "/proc/sys/vm/max_map_count", "65530"),
    shadowed("MEM04", "db1", "/proc/sys/vm/swappiness", "180"),
    shadowed("MEM05", "db1", _THP, "[always] madvise never", _CHOOSES, "systemctl stop thp;"),
    shadowed("MEM06", "db1", "/proc/sys/vm/zone_reclaim_mode", "1", _NODES, "umount /sys/devices/system/node;"),
    Broken("CPU03", "app1", _GOVERNOR, "umount /sys/devices/system/cpu/cpu0", _GOVERNOR, _TMPFILES),
    changed("TIM05", "app1", "/etc/localtime", "ln -sf /usr/share/zoneinfo/UTC /etc/localtime"),
    changed("LOC01", "app1", "/etc/default/locale", "echo LANG=C >/etc/default/locale"),
    Broken("LOC02", "db1", "localedef --delete-from-archive zh_CN.utf8", "locale-gen >/dev/null"),
    changed("NET10", "sto1", "/etc/hosts", "sed -i '1i 10.9.9.9 db1' /etc/hosts"),
    Broken("DSK07", "db1", f"{_NODE} cp -a /etc/fstab /var/tmp/fstab; sed -i '\\| /data |d' /etc/fstab",
           "cp -a /var/tmp/fstab /etc/fstab; rm /var/tmp/fstab", _NODE, target="/data"),
]  # fmt: skip
OTHERS = [
    unit("LIM01", "LimitNOFILE=1024"),
    unit("LIM02", "TasksMax=50"),
    Broken("TIM01", "sto1", "systemctl disable --now chrony 2>/dev/null", f"systemctl enable --now chrony; {HEARS}",
           boots=HEARS),
    Broken("TIM06", "dns1", "printf '0.0 0 0.0\\n0\\nLOCAL\\n' >/etc/adjtime", "rm /etc/adjtime"),
    changed("SEC05", "dns1", "/etc/login.defs", "sed -Ei 's/^UMASK.*/UMASK 077/' /etc/login.defs"),
    changed("OS08", "dns1", "/etc/hostname", "echo localhost >/etc/hostname", then="hostname -F /etc/hostname"),
    shadowed("MEM08", "db1", "/proc/sys/vm/overcommit_memory", "2", "sed 's/^CommitLimit:.*/CommitLimit: 102400 kB/' "
             "/proc/meminfo >/run/fix/memory; mount --bind /run/fix/memory /proc/meminfo", "umount /proc/meminfo;"),
    Broken("ACC06", "sto1", _ASKS, "cp -a /var/tmp/resolv.conf /etc; cp -a /var/tmp/sshd_config /etc/ssh; "
           "rm /var/tmp/resolv.conf /var/tmp/sshd_config; systemctl reload ssh"),
    # What was stepped stays so: the host goes down with the stand-in.
    Broken("TIM02", "app1", _OFF, "umount /usr/bin/chronyc 2>/dev/null || :"),
]  # fmt: skip
# Its fix is the restart of its host.
RESTART = Broken("OS07", "dns1", "touch /run/reboot-required", "rm -f /run/reboot-required")
# What no undo brings back.
FOR_EVER = {("app1", "TIM02"), ("dns1", "OS07")}
ALL = [*SAFE, *OTHERS, RESTART]
# Only MariaDB takes such slots.
OF_MARIADB = [shadowed("LIM04", "db1", "/proc/sys/fs/aio-max-nr", "40000")]


def inside(site: Site, host: str, command: str) -> str:
    done = lab.enter(site, host, ["sh", "-c", command])
    assert done.returncode == 0, f"{host}: {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def only(chosen: Sequence[Broken]) -> list[str]:
    return [word for one in chosen for word in ("--only", one.id)]


def wrong(site: Site, chosen: Sequence[Broken] = ALL) -> dict[tuple[str, str], str]:
    """host and id -> value, of what is not good among the ids of this story."""
    shown = json.loads(implops("check", site.path, "--json", *only(chosen), code=None).stdout)
    ours = {(one.host, one.id, one.target) for one in chosen}
    return {
        (one["host"], one["id"]): f"{one['state']} {one['actual']} {one['note']}"
        for one in shown["verdicts"]
        if one["state"] in ("fail", "warn", "error") and (one["host"], one["id"], one["target"]) in ours
    }


@contextmanager
def broken(site: Site, chosen: Sequence[Broken]) -> Iterator[None]:
    with ExitStack() as stack:
        for one in chosen:
            stack.enter_context(fault(site, one.host, one.do, one.undo))
        yield


def keys(*chosen: Broken) -> set[tuple[str, str]]:
    return {(one.host, one.id) for one in chosen}


def steady(found: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Without what is measured anew each time, and what is mended for ever."""
    return {key: value for key, value in found.items() if key not in FOR_EVER and key[1] != "ACC06"}


def by_hand(site: Site, script: Path, host: str, *words: str, code: int = 0) -> str:
    done = lab.enter(site, host, ["sh", "-c", script.read_text(encoding="utf-8"), "fix.sh", host, *words])
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def restarts_itself(site: Site, script: Path) -> None:
    """The fix that is the restart of its host: in the lab the host then has to be started from outside."""
    assert "\tdone\t" in by_hand(site, script, RESTART.host, "apply", RESTART.id)
    deadline = time.monotonic() + 60
    while any(one.host == RESTART.host and one.state == "running" for one in lab.status(site)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_fix_mends_lasts_and_is_undone(deployed: Site) -> None:
    limit = "      MEM04: {want: 100}"
    assert wrong(deployed) == {}
    with edited(deployed, (limit, f"{limit}\n      LIM11: {{need: 262144}}")) as site, broken(site, ALL):
        planted = wrong(site)
        assert set(planted) == keys(*ALL)
        assert not [value for value in planted.values() if value.startswith("error")]
        before = {host: inside(site, host, LOOK) for host in site.hosts}
        script = site.base / "fix.sh"
        done = implops("check", site.path, *only(ALL), "--fix-script", script, "--apply", "--yes", code=None)
        mended = wrong(site)
        assert set(mended) == keys(*OTHERS, RESTART), done.stdout
        for host in site.hosts:
            if chosen := [one.id for one in OTHERS if one.host == host]:
                by_hand(site, script, host, "apply", *chosen)
        for one in OTHERS:
            inside(site, one.host, one.boots or ":")
        assert set(wrong(site)) == keys(RESTART)

        restarts_itself(site, script)
        for host in site.hosts:
            if host != RESTART.host:
                lab.stop(site, host)
            lab.boot(site, host)
        for one in ALL:
            inside(site, one.host, one.again or ":")
        for one in ALL:
            inside(site, one.host, one.boots or ":")
        assert wrong(site) == {}

        for host, id in FOR_EVER:
            assert "nothing can be brought back" in by_hand(site, script, host, "undo", id, code=1)
        undo = "for f in /var/lib/implops/fixes/*/*/undo; do case $f in "
        undo += "".join(f"*/{id}/undo) continue;; " for _, id in FOR_EVER)
        undo += "esac; [ ! -e $f ] || sh $f || exit 1; done"
        for host in site.hosts:
            inside(site, host, undo)
        assert {host: inside(site, host, LOOK) for host in site.hosts} == before
        now = wrong(site)
        assert set(now) == set(planted) - FOR_EVER
        assert steady(now) == steady(planted)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and wrong(deployed):
        time.sleep(2)
    assert wrong(deployed) == {}


def test_what_only_mariadb_needs_is_mended_lasts_and_is_undone(mariadb: Site) -> None:
    assert wrong(mariadb, OF_MARIADB) == {}
    with broken(mariadb, OF_MARIADB):
        planted = wrong(mariadb, OF_MARIADB)
        assert set(planted) == keys(*OF_MARIADB)
        before = inside(mariadb, "db1", LOOK)
        done = implops("check", mariadb.path, *only(OF_MARIADB), "--apply", "--yes", code=0)
        assert "LIM04" in done.stdout
        assert wrong(mariadb, OF_MARIADB) == {}
        # As after a restart: the old value is there until the start of the host sets the lasting one.
        for command in ("umount /proc/sys/fs/aio-max-nr", OF_MARIADB[0].do, OF_MARIADB[0].boots):
            inside(mariadb, "db1", command)
        assert wrong(mariadb, OF_MARIADB) == {}
        inside(mariadb, "db1", "sh /var/lib/implops/fixes/*/LIM04/undo")
        assert inside(mariadb, "db1", LOOK) == before
        assert wrong(mariadb, OF_MARIADB) == planted
    assert wrong(mariadb, OF_MARIADB) == {}
