"""Disks that the site file names are put into use: a blank one is formatted, mounted by its UUID, kept in /etc/fstab.

Only a disk that is proved blank is ever formatted: no signature, nothing on or above it, in use nowhere, its first
4 MiB and last 1 MiB zero. One that holds an accepted filesystem is mounted as it is. Everything else is refused.
"""

from __future__ import annotations

import base64
from typing import Any

from implops.check.judge import NAMEPLATE_PERCENT
from implops.deploy import probes
from implops.deploy.shell import SETTLED, STATE, q
from implops.errors import StepError
from implops.site import Host, Site
from implops.units import format_size

META = {"id": "mounts", "roles": "*", "needs": (), "timeout": 1800, "first": True}

FSTAB = "/etc/fstab"
# While a disk is being formatted: which one, and the UUID that it gets.
NOTES = f"{STATE}/formatting"
# Large disks on slow storage; a job of the host's own.
FORMAT_SECONDS = 900
# Filesystem -> its package; the command (nothing is discarded: that takes long, and the disk is blank), how it is told
# to go on over what it began, how it is given the UUID; in which order it is tested at boot.
_MAKERS = {
    "xfs": ("xfsprogs", "mkfs.xfs -q -K", "-f", "-m uuid=$uuid", 0),
    "ext4": ("e2fsprogs", "mkfs.ext4 -q -E nodiscard", "-F", "-U $uuid", 2),
}


def wanted(site: Site, host: Host) -> bool:
    return bool(host.disks)


def _disks(site: Site, host: Host) -> list[dict[str, Any]]:
    """A mount that lies on another one comes behind it."""
    mounts = site.mounts_of(host)
    return [
        {
            "mount": path,
            "device": host.disks[path],
            "make": mounts[path].made_as,
            "accepted": mounts[path].local,
            "need": mounts[path].size,
            "options": mounts[path].options,
        }
        for path in sorted(host.disks, key=lambda one: one.split("/"))
    ]


