"""Directories that several hosts mount from one server: whether they can be worked in, and are really one."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Cost, Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Share, Site

# Small files that are made, and how long at most (our own figures).
SMALL_FILES, SMALL_SECONDS = 200, 20


def shares_of(site: Site, host: Host) -> list[Share]:
    return [share for share in site.storage.shares if host in site.sharing(share)]


def server_of(site: Site, share: Share) -> tuple[str, str]:
    """(address, exported path) of a share that names its source."""
    assert share.export
    name, _, path = share.export.partition(":")
    return (site.hosts[name].address if name in site.hosts else name), path


@dataclass(frozen=True)
class Shares(Fact, section="shares", trip=2):
    """``work``: path -> "good", the step that failed, or "no_user". ``exports``: (server, path) -> its clients."""

    work: dict[str, str] | Unknown
    exports: dict[tuple[str, str], tuple[str, ...]] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        mine = shares_of(site, host)
        servers = sorted({server_of(site, share)[0] for share in mine if share.export})
        return {"SHARES": [f"{share.path}:{share.user}" for share in mine], "SERVERS": servers}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            attempt(lambda: section.pairs("share")),
            attempt(lambda: dict(_export(line) for line in section.all("export"))),
        )


def _export(line: str) -> tuple[tuple[str, str], tuple[str, ...]]:
    server, path, *clients = line.split()
    return (server, path), tuple(one for word in clients for one in word.split(",") if one)


def admitted(clients: tuple[str, ...], address: str) -> bool:
    """Whether a list of an export lets an address in: by itself, by its network, or because it lets in everybody."""
    for one in clients:
        if one in ("*", "(everyone)", "0.0.0.0/0", address):
            return True
        if re.fullmatch(r"[0-9.]+/[0-9.]+", one):
            try:
                if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(one, strict=False):
                    return True
            except ValueError:
                continue
    return False


@dataclass(frozen=True)
class Seen:
    """A file of the run in a share: who owns it, and what stands in it."""

    uid: int
    text: str


@dataclass(frozen=True)
class Shared(Fact, section="shared", trip=9):
    """``wrote``: shares in which this host put a file; ``saw``: what it found of another host's file."""

    wrote: dict[str, Seen] | Unknown
    saw: dict[str, Seen | None] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        def files(word: str) -> dict[str, Seen | None]:
            found: dict[str, Seen | None] = {}
            for line in section.all("file"):
                role, path, uid, text = line.split(" ")
                if role == word:
                    found[path] = None if uid == "-" else Seen(to_int(uid, "uid"), text)
            return found

        def wrote() -> dict[str, Seen]:
            return {path: one for path, one in files("wrote").items() if one is not None}

        return cls(attempt(wrote), attempt(lambda: files("saw")))


@dataclass(frozen=True)
class SmallFiles(Fact, section="small", trip=3):
    """Directory -> small files made in it a second."""

    rate: dict[str, int | Unknown] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"SMALL": small_places(site, host)}

    @classmethod
    def cost(cls, site: Site, host: Host) -> Cost:
        count = len(small_places(site, host))
        return Cost(4096 * SMALL_FILES * count, SMALL_SECONDS * count)

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_rate(line) for line in section.all("small"))))


def small_places(site: Site, host: Host) -> list[str]:
    """The shares of this host, and the mounts of its role storage."""
    places = [share.path for share in shares_of(site, host)]
    if "storage" in host.roles and "storage" in site.roles:
        places += list(site.roles["storage"].mounts)
    return list(dict.fromkeys(places))


def _rate(line: str) -> tuple[str, int | Unknown]:
    path, code, *rest = line.split(" ")
    if code != "0" or len(rest) != 2:
        return path, Unknown("timeout" if code in ("124", "137") else "unreadable", path)
    count, micros = to_int(rest[0], "small"), to_int(rest[1], "small")
    if not count:
        raise NotMeasured(Unknown("garbled", path))
    return path, count * 1_000_000 // max(1, micros)
