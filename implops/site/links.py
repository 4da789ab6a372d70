"""What one part of a site file says about another: dangling references and parts that do not fit together."""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import PurePosixPath
from typing import Protocol

from implops.errors import SiteError
from implops.site import releases
from implops.site.model import ROLES, Site

# Engine -> the majors that recipes know, the encoding that holds every character, the name of its own administrator.
_ENGINES = {"postgresql": ((15, 17), "UTF8", "postgres"), "mariadb": ((10, 11), "utf8mb4", "root")}

# The longest name of an account that useradd takes.
_UNIX_NAME = 31


class Refuse(Protocol):
    def __call__(self, fault: str, where: tuple[str | int, ...], /, **params: object) -> SiteError: ...


def check_links(site: Site, refuse: Refuse) -> None:
    """Raise the SiteError that ``refuse(key, where, **params)`` builds for the first part that does not fit."""
    hosts = list(site.hosts)
    for rule in (_addresses, _roles, _flows, _names, _system, _database, _shares, _backup, _lab):
        rule(site, hosts, refuse)


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"{close[0]}?({' '.join(known)})" if close else " ".join(known)


def _addresses(site: Site, hosts: list[str], refuse: Refuse) -> None:
    seen: dict[str, str] = {}
    for name, host in site.hosts.items():
        if host.address in seen:
            raise refuse("same_address", ("hosts", name, "address"), value=host.address, other=seen[host.address])
        seen[host.address] = name
    for number, address in enumerate(site.vips):
        if address in seen:
            raise refuse("same_address", ("vips", number), value=address, other=seen[address])
        seen[address] = f"vips {number + 1}"


def _roles(site: Site, hosts: list[str], refuse: Refuse) -> None:
    needs = [
        ("db", site.database, "database"),
        ("app", site.system, "system"),
        ("dns", site.dns, "dns"),
        ("storage", site.backup, "backup"),
    ]
    for role, part, key in needs:
        if part is not None and not site.with_role(role):
            raise refuse("no_host_of_role", (key,), key=key, role=role)
    for role, spec in site.roles.items():
        if not site.with_role(role):
            raise refuse("no_host_of_role", ("roles", role), key=f"roles.{role}", role=role)
        for path, mount in spec.mounts.items():
            if mount.want is not None and mount.want < mount.size:
                raise refuse("want_below_need", ("roles", role, "mounts", path, "want"))
        for word in ("memory", "cpus"):
            pair = getattr(spec, word)
            if pair is not None and pair.want is not None and pair.want < pair.need:
                raise refuse("want_below_need", ("roles", role, word, "want"))


def _flows(site: Site, hosts: list[str], refuse: Refuse) -> None:
    known = [*ROLES, *hosts]
    for number, flow in enumerate(site.flows):
        if flow.source != "*" and not site.ends(flow.source):
            raise refuse("flow_end", ("flows", number), value=flow.source, known=_near(flow.source, known))
        if flow.external:
            try:
                ipaddress.IPv4Address(flow.target)
            except ValueError:
                if not re.fullmatch(r"[a-z0-9.-]+", flow.target):
                    raise refuse("flow_end", ("flows", number), value=flow.target, known="IPv4") from None
        elif not site.ends(flow.target):
            raise refuse("flow_end", ("flows", number), value=flow.target, known=_near(flow.target, known))


def _names(site: Site, hosts: list[str], refuse: Refuse) -> None:
    for name, target in (site.dns.names if site.dns else {}).items():
        if target not in site.hosts:
            raise refuse("no_such_host", ("dns", "names", name), value=target, known=_near(target, hosts))
        if name in site.hosts:
            raise refuse("name_taken", ("dns", "names", name), value=name)
    for number, waiver in enumerate(site.waive):
        if waiver.host not in site.hosts:
            where = ("waive", number, "host")
            raise refuse("no_such_host", where, value=waiver.host, known=_near(waiver.host, hosts))
    ids = [one.id for one in site.attest]
    for number, item in enumerate(site.attest):
        if item.id in ids[:number]:
            raise refuse("same_attest", ("attest", number, "id"), value=item.id)
        for name in item.hosts:
            if name not in site.hosts:
                raise refuse("no_such_host", ("attest", number, "hosts"), value=name, known=_near(name, hosts))


