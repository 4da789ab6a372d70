"""A control group for each host. Without one, hosts that were started side by side share their units' groups: systemd
in one then counts (and from version 254 may kill) processes of its neighbours, and units fail at random.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


def of(machine: str) -> list[Path]:
    """The host's group in every hierarchy that systemd uses here: version 2, or the two of a hybrid set-up."""
    return [Path(mount, f"implops-{machine}") for mount in _MOUNTS if Path(mount, "cgroup.procs").exists()]


def make(machine: str) -> list[Path]:
    groups = of(machine)
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def stop(machine: str) -> None:
    """Hold every process of the host where it is (SIGSTOP)."""
    held: set[int] = set()
    while new := {pid for group in of(machine) for pid in _processes(group)} - held:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        held |= new


def _processes(group: Path) -> list[int]:
    found = []
    for path in group.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):  # a group that went away meanwhile
            found += [int(word) for word in path.read_text(encoding="ascii").split()]
    return found


def remove(machine: str, seconds: float = 5.0) -> None:
    """Remove the groups of a host that has ended, innermost first; the kernel empties them a moment after that."""
    deadline = time.monotonic() + seconds
    for group in of(machine):
        while group.exists():
            inside = [path for path in group.rglob("*") if path.is_dir()]
            for inner in sorted(inside, key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    inner.rmdir()
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
