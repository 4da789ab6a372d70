"""Limits of the kernel that databases and application servers meet under load."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.network import Ports
from implops.facts.system import Kernel
from implops.units import format_size

_SERVERS = ("db", "app")


@check("LIM03", "file-max", roles=_SERVERS, unit="count")
def files(case):
    return case.least(case.fact(Kernel).file_max)


@check("LIM05", "sem", roles=("db",), severity="warn")
def semaphores(case):
    found = case.fact(Kernel).sem
    if len(found) != 4 or case.site.database is None:
        return case.skip("no_database") if case.site.database is None else case.error("garbled", detail="sem")
    # PostgreSQL: sets of 16 and one more semaphore each; some processes besides the connections.
    wanted = (case.site.database.max_connections + 20) // 16 + 1
    shown = f"≥ {wanted} × 17"
    good = found[3] >= wanted and found[0] >= 17
    return (case.good if good else case.bad)(" ".join(map(str, found)), shown)


def _sysctl(case, name, value, better):
    """A kernel setting that a recipe may bring."""
    planned = case.planned("sysctl", name)
    if case.limit.want is not None and not better and planned and not case.post(planned):
        return case.will_be_set(planned, value, case.limit.want)
    return None


@check("LIM07", "somaxconn", roles=_SERVERS, severity="warn", unit="count")
def backlog(case):
    value = case.fact(Kernel).somaxconn
    return _sysctl(case, "net.core.somaxconn", value, value >= (case.limit.want or 0)) or case.least(value)


@check("LIM08", "port.range", severity="warn")
def ephemeral(case):
    first, last = case.fact(Kernel).port_range
    reserved = case.fact(Kernel).reserved
    ports = {int(one.name) for one in case.plans("port")}
    ports |= {
        port for role in case.host.roles if role in case.site.roles for port in case.site.roles[role].listens or []
    }
    inside = sorted(p for p in ports if first <= p <= last and not any(a <= p <= b for a, b in reserved))
    if inside:
        return case.bad(" ".join(map(str, inside)), f"∉ {first}–{last}")
    return case.good(f"{first}–{last}", f"∌ {' '.join(map(str, sorted(ports)))}" if ports else "—")


@check("LIM09", "keepalive", roles=_SERVERS, severity="warn", unit="seconds", ceiling=True)
def keepalive(case):
    value = case.fact(Kernel).keepalive
    better = case.limit.want is None or value <= case.limit.want
    return _sysctl(case, "net.ipv4.tcp_keepalive_time", value, better) or case.most(value)


@check("LIM10", "tw_recycle")
def recycle(case):
    found = case.fact(Kernel).tw_recycle
    return case.bad(found, "0") if found else case.good(found, "0")


@check("LIM01", "nofile", roles=_SERVERS, unit="count")
def service_files(case):
    """Of the service that runs, not of the login that asks; before it runs, what its recipe will set."""
    if case.limit.need is None:
        return
    for planned in case.plans("port"):
        if planned.value not in ("postgres", "tomcat"):
            continue
        target = planned.value
        if not case.post(planned):
            yield case.will_be_set(planned, "—", f"≥ {case.limit.need}", target=target)
            continue
        found = [one.nofile for one in case.fact(Ports).on(int(planned.name), "tcp") if one.nofile is not None]
        yield case.least(min(found), target=target) if found else case.error("missing", target=target, detail="limits")


@check("LIM06", "shm", roles=("db",), unit="size")
def shared_memory(case):
    if case.site.database is None:
        return case.skip("no_database")
    found, wanted = case.fact(Kernel).shmmax, case.site.database.shared_buffers
    shown = f"≥ {format_size(wanted)}"
    return (case.good if found >= wanted else case.bad)(format_size(min(found, 2**50)), shown)
