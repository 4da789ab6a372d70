"""The database server: asked when it is there (after its recipe, or when the site calls it existing)."""

from __future__ import annotations

import re

from implops.check.registry import check
from implops.facts.base import NotMeasured, Unknown
from implops.facts.clock import Clock
from implops.facts.database import Login, Server, Tunnelled
from implops.facts.storage import Disks
from implops.facts.system import Memory
from implops.units import format_size

# A pool grows by a fifth when connections are slow to come back (our own figure).
_SPARE_PERCENT = 20
_SAFE = {
    "postgresql": {"fsync": ("on",), "full_page_writes": ("on",),
                   "synchronous_commit": ("on", "local", "remote_write", "remote_apply")},
    "mariadb": {"innodb_flush_log_at_trx_commit": ("1",), "innodb_doublewrite": ("ON",)},
}  # fmt: skip
# What the owner needs to make the schema, and the others to come in: PUBLIC is the right to create in schema public.
_RIGHTS = {
    "postgresql": {"owner": ("CREATE", "PUBLIC"), "app": ("CONNECT", "LOGIN"), "import": ("CONNECT", "LOGIN")},
    "mariadb": {"owner": ("CREATE", "ALTER", "INDEX", "REFERENCES"), "app": ("SELECT", "INSERT", "UPDATE", "DELETE"),
                "import": ("SELECT", "INSERT")},
}  # fmt: skip


def _server(case):
    """The server of this host, or the Result that says why there is none to be asked."""
    database = case.site.database
    if database is None:
        return None, case.skip("no_database")
    recipe = case.planned("port", str(database.port))
    due = database.existing or (recipe is not None and case.post(recipe))
    if not due:
        return None, case.skip("no_server_yet")
    return _answers(case), None


def _answers(case):
    """Through the server's own socket; where that is closed to us, over the tunnel. Raises NotMeasured."""
    through = case.seen.fact(Tunnelled)
    if not isinstance(through, Unknown):
        assert through.engine
        return through
    server = case.fact(Server)
    if server.engine == "-":
        raise NotMeasured(Unknown("no_server", f"{case.site.database.engine} {case.site.database.port}"))
    return server


@check("DB01", "version", roles=("db",), unit="words")
def version(case):
    server, none = _server(case)
    if none:
        return none
    database = case.site.database
    found, wanted = f"{server.engine} {server.version}", f"{database.engine} {database.major}"
    listed = case.limit.need or [wanted]
    good = found in listed and found.split(".")[0] == wanted
    return (case.good if good else case.bad)(found, wanted if found in listed else " / ".join(listed))


@check("DB02", "encoding", roles=("db",))
def encoding(case):
    server, none = _server(case)
    if none:
        yield none
        return
    database = case.site.database
    name = "server_encoding" if server.engine == "postgresql" else "character_set_server"
    yield case.same(server.setting(name), database.encoding, target=name)
    if database.name in server.schemas:
        yield case.same(server.schemas[database.name].encoding, database.encoding, target=database.name)


def _plain(locale):
    return locale.lower().replace("-", "")


@check("DB03", "collation", roles=("db",))
def collation(case):
    """New databases get the order of template1, unless somebody thinks of it."""
    server, none = _server(case)
    if none:
        yield none
        return
    database = case.site.database
    if server.engine == "mariadb":
        found = {"collation_server": server.setting("collation_server")}
        found |= {name: one.collation for name, one in server.schemas.items()}
        for name, word in found.items():
            yield case.same(word, database.collation, target=name)
        return
    for name, one in server.schemas.items():
        good = {_plain(one.collation), _plain(one.ctype)} == {_plain(database.locale)}
        shown = " / ".join(dict.fromkeys([one.collation, one.ctype]))
        yield (case.good if good else case.bad)(shown, database.locale, target=name)


@check("DB04", "lctn", roles=("db",), unit="words")
def lower_case_table_names(case):
    server, none = _server(case)
    if none:
        return none
    if server.engine != "mariadb":
        return case.skip("not_mariadb")
    found, wanted = server.setting("lower_case_table_names"), case.limit.need
    if wanted is None:
        return case.info(found)
    return (case.good if found == str(wanted) else case.bad)(found, wanted)


