"""Disks: mounts, room, kind, options."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from implops import lab
from mutation.fault import Fault, Step, change, python, shell, site
from mutation.throttle import throttle

if TYPE_CHECKING:
    from mutation.bench import Bench

_SIDE = "/run/mutation/data"


def disk(path: str, size: str, make: str, options: str = "") -> Step:
    """A disk of its own over a mount point: a sparse image with a filesystem, on a loop device of this machine."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        folder = lab.folder(bench.site) / host
        image = folder / f"mutation{path.replace('/', '-')}.img"
        subprocess.run(["truncate", "-s", size, image], check=True)
        subprocess.run([*make.split(), image], check=True, capture_output=True)
        found = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True)
        loop = found.stdout.strip()
        number = loop.removeprefix("/dev/loop")
        more = f"-o {options}" if options else ""
        bench.shell(host, f"mknod {loop} b 7 {number}; mount {more} {loop} {path}")

        def undo() -> None:
            bench.shell(host, f"umount {path}; rm {loop}")
            subprocess.run(["losetup", "-d", loop], check=True)
            image.unlink()

        return undo

    return Step(call=call, touches=frozenset([path]))


def away(path: str) -> Step:
    """A disk that is not mounted any more; its directory is."""
    return shell(f"mkdir -p {_SIDE}; mount --bind {path} {_SIDE}; umount {path}",
                 f"mount --bind {_SIDE} {path}; umount {_SIDE}", touches=path)  # fmt: skip


def _scheduler(bench: Bench, host: str) -> Callable[[], None]:
    """Of the loop device behind the backup disk; the host's sysfs shows the machine's."""
    device = bench.shell(host, "findmnt -no SOURCE /backup").strip().removeprefix("/dev/")
    path = Path("/sys/block", device, "queue/scheduler")
    path.write_text("mq-deadline", encoding="ascii")
    return lambda: path.write_text("none", encoding="ascii") and None


FAULTS = [
    Fault("DSK01", "db1", "the data disk is not mounted, its directory is there", (away("/data"),), "fail", "/",
          target="/data", short=True,
          follows={"DSK05": "the directory lies on the root's filesystem", "DSK07": "a mount that is not there", "DSK12": "nor the disk below it"}),
    Fault("DSK02", "db1", "a disk of 10 GiB where 20 GB are needed", (disk("/data", "10G", "mkfs.xfs -q"),), "fail",
          re.compile(r"9\.9[0-9]* GiB"), target="/data", short=True),
    Fault("DSK03", "db1", "the data disk is nearly full", (shell("fallocate -l 17G /data/big", "rm /data/big",
                                                                 touches="/data"),),
          "fail", re.compile("9[1-3] %"), target="/data", short=True),
    Fault("DSK03", "sto1", "the backup disk is rather full", (shell("fallocate -l 15500M /backup/big", "rm /backup/big",
                                                                    touches="/backup"),),
          "warn", re.compile("8[1-9] %"), target="/backup"),
    Fault("DSK04", "sto1", "no inode is left",
          (disk("/backup", "20G", "mkfs.ext4 -q -O ^has_journal -N 2560"),
           shell("cd /backup; i=0; while touch f$i 2>/dev/null; do i=$((i+1)); done; :", "rm -f /backup/f*")),
          "warn", "0 %", target="/backup", short=True,
          follows={"DSK02": "the tables of ext4 take room of a disk that is just big enough"}),
    Fault("DSK05", "db1", "the data lie in memory",
          (shell("mount -t tmpfs -o size=20g tmpfs /data", "umount /data", touches="/data"),), "fail", "tmpfs",
          target="/data", follows={"DSK12": "no disk below it"}),
    Fault("DSK06", "db1", "the data disk is mounted without write barriers",
          (disk("/data", "22G", "mkfs.ext4 -q", "barrier=0"),), "fail", "nobarrier", target="/data"),
    Fault("DSK07", "db1", "the data disk is not in fstab", (change("/etc/fstab", r"sed -i '\| /data |d' $F"),),
          "warn", "—", target="/data", short=True),
    Fault("DSK08", "sto1", "the backup disk has become read-only",
          (shell("mount -o remount,bind,ro $(findmnt -no SOURCE /backup) /backup",
                 "mount -o remount,bind,rw $(findmnt -no SOURCE /backup) /backup", touches="/backup"),),
          "fail", "/backup", follows={"DSK06": "a read-only mount is also one with a wrong option"}, short=True),
    Fault("DSK09", "db1", "a hidden file in the data directory",
          (shell("mkdir /data/pg; touch /data/pg/.old", "rm -r /data/pg", touches="/data"),), "fail", "1",
          target="/data/pg", short=True),
    Fault("DSK11", "db1", "the backups lie on the disk of the data",
          (site(("repository: {host: sto1, path: /backup/his", "repository: {host: db1, path: /data/his"),
                ("roles: [db]", "roles: [db, storage]")),),
          "fail", re.compile(r"(/dev/loop[0-9]+) / \1"), target=None, whole=True,
          follows={"DSK01": "with the role comes its mount, which this host lacks",
                   "DSK05": "that mount is the root's filesystem"}),
    Fault("DSK16", "app1", "200 MiB for temporary files",
          (shell("mount -t tmpfs -o size=200m tmpfs /tmp", "umount /tmp", touches="/tmp"),), "fail", "200 MiB",
          target="/tmp", short=True),
    Fault("DSK17", "dns1", "less than 5 GiB are left for the system",
          (shell("fallocate -l 33500M /var/big", "rm /var/big", touches="/"),), "fail", re.compile(r"4\.[0-9]+ GiB"),
          target="/", follows={"DSK03": "so full is too full"}, short=True),
    Fault("DSK07", "sto1", "fstab names the backup disk by its device",
          (change("/etc/fstab", r"sed -i -E 's|^UUID=[^ ]+ /backup |/dev/sdb1 /backup |' $F"),), "warn", "/dev/sdb1",
          target="/backup"),
    Fault("DSK12", "sto1", "another I/O scheduler", (python(_scheduler),), "info",
          re.compile("loop[0-9]+ mq-deadline .*"), target="/backup"),
    Fault("DSK13", "sto1", "the backup disk writes 5 MB/s", (throttle("/backup", write_bps=5_000_000),), "fail",
          re.compile(r"[3-6](\.[0-9]+)? MB/s"), target="/backup/his", deep=True, follows={"STO05": "the same slow disk"}),
    Fault("DSK14", "db1", "the data disk takes 20 writes a second", (throttle("/data", write_iops=20),), "fail",
          re.compile(r"[0-9]+ ms|[0-9.]+ s"), target=None, deep=True,
          follows={"DSK13": "the same slow disk", "DSK15": "the same slow disk"}),
    Fault("DSK15", "db1", "the data disk takes 100 reads and 100 writes a second",
          (throttle("/data", write_iops=100, read_iops=100),), "warn", re.compile("[0-9]{2,3}"), target=None, deep=True,
          follows={"DSK13": "the same slow disk", "DSK14": "the same slow disk"}),
]  # fmt: skip
