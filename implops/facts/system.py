"""The machine itself: what runs on it, processors, memory, kernel settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int

# What systemd-detect-virt says where one kernel serves several systems.
CONTAINERS = ("lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "openvz", "container-other")


@dataclass(frozen=True)
class System(Fact, section="system"):
    uid: int | Unknown
    hostname: str | Unknown
    kernel: str | Unknown
    arch: str | Unknown
    machine_id: str | Unknown
    boot_id: str | Unknown
    uptime: int | Unknown  # seconds
    init: str | Unknown
    os: dict[str, str] | Unknown
    glibc: str | Unknown
    virt: str | Unknown
    product_uuid: str | Unknown
    reboot: bool | Unknown
    complaints: tuple[str, ...] | Unknown  # of the kernel about its disks and memory; the last twenty

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            uid=attempt(lambda: section.number("uid")),
            hostname=attempt(lambda: filled(section, "hostname")),
            kernel=attempt(lambda: filled(section, "kernel")),
            arch=attempt(lambda: filled(section, "arch")),
            machine_id=attempt(lambda: shaped(section, "machine_id", r"[0-9a-f]{32}")),
            boot_id=attempt(lambda: shaped(section, "boot_id", r"[0-9a-f-]{36}")),
            uptime=attempt(lambda: to_int(section.text("uptime").split()[0].split(".")[0], "uptime")),
            init=attempt(lambda: filled(section, "init")),
            os=attempt(lambda: _os(section)),
            glibc=attempt(lambda: shaped(section, "glibc", r"glibc [0-9.]+").split()[1]),
            virt=attempt(lambda: filled(section, "virt")),
            product_uuid=attempt(lambda: filled(section, "product_uuid")),
            reboot=attempt(lambda: section.flag("reboot")),
            complaints=attempt(lambda: section.all("kmsg")),
        )


def filled(section: Section, key: str) -> str:
    """A text that may not be empty."""
    text = section.text(key).strip()
    if not text:
        raise NotMeasured(Unknown("empty", key))
    return text


def shaped(section: Section, key: str, form: str) -> str:
    """A text of the form of a regular expression."""
    text = section.text(key).strip()
    if not re.fullmatch(form, text, re.ASCII):
        raise NotMeasured(Unknown("garbled", key))
    return text


def wide(section: Section, key: str) -> int:
    """A number that comes near 2**63 or 2**64 on 64-bit kernels."""
    text = section.text(key).strip()
    return to_int(text, key) if len(text) <= 18 else int(shaped(section, key, r"[0-9]{19,20}"))


def _os(section: Section) -> dict[str, str]:
    found = {}
    for line in section.all("os"):
        name, equals, value = line.partition("=")
        if equals:
            found[name] = value.strip().strip("\"'")
    if not found.get("ID"):
        raise NotMeasured(Unknown("garbled", "os-release"))
    return found


@dataclass(frozen=True)
class Cpu(Fact, section="cpu"):
    count: int | Unknown  # usable processors: online, or what the control group grants
    load_percent: int | Unknown  # one minute's load average of one processor, in percent
    clocksource: str | Unknown
    governor: str | Unknown  # "-" where the system sets none
    model: str | Unknown
    flags: frozenset[str] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            count=attempt(lambda: _count(section)),
            load_percent=attempt(lambda: _load(section)),
            clocksource=attempt(lambda: filled(section, "clocksource")),
            governor=attempt(lambda: filled(section, "governor")),
            model=attempt(lambda: section.text("model")),
            flags=attempt(lambda: _flags(filled(section, "flags"))),
        )


@cache
def _flags(line: str) -> frozenset[str]:
    """Hosts of one make have them in common: kept once."""
    return frozenset(line.split())


def _count(section: Section) -> int:
    online = section.number("online")
    if online < 1:
        raise NotMeasured(Unknown("garbled", "online"))
    allowed = attempt(lambda: _span(section.text("allowed")))
    online = online if isinstance(allowed, Unknown) else min(online, allowed)
    quota = section.text("quota").split()
    if quota[0] in ("max", "-1"):
        return online
    return max(1, min(online, to_int(quota[0], "quota") // to_int(quota[1], "quota")))


def _span(text: str) -> int:
    """How many numbers a list like ``0-3,5`` has."""
    ends = [one.partition("-") for one in text.split(",")]
    return sum(to_int(last or first, "cpus") - to_int(first, "cpus") + 1 for first, _, last in ends)


def _load(section: Section) -> int:
    whole, _, part = section.text("loadavg").split()[0].partition(".")
    hundredths = to_int(whole, "loadavg") * 100 + to_int((part + "00")[:2], "loadavg")
    return hundredths // _count(section)


@dataclass(frozen=True)
class Memory(Fact, section="memory"):
    total: int | Unknown  # bytes; what the control group grants when that is less
    available: int | Unknown
    swap: int | Unknown
    commit_limit: int | Unknown
    swappiness: int | Unknown
    overcommit: int | Unknown
    zone_reclaim: int | Unknown
    thp: str | Unknown
    nodes: int | Unknown  # of NUMA
    huge_pages: int | Unknown  # bytes reserved as huge pages

    @classmethod
    def read(cls, section: Section) -> Self:
        def total() -> int:
            size, limit = section.number("MemTotal") * 1024, section.text("limit")
            # Version 1 says "none" with a number near 2**63.
            return size if limit == "max" else min(size, wide(section, "limit"))

        def thp() -> str:
            match = re.search(r"\[(\w+)\]", section.text("thp"))
            if not match:
                raise NotMeasured(Unknown("garbled", "transparent_hugepage"))
            return match[1]

        return cls(
            total=attempt(total),
            available=attempt(lambda: section.number("MemAvailable") * 1024),
            swap=attempt(lambda: section.number("SwapTotal") * 1024),
            commit_limit=attempt(lambda: section.number("CommitLimit") * 1024),
            swappiness=attempt(lambda: section.number("swappiness")),
            overcommit=attempt(lambda: section.number("overcommit")),
            zone_reclaim=attempt(lambda: section.number("zone_reclaim")),
            thp=attempt(thp),
            nodes=attempt(lambda: section.number("nodes")),
            huge_pages=attempt(lambda: section.number("HugePages_Total") * section.number("Hugepagesize") * 1024),
        )


@dataclass(frozen=True)
class Kernel(Fact, section="limits"):
    """Limits and network settings of the running kernel."""

    file_max: int | Unknown
    aio_free: int | Unknown
    aio_max: int | Unknown
    sem: tuple[int, ...] | Unknown
    shmmax: int | Unknown
    shmall: int | Unknown  # bytes
    somaxconn: int | Unknown
    keepalive: int | Unknown  # seconds
    port_range: tuple[int, int] | Unknown
    reserved: tuple[tuple[int, int], ...] | Unknown
    tw_recycle: int | Unknown
    pid_max: int | Unknown
    map_count: int | Unknown
    entropy: int | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        def pair(key: str) -> tuple[int, int]:
            first, last = section.text(key).split()
            return to_int(first, key), to_int(last, key)

        def reserved() -> tuple[tuple[int, int], ...]:
            parts = [one.partition("-") for one in section.text("reserved").split(",") if one]
            return tuple((to_int(a, "reserved"), to_int(b or a, "reserved")) for a, _, b in parts)

        return cls(
            file_max=attempt(lambda: wide(section, "file_max")),
            aio_max=attempt(lambda: section.number("aio_max")),
            aio_free=attempt(lambda: section.number("aio_max") - section.number("aio_now")),
            sem=attempt(lambda: tuple(to_int(one, "sem") for one in filled(section, "sem").split())),
            shmmax=attempt(lambda: wide(section, "shmmax")),
            shmall=attempt(lambda: wide(section, "shmall") * section.number("page")),
            somaxconn=attempt(lambda: section.number("somaxconn")),
            keepalive=attempt(lambda: section.number("keepalive")),
            port_range=attempt(lambda: pair("port_range")),
            reserved=attempt(reserved),
            tw_recycle=attempt(lambda: section.number("tw_recycle")),
            pid_max=attempt(lambda: section.number("pid_max")),
            map_count=attempt(lambda: section.number("map_count")),
            entropy=attempt(lambda: section.number("entropy")),
        )