@check("DB05", "conn.limit", roles=("db",))
def connections(case):
    """Every pool full at once, a fifth more, and the places that the server keeps for its administrators."""
    server, none = _server(case)
    if none:
        return none
    pools = case.site.pool * len(case.site.with_role("app"))
    names = ("superuser_reserved_connections", "reserved_connections")
    reserved = sum(server.number(name) for name in names if name in server.settings)
    wanted = -(-pools * (100 + _SPARE_PERCENT) // 100) + reserved
    found = server.number("max_connections")
    return (case.good if found >= wanted else case.bad)(found, f"≥ {wanted}")


@check("DB06", "memory", roles=("db",), severity="warn", unit="percent")
def memory(case):
    """The cache is as large as the site file plans; its share of the memory counts when a threshold asks for it."""
    server, none = _server(case)
    if none:
        yield none
        return
    name = "shared_buffers" if server.engine == "postgresql" else "innodb_buffer_pool_size"
    size, planned = server.number(name), case.site.database.shared_buffers
    if not case.site.database.existing:
        shown = case.good if size >= planned else case.bad
        yield shown(format_size(size), f"≥ {format_size(planned)}", target=name)
    if case.limit.need is not None or case.limit.want is not None:
        yield case.least(size * 100 // case.fact(Memory).total, target=f"{name} / MemTotal")


@check("DB07", "durability", roles=("db",))
def durability(case):
    server, none = _server(case)
    if none:
        yield none
        return
    wanted = dict(_SAFE[server.engine])
    if server.engine == "mariadb" and server.setting("log_bin") == "ON":
        wanted["sync_binlog"] = ("1",)
    for name, safe in wanted.items():
        found = server.setting(name)
        yield (case.good if found in safe else case.bad)(found, safe[0], target=name)


@check("DB08", "priv", roles=("db",))
def rights(case):
    server, none = _server(case)
    if none:
        yield none
        return
    database = case.site.database
    names = {"owner": database.owner, "app": database.app.role, "import": database.import_.role}
    for who, wanted in _RIGHTS[server.engine].items():
        given = server.rights.get(names[who])
        missing = [word for word in wanted if word not in (given or ()) and "ALL PRIVILEGES" not in (given or ())]
        shown = "—" if given is None else " ".join(word for word in wanted if word not in missing) or "—"
        yield (case.bad if missing else case.good)(shown, " ".join(wanted), target=names[who])
    for name in database.extensions:
        there = name in server.extensions
        yield (case.good if there else case.bad)(name if there else "—", name, target=f"extension {name}")


@check("DB09", "login.from.app", roles=("app",))
def login(case):
    """With the application's account and password, from the address that the application will have."""
    database = case.site.database
    if database is None:
        return case.skip("no_database")
    target = case.site.only("db").name
    recipe = case.planned("port", str(database.port), target)
    if not database.existing and (recipe is None or not case.post(recipe)):
        return case.skip("no_server_yet")
    found, wanted = case.fact(Login), f"{database.app.role}@{case.host.address}"
    if found.account:
        # A server that looks names up tells the host's name instead of its address.
        role, _, where = found.account.rpartition("@")
        right = role == database.app.role and (where == case.host.address or where.split(".")[0] == case.host.name)
        return (case.good if right else case.bad)(found.account, wanted, target=f"→ {target}")
    return case.bad(found.refused or "—", wanted, target=f"→ {target}")


@check("DB10", "tz", roles=("db",), severity="warn")
def zone(case):
    server, none = _server(case)
    if none:
        yield none
        return
    wanted = case.site.time.zone
    if server.engine == "postgresql":
        yield case.same(server.setting("TimeZone"), wanted)
        return
    found = server.setting("time_zone")
    clock = case.fact(Clock)
    if found == "SYSTEM":
        yield case.same(clock.zone, wanted, target="SYSTEM")
    else:
        # A zone may be named or be an offset: +08:00.
        offset = f"{clock.offset[:3]}:{clock.offset[3:]}"
        yield (case.good if found in (wanted, offset) else case.bad)(found, wanted)
    loaded = server.number("zones")
    yield (case.good if loaded else case.bad)(loaded, "> 0", target="mysql.time_zone_name")


@check("DB11", "sql_mode/packet", roles=("db",), severity="warn", unit="size")
def packet(case):
    server, none = _server(case)
    if none:
        yield none
        return
    if server.engine != "mariadb":
        yield case.skip("not_mariadb")
        return
    yield case.least(server.number("max_allowed_packet"), target="max_allowed_packet")
    found = server.setting("sql_mode")
    strict = bool(re.search(r"\b(STRICT_TRANS_TABLES|STRICT_ALL_TABLES|TRADITIONAL)\b", found))
    yield (case.good if strict else case.bad)(found or "—", "STRICT_TRANS_TABLES", target="sql_mode")


@check("DB12", "datadir", roles=("db",))
def folder(case):
    server, none = _server(case)
    if none:
        yield none
        return
    name = "data_directory" if server.engine == "postgresql" else "datadir"
    found, wanted = server.setting(name).rstrip("/"), case.site.database.data
    yield case.same(found, wanted, target=name)
    mount = case.site.mount_of(case.host, wanted)
    if mount and (planned := case.coming(wanted)):
        yield case.will_be_set(planned, "—", mount, target="mount")
    elif mount:
        yield case.same(case.fact(Disks).mount_of(found).target, mount, target="mount")


@check("DB13", "repl/backup", roles=("db",), severity="warn")
def copies(case):
    """Whether what is set up to copy the data away works, and has room."""
    server, none = _server(case)
    if none:
        yield none
        return
    if server.engine == "postgresql":
        yield from _archive(case, server)
    backup = case.site.backup
    if backup is not None and (planned := case.coming(backup.repository.path, backup.repository.host)):
        where = f"→ {backup.repository.host}:{backup.repository.path}"
        yield case.will_be_set(planned, "—", f"≥ {format_size(2 * server.number('size'))}", target=where)
    elif backup is not None:
        size, room = server.number("size"), case.fact(Disks, backup.repository.host).room(backup.repository.path)
        shown = case.good if room.free >= 2 * size else case.bad
        where = f"→ {backup.repository.host}:{backup.repository.path}"
        yield shown(format_size(room.free), f"≥ {format_size(2 * size)}", target=where)


def _archive(case, server):
    role = "standby" if server.setting("recovery") == "true" else "primary"
    behind = " ".join(f"{name}:{format_size(size)}" for name, size in server.standbys.items())
    yield case.info(f"{role} {behind}".strip(), target="replication")
    command = server.setting("archive_command")
    if server.setting("archive_mode") == "off":
        return
    failing = server.setting("archive_failing") == "true" or command.strip() in ("", "false", "/bin/false")
    yield (case.bad if failing else case.good)(command or "—", "—", target="archive_command",
                                               note="archive_fails" if failing else "")  # fmt: skip
