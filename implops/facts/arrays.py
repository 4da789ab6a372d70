"""Volume groups, pools and multipath maps: asked only where the site file declares them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Site


def snapshot_groups(site: Site, host: Host) -> list[str]:
    """Volume groups and pools in which snapshots need room on this host."""
    found = [name for role in host.roles if role in site.roles for name in site.roles[role].snapshots]
    return list(dict.fromkeys(found))


def multipath_wanted(site: Site, host: Host) -> bool:
    return any(site.roles[role].multipath for role in host.roles if role in site.roles)


def declared_options(site: Site, host: Host) -> dict[str, list[str]]:
    """Mount -> the options that it must have."""
    return {
        path: list(mount.options)
        for role in host.roles
        if role in site.roles
        for path, mount in site.roles[role].mounts.items()
        if mount.options
    }


@dataclass(frozen=True)
class Arrays(Fact, section="arrays"):
    groups: dict[str, tuple[int, int]] | Unknown  # volume group or pool -> (bytes, free bytes)
    maps: dict[str, int] | Unknown  # multipath map -> active paths

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        wanted = ["1"] if multipath_wanted(site, host) else []
        return {"GROUPS_ASKED": snapshot_groups(site, host), "MULTIPATH": wanted}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: _groups(section)), attempt(lambda: _maps(section.text("multipath"))))


def _groups(section: Section) -> dict[str, tuple[int, int]]:
    found = {}
    for line in section.all("group"):
        match = re.fullmatch(r"\s*(\S+)\s+([0-9]+)B?\s+([0-9]+)B?\s*", line)
        if not match:
            raise NotMeasured(Unknown("garbled", "vgs"))
        found[match[1]] = (to_int(match[2], "vgs"), to_int(match[3], "vgs"))
    return found


def _maps(text: str) -> dict[str, int]:
    """``multipath -ll``: a map begins at the margin, its paths stand below it; "active ready" ones carry data."""
    found: dict[str, int] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"(\S+) (\([0-9a-zA-Z._:-]+\) )?dm-[0-9]+ ", line)
        if head:
            name = head[1]
            found[name] = 0
        elif name and re.search(r"[0-9]+:[0-9]+:[0-9]+:[0-9]+ +\S+ +[0-9]+:[0-9]+ +active +ready", line):
            found[name] += 1
    if text.strip() and not found:
        raise NotMeasured(Unknown("garbled", "multipath"))
    return found
