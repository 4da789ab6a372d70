"""Disks: the declared mounts, their room and kind, the system's own room."""

from __future__ import annotations

from pathlib import PurePosixPath

from implops.check.limits import Limit
from implops.check.registry import check
from implops.facts.storage import Disks, declared, within

_NEVER_FOR_DATA = ("nfs", "nfs4", "cifs", "smb3", "overlay", "tmpfs", "fuse", "9p")
# Mounts of the system itself, in bytes: need and want of /, /var, /boot (our own figures).
_ROOM = {"/": (5, 20), "/var": (5, 20), "/boot": (0.1, 0.1)}
_TMP = ("/tmp", "/var/tmp")  # noqa: S108 - their room is judged
_GIB = 2**30


def _mounts(case):
    return {path: spec for role in case.host.roles if role in case.site.roles
            for path, spec in case.site.roles[role].mounts.items()}  # fmt: skip


@check("DSK01", "mount.exists")
def mounted(case):
    disks = case.fact(Disks)
    for path, spec in _mounts(case).items():
        mount = disks.mount_of(path)
        if not spec.separate:
            yield case.good(f"{mount.target} {mount.fs}", "—", target=path)
        elif mount.target == path:
            yield case.good(f"{mount.source} {mount.fs}", path, target=path)
        else:
            yield case.bad(mount.target, path, target=path, note="not_mounted")


@check("DSK02", "disk.size", unit="size")
def size(case):
    disks = case.fact(Disks)
    for path, spec in _mounts(case).items():
        yield case.least(disks.room(path).size, target=path, tolerance=True, limit=Limit(spec.size, spec.want, "site"))


@check("DSK03", "disk.free", unit="percent", ceiling=True)
def use(case):
    """How full: of a declared mount, and of the system's own filesystem."""
    disks = case.fact(Disks)
    for path in [*_mounts(case), "/"]:
        room = disks.room(path)
        used = -(-room.used * 100 // (room.used + room.free)) if room.used + room.free else 100
        yield case.most(used, target=path)


@check("DSK04", "inode", severity="warn", unit="percent")
def inodes(case):
    disks = case.fact(Disks)
    for path in [*_mounts(case), "/"]:
        room = disks.room(path)
        if room.inodes == 0:
            yield case.skip("inodes_as_needed", target=path)
        else:
            yield case.least(room.inodes_free * 100 // room.inodes, target=path)


@check("DSK05", "fs.type")
def kind(case):
    disks = case.fact(Disks)
    for path, spec in _mounts(case).items():
        found = disks.mount_of(path).fs
        listed = list(spec.fs)
        if listed:
            yield (case.good if found in listed else case.bad)(found, " / ".join(listed), target=path)
        elif "db" in case.host.roles:
            bad = found.split(".")[0] in _NEVER_FOR_DATA
            yield (case.bad if bad else case.good)(found, "≠ nfs, cifs, overlay, fuse", target=path)


@check("DSK06", "fs.opts")
def options(case):
    disks = case.fact(Disks)
    for path in _mounts(case):
        found = disks.mount_of(path).options
        wrong = sorted({"ro", "nobarrier", "barrier=0"} & found)
        yield case.bad(" ".join(wrong), "rw", target=path) if wrong else case.good("rw", "rw", target=path)


@check("DSK07", "fs.persist", severity="warn")
def persistent(case):
    disks = case.fact(Disks)
    listed = {one.target for one in disks.fstab}
    for path, spec in _mounts(case).items():
        if not spec.separate or disks.mount_of(path).target != path:
            continue
        yield (case.good if path in listed else case.bad)("fstab" if path in listed else "—", "fstab", target=path)


@check("DSK08", "fs.ro")
def read_only(case):
    disks = case.fact(Disks)
    wanted = {one.target for one in disks.fstab if "ro" in one.options}
    system = ("/run", "/proc", "/sys", "/dev")
    real = [one for one in disks.mounts if one.source.startswith("/dev/") and one.target not in wanted]
    real = [one for one in real if not any(within(one.target, folder) for folder in system)]
    wrong = sorted({one.target for one in real if "ro" in one.options and one.fs not in ("iso9660", "squashfs")})
    return case.bad(" ".join(wrong), "rw") if wrong else case.good("rw", "rw")


@check("DSK09", "dir.empty")
def empty(case):
    """What a recipe fills must be empty before it does; afterwards it is ours."""
    disks = case.fact(Disks)
    for path in declared(case.site, case.host):
        planned = case.planned("directory", path)
        if planned is None or case.post(planned):
            continue
        about = disks.directories.get(path)
        if about is None or not about.readable:
            yield case.error("unreadable", target=path)
        elif about.entries:
            yield case.bad(about.entries, "0", target=path, note="not_empty")
        else:
            yield case.good("0", "0", target=path)


@check("DSK11", "disk.separate", scope="site")
def separate(case):
    """A backup on the disk of the data it protects is none."""
    site = case.site
    if site.database is None or site.backup is None:
        return
    for one in case.cases:
        if "db" not in one.host.roles or site.backup.repository.host != one.host.name:
            continue
        disks = one.fact(Disks)
        data = disks.mount_of(str(PurePosixPath(site.database.data)))
        stored = disks.mount_of(str(site.backup.repository.path))
        shown = f"{data.source} / {stored.source}"
        yield one.host.name, (one.bad if data.source == stored.source else one.good)(shown, "≠")


@check("DSK16", "tmp", unit="size")
def temporary(case):
    disks = case.fact(Disks)
    for path in _TMP:
        yield case.least(disks.room(path).free, target=path)


@check("DSK17", "root.var", unit="size")
def system_room(case):
    disks = case.fact(Disks)
    for path, (need, want) in _ROOM.items():
        mount = disks.mount_of(path)
        if path != "/" and mount.target != path:
            continue
        limit = Limit(int(need * _GIB), int(want * _GIB))
        yield case.least(disks.room(path).free, target=path, limit=limit)
