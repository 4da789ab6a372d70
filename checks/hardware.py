"""Processors and memory, and whether the plan fits into them."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.system import Cpu, Memory
from implops.units import format_size

_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
# Of all memory, for heaps and buffers together (our own figure).
_BUDGET_PERCENT = 80
# What a database connection may take besides the shared buffers: work_mem's default.
_PER_CONNECTION = 4 * 2**20


@check("CPU01", "cpu.cores", unit="count")
def cores(case):
    return case.least(case.fact(Cpu).count)


@check("CPU04", "cpu.load", severity="warn", unit="percent", ceiling=True)
def load(case):
    return case.most(case.fact(Cpu).load_percent)


@check("CPU05", "cpu.clocksource", severity="warn")
def clock(case):
    found = case.fact(Cpu).clocksource
    return case.good(found, _CLOCKS[0]) if found in _CLOCKS else case.bad(found, " / ".join(_CLOCKS[:3]))


@check("MEM01", "mem.total", unit="size")
def total(case):
    return case.least(case.fact(Memory).total, tolerance=True)


def plan(site, host):
    """Bytes that heaps, shared buffers and connections of the host's roles will take."""
    size = 0
    if site.web and site.web.tomcat and "app" in host.roles:
        size += site.web.heap
    if site.database and "db" in host.roles:
        size += site.database.shared_buffers + site.database.max_connections * _PER_CONNECTION
    return size


@check("MEM02", "mem.budget", roles=("db", "app"), unit="size")
def budget(case):
    wanted, most = plan(case.site, case.host), case.fact(Memory).total * _BUDGET_PERCENT // 100
    shown = f"≤ {format_size(most)} ({_BUDGET_PERCENT} %)"
    return case.good(format_size(wanted), shown) if wanted <= most else case.bad(format_size(wanted), shown)


@check("MEM03", "mem.available", roles=("db", "app"), unit="size")
def available(case):
    found, wanted = case.fact(Memory).available, plan(case.site, case.host)
    shown = f"≥ {format_size(wanted)}"
    if case.deployed:
        # What the plan asked for is in use by now.
        return case.info(format_size(found))
    return case.good(format_size(found), shown) if found >= wanted else case.bad(format_size(found), shown)


@check("MEM04", "swap", roles=("db",), severity="warn", unit="count", ceiling=True)
def swap(case):
    found = case.fact(Memory).swappiness
    planned = case.planned("sysctl", "vm.swappiness")
    if case.limit.want is not None and found > case.limit.want and planned and not case.post(planned):
        return case.will_be_set(planned, found, f"≤ {case.limit.want}")
    return case.most(found)


@check("MEM05", "thp", roles=("db",), severity="warn")
def huge_pages(case):
    found = case.fact(Memory).thp
    return case.good(found, "never / madvise") if found in ("never", "madvise") else case.bad(found, "never / madvise")


@check("MEM06", "numa", roles=("db",), severity="warn")
def numa(case):
    found = case.fact(Memory).zone_reclaim
    return case.bad(found, "0") if found else case.good(found, "0")


@check("CPU02", "cpu.flags", unit="words")
def flags(case):
    wanted = list(case.limit.need or [])
    missing = [one for one in wanted if one not in case.fact(Cpu).flags]
    return case.bad(f"− {' '.join(missing)}", " ".join(wanted)) if missing else case.good("✓", " ".join(wanted) or "—")


@check("CPU03", "cpu.gov", severity="warn")
def governor(case):
    found = case.fact(Cpu).governor
    if found == "-":
        return case.skip("no_governor")
    return case.good(found, "performance") if found == "performance" else case.bad(found, "performance")


@check("MEM08", "overcommit", roles=("db", "app"), unit="size")
def overcommit(case):
    """Mode 2 refuses memory beyond the limit, however much is free."""
    memory, wanted = case.fact(Memory), plan(case.site, case.host)
    if memory.overcommit != 2:
        return case.good(memory.overcommit, "≠ 2")
    shown = f"≥ {format_size(wanted)}"
    limit = memory.commit_limit
    return case.good(format_size(limit), shown) if limit >= wanted else case.bad(format_size(limit), shown)
