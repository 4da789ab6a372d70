"""A slow disk: the kernel's own throttle on the loop device of a host, for everything that its logins do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from implops import lab
from mutation.fault import Step

if TYPE_CHECKING:
    from mutation.bench import Bench

_ROOT = Path("/sys/fs/cgroup/blkio")
Limit = Literal["read_iops", "write_iops", "read_bps", "write_bps"]


def throttle(path: str, **limits: int) -> Step:
    """Reads or writes of the disk at ``path`` (``write_iops``: operations, ``write_bps``: bytes a second)."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        group = _ROOT / f"implops-mutation-{os.getpid()}-{host}"
        group.mkdir()
        device = bench.shell(host, f"findmnt -no MAJ:MIN {path}").strip()
        for name, value in limits.items():
            (group / f"blkio.throttle.{name}_device").write_text(f"{device} {value}", encoding="ascii")
        # Every login is a child of the server that listens.
        for pid in _servers(lab.leader(bench.site, host)):
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")

        def undo() -> None:
            for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
                with contextlib.suppress(ProcessLookupError):
                    (_ROOT / "cgroup.procs").write_text(pid, encoding="ascii")
            group.rmdir()

        return undo

    return Step(call=call, touches=frozenset(["blkio"]))


def _servers(leader: int) -> list[int]:
    """Processes of the host that are called sshd."""
    space = Path(f"/proc/{leader}/ns/pid").readlink()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process / "comm").read_text(encoding="utf-8").strip()
            if name == "sshd" and (process / "ns" / "pid").readlink() == space:
                found.append(int(process.name))
    return found