def _system(site: Site, hosts: list[str], refuse: Refuse) -> None:
    if site.system is None:
        return
    for key in ("database", "web", "jdk"):
        if getattr(site, key) is None:
            raise refuse("needs_part", ("system",), key="system", part=key)
    ids = [module.id for module in site.system.modules]
    for number, one in enumerate(ids):
        if one in ids[:number]:
            raise refuse("same_module", ("system", "modules", number), value=one)


def _database(site: Site, hosts: list[str], refuse: Refuse) -> None:
    database = site.database
    if database is None:
        return
    majors, encoding, root = _ENGINES[database.engine]
    if database.major not in majors:
        known = " ".join(map(str, majors))
        raise refuse("engine_major", ("database", "major"), value=database.major, engine=database.engine, known=known)
    if database.encoding != encoding:
        raise refuse("engine_encoding", ("database", "encoding"), value=database.encoding, known=encoding)
    if database.engine == "mariadb" and len(database.owner) > _UNIX_NAME:
        # The owner comes in as an account of the host that has its name.
        raise refuse("owner_too_long", ("database", "owner"), value=database.owner, most=_UNIX_NAME)
    if len({database.owner, database.app.role, database.import_.role, root}) != 4:
        raise refuse("same_role", ("database",), root=root)
    if database.extensions and database.engine != "postgresql":
        raise refuse("only_postgresql", ("database", "extensions"), key="extensions")


def _shares(site: Site, hosts: list[str], refuse: Refuse) -> None:
    for number, share in enumerate(site.storage.shares):
        where = ("storage", "shares", number)
        for name in share.hosts:
            if not site.ends(name):
                raise refuse("flow_end", (*where, "hosts"), value=name, known=_near(name, [*ROLES, *hosts]))
        if share.export is None:
            continue
        server = share.export.partition(":")[0]
        if server not in hosts and not re.fullmatch(r"[0-9.]+", server):
            raise refuse("no_such_host", (*where, "export"), value=server, known=_near(server, hosts))


def _backup(site: Site, hosts: list[str], refuse: Refuse) -> None:
    if site.backup is None:
        return
    where, host = ("backup", "repository", "host"), site.backup.repository.host
    if host not in site.hosts:
        raise refuse("no_such_host", where, value=host, known=_near(host, hosts))
    if "storage" not in site.hosts[host].roles:
        raise refuse("not_storage", where, value=host)
    if site.database is not None and any(db.name == host for db in site.with_role("db")):
        data, path = PurePosixPath(site.database.data), PurePosixPath(site.backup.repository.path)
        if path.is_relative_to(data) or data.is_relative_to(path):
            raise refuse("backup_in_data", ("backup", "repository", "path"))


def _lab(site: Site, hosts: list[str], refuse: Refuse) -> None:
    if site.lab is None:
        return
    network = ipaddress.IPv4Network(site.lab.network)
    for name, host in site.hosts.items():
        address = ipaddress.IPv4Address(host.address)
        if address not in network or int(address) - int(network.network_address) in (0, 1, 255):
            raise refuse("not_in_lab", ("hosts", name, "address"), value=host.address, network=network)
    for key in ("disks", "releases"):
        for name in getattr(site.lab, key):
            if name not in site.hosts:
                raise refuse("no_such_host", ("lab", key, name), value=name, known=_near(name, hosts))
    for where, about in releases.missing(site, {name: site.lab.release_of(name) for name in hosts}):
        raise refuse("release_lacks", where, **about)
