"""Paths proved with ``--deep``: a temporary listener on the real address and port, and what its callers heard.

Every run has a nonce that callers send, every listener a token of its own that it sends back: who answers with the
token is the host itself. Asked in an order (implops/check/echo.py): listeners first, then callers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Cost, Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.facts.peers import TIMEOUT_CODES, Path, meaning_of, paths_of
from implops.site import Host, Site

FLOOD_BYTES = 64 * 2**20
# Sending is cut after this; what is under way then may still arrive (our own figures).
FLOOD_SECONDS = 8
MOST_FLOODS = 8


@dataclass(frozen=True)
class Listening(Fact, section="listening", trip=4):
    """The temporary listener of this host. ``failed``: "5432/tcp" -> why it could not be bound; "" when it was."""

    token: str | Unknown
    failed: dict[str, str] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        def failed() -> dict[str, str]:
            found = {}
            for line in section.all("port"):
                word, _, rest = line.partition(" ")
                port, _, why = rest.partition(" ")
                found[port] = why if word == "failed" else ""
            return found

        return cls(attempt(lambda: section.text("token")), attempt(failed))


@dataclass(frozen=True)
class Heard:
    """``token``: what came back; "" for an answer that was none of ours, which ``said`` shows."""

    token: str
    said: str


@dataclass(frozen=True)
class Echo(Fact, section="echo", trip=5):
    """Path -> what was heard there, or why nothing."""

    heard: dict[str, Heard | Unknown] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_heard(line) for line in section.all("echo"))))


@dataclass(frozen=True)
class Bandwidth(Fact, section="bandwidth", trip=6):
    """Path -> megabits a second that arrived."""

    speed: dict[str, int | Unknown] | Unknown

    @classmethod
    def cost(cls, site: Site, host: Host) -> Cost:
        count = len(floods(site, host))
        return Cost(FLOOD_BYTES * count, FLOOD_SECONDS * count)

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_speed(line) for line in section.all("echo"))))


@dataclass(frozen=True)
class Idle(Fact, section="idle", trip=7):
    """``seconds`` that connections rested; path -> what was heard on the same connection afterwards."""

    seconds: int | Unknown
    heard: dict[str, Heard | Unknown] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            attempt(lambda: section.number("seconds")),
            attempt(lambda: dict(_heard(line) for line in section.all("echo"))),
        )


def proved(site: Site, host: Host) -> list[Path]:
    """The paths from this host that a listener can prove: to other hosts of the site."""
    return [path for path in paths_of(site, host) if not path.external]


def floods(site: Site, host: Host) -> list[Path]:
    """One TCP path to every host that this one sends to, a few at most."""
    first: dict[str, Path] = {}
    for path in proved(site, host):
        if path.protocol == "tcp":
            first.setdefault(path.target, path)
    return list(first.values())[:MOST_FLOODS]


def confirmed(echo: Echo | Unknown, listening: Listening | Unknown, path: Path) -> bool:
    """Whether the target itself answered on this path."""
    heard = echo if isinstance(echo, Unknown) else echo.ask("heard")
    token = listening if isinstance(listening, Unknown) else listening.ask("token")
    one = heard.get(path.key) if isinstance(heard, dict) else None
    return isinstance(one, Heard) and bool(one.token) and one.token == token


def _answer(line: str) -> tuple[str, str | Unknown]:
    """The path, and what the caller was told; Unknown for the words of a failed connection."""
    key, code, *rest = line.split(" ", 2)
    told = (rest[0] if rest else "").strip()
    if told.startswith("said "):
        return key, told.removeprefix("said ")
    if to_int(code, "echo") in TIMEOUT_CODES or told.endswith("timeout"):
        return key, Unknown("timeout", key)
    if told in ("silent", "end", "Connection reset by peer"):
        return key, ""
    return key, Unknown(meaning_of(told) or "garbled", told[:80])


def _heard(line: str) -> tuple[str, Heard | Unknown]:
    key, told = _answer(line)
    if isinstance(told, Unknown):
        return key, told
    match = re.fullmatch(r"implops [0-9a-f]+ ([0-9a-f]+)", told)
    return key, Heard(match[1] if match else "", told)


def _speed(line: str) -> tuple[str, int | Unknown]:
    key, told = _answer(line)
    if isinstance(told, Unknown):
        return key, told
    match = re.fullmatch(r"got ([0-9]+) ([0-9]+)", told)
    if not match:
        raise NotMeasured(Unknown("garbled", told))
    # The clock of the caller steps by ten milliseconds.
    return key, int(match[1]) * 8 // 1000 // max(10, int(match[2]))
