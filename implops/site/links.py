"""What one part of a site file says about another: dangling references and parts that do not fit together."""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import PurePosixPath
from typing import Protocol

from implops.errors import SiteError
from implops.site import releases
from implops.site.environment import LOCAL_FS
from implops.site.model import Site
from implops.site.part import ROLES
from implops.site.software import MODULE_KINDS

# Engine -> the majors that recipes know, the encoding that holds every character, the name of its own administrator.
_ENGINES = {"postgresql": ((15, 17), "UTF8", "postgres"), "mariadb": ((10, 11), "utf8mb4", "root")}

# Databases of the servers themselves, and our own.
_OF_SERVERS = {"postgres", "template0", "template1", "mysql", "information_schema", "performance_schema", "sys",
               "implops"}  # fmt: skip
# Accounts of the servers, words of SQL, and accounts of the host that exist before us: MariaDB's owner is one of them.
_OF_OTHERS = {
    "postgres", "mysql", "root", "public", "none", "user", "current_user", "session_user", "current_role", "default",
    "implops", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data",
    "backup", "list", "irc", "nobody", "sshd", "bind", "tomcat", "adm", "sudo", "shadow", "disk", "operator",
}  # fmt: skip

# The longest name of an account that useradd takes.
_UNIX_NAME = 31
# What a bare host can unpack.
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


class Refuse(Protocol):
    def __call__(self, fault: str, where: tuple[str | int, ...], /, **params: object) -> SiteError: ...


def check_links(site: Site, refuse: Refuse) -> None:
    """Raise the SiteError that ``refuse(key, where, **params)`` builds for the first part that does not fit."""
    hosts = list(site.hosts)
    for rule in (
        _addresses,
        _roles,
        _disks,
        _accounts,
        _flows,
        _names,
        _system,
        _archives,
        _tls,
        _database,
        _shares,
        _backup,
        _lab,
    ):
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


def _disks(site: Site, hosts: list[str], refuse: Refuse) -> None:
    for name, host in site.hosts.items():
        mounts, taken = site.mounts_of(host), dict[str, str]()
        own = [path for path, spec in mounts.items() if spec.separate]
        for path, device in host.disks.items():
            where = ("hosts", name, "disks", path)
            if path not in own:
                raise refuse("disk_no_mount", where, value=path, known=_near(path, own) or "—")
            if mounts[path].fs and not mounts[path].made_as:
                raise refuse("disk_fs", where, value=path, fs=" ".join(mounts[path].fs), known=" ".join(LOCAL_FS))
            if device in taken:
                raise refuse("disk_twice", where, value=device, other=taken[device])
            taken[device] = path


def _accounts(site: Site, hosts: list[str], refuse: Refuse) -> None:
    known = [*ROLES, *hosts]
    # What belongs to somebody else: our own login, and those that packages and recipes make.
    taken = {"root", site.ssh.user, "postgres", "mysql", "tomcat", "www-data", "bind", "implops-backup"}
    for name, account in site.accounts.items():
        if name in taken:
            raise refuse("account_taken", ("accounts", name), value=name)
        for number, word in enumerate(account.hosts):
            if word != "*" and not site.ends(word):
                raise refuse("account_host", ("accounts", name, "hosts", number), value=word, known=_near(word, known))


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
    needed = {"war": ("database", "web", "jdk"), "jar": ("jdk",), "archive": ()}[site.system.kind]
    for key in needed:
        if getattr(site, key) is None:
            raise refuse("needs_part", ("system",), key="system", part=key)
    _start(site, refuse)
    _modules(site, refuse)
    ids = [module.id for module in site.system.modules]
    for number, one in enumerate(ids):
        if one in ids[:number]:
            raise refuse("same_module", ("system", "modules", number), value=one)


