"""The machine that implops runs on: disk, memory, load, clock, before work that leans on it (psutil)."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import psutil

from implops.errors import MachineError
from implops.units import format_size

# A clock before this tool's own release makes every record's time a lie.
_EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def ready(folder: Path, *, disk: int, memory: int = 256 * 2**20) -> dict[str, Any]:
    """Facts of this machine for the record. Raises MachineError when ``folder`` has less than ``disk`` bytes free,
    memory is short, or the clock is plainly wrong. Load is recorded only: a busy laptop is slow, not wrong.
    """
    place = next(path for path in (folder, *folder.parents) if path.exists())
    usage = psutil.disk_usage(str(place))
    available = psutil.virtual_memory().available
    now = datetime.datetime.now(datetime.UTC)
    if usage.free < disk:
        raise MachineError("machine.disk", path=place, free=format_size(usage.free), need=format_size(disk))
    if available < memory:
        raise MachineError("machine.memory", free=format_size(available), need=format_size(memory))
    if now < _EPOCH:
        raise MachineError("machine.clock", now=now.isoformat(timespec="seconds"))
    return {
        "disk_free": usage.free,
        "memory_available": available,
        "load_percent": round(psutil.getloadavg()[0] / (os.cpu_count() or 1) * 100),
        "uptime_s": int(now.timestamp() - psutil.boot_time()),
    }
