"""What each Debian release has (contracts of the recipes): a site file may not ask a host for anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from implops.errors import InputError
from implops.site.model import Site

# Proved on these; what is given as an archive (jdk.archive, web.archive) does not come from the release.
HAS: dict[str, dict[str, tuple[int, ...]]] = {
    "bookworm": {"postgresql": (15,), "mariadb": (10,), "jdk": (17,), "tomcat": (10,)},
    "trixie": {"postgresql": (17,), "mariadb": (11,), "jdk": (21,), "tomcat": (10, 11)},
}


def missing(site: Site, releases: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """((part, key) of the site file, parameters of the message) of everything that a host's release does not have."""
    wanted: list[tuple[str, tuple[str, str], str, int]] = []
    if site.database:
        wanted.append(("db", ("database", "major"), site.database.engine, site.database.major))
    if site.jdk and not site.jdk.archive:
        wanted.append(("app", ("jdk", "major"), "jdk", site.jdk.major))
    if site.web and site.web.tomcat and not site.web.archive:
        wanted.append(("app", ("web", "tomcat"), "tomcat", site.web.tomcat))
    for role, key, what, major in wanted:
        for host in site.with_role(role):
            has = HAS[releases[host.name]][what]
            if major not in has:
                about = {"host": host.name, "release": releases[host.name], "what": what, "value": major}
                yield key, {**about, "known": " ".join(map(str, has))}


def require(site: Site, releases: Mapping[str, str]) -> None:
    """Raises InputError for the first thing that a host's release does not have, naming what it has."""
    for key, about in missing(site, releases):
        raise InputError("site.release_lacks", place=f"{site.path.name} {'.'.join(key)}", **about)
