"""What loads a host or takes long, asked only with ``--deep``: package sources, speed of the declared disks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from implops.facts.base import Cost, Fact, NotMeasured, Section, Unknown, attempt
from implops.site import Host, Site


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
