"""At the limit nothing fires: for each numeric threshold, answers of a healthy host with the value exactly at ``need``,
exactly at ``want``, and one step beyond each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from implops.check.judge import NAMEPLATE_PERCENT
from implops.check.limits import Limit
from implops.facts.planned import Planned
from mutation import catalogue, recorded
from mutation.recorded import Answers, Lines

# What this machine measured of a host, in the place of a section.
LOGIN = "@login"


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
    # The site file's text, when it must say more for the check to apply.
    edit: Callable[[str], str] | None = None
    planned: tuple[Planned, ...] = ()


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


def _says(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


_MORE_OF_DB = "      MEM04: {want: 100}"
_LISTENS = "    listens: [80, 8080]"
_STORAGE = "      /backup: {size: 20 GB, separate: true}"


def _own_mariadb(text: str) -> str:
    return _says("# existing: true", "  existing: true")(catalogue.of_mariadb(text))


def _unit(line: str) -> Callable[[int], Answers]:
    def put(value: int) -> Answers:
        told = {
            "TasksMax": "infinity",
            "LimitNOFILE": "infinity",
            "LimitNOFILESoft": "infinity",
            "LimitNPROC": "infinity",
        }
        told |= {line: str(value), "LoadState": "loaded", "ActiveState": "active"}
        show = "\\n".join(f"{key}={one}" for key, one in told.items())
        return {"app1": {"services": {"show": show, "units": "tomcat10", "file": ()}}}

    return put


_TOMCAT = (Planned("tomcat", "app1", "service", "tomcat10", ""),)


def _speed(host: str, path: str, line: Callable[[int], str]) -> Callable[[int], Answers]:
    return lambda value: {host: {"speed": {"result": (f"{path} {line(value)}",)}}}


def _echoed(section: str, line: Callable[[int], str], **more: Callable[[int], str]) -> Callable[[int], Answers]:
    """sto1 listens and answers app1 with its own token; then ``line`` is what app1 heard."""
    path, token = "10.77.1.14:22:tcp", "0123456789abcdef"

    def put(value: int) -> Answers:
        heard = {key: text(value) for key, text in more.items()}
        return {
            "sto1": {"listening": {"token": token, "port": ("bound 22/tcp",)}},
            "app1": {"echo": {"echo": (f"{path} 0 said implops 00 {token}",)},
                     section: {"echo": (f"{path} 0 {line(value).replace('TOKEN', token)}",), **heard}},
        }  # fmt: skip

    return put


def _query(milliseconds: int) -> Answers:
    import dns.message
    import dns.rrset

    from implops.facts.names import question

    reply = dns.message.make_response(dns.message.from_wire(question("SOA", "his.example")))
    reply.answer = [dns.rrset.from_text("his.example.", 60, "IN", "SOA", "dns1.his.example. x. 1 2 3 4 5")]
    line = f"10.77.1.13:udp:SOA/his.example 0 1000 {1000 + milliseconds * 1000} {reply.to_wire().hex()}"
    return {"app1": {"names": {"answer": (line,)}}}


def _mariadb(value: int) -> Answers:
    told = (f"set max_allowed_packet {value}", "set sql_mode STRICT_TRANS_TABLES", "set replica off")
    return {"db1": {"database": {"server": "mariadb", "told": told}}}


def _multipath(value: int) -> Answers:
    paths = "".join(f"\\n  |- {n}:0:0:1 sd{'abcdef'[n]} 8:{n} active ready running" for n in range(value))
    shown = f"mpatha (36000) dm-2 IET,VIRTUAL-DISK\\nsize=10G features='0'{paths}"
    return {"sto1": {"arrays": {"group": (), "multipath": shown}}}


def _group(percent: int) -> Answers:
    return {"sto1": {"arrays": {"group": (f"vg0 1000000B {percent * 10000}B",), "multipath": ""}}}


def _old_kernel(value: int) -> Answers:
    return {"app1": {"limits": {"entropy": str(value)}, "system": {"kernel": "3.10.0-1160"}}}


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
    Control("LIM01", "app1", _unit("LimitNOFILE"), target="tomcat10", planned=_TOMCAT),
    Control("LIM02", "app1", _unit("TasksMax"), target="tomcat10", planned=_TOMCAT),
    Control("LIM04", "db1", lambda value: {"db1": {"limits": {"aio_max": str(value + 7), "aio_now": "7"}}},
            edit=catalogue.of_mariadb),
    Control("LIM11", "db1", one("db1", "limits", "map_count"),
            edit=_says(_MORE_OF_DB, f"{_MORE_OF_DB}\n      LIM11: {{need: 262144}}")),
    Control("DSK13", "db1", _speed("db1", "/data/pg", lambda value: f"write {value} 1000000"), target="/data/pg"),
    Control("DSK14", "db1", _speed("db1", "/data/pg", lambda value: f"sync perl 500 {value * 500} {value * 1000} 9"),
            target="/data/pg"),
    Control("DSK15", "db1", _speed("db1", "/data/pg", lambda value: f"random {value} 1000000"), target="/data/pg"),
    Control("NET06", "app1", _echoed("bandwidth", lambda value: f"said got {value * 125_000} 1000"),
            target="→ sto1 (Mb/s)"),
    Control("NET12", "app1", _echoed("idle", lambda value: "said implops 00 TOKEN", seconds=str),
            target="→ sto1:22/tcp", edit=_says(_LISTENS, f"{_LISTENS}\n    checks: {{NET12: {{need: 600 s}}}}")),
    Control("DNS05", "app1", _query, target="→ dns1"),
    Control("DB11", "db1", _mariadb, target="max_allowed_packet", edit=_own_mariadb),
    Control("APP03", "app1", _old_kernel),
    Control("STO05", "sto1", lambda value: {"sto1": {"small": {"small": (f"/backup 0 {value} 1000000",)}}},
            target="/backup"),
    Control("STO06", "sto1", _group, target="vg0", edit=_says(_STORAGE, f"{_STORAGE}\n    snapshots: [vg0]")),
    Control("STO07", "sto1", _multipath, target="mpatha", edit=_says(_STORAGE, f"{_STORAGE}\n    multipath: true")),
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
