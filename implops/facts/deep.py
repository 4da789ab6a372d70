"""What loads a host or takes long, asked only with ``--deep``: package sources, speed of the declared disks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

from implops.facts.base import Cost, Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Site

T = TypeVar("T")


@dataclass(frozen=True)
class Repositories(Fact, section="repo", trip=3):
    """Sources that apt is told of -> whether one file of them could be fetched now: good, dead, media (a disc)."""

    sources: dict[str, str] | Unknown

    @classmethod
    def cost(cls, site: Site, host: Host) -> Cost:
        return Cost(2**20, 20)

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_source(line) for line in section.all("repo"))))


def _source(line: str) -> tuple[str, str]:
    state, _, uri = line.partition(" ")
    if state not in ("good", "dead", "media") or not uri:
        raise NotMeasured(Unknown("garbled", "apt"))
    return uri, state


# What one directory may cost: 16 MiB and three times 256 MiB of writing, 12 MiB of flushes, 64 MiB and 80 000 accesses,
# three of ten of which write 8 KiB.
_SIZES = {"write": 784 * 2**20, "sync": 12 * 2**20, "random": 64 * 2**20 + 80_000 * 8192 * 3 // 10}
_SECONDS = {"write": 35, "sync": 25, "random": 20}


def tests_of(site: Site, host: Host) -> dict[str, list[str]]:
    """Directory -> what is tested in it: a database flushes and jumps, a backup store and an application only write."""
    found: dict[str, list[str]] = {}
    if site.database and "db" in host.roles:
        found[site.database.data] = ["write", "sync", "random"]
    if site.backup and site.backup.repository.host == host.name:
        found.setdefault(site.backup.repository.path, ["write"])
    for role in ("app", "storage"):
        if role in host.roles and role in site.roles:
            for path in site.roles[role].mounts:
                if not any(one == path or one.startswith(f"{path}/") for one in found):
                    found[path] = ["write"]
    return found


@dataclass(frozen=True)
class Flushes:
    """Latencies of one round of flushed 8 KiB writes, microseconds. ``mean`` when only an average could be had."""

    count: int
    median: int
    p99: int
    mean: bool


@dataclass(frozen=True)
class Speed(Fact, section="speed", trip=3):
    """Of each tested directory, what could be measured in it."""

    writes: dict[str, tuple[int, ...] | Unknown] | Unknown  # bytes per second, each try
    flushes: dict[str, tuple[Flushes, ...] | Unknown] | Unknown  # each round
    accesses: dict[str, int | Unknown] | Unknown  # random reads and writes per second

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"TESTS": [":".join([path, *tests]) for path, tests in tests_of(site, host).items()]}

    @classmethod
    def cost(cls, site: Site, host: Host) -> Cost:
        tests = [one for found in tests_of(site, host).values() for one in found]
        return Cost(sum(_SIZES[one] for one in tests), sum(_SECONDS[one] for one in tests))

    @classmethod
    def read(cls, section: Section) -> Self:
        def of(what: str) -> dict[str, list[list[str]]]:
            found: dict[str, list[list[str]]] = {}
            for line in section.all("result"):
                path, test, *words = line.split()
                if test not in _SECONDS or not words:
                    raise NotMeasured(Unknown("garbled", "speed"))
                if test == what:
                    found.setdefault(path, []).append(words)
            return found

        return cls(
            writes=attempt(lambda: _read_each(of("write"), _rates)),
            flushes=attempt(lambda: _read_each(of("sync"), _rounds)),
            accesses=attempt(lambda: _read_each(of("random"), _per_second)),
        )


def _read_each(found: dict[str, list[list[str]]], read: Callable[[list[list[str]]], T]) -> dict[str, T | Unknown]:
    return {path: attempt(partial(read, tries)) for path, tries in found.items()}


def _failed(words: list[str]) -> None:
    if words[0] == "!":
        reason, _, code = words[1].partition(":")
        known = reason in ("no_room", "cannot_write")
        raise NotMeasured(Unknown(reason if known else "command" if code else "tool", words[1]))


def _rates(tries: list[list[str]]) -> tuple[int, ...]:
    found = []
    for words in tries:
        _failed(words)
        size, micros = (to_int(one, "dd") for one in words)
        found.append(size * 1_000_000 // max(1, micros))
    return tuple(found)


def _rounds(tries: list[list[str]]) -> tuple[Flushes, ...]:
    found = []
    for words in tries:
        _failed(words)
        method, (count, median, p99, _) = words[0], [to_int(one, "sync") for one in words[1:]]
        if count < 20 or not re.fullmatch("perl|dd", method):
            raise NotMeasured(Unknown("garbled", "sync"))
        found.append(Flushes(count, median, p99, method == "dd"))
    return tuple(found)


def _per_second(tries: list[list[str]]) -> int:
    words = tries[0]
    _failed(words)
    count, micros = (to_int(one, "random") for one in words)
    return count * 1_000_000 // max(1, micros)
