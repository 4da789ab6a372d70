"""Settings of the kernel: now by sysctl or /sys, at every start by a drop-in."""

from __future__ import annotations

from implops.check.fixes import fix, sysctl, sysfs
from implops.facts.system import Kernel


@fix("LIM03", risk="safe")
def files(case, found):
    return sysctl({"fs.file-max": case.limit.want or case.limit.need}, "LIM03")


@fix("LIM04", risk="safe")
def slots(case, found):
    """As many free ones as are wanted, beside those that are taken."""
    kernel = case.fact(Kernel)
    taken = kernel.aio_max - kernel.aio_free
    return sysctl({"fs.aio-max-nr": max((case.limit.want or case.limit.need) + taken, 1048576)}, "LIM04")


@fix("LIM05", risk="safe")
def semaphores(case, found):
    """Those that vendors of databases publish, or what is there where that is more."""
    now = (*case.fact(Kernel).sem, 0, 0, 0, 0)[:4]
    wanted = [max(pair) for pair in zip(now, (250, 32000, 100, 128), strict=True)]
    return sysctl({"kernel.sem": " ".join(map(str, wanted))}, "LIM05")


@fix("LIM06", risk="safe")
def shared_memory(case, found):
    size = case.site.database.shared_buffers
    return sysctl({"kernel.shmmax": size, "kernel.shmall": size // 4096 + 1}, "LIM06")


@fix("LIM07", risk="safe")
def backlog(case, found):
    return sysctl({"net.core.somaxconn": case.limit.want or case.limit.need}, "LIM07")


@fix("LIM08", risk="safe")
def ephemeral(case, found):
    """The ports stay reserved for who asks for them by number."""
    known = [f"{a}-{b}" if a != b else str(a) for a, b in case.fact(Kernel).reserved]
    return sysctl({"net.ipv4.ip_local_reserved_ports": ",".join([*known, *found.actual.split()])}, "LIM08")


@fix("LIM09", risk="safe")
def keepalive(case, found):
    return sysctl({"net.ipv4.tcp_keepalive_time": case.limit.want or case.limit.need}, "LIM09")


@fix("LIM10", risk="safe")
def recycle(case, found):
    return sysctl({"net.ipv4.tcp_tw_recycle": 0}, "LIM10")


@fix("LIM11", risk="safe")
def maps(case, found):
    return sysctl({"vm.max_map_count": 262144}, "LIM11")


@fix("MEM04", risk="safe")
def swappiness(case, found):
    return sysctl({"vm.swappiness": case.limit.want}, "MEM04") if case.limit.want is not None else None


@fix("MEM05", risk="safe")
def huge_pages(case, found):
    return sysfs("/sys/kernel/mm/transparent_hugepage/enabled", "madvise", "MEM05")


@fix("MEM06", risk="safe")
def zone_reclaim(case, found):
    return sysctl({"vm.zone_reclaim_mode": 0}, "MEM06")


@fix("MEM08", risk="customer-owned")
def overcommit(case, found):
    """Mode 2 is a decision about the whole machine."""
    return sysctl({"vm.overcommit_memory": 0}, "MEM08")


@fix("CPU03", risk="safe")
def governor(case, found):
    return sysfs("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor", "performance", "CPU03")
