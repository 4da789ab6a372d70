"""Limits of the kernel and of services that databases and application servers meet under load."""

from __future__ import annotations

from implops.check.limits import Limit
from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.settings import UNLIMITED, Settings
from implops.facts.software import Services
from implops.facts.storage import Disks
from implops.facts.system import CONTAINERS, Kernel, Memory, System
from implops.units import format_size

_SERVERS = ("db", "app")
_SHM = "/dev/shm"  # noqa: S108 - its size is judged
# Whose process limits matter: the services that hold connections and files.
_SERVICES = ("postgresql", "mariadb", "mysql", "tomcat", "nginx")
# What the kernel itself starts with, by version: a value that is none of these was set by somebody.
_KERNEL_OWN = {
    "net.core.somaxconn": ("128", "4096"),
    "net.ipv4.tcp_keepalive_time": ("7200",),
    "net.ipv4.ip_local_port_range": ("32768 60999", "32768 61000"),
    "fs.aio-max-nr": ("65536",),
    "vm.swappiness": ("60",),
    "vm.overcommit_memory": ("0",),
    "vm.max_map_count": ("65530", "1048576"),
    "vm.zone_reclaim_mode": ("0",),
}


@check("LIM01", "nofile", roles=_SERVERS, unit="count")
def service_files(case):
    """Of the service, not of the login that asks: what its unit says, or systemd's default for units."""
    yield from _of_services(case, "nofile", lambda unit: unit.nofile)


@check("LIM02", "nproc", roles=_SERVERS, unit="count")
def service_processes(case):
    most = case.fact(Kernel).pid_max
    yield from _of_services(case, "nproc", lambda unit: min(unit.tasks, unit.nproc, most))


def _of_services(case, what, limit_of):
    services = [one for one in case.plans("service") if one.name.startswith(_SERVICES)]
    if not services:
        yield case.skip("no_service")
    units, logins = case.fact(Services).units, _login_limit(case, what)
    for planned in services:
        unit = units.get(planned.name)
        if unit is None:
            yield case.error("missing", target=planned.name, detail=planned.name)
        elif not case.post(planned) and not unit.loaded:
            shown = f"≥ {case.limit.need}"
            yield case.will_be_set(planned, "—", shown, target=planned.name)
        else:
            value = limit_of(unit)
            one = case.least(value, target=planned.name)
            if one.state != "pass" and logins is not None and logins >= case.limit.need:
                # Seen often: limits.d was edited, and systemd does not read it.
                shown = "∞" if logins >= UNLIMITED else str(logins)
                one = case.bad(one.actual, one.required, target=planned.name, warn=one.state == "warn",
                               note="limits_d_ignored", value=shown)  # fmt: skip
            yield one


def _login_limit(case, what):
    """What limits.conf and limits.d give to logins of every account; None without a line."""
    settings = case.seen.fact(Settings)
    lines = settings if isinstance(settings, Unknown) else settings.ask("limits")
    if isinstance(lines, Unknown):
        return None
    found = [number for account, kind, name, number in lines if name == what and kind in ("soft", "-")]
    return max(found, default=None)


@check("LIM03", "file-max", roles=_SERVERS, unit="count")
def files(case):
    return case.configured(case.least(case.fact(Kernel).file_max), "fs.file-max")


@check("LIM04", "aio", roles=("db",), severity="warn", unit="count")
def asynchronous(case):
    if case.site.database is None or case.site.database.engine != "mariadb":
        return case.skip("engine_without")
    return case.sysctl("fs.aio-max-nr", case.fact(Kernel).aio_free, case.least(case.fact(Kernel).aio_free))


@check("LIM05", "sem", roles=("db",), severity="warn", unit="words")
def semaphores(case):
    found = case.fact(Kernel).sem
    if case.site.database is None:
        return case.skip("no_database")
    if case.site.database.engine != "postgresql":
        return case.skip("engine_without")
    if len(found) != 4:
        return case.error("garbled", detail="sem")
    # PostgreSQL: sets of 16 and one more semaphore each; some processes besides the connections.
    sets = (case.site.database.max_connections + 20) // 16 + 1
    least = [17, sets * 17, 1, sets]
    wanted = [int(one) for one in str(case.limit.want or "0 0 0 0").split()]
    shown = f"≥ {' '.join(str(max(pair)) for pair in zip(least, wanted, strict=True))}"
    good = all(value >= max(pair) for value, pair in zip(found, zip(least, wanted, strict=True), strict=True))
    return case.configured((case.good if good else case.bad)(" ".join(map(str, found)), shown), "kernel.sem")


