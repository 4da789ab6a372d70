"""Disks: the declared mounts, their room and kind, the system's own room."""

from __future__ import annotations

from pathlib import PurePosixPath

from implops.check.limits import Limit
from implops.check.registry import check
from implops.facts.software import Security
from implops.facts.storage import Disks, declared, mounted_apart, within
from implops.units import format_size

_NEVER_FOR_DATA = ("nfs", "nfs4", "cifs", "smb3", "overlay", "tmpfs", "fuse", "9p")
# Mounts of the system itself, in bytes: need and want of /, /var, /boot (our own figures).
_ROOM = {"/": (5, 20), "/var": (5, 20), "/boot": (0.1, 0.1)}
_TMP = ("/tmp", "/var/tmp")  # noqa: S108 - their room is judged
_RUNS = ("/tmp", "/opt")  # noqa: S108 - their options are judged
_GIB = 2**30


def _mounts(case):
    return case.site.mounts_of(case.host)


@check("DSK01", "mount.exists")
def mounted(case):
    disks = case.fact(Disks)
    for path, spec in _mounts(case).items():
        mount = disks.mount_of(path)
        if not spec.separate:
            yield case.good(f"{mount.target} {mount.fs}", "—", target=path)
        elif path in case.host.disks and (fault := _unfit(case, path, spec)):
            yield fault
        elif mount.target == path:
            yield case.good(f"{mount.source} {mount.fs}", path, target=path)
        elif planned := case.planned("mount", path):
            found = disks.devices[path].content or "0"
            yield case.will_be_set(planned, f"{case.host.disks[path]} {found}", path, target=path)
        else:
            yield case.bad(mount.target, path, target=path, note="not_mounted")


def _unfit(case, path, spec):
    """Why the disk that the site file names cannot be put into use there; None when it can, or has been."""
    disks, name = case.fact(Disks), case.host.disks[path]
    one, accepted = disks.devices[path], spec.local
    on = disks.mount_of(path)

    def bad(note, found, required="—"):
        return case.bad(f"{name} {found}".strip(), required, target=path, note=note)

    if one.kind != "block":
        return bad("disk_missing" if one.kind == "missing" else "disk_no_block", "")
    if one.use == path:
        return None
    if on.target == path:
        return case.bad(on.source, name, target=path, note="disk_other")
    if one.read_only:
        return bad("disk_read_only", "ro", "rw")
    if one.use:
        return bad("disk_in_use", one.use)
    if one.content not in ("", "?", *accepted):
        return bad("disk_occupied", one.content, " / ".join(["0", *accepted]))
    about = disks.directories.get(path)
    if about is not None and about.entries:
        return case.bad(about.first, "0", target=path, note="disk_hides")
    return None


@check("DSK02", "disk.size", unit="size")
def size(case):
    """Paths that lie on one filesystem have to fit into it together."""
    disks, mounts = case.fact(Disks), _mounts(case)
    on = {path: planned.name if (planned := case.coming(path)) else disks.mount_of(path).target for path in mounts}
    for path, spec in mounts.items():
        beside = {other: one for other, one in mounts.items() if on[other] == on[path]}
        limit = Limit(sum(one.size for one in beside.values()), spec.want, "site")
        planned = case.coming(path)
        # What is on a disk that is not mounted yet may be smaller than the disk; it cannot be larger.
        room = disks.devices[planned.name].size if planned else disks.room(path).size
        if planned and not room:
            yield case.will_be_set(planned, "—", case.show(limit.need), target=path)
            continue
        found = case.least(room, target=path, tolerance=True, limit=limit)
        if found.state == "fail" and len(beside) > 1:
            left = (room - sum(one.size for other, one in beside.items() if other != path)) // 10**9
            edit = f"mounts {path} size: {left} GB" if left > 0 else "—"
            found = case.bad(format_size(room), found.required, target=path, note="disk_edit", edit=edit,
                             paths=" ".join(beside))  # fmt: skip
        yield found


