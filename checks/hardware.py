"""Processors and memory, and whether the plan fits into them."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.settings import Running
from implops.facts.system import Cpu, Memory
from implops.units import format_size

_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
# Of all memory, for heaps and buffers together (our own figure).
_BUDGET_PERCENT = 80
# What a database connection may take besides the shared buffers: work_mem's default.
_PER_CONNECTION = 4 * 2**20
_MIB = 2**20
_MOST_SWAP = 8 * 2**30
_SHOWN_PROCESSES = 5


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
    if wanted <= most:
        return case.good(format_size(wanted), shown)
    edit = _fitting(case, wanted - most)
    return case.bad(format_size(wanted), shown, note="budget_edit" if edit else "budget", edit=edit)


def _fitting(case, excess):
    """The edit of the site file that fits: the larger of heap and buffers gives way. Empty when neither can."""
    heap = case.site.web.heap if case.site.web and "app" in case.host.roles else 0
    database = case.site.database if "db" in case.host.roles else None
    buffers = database.shared_buffers if database else 0
    name, size = ("web.heap", heap) if heap >= buffers else ("database.shared_buffers", buffers)
    left = (size - excess) // _MIB
    return f"{name}: {left} MiB" if left >= 128 else ""


@check("MEM03", "mem.available", roles=("db", "app"), unit="size")
def available(case):
    found, wanted = case.fact(Memory).available, plan(case.site, case.host)
    shown = f"≥ {format_size(wanted)}"
    if case.deployed:
        # What the plan asked for is in use by now.
        return case.info(format_size(found))
    if found >= wanted:
        return case.good(format_size(found), shown)
    running = case.seen.fact(Running)
    processes = running if isinstance(running, Unknown) else running.ask("processes")
    if isinstance(processes, Unknown):
        return case.bad(format_size(found), shown)
    largest = sorted(processes.items(), key=lambda one: -one[1])[:_SHOWN_PROCESSES]
    told = " ".join(f"{name}={format_size(size)}" for name, size in largest)
    return case.bad(format_size(found), shown, note="largest", processes=told)


@check("MEM04", "swap", roles=("db",), severity="warn", unit="count", ceiling=True)
def swap(case):
    memory = case.fact(Memory)
    yield case.sysctl("vm.swappiness", memory.swappiness, case.most(memory.swappiness))
    shown, most = format_size(memory.swap), f"≤ {format_size(_MOST_SWAP)}"
    yield (case.good if memory.swap <= _MOST_SWAP else case.bad)(shown, most, target="swap")


@check("MEM05", "thp", roles=("db",), severity="warn")
def huge_pages(case):
    found = case.fact(Memory).thp
    return case.good(found, "never / madvise") if found in ("never", "madvise") else case.bad(found, "never / madvise")


@check("MEM06", "numa", roles=("db",), severity="warn")
def numa(case):
    memory = case.fact(Memory)
    if memory.nodes == 1:
        return case.skip("one_node")
    found = f"{memory.nodes} × {memory.zone_reclaim}"
    return case.bad(found, "0") if memory.zone_reclaim else case.good(found, "0")


@check("MEM07", "hugepages", roles=("db",), unit="size")
def reserved_pages(case):
    """Only a database that is told to use them: with too few it does not start."""
    database = case.site.database
    if database is None or not database.huge_pages:
        return case.skip("not_declared")
    found, wanted = case.fact(Memory).huge_pages, database.shared_buffers
    shown = f"≥ {format_size(wanted)}"
    one = (case.good if found >= wanted else case.bad)(format_size(found), shown)
    return case.configured(one, "vm.nr_hugepages")


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
