"""Read a site file strictly (implops/strict_yaml.py) and check what its parts say about each other."""

from __future__ import annotations

import re
from pathlib import Path

from implops.errors import SiteError
from implops.site.links import check_links
from implops.site.model import Site
from implops.strict_yaml import Lines, read, validate

_FLOW = re.compile(r"([a-z0-9*][a-z0-9-]*|\*) *-> *([a-z0-9.-]+): *([0-9]{1,5})(?:/(tcp|udp))?")


def load(path: Path) -> Site:
    """The Site of ``path``. Raises SiteError("site.…", place="site.yml:14 hosts.db1", …) for the first fault found."""
    path = path.absolute()
    plain, lines = read(path)
    plain["flows"] = [_flow(one, lines, number) for number, one in enumerate(plain.get("flows") or [])]
    site = validate(Site, plain, lines, {"base": path.parent})
    site._path = path
    for name, host in site.hosts.items():
        host._name = name

    def refuse(fault: str, where: tuple[str | int, ...], /, **params: object) -> SiteError:
        return SiteError(f"site.{fault}", place=lines.place(where), **params)

    check_links(site, refuse)
    return site


def _flow(one: object, lines: Lines, number: int) -> object:
    """``app -> db: 5432/tcp`` as a mapping; ``{from: app, to: "ADDRESS:PORT", external: true}`` split likewise."""
    if isinstance(one, str):
        match = _FLOW.fullmatch(one.strip())
        if not match:
            raise SiteError("site.flow", place=lines.place(("flows", number)), value=one)
        return {"from": match[1], "to": match[2], "port": int(match[3]), "protocol": match[4] or "tcp"}
    if isinstance(one, dict) and isinstance(one.get("to"), str) and ":" in one["to"]:
        target, _, port = one["to"].rpartition(":")
        return {**one, "to": target, "port": int(port) if port.isdigit() else port}
    return one