def packages(site: Site, host: Host) -> list[str]:
    # All that may be found on a disk: what checks and mends a filesystem has to be there with it.
    kinds = {kind for disk in _disks(site, host) for kind in disk["accepted"]}
    return ["mount", *sorted(_MAKERS[kind][0] for kind in kinds)]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [
        *(("package", name, "") for name in packages(site, host)),
        *(("mount", path, device) for path, device in host.disks.items()),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    return {"disks": _disks(site, host)}


def files(site: Site, host: Host) -> dict[str, str]:
    return {"disks": FSTAB}


def lines_for(text: str, mount: str) -> list[list[str]]:
    """The entries of /etc/fstab for a mount, split into their fields."""
    rows = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [row for row in rows if len(row) > 1 and row[1] == mount]


def line(kind: str, uuid: str, disk: dict[str, Any]) -> str:
    options = ",".join(disk["options"]) or "defaults"
    return f"UUID={uuid} {disk['mount']} {kind} {options} 0 {_MAKERS[kind][4]}"


def holds(text: str, kind: str, uuid: str, disk: dict[str, Any]) -> bool:
    """Whether /etc/fstab brings the mount as declared; what else the customer has added to its options stays."""
    found = lines_for(text, disk["mount"])
    if len(found) != 1 or len(found[0]) < 4:
        return False
    source, _, type_, options = found[0][:4]
    mine = options.split(",")
    kept = "noauto" not in mine and set(disk["options"]) <= set(mine)
    return source == f"UUID={uuid}" and type_ in (kind, "auto") and kept


def edit(fstab: str, mount: str, new: str) -> str:
    """Shell: ``new`` is the only entry for ``mount``; none when it is empty. Every other byte stays."""
    keep = 'substr($1, 1, 1) == "#" || $2 != m'
    add = f"printf '%s\\n' {q(new)}" if new else "true"
    part = f"{fstab}.part"
    return (
        f"touch {q(fstab)} && {{ LC_ALL=C awk -v m={q(mount)} {q(keep)} {q(fstab)} && {add}; }} > {q(part)} && "
        f"chmod --reference={q(fstab)} {q(part)} && chown --reference={q(fstab)} {q(part)} && sync {q(part)} && "
        f"mv -fT {q(part)} {q(fstab)} && sync {q(fstab.rpartition('/')[0])}"
    )


def _look(disk: dict[str, Any]) -> str:
    from implops.deploy import ops

    return ops.template(
        "mounts.look.sh",
        device=q(disk["device"]),
        mount=q(disk["mount"]),
        need=disk["need"],
        accepted=q(" ".join(disk["accepted"])),
        note=q(f"{NOTES}/{disk['mount'].replace('/', '%')}"),
        percent=NAMEPLATE_PERCENT,
    )


def _seen(host: str, disk: dict[str, Any]) -> list[str]:
    """What is on the disk, as the words of mounts.look.sh. Raises StepError for what must not be touched."""
    from implops.deploy import ops

    found = ops.fact(f"{SETTLED} 2>/dev/null; {_look(disk)}look").split()
    if not found or found[0] == "bad":
        code, detail = (found[1], " ".join(found[2:])) if len(found) > 1 else ("unreadable", "?")
        if code == "small":
            detail = format_size(int(detail))
        raise StepError(
            f"recipe.mounts.{code}",
            host=host,
            device=disk["device"],
            mount=disk["mount"],
            found=detail or "—",
            need=format_size(disk["need"]),
            accepted=" ".join(disk["accepted"]),
        )
    return found


def _fstab() -> str:
    from implops.deploy import ops

    # Byte by byte: a comment may be in any encoding.
    return base64.b64decode(ops.fact(f"base64 -w 0 {FSTAB} 2>/dev/null; true")).decode("latin-1")


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.mounts.packages")
    text = _fstab()
    # Everything is looked at before the first byte is written.
    seen = [_seen(host.name, disk) for disk in d.disks]
    for disk, (state, *rest) in zip(d.disks, seen, strict=True):
        uuid = rest[-1] if state in ("fs", "mounted") else ""
        if other := [row[0] for row in lines_for(text, disk["mount"]) if row[0] != f"UUID={uuid}"]:
            raise StepError("recipe.mounts.other_line", host=host.name, mount=disk["mount"], device=disk["device"],
                            found=other[0], wanted=f"UUID={uuid}" if uuid else "—")  # fmt: skip
    for disk, (state, *_) in zip(d.disks, seen, strict=True):
        if state in ("blank", "resume"):
            _, make, force, option, _ = _MAKERS[disk["make"]]
            command = ops.template(
                "mounts.format.sh",
                look=_look(disk), make=make, force=force, uuid=option, state=STATE, device=disk["device"],
            )  # fmt: skip
            ops.bounded_shell(command, FORMAT_SECONDS, name="recipe.mounts.format")
    for disk in d.disks:
        _mount(host.name, disk)


def _mount(host: str, disk: dict[str, Any]) -> None:
    from implops.deploy import ops

    state, *rest = _seen(host, disk)
    if state not in ("fs", "mounted"):
        # Of a plan alone: a disk that is not formatted yet has no UUID, and what follows cannot be told.
        ops.fact(f"blkid -p -s UUID -o value {q(disk['device'])}")
        raise StepError("recipe.mounts.not_made", host=host, mount=disk["mount"], device=disk["device"])
    kind, uuid = rest
    path = q(disk["mount"])
    ops.bounded_shell(f"mkdir -p {path}", unless=f"[ -d {path} ]", name="recipe.mounts.folder")
    if not holds(_fstab(), kind, uuid, disk):
        command = f"{edit(FSTAB, disk['mount'], line(kind, uuid, disk))} && systemctl daemon-reload"
        ops.bounded_shell(command, name="recipe.mounts.fstab")
    ops.bounded_shell(
        f"systemctl daemon-reload && mount {path} && {_mounted(disk)}",
        300,
        unless=f"mountpoint -q {path}",
        name="recipe.mounts.mount",
    )


def _mounted(disk: dict[str, Any]) -> str:
    """Shell that succeeds when the declared disk is mounted there, by the UUID of its line in /etc/fstab."""
    device, mount = q(disk["device"]), q(disk["mount"])
    kinds = "|".join(disk["accepted"])
    return (
        f"number=$((0x$(stat -L -c %t {device}))):$((0x$(stat -L -c %T {device}))) && "
        f'[ "$(mountpoint -d {mount})" = "$number" ] && '
        f"case $(findmnt -n -o FSTYPE -M {mount} | tail -n 1) in {kinds}) ;; *) false ;; esac && "
        f"uuid=$(blkid -p -s UUID -o value {device}) && "
        f"awk -v m={mount} -v s=\"UUID=$uuid\" '$1 == s && $2 == m {{ n++ }} END {{ exit n != 1 }}' {FSTAB}"
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    return [probes.shell(f"mount:{disk['mount']}", _mounted(disk)) for disk in _disks(site, host)]


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    return params(site, host)


def leaves(site: Site, host: Host) -> list[str]:
    return sorted(host.disks)


def undo() -> None:
    """A disk that holds nothing is unmounted and forgotten; one with data stays where it is."""
    from pyinfra import host

    from implops.deploy import ops

    for disk in reversed(host.data.disks):
        mount, device = q(disk["mount"]), q(disk["device"])
        ours = f"number=$((0x$(stat -L -c %t {device}))):$((0x$(stat -L -c %T {device}))) && " \
               f'[ "$(mountpoint -d {mount} 2>/dev/null)" = "$number" ]'  # fmt: skip
        empty = f'[ -z "$(ls -A {mount} | grep -vxF lost+found)" ]'
        # The line first: a cut between the two leaves a mount that is empty and ours, which the next run takes away.
        ops.bounded_shell(
            f"{edit(FSTAB, disk['mount'], '')} && umount {mount} && systemctl daemon-reload",
            unless=f"! {{ {ours} && {empty}; }}",
            name="recipe.mounts.undo",
        )
