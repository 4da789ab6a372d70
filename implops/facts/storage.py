"""Filesystems and directories of the paths that the site declares, and of the system's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Site

SYSTEM = ("/", "/var", "/boot", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - their room is measured, nothing is written


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    fs: str
    options: frozenset[str]


@dataclass(frozen=True)
class Room:
    """The filesystem that holds a path: bytes and inodes. ``inodes`` is 0 where the filesystem makes them as needed."""

    source: str
    target: str
    size: int
    used: int
    free: int
    inodes: int
    inodes_free: int

    @property
    def used_percent(self) -> int:
        """As ``df`` counts: of what a user can have, rounded up."""
        return -(-100 * self.used // (self.used + self.free)) if self.used + self.free else 100


@dataclass(frozen=True)
class Directory:
    """``entries`` is None where nothing is; ``readable`` is False for what is no readable directory; ``first``: a name
    of what is in it.
    """

    entries: int | None
    readable: bool
    first: str = ""


@dataclass(frozen=True)
class Device:
    """A disk that is to be put into use. ``kind``: block, other, missing. ``use``: where it is mounted, "children" for
    partitions and what is built on it, empty. ``content``: its filesystem or another signature, "data" without one,
    empty when it is blank, "?" when the login may not look.
    """

    kind: str
    size: int
    read_only: bool
    use: str
    content: str


def declared(site: Site, host: Host) -> dict[str, str]:
    """Path -> why the site needs it on this host: mounts of its roles, the database's data, the backup repository."""
    paths = {path: "mount" for role in host.roles if role in site.roles for path in site.roles[role].mounts}
    if site.database and "db" in host.roles:
        paths.setdefault(site.database.data, "data")
    if site.backup and site.backup.repository.host == host.name:
        paths.setdefault(site.backup.repository.path, "repository")
    return paths


@dataclass(frozen=True)
class Queue:
    """``scheduler``: the chosen one, which sysfs prints in brackets. ``rotational`` is a guess in virtual machines."""

    scheduler: str
    rotational: bool


@dataclass(frozen=True)
class Disks(Fact, section="disks"):
    mounts: tuple[Mount, ...] | Unknown
    fstab: tuple[Mount, ...] | Unknown
    rooms: dict[str, Room] | Unknown
    directories: dict[str, Directory] | Unknown
    bases: dict[str, frozenset[str]] | Unknown  # mounted device -> the disks below it
    queues: dict[str, Queue] | Unknown  # disk -> how the kernel treats it
    units: dict[str, str] | Unknown  # target -> source of mount units
    devices: dict[str, Device] | Unknown  # mount -> the disk that the site file names for it

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        paths = declared(site, host)
        devices = [f"{path}:{device}" for path, device in host.disks.items()]
        return {"PATHS": list(dict.fromkeys([*paths, *SYSTEM])), "DIRS": list(paths), "DEVICES": devices}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            mounts=attempt(lambda: tuple(_mount(line) for line in section.all("mount"))),
            fstab=attempt(lambda: tuple(_mount(line) for line in _entries(section))),
            rooms=attempt(lambda: _rooms(section)),
            directories=attempt(lambda: {p: _directory(v) for p, v in section.pairs("dir").items()}),
            bases=attempt(lambda: {s: frozenset(names.split()) for s, names in section.pairs("base").items()}),
            queues=attempt(lambda: {disk: _queue(text) for disk, text in section.pairs("queue").items()}),
            units=attempt(lambda: section.pairs("unit")),
            devices=attempt(lambda: {path: _device(text) for path, text in section.pairs("device").items()}),
        )

    def mount_of(self, path: str) -> Mount:
        """The mount that holds a path: the longest by whole components; of two on one target the later covers."""
        mounts = self.mounts
        assert not isinstance(mounts, Unknown)
        best: Mount | None = None
        for one in mounts:
            if within(path, one.target) and (best is None or len(one.target) >= len(best.target)):
                best = one
        if best is None:
            raise NotMeasured(Unknown("missing", f"mount {path}"))
        return best

    def room(self, path: str) -> Room:
        rooms = self.rooms
        assert not isinstance(rooms, Unknown)
        if path not in rooms:
            raise NotMeasured(Unknown("missing", f"df {path}"))
        return rooms[path]


def mounted_apart(disks: Disks, one: str, other: str) -> bool | None:
    """Whether two paths lie on different disks; None when the disks below a device are not known."""
    first, second = disks.mount_of(one), disks.mount_of(other)
    if first.source == second.source:
        return False
    bases = disks.ask("bases")
    if isinstance(bases, Unknown) or not bases.get(first.source) or not bases.get(second.source):
        return None
    return not bases[first.source] & bases[second.source]


def within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or below it, by whole components."""
    return folder == "/" or path == folder or path.startswith(f"{folder}/")


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


# Hosts have most of their mounts in common.
@cache
def _mount(line: str) -> Mount:
    source, target, fs, options = line.split()[:4]
    return Mount(_plain(source), _plain(target), fs, frozenset(options.split(",")))


def _entries(section: Section) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in section.all("fstab")]
    return [line if len(line.split()) > 3 else f"{line} defaults" for line in lines if len(line.split()) >= 3]


def _rooms(section: Section) -> dict[str, Room]:
    parents, sizes, nodes = section.all("parent"), section.all("dfk"), section.all("dfi")
    if not len(parents) == len(sizes) == len(nodes):
        raise NotMeasured(Unknown("garbled", "df"))
    found = {}
    for parent, size, node in zip(parents, sizes, nodes, strict=True):
        a, b = _df(size), _df(node)
        if a[-1] != b[-1]:
            raise NotMeasured(Unknown("garbled", "df"))
        total, used, free = (to_int(one, "df") * 1024 for one in a[1:4])
        inodes, free_inodes = (0 if one == "-" else to_int(one, "df -i") for one in (b[1], b[3]))
        found[parent.split(" ")[0]] = Room(a[0], a[-1], total, used, free, inodes, free_inodes)
    return found


def _df(line: str) -> list[str]:
    match = re.fullmatch(r"(.*?)\s+(\d+|-)\s+(\d+|-)\s+(\d+|-)\s+(\d+%|-)\s+(/.*)", line)
    if not match:
        raise NotMeasured(Unknown("garbled", "df"))
    return list(match.groups())


def _queue(text: str) -> Queue:
    rotational, _, choice = text.partition(" ")
    chosen = re.search(r"\[([^\]]+)\]", choice)
    return Queue(chosen[1] if chosen else choice, rotational == "1")


def _device(text: str) -> Device:
    words = text.split(" ")
    if len(words) != 5 or words[0] not in ("block", "other", "missing"):
        raise NotMeasured(Unknown("garbled", "device"))
    kind, size, read_only, use, content = words
    return Device(kind, to_int(size, "device"), read_only == "1", use.removeprefix("-"), content.removeprefix("-"))


def _directory(value: str) -> Directory:
    if value in ("-", "?", "!"):
        return Directory(None if value == "-" else 0, readable=value == "-")
    count, _, first = value.partition(" ")
    return Directory(to_int(count, "dir"), readable=True, first=first)
