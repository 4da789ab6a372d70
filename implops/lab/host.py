"""Boot, stop, power-cut and enter one host.

A host is a systemd-nspawn process in a mount namespace of its own: root disk (an XFS image that holds the upper half of
an overlay over the base), data disks, nothing of other hosts. When its last process ends, the kernel unmounts
everything and frees the loop devices, whatever became of us.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from implops.errors import HostError, MachineError
from implops.lab import cgroups, network, seed
from implops.lab.plan import LOG_SIZE, ROOT_SIZE, SMALL, SMALL_LOG_SIZE, Place, Plan, link_of
from implops.lab.state import State, start_time
from implops.lab.tools import call
from implops.trust import name_of, pin

STOP_SECONDS = 20.0
ANSWER_SECONDS = 60.0
# Number 1 of a process namespace of its own: when it ends, the kernel ends everything in the host, whatever runs there.
# (SIGKILL to a bare systemd-nspawn was seen to leave the host running.)
_NAMESPACES = (
    "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"
)  # fmt: skip
# Read from standard input by a shell in the new mount namespace. Everything in it is quoted by _script.
_SCRIPT = r"""main() {
set -eu
umask 022
cd @NS@
mount -t tmpfs -o size=1m,mode=755 tmpfs .
cd @NS@
mkdir base disk root
mount --bind @BASE@ base
disk() {
    mount -o loop,noatime "$1" "$2"
    # A loop device passes every flush on to the real disk. The lab's power cut is XFS's own shutdown, so that protects
    # nothing here, and without it a synced write takes a third of the time (300 of 8 KiB: 33 ms instead of 111).
    device=$(findmnt -n -o SOURCE -M "$PWD/$2")
    echo "write through" > "/sys/block/${device##*/}/queue/write_cache" || true
}
disk ../root.img disk
mkdir -p disk/upper disk/work
mount -t overlay -o lowerdir=base,upperdir=disk/upper,workdir=disk/work,xino=off overlay root
if [ ! -e disk/seeded ]; then
    tar -x -f ../seed.tar -C root --no-same-owner --same-permissions
@ACCOUNT@
    sync -f disk/upper
    : > disk/seeded
    sync -f disk
fi
@DISKS@
# A blank disk is a file on the host's own disk, so what it has not flushed is lost with the power like everything else.
# Somebody has to hold its loop device until the host takes it, and the kernel frees it when the last one lets go.
raw() {
    [ -e "disk/$1" ] || truncate -s "$2" "disk/$1"
    device=$(losetup --find --show "disk/$1")
    exec 9<"$device"
    sleep infinity <&9 9<&- &
    losetup -d "$device"
    exec 9<&-
    # libblkid looks for a UUID under the names that the kernel gives.
    binds="$binds --bind=$device:$3 --bind=$device"
}
binds=
@RAW@
# systemd-nspawn leaves locks and sockets in /run when it is killed: let them end with this namespace.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
for group in @GROUPS@; do echo 0 >"$group/cgroup.procs"; done
exec systemd-nspawn @NSPAWN@ $binds
}
main </dev/null
"""


def prepare(plan: Plan, place: Place, state: State) -> None:
    """Make a host's disks and seed, unless it has them. The root image appears last: it says that all is there."""
    if place.root_image.exists():
        return
    place.folder.mkdir(mode=0o700, exist_ok=True)
    place.mounts.mkdir(mode=0o700, exist_ok=True)
    private, public = seed.host_key(place.folder)
    seed.write(place.folder / "seed.tar", seed.files(plan, place, private, public))
    name = name_of(plan.site, place.host)
    state.pinned(place.name, name, public)
    for disk in place.disks:
        _format(disk.image, disk.size, seed.disk_uuid(place, disk.path))
    _format(place.root_image, ROOT_SIZE, None)


def _format(image: Path, size: int, uuid: str | None) -> None:
    """A sparse XFS image with ``size`` bytes of room. One that is there is finished: it is renamed into place."""
    if image.exists():
        return
    small = size < SMALL
    log = SMALL_LOG_SIZE if small else LOG_SIZE
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, -(-(size + log) // 2**20) * 2**20)
    os.close(descriptor)
    options = ["-l", f"size={log}", *(["--unsupported", "-d", "agcount=1"] if small else [])]
    call(["mkfs.xfs", "-q", "-K", *options, *(["-m", f"uuid={uuid}"] if uuid else []), part])
    part.replace(image)


def start(plan: Plan, place: Place, base: Path, state: State, key: str) -> None:
    """Start the host's process; returns before it has booted. Raises MachineError when it cannot be started."""
    if state.pid(place.name):
        return
    wait_for_disks(place)
    network.remove_link(place.link)  # of the process before: a new one cannot be made until it is gone
    password = plan.site.ssh.sudo_password.resolve() if plan.site.ssh.sudo_password else None
    script = _script(plan, place, base, seed.account(plan, key, password))
    with (place.folder / "console.log").open("wb") as log:
        process = subprocess.Popen(
            [*_NAMESPACES, "sh", "-s"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            umask=0o022,
            start_new_session=True,
        )
    # The shell does nothing before it is told: should we die here, it reads the end of its input and leaves.
    state.started(place.name, process.pid)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(script.encode())
        process.stdin.close()


def _script(plan: Plan, place: Place, base: Path, account: str) -> str:
    namespace = place.mounts
    disks, binds = [], []
    for number, disk in enumerate(place.disks):
        disks.append(f"mkdir data{number}; disk ../{disk.image.name} data{number}")
        source = re.sub(r"([\\:])", r"\\\1", str(namespace / f"data{number}"))
        binds.append(f"--bind={source}:{disk.path}")
    raws = [
        shlex.join(["raw", f"raw{number}.img", str(raw.size), raw.device.replace(":", "\\:")])
        for number, raw in enumerate(place.raw)
    ]
    options = [
        "--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no", "--console=pipe",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        f"--directory={namespace / 'root'}", f"--machine={place.machine}", f"--hostname={place.name}",
        f"--network-bridge={plan.bridge}", *binds,
    ]  # fmt: skip
    values = {
        "GROUPS": shlex.join(map(str, cgroups.make(place.machine))),
        "NS": shlex.quote(str(namespace)),
        "BASE": shlex.quote(str(base)),
        "ACCOUNT": account,
        "DISKS": "\n".join(disks),
        "RAW": "\n".join(raws),
        "NSPAWN": shlex.join(options),
    }
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], _SCRIPT)