@check("LIM06", "shm", roles=("db",), unit="size")
def shared_memory(case):
    """System V segments by their two limits, and the filesystem of POSIX shared memory."""
    database = case.site.database
    if database is None or database.engine != "postgresql":
        yield case.skip("no_database" if database is None else "engine_without")
        return
    kernel, need = case.fact(Kernel), Limit(database.shared_buffers, None, "site")
    # 2**50 stands for "no limit": kernels answer with numbers near 2**64.
    yield case.configured(case.least(min(kernel.shmmax, 2**50), target="shmmax", limit=need), "kernel.shmmax")
    yield case.configured(case.least(min(kernel.shmall, 2**50), target="shmall", limit=need), "kernel.shmall")
    disks = case.fact(Disks)
    if disks.mount_of(_SHM).target != _SHM:
        yield case.bad("—", f"≥ {format_size(database.shared_buffers)}", target=_SHM, note="not_mounted")
    else:
        yield case.least(disks.room(_SHM).size, target=_SHM, limit=need)


@check("LIM07", "somaxconn", roles=_SERVERS, severity="warn", unit="count")
def backlog(case):
    value = case.fact(Kernel).somaxconn
    return case.sysctl("net.core.somaxconn", value, case.least(value))


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
    return case.sysctl("net.ipv4.tcp_keepalive_time", value, case.most(value))


@check("LIM10", "tw_recycle")
def recycle(case):
    found = case.fact(Kernel).tw_recycle
    return case.bad(found, "0") if found else case.good(found, "0")


@check("LIM11", "max_map_count", unit="count")
def memory_maps(case):
    """Only where profile or site file asks for it: search and vector components map thousands of files."""
    if case.limit.need is None and case.limit.want is None:
        return case.skip("not_declared")
    value = case.fact(Kernel).map_count
    return case.sysctl("vm.max_map_count", value, case.least(value))


@check("LIM12", "sysctl.persist", severity="warn")
def persistent(case):
    """What runs is what the next boot will set, for the settings that the other checks look at."""
    kept, running = case.fact(Settings).sysctls, _running(case)
    if case.fact(System).virt in CONTAINERS:
        # All others are the machine's; a container's own file cannot change them.
        running = {name: value for name, value in running.items() if name.startswith("net.")}
    for name in sorted({one.name for one in case.plans("sysctl")}):
        claims = case.claims("sysctl", name)
        if claims:
            told = " ".join(f"{one.recipe}={one.value}" for one in claims)
            yield case.bad(told, "=", target=name, note="plan_conflict")
    wrong = 0
    for name, value in running.items():
        file = kept.get(name)
        if file is not None and file.value.split() != value.split():
            yield case.bad(value, file.value, target=name, note="other_in_file", path=file.path)
        elif file is None and value not in _KERNEL_OWN.get(name, (value,)):
            yield case.bad(value, "—", target=name, note="in_no_file")
        else:
            continue
        wrong += 1
    if not wrong:
        yield case.good(f"{len(running)}/{len(running)}", "=")


def _running(case):
    kernel, memory = case.fact(Kernel), case.fact(Memory)
    return {
        "net.core.somaxconn": str(kernel.somaxconn),
        "net.ipv4.tcp_keepalive_time": str(kernel.keepalive),
        "net.ipv4.ip_local_port_range": " ".join(map(str, kernel.port_range)),
        "fs.aio-max-nr": str(kernel.aio_max),
        "vm.swappiness": str(memory.swappiness),
        "vm.overcommit_memory": str(memory.overcommit),
        "vm.max_map_count": str(kernel.map_count),
        "vm.zone_reclaim_mode": str(memory.zone_reclaim),
    }