@check("DSK03", "disk.free", unit="percent", ceiling=True)
def use(case):
    """How full: of a declared mount, and of the system's own filesystem."""
    disks = case.fact(Disks)
    for path in [*_mounts(case), "/"]:
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", "—", target=path)
            continue
        room = disks.room(path)
        used = -(-room.used * 100 // (room.used + room.free)) if room.used + room.free else 100
        yield case.most(used, target=path)


@check("DSK04", "inode", severity="warn", unit="percent")
def inodes(case):
    disks = case.fact(Disks)
    for path in [*_mounts(case), "/"]:
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", "—", target=path)
            continue
        room = disks.room(path)
        if room.inodes == 0:
            yield case.skip("inodes_as_needed", target=path)
        else:
            yield case.least(room.inodes_free * 100 // room.inodes, target=path)


@check("DSK05", "fs.type")
def kind(case):
    disks, mounts = case.fact(Disks), _mounts(case)
    paths = {path: list(spec.fs) for path, spec in mounts.items()}
    if case.site.database and "db" in case.host.roles:
        paths.setdefault(case.site.database.data, [])
    for path, listed in paths.items():
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", " / ".join(listed) or "—", target=path)
            continue
        found = disks.mount_of(path).fs
        if listed:
            yield (case.good if found in listed else case.bad)(found, " / ".join(listed), target=path)
        elif "db" in case.host.roles:
            bad = found.split(".")[0] in _NEVER_FOR_DATA
            yield (case.bad if bad else case.good)(found, "≠ nfs, cifs, overlay, fuse", target=path)


@check("DSK06", "fs.opts")
def options(case):
    """Data must be writable and keep its barriers; what an application unpacks and runs must be allowed to run."""
    disks = case.fact(Disks)
    paths = {path: {"ro", "nobarrier", "barrier=0"} for path in _mounts(case)}
    if "app" in case.host.roles:
        for path in (*paths, *_RUNS):
            paths[path] = paths.get(path, set()) | {"noexec"}
    for path, forbidden in paths.items():
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", "rw", target=path)
            continue
        wrong = sorted(forbidden & disks.mount_of(path).options)
        shown = "exec" if forbidden == {"noexec"} else "rw"
        yield (case.bad(" ".join(wrong), shown, target=path) if wrong else case.good(shown, shown, target=path))


# A name that stays with the filesystem, whatever order the disks are found in.
_STEADY = ("UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/disk/by-", "/dev/mapper/")


@check("DSK07", "fs.persist", severity="warn")
def persistent(case):
    disks = case.fact(Disks)
    fstab = {one.target: one.source for one in disks.fstab}
    for path, spec in _mounts(case).items():
        if planned := case.coming(path):
            yield case.will_be_set(planned, "—", "fstab UUID=", target=path)
            continue
        if not spec.separate or disks.mount_of(path).target != path:
            continue
        source = fstab.get(path) or disks.units.get(path)
        if source is None:
            yield case.bad("—", "fstab UUID=", target=path)
        elif _lasts(source):
            yield case.good(f"{'fstab' if path in fstab else 'unit'} {source}", "UUID=", target=path)
        else:
            yield case.bad(source, "UUID=", target=path, note="device_name")


def _lasts(source):
    # //server/share and server:/export are names already; /dev/GROUP/VOLUME is LVM's own.
    return source.startswith(_STEADY) or not source.startswith("/dev/") or source.count("/") > 2


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
        claims = case.claims("directory", path)
        if claims:
            told = " ".join(sorted({one.recipe for one in claims}))
            yield case.bad(told, "1", target=path, note="plan_conflict")
            continue
        if planned is None or case.post(planned):
            continue
        if mount := case.coming(path):
            yield case.will_be_set(mount, "—", "0", target=path)
            continue
        about = disks.directories.get(path)
        if about is None or not about.readable:
            yield case.error("unreadable", target=path)
        elif about.entries:
            if case.left(planned):
                yield case.info(about.entries, target=path, note="undone")
                continue
            # A database refuses the root of a filesystem: its data belongs into a folder below it.
            root = about.entries == 1 and about.first == "lost+found"
            yield case.bad(
                about.entries, "0", target=path, note="mount_root" if root else "not_empty", name=about.first
            )
        else:
            yield case.good("0", "0", target=path)


@check("DSK10", "dir.write")
def writable(case):
    """The account that works in it can, asked as that account: root could always."""
    folders = [one for one in case.plans("directory") if one.value not in ("", "root")]
    if not folders:
        return
    writers = case.fact(Security).writers
    for planned in folders:
        may = writers.get(f"{planned.value}:{planned.name}")
        shown = f"{planned.value} wx"
        if may:
            yield case.good(shown, shown, target=planned.name)
        elif not case.post(planned):
            yield case.will_be_set(planned, "—", shown, target=planned.name)
        else:
            yield case.bad("—", shown, target=planned.name, note="cannot_write")


@check("DSK11", "disk.separate", scope="site")
def separate(case):
    """A backup on the disk of the data it protects is none; a log on it is slower, and lost with it."""
    site = case.site
    if site.database is None:
        return
    for one in case.cases:
        if "db" not in one.host.roles:
            continue
        data = str(PurePosixPath(site.database.data))
        if site.backup is not None and site.backup.repository.host == one.host.name:
            yield one.host.name, _apart(one, data, str(site.backup.repository.path), warn=False)
        elif site.backup is not None:
            yield one.host.name, one.skip("backup_elsewhere", target="backup", host=site.backup.repository.host)
        logs = [path for path in _mounts(one) if PurePosixPath(path).name in _LOG_NAMES]
        for path in logs:
            yield one.host.name, _apart(one, data, path, warn=True)


# Mounts that say by their name that they hold the database's log.
_LOG_NAMES = ("wal", "pg_wal", "binlog", "redo")


def _apart(case, data, other, *, warn):
    disks = case.fact(Disks)
    if planned := case.coming(data) or case.coming(other):
        return case.will_be_set(planned, "—", "≠", target=other)
    shown = f"{disks.mount_of(data).source} / {disks.mount_of(other).source}"
    apart = mounted_apart(disks, data, other)
    if apart is None:
        # Two devices, and the kernel does not say what is below them.
        return case.good(shown, "≠", target=other, note="disks_unknown")
    return case.good(shown, "≠", target=other) if apart else case.bad(shown, "≠", target=other, warn=warn)


@check("DSK12", "sched", severity="warn", steady=True)
def scheduler(case):
    """Recorded; what a virtual machine says about spinning disks is a guess."""
    disks = case.fact(Disks)
    bases = disks.bases
    for path in _mounts(case):
        if case.coming(path):
            continue
        for name in sorted(bases.get(disks.mount_of(path).source, ())):
            queue = disks.queues.get(name)
            if queue is not None:
                told = f"{name} {queue.scheduler} {'HDD' if queue.rotational else 'SSD'}"
                yield case.info(told, target=path)


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
