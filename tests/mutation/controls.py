"""At the limit nothing fires: for each numeric threshold, answers of a healthy host with the value exactly at ``need``,
exactly at ``want``, and one step beyond each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from implops.check.judge import NAMEPLATE_PERCENT
from implops.check.limits import Limit
from mutation import recorded

Lines = dict[str, str | tuple[str, ...]]
# What this machine measured of a host, in the place of a section.
LOGIN = "@login"
# host -> section -> lines
Answers = dict[str, dict[str, Lines]]


@dataclass(frozen=True)
class Control:
    """``put(value)`` is what hosts say when the value is that. ``step`` is the least that a value can differ by, in the
    unit of the threshold; ``nameplate``: a little less than ``need`` is still enough.
    """

    id: str
    host: str
    put: Callable[[int], Answers]
    target: str = ""
    step: int = 1
    nameplate: bool = False
    limit: Limit | None = None
    # What stands beyond ``need``, when that is not the check's own severity.
    fires: str = ""


def one(host: str, section: str, key: str, text: Callable[[int], str] = str) -> Callable[[int], Answers]:
    return lambda value: {host: {section: {key: text(value)}}}


def _kib(value: int) -> str:
    return str(value // 1024)


def _df(host: str, column: str) -> Callable[[int], Answers]:
    """The answer of ``df`` with one of its numbers at the value, for every path: size, free (bytes) or used, inodes
    (percent).
    """

    def put(value: int) -> Answers:
        size, used, free, inodes, left = 10**9, 1000, 10**9 - 1000, 10**6, 10**6
        if column == "size":
            size = value // 1024
        elif column == "free":
            free = value // 1024
        elif column == "used":
            used, free = value * 1000, (100 - value) * 1000
        elif column == "inodes":
            left = inodes // 100 * value
        asked = re.findall(r"(?m)^parent\t\S+ (\S+)$", recorded.answers(recorded.site())[host][1].decode())
        return {host: {"disks": {
            "dfk": tuple(f"/dev/x {size} {used} {free} 1% {one}" for one in asked),
            "dfi": tuple(f"/dev/x {inodes} {inodes - left} {left} 1% {one}" for one in asked),
        }}}  # fmt: skip

    return put


def _clocks(milliseconds: int) -> Answers:
    """db1 is ahead of all others by so much."""

    def at(offset: int) -> dict[str, Lines]:
        now = f"{1_800_000_000_000_000_000 + offset * 1_000_000}"
        return {"start": {"epoch_ns": now}, "finish": {"epoch_ns": now}}

    return {"db1": at(milliseconds), **{name: at(0) for name in ("app1", "dns1", "sto1")}}


def _tracking(milliseconds: int) -> str:
    return f"0A4D010D,10.77.1.13,9,1795646314.78,{milliseconds / 1000:.9f},0.0,0.0,0.1,0.0,2.4,0.0,0.0,1.0,Normal"


def _flow(milliseconds: int) -> Answers:
    """Five connections of the same length."""
    times = " ".join(f"{n * 10**9} {n * 10**9 + milliseconds * 1000}" for n in range(1, 6))
    return {"app1": {"flows": {"flow": (f"10.77.1.14:22:tcp 0 open {times}",)}}}


def _pings(lost: int) -> Answers:
    return {"app1": {"paths": {"path": (f"10.77.1.14 1500 good 100 {100 - lost}",)}}}


def _login(milliseconds: int) -> Answers:
    # Measured by this machine: not in the host's answer.
    return {"app1": {LOGIN: {"login_ms": str(milliseconds)}}}


CONTROLS = [
    Control("ACC01", "app1", _login),
    Control("ACC06", "app1", _login),
    Control("NET03", "app1", _flow, target="→ sto1:22/tcp"),
    Control("NET04", "app1", _pings, target="→ sto1"),
    Control("CPU01", "app1", one("app1", "cpu", "online"), fires="error"),
    Control("CPU04", "app1", one("app1", "cpu", "loadavg", lambda value: f"{value * 2 / 100:.2f} 1 1 1/1 1")),
    Control("MEM01", "db1", one("db1", "memory", "MemTotal", _kib), step=10**8, nameplate=True),
    Control("MEM04", "db1", one("db1", "memory", "swappiness")),
    Control("LIM03", "app1", one("app1", "limits", "file_max")),
    Control("LIM07", "app1", one("app1", "limits", "somaxconn")),
    Control("LIM09", "app1", one("app1", "limits", "keepalive")),
    Control("DSK02", "db1", _df("db1", "size"), target="/data", step=10**9, nameplate=True,
            limit=Limit(20 * 10**9, None)),
    Control("DSK03", "db1", _df("db1", "used"), target="/data"),
    Control("DSK04", "db1", _df("db1", "inodes"), target="/data"),
    Control("DSK16", "db1", _df("db1", "free"), target="/var/tmp", step=1024),
    Control("DSK17", "db1", _df("db1", "free"), target="/", step=1024, limit=Limit(5 * 2**30, 20 * 2**30)),
    Control("TIM02", "db1", one("db1", "clock", "tracking", _tracking)),
    Control("TIM03", "db1", _clocks),
]  # fmt: skip


def beyond(limit: int, control: Control, *, ceiling: bool) -> int:
    """The first value that is not good enough any more."""
    if ceiling:
        return limit + control.step
    if control.nameplate:
        return limit * NAMEPLATE_PERCENT // 100 - control.step
    return limit - control.step