def _start(site: Site, refuse: Refuse) -> None:
    """What each kind of system needs to be started, and what means nothing for it."""
    system = site.system
    assert system
    given = sorted({"port", "start", "config"} & system.model_fields_set)
    if system.kind == "war":
        if site.web and site.web.tomcat is None:
            raise refuse("needs_part", ("web",), key="web", part="web.tomcat")
        for name in given:
            raise refuse("not_of_kind", ("system", name), key=f"system.{name}", kind="war")
        return
    if system.port is None:
        raise refuse("needs_part", ("system",), key=f"system.kind: {system.kind}", part="system.port")
    if system.kind == "archive" and not system.artifact.name.endswith(_ARCHIVES):
        raise refuse("archive_form", ("system", "artifact"), value=system.artifact.name, known=" ".join(_ARCHIVES))
    if system.kind == "archive" and system.start.command is None:
        raise refuse("needs_part", ("system",), key="system.kind: archive", part="system.start.command")
    useless: tuple[str, ...] = ("command",) if system.kind == "jar" else ("main", "options", "heap")
    for name in sorted(set(useless) & system.start.model_fields_set):
        raise refuse("not_of_kind", ("system", "start", name), key=f"system.start.{name}", kind=system.kind)
    if site.web and site.web.tomcat is not None:
        raise refuse("not_of_kind", ("web", "tomcat"), key="web.tomcat", kind=system.kind)
    if site.web and system.port in (site.web.port, site.web.tls_port if site.web.tls else None):
        raise refuse("same_port", ("system", "port"), value=system.port)


def _modules(site: Site, refuse: Refuse) -> None:
    assert site.system
    for number, module in enumerate(site.system.modules):
        where = ("system", "modules", number)
        kinds = [kind for kind in MODULE_KINDS if getattr(module, kind) is not None]
        if len(kinds) != 1:
            raise refuse("one_kind", where, value=module.id, known=" ".join(MODULE_KINDS))
        if "expect" in module.model_fields_set and kinds != ["url"]:
            raise refuse("not_of_kind", (*where, "expect"), key="expect", kind=kinds[0])
        if module.sql and site.database is None:
            raise refuse("needs_part", where, key="sql", part="database")
        if not site.with_role(module.asked_role):
            raise refuse("no_host_of_role", where, key=module.id, role=module.asked_role)


def _archives(site: Site, hosts: list[str], refuse: Refuse) -> None:
    for key, part in (("jdk", site.jdk), ("web", site.web)):
        if part and part.archive and not part.archive.name.endswith(_ARCHIVES):
            raise refuse("archive_form", (key, "archive"), value=part.archive.name, known=" ".join(_ARCHIVES))
    if site.web and site.web.archive and site.web.tomcat is None:
        raise refuse("needs_part", ("web", "archive"), key="web.archive", part="web.tomcat")


def _tls(site: Site, hosts: list[str], refuse: Refuse) -> None:
    tls = site.web.tls if site.web else None
    if site.web is None or tls is None:
        return
    if tls.generate == (tls.cert is not None) or (tls.cert is None) != (tls.key is None):
        raise refuse("tls_form", ("web", "tls"))
    if site.web.port == site.web.tls_port:
        raise refuse("same_port", ("web", "tls_port"), value=site.web.port)


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
    if database.name in _OF_SERVERS:
        raise refuse("reserved", ("database", "name"), value=database.name)
    for where, role in (
        (("owner",), database.owner), (("app", "role"), database.app.role), (("import", "role"), database.import_.role)
    ):  # fmt: skip
        if role in _OF_OTHERS or role.startswith("pg_"):
            raise refuse("reserved", ("database", *where), value=role)
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
    for key in ("disks", "raw", "releases"):
        for name in getattr(site.lab, key):
            if name not in site.hosts:
                raise refuse("no_such_host", ("lab", key, name), value=name, known=_near(name, hosts))
    for where, about in releases.missing(site, {name: site.lab.release_of(name) for name in hosts}):
        raise refuse("release_lacks", where, **about)