def wait_for_answer(place: Place, state: State, seconds: float = ANSWER_SECONDS) -> None:
    """Return when an SSH server answers. Raises HostError with the console's last line when none does."""
    deadline = time.monotonic() + seconds
    # A SYN that is sent before the host's link is up is lost and repeated after a second: better ask again soon.
    while not answers(place, connect=0.1):
        if state.pid(place.name) is None or time.monotonic() > deadline:
            raise HostError("lab.not_up", host=place.name, why=_last_line(place), log=place.folder / "console.log")
        time.sleep(0.03)


def answers(place: Place, connect: float = 1.0) -> bool:
    """Whether an SSH server greets at the host's address; ``connect`` seconds are given to reach it."""
    with contextlib.suppress(OSError), socket.create_connection((place.host.address, place.port), connect) as plain:
        plain.settimeout(3.0)
        return plain.recv(4) == b"SSH-"
    return False


def _last_line(place: Place) -> str:
    try:
        lines = (place.folder / "console.log").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return "-"
    return next((line.strip() for line in reversed(lines) if line.strip()), "-")


def leader(state: State, name: str) -> int:
    """The process that is number 1 inside the host. Raises HostError when the host is not running."""
    pid = state.pid(name)
    found = _child(_child(pid))
    if found is None:
        raise HostError("lab.not_running", host=name)
    return found


def _child(pid: int | None) -> int | None:
    """The youngest child of a process: unshare's is systemd-nspawn, whose is the host's number 1. (Those that hold its
    raw disks are older.)
    """
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(found[-1]) if found else None
    return None


def enter(
    state: State, name: str, argv: Sequence[str], *, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command inside the host as its root, past its SSH server; its output and exit code are the answer."""
    command = ["nsenter", "-t", str(leader(state, name)), "-m", "-u", "-i", "-n", "-p", "--", *argv]
    return subprocess.run(
        command, input=given, stdin=subprocess.DEVNULL if given is None else None, capture_output=True, text=True
    )


def stop(name: str, folder: Path, state: State) -> None:
    """Orderly shutdown; after STOP_SECONDS the host is killed."""
    pid = state.pid(name)
    nspawn = _child(pid)
    if pid and nspawn:
        with contextlib.suppress(ProcessLookupError):
            os.kill(nspawn, signal.SIGTERM)
        _gone(pid, STOP_SECONDS)
    kill(name, state)
    clear(name, folder, state)


def kill(name: str, state: State) -> None:
    """SIGKILL: everything in the host ends at once."""
    pid = state.pid(name)
    if pid is None:
        return
    for one in (_child(pid), pid):
        if one:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
    if not _gone(pid, STOP_SECONDS):
        raise MachineError("lab.cannot_end", host=name, pid=pid)


def power_cut(place: Place, state: State) -> None:
    """Cut the power: what was not synced to the host's disks is lost, as on real hardware."""
    pid = state.pid(place.name)
    if pid is None:
        raise HostError("lab.not_running", host=place.name)
    # Nobody in the host shall see its disks fail, and tell: without power nobody tells anything.
    cgroups.stop(state.machine(place.name))
    # The machine's page cache would survive a mere SIGKILL; a filesystem that is shut down forgets it.
    for part in ("disk", *(f"data{number}" for number in range(len(place.disks)))):
        call(["nsenter", "-t", str(pid), "-m", "--", "xfs_io", "-x", "-c", "shutdown", place.mounts / part])
    kill(place.name, state)
    clear(place.name, place.folder, state)


def clear(name: str, folder: Path, state: State) -> None:
    """After the process: what the kernel or systemd-nspawn may still keep of the host. Waits for its disks."""
    network.remove_link(link_of(state.machine(name)))
    cgroups.remove(state.machine(name))
    _wait_for_loops(folder)
    state.ended(name)


def _gone(pid: int, seconds: float) -> bool:
    """Wait until a process has ended. Our own child is reaped, or it would stay as a zombie."""
    began, deadline = start_time(pid), time.monotonic() + seconds
    while began is not None and start_time(pid) == began:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def wait_for_disks(place: Place) -> None:
    """The disks of a host that ended a moment ago are still being unmounted: two mounts of one image destroy it."""
    _wait_for_loops(place.folder)


def _wait_for_loops(folder: Path, seconds: float = STOP_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while loops(folder):
        if time.monotonic() > deadline:
            raise MachineError("lab.disk_busy", path=folder, loops=" ".join(loops(folder)))
        time.sleep(0.02)


def loops(folder: Path) -> list[str]:
    """Loop devices whose image lies in ``folder``."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if Path(backing.read_text(encoding="utf-8").rstrip("\n")).is_relative_to(folder):
                found.append(backing.parent.parent.name)
    return found


def pin_keys(plan: Plan, state: State) -> None:
    """Write the keys of the lab's hosts into the site's known_hosts."""
    pin(plan.site.known_hosts, dict(key for name in state.hosts if (key := state.key(name))))
