"""What ``lab up`` has made, written down before it is made, so that ``lab down`` removes exactly that.

A host's mounts live in the mount namespace of its own process and its loop devices free themselves, so what can be
left behind is: processes, control groups, links, files and one kernel setting (network.py). A process is known by its
id *and* its start time: ids are used again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from implops.errors import MachineError


def start_time(pid: int) -> str | None:
    """When a process started: the boot's id and its ticks since then; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The program's name stands in brackets and may hold anything; what follows it is fixed (proc(5): 22nd field).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def uptime_seconds(pid: int) -> float:
    """Seconds since the process started."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    ticks = int(stat.rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))


class State:
    """``.implops/lab/state.json``. Every change is on disk (whole, by rename) before the method returns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"
        self._lock = threading.Lock()
        self._data: dict[str, Any] = {"bridge": None, "hosts": {}}
        if self.path.is_file():
            try:
                self._data |= json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                raise MachineError("lab.state_broken", path=self.path) from None

    @property
    def exists(self) -> bool:
        return self.path.is_file()

    @property
    def bridge(self) -> str | None:
        value = self._data["bridge"]
        return value if isinstance(value, str) else None

    @bridge.setter
    def bridge(self, name: str | None) -> None:
        with self._lock:
            self._data["bridge"] = name
            self._write()

    @property
    def hosts(self) -> list[str]:
        return list(self._data["hosts"])

    def machine(self, host: str) -> str:
        """The name that its link and control group carry."""
        return str(self._data["hosts"][host]["machine"])

    def key(self, host: str) -> tuple[str, str] | None:
        """The known_hosts name and key that ``up`` pinned for the host."""
        value = self._data["hosts"].get(host, {}).get("key")
        return (value[0], value[1]) if value else None

    def pid(self, host: str) -> int | None:
        """The host's process, when it is the one that we started and still alive."""
        entry = self._data["hosts"].get(host, {})
        pid = entry.get("pid")
        return pid if pid and start_time(pid) == entry["start"] else None

    def shape(self, host: str) -> str | None:
        value = self._data["hosts"].get(host, {}).get("shape")
        return value if isinstance(value, str) else None

    def plan_host(self, host: str, machine: str, shape: str) -> None:
        self._set(host, machine=machine, shape=shape)

    def pinned(self, host: str, name: str, key: str) -> None:
        self._set(host, key=[name, key])

    def started(self, host: str, pid: int) -> None:
        self._set(host, pid=pid, start=start_time(pid))

    def ended(self, host: str) -> None:
        self._set(host, pid=None, start=None)

    def remove(self) -> None:
        """Take away the whole folder of the lab: disks, keys, logs and this file."""
        if self.path.parent.exists():
            shutil.rmtree(self.path.parent)

    def _set(self, host: str, **values: Any) -> None:
        with self._lock:
            self._data["hosts"].setdefault(host, {}).update(values)
            self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._data, file, indent=1)
        part.replace(self.path)
