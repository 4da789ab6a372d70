"""MariaDB on the declared mount: data directory, settings, accounts that can only do their own work, the database."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

from implops.deploy import databases, mounted, probes
from implops.errors import StepError
from implops.site import Host, Site

META = {"id": "mariadb", "roles": ("db",), "needs": ("os_base",), "timeout": 900}

UNIT, SOCKET = "mariadb.service", "/run/mysqld/mysqld.sock"
CONF = "/etc/mysql/mariadb.conf.d/90-implops.cnf"
OPEN_FILES = TASKS = 65535
# The form of the data directory is the same within these.
SERIES = {10: "10.11", 11: "11.8"}
ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def wanted(site: Site, host: Host) -> bool:
    database = site.database
    return database is not None and database.engine == "mariadb" and not database.existing


def packages(site: Site, host: Host) -> list[str]:
    return ["mariadb-server", "ssl-cert"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    database = site.database
    assert database
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "mysql", ""),
        ("user", database.owner, ""),
        ("port", str(database.port), "mariadbd"),
        ("directory", database.data, "mysql"),
        ("service", "mariadb", ""),
    ]


def native(password: str) -> str:
    """What the server stores of a password (mysql_native_password): it never gets to see the password itself."""
    twice = hashlib.sha1(hashlib.sha1(password.encode()).digest())  # noqa: S324 - the server's own form
    return "*" + twice.hexdigest().upper()


def params(site: Site, host: Host) -> dict[str, Any]:
    database = site.database
    assert database
    return {
        **databases.params(site, host, "mariadb"),
        "series": SERIES[database.major],
        "charset": database.encoding,
        "collation": database.collation,
        "buffer_pool_mb": max(5, database.shared_buffers // 2**20),
    }


def files(site: Site, host: Host) -> dict[str, str]:
    return dict.fromkeys(["data", "address", "port", "max_connections", "charset", "collation", "buffer_pool_mb"], CONF)


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.mariadb.packages")
    _refuse(host.name, d)
    _data(d)
    _configure(d)
    _database(host.name, d)
    _accounts(d)
    _zones()


def _refuse(name: str, d: Any) -> None:
    """Never touch a database that is not ours, and never fill the root disk because a mount is missing."""
    from implops.deploy import ops

    if d.mount and not mounted.there(d.mount, comes=d.disk):
        raise StepError("recipe.mariadb.no_mount", host=name, path=d.mount)
    if ops.fact(f"mountpoint -q {d.data} && echo yes; true"):
        raise StepError("recipe.mariadb.is_mount", host=name, path=d.data)
    # Its package makes an empty server of its own; one in which somebody has made a database is not ours to put aside.
    known = " ".join(f"! -name {one}" for one in ("mysql", "performance_schema", "sys", "lost+found", "'#*'"))
    elsewhere = ops.fact(
        f"[ -e {CONF} ] || find \"$(mariadbd --verbose --help 2>/dev/null | sed -n 's/^datadir  *//p')\" -mindepth 1 "
        f"-maxdepth 1 -type d {known} 2>/dev/null | head -n 1; true"
    ).strip()
    if elsewhere and PurePosixPath(elsewhere).parent != PurePosixPath(d.data):
        raise StepError("recipe.mariadb.other_server", host=name, path=elsewhere)
    there = ops.fact(f"ls -A {d.data} 2>/dev/null | head -n 100; true").split()
    if there and "ibdata1" not in there:
        raise StepError("recipe.mariadb.not_empty", host=name, path=d.data)
    version = ops.fact(f"cat {d.data}/mariadb_upgrade_info {d.data}/mysql_upgrade_info 2>/dev/null | head -n 1; true")
    if version and not version.startswith(f"{d.series}."):
        raise StepError("recipe.mariadb.other_major", host=name, path=d.data, found=version, wanted=d.series)


def _data(d: Any) -> None:
    """Made beside the place and renamed into it: a data directory that is there is whole, whenever the power went."""
    from implops.deploy import ops

    new = f"{d.data}.implops-new"
    make = (
        f"mariadb-install-db --no-defaults --user=mysql --datadir={new} --skip-test-db --skip-name-resolve "
        "--auth-root-authentication-method=socket --auth-root-socket-user=root"
    )
    command = [
        "set -e",
        f"mkdir -p -m 755 {PurePosixPath(d.data).parent}",
        f"rm -rf {new}",
        f"install -d -m 700 -o mysql -g mysql {new}",
        f"{make} >/dev/null",
        f"sync -f {new}",
        f"mv -T {new} {d.data}",
        f"sync -f {d.data}",
    ]
    ops.bounded_shell("\n".join(command), 300, unless=f"[ -f {d.data}/ibdata1 ]", name="recipe.mariadb.data")


def _configure(d: Any) -> None:
    from implops.deploy import ops

    # The key of the package ssl-cert is readable for its group only.
    ops.bounded_shell(
        "usermod -aG ssl-cert mysql", unless="id -nG mysql | grep -qw ssl-cert", name="recipe.mariadb.key_group"
    )
    values = {
        name: getattr(d, name)
        for name in ("data", "address", "port", "charset", "collation", "max_connections", "buffer_pool_mb")
    }
    files = [
        ops.File(CONF, ops.template("mariadb.conf.j2", **values)),
        ops.File(
            f"/etc/systemd/system/{UNIT}.d/implops.conf",
            ops.template("mariadb.unit.j2", data=d.data, address=d.address, open_files=OPEN_FILES, tasks=TASKS),
        ),
    ]
    ops.write(files, name="recipe.mariadb.conf")
    ops.service([UNIT], name="recipe.mariadb.enabled")
    check = "mariadbd --user=mysql --verbose --help >/dev/null 2>&1"
    ops.restart_if_stale(UNIT, [one.path for one in files], check=check, name="recipe.mariadb.restart")


def _database(name: str, d: Any) -> None:
    from implops.deploy import ops

    query = (
        "select concat_ws(' ', default_character_set_name, default_collation_name) from information_schema.schemata "
        f"where schema_name = '{d.database}'"
    )
    found = ops.fact(ops.mariadb("-e", query)).strip()
    if found and found != f"{d.charset} {d.collation}":
        raise StepError(
            "recipe.mariadb.other_collation",
            host=name,
            database=d.database,
            found=found,
            wanted=f"{d.charset} {d.collation}",
        )
    wants = [
        ops.Want(
            f"exists (select 1 from information_schema.schemata where schema_name = '{one}')",
            f"create database `{one}` character set {d.charset} collate {d.collation};",
        )
        # What was executed and loaded is told beside the system's own tables, where the application cannot reach it.
        for one in (d.database, "implops")
    ]
    ops.maria(wants, name="recipe.mariadb.database")


def _zones() -> None:
    """Names of time zones, without which the server knows offsets only."""
    from implops.deploy import ops

    client = f"mariadb --no-defaults -S {SOCKET}"
    ops.bounded_shell(
        f"mariadb-tzinfo-to-sql /usr/share/zoneinfo 2>/dev/null | {client} mysql",
        180,
        unless=f'[ "$({client} -NBe "select count(*) > 0 from mysql.time_zone_name")" = 1 ]',
        name="recipe.mariadb.zones",
    )


def _log(d: Any) -> str:
    """What was loaded: the same columns as PostgreSQL's (baseload/log_table.sql). Nobody alters a row of it."""
    table = f"`{d.database}`.implops_import_log"
    guards = [
        f"create or replace definer = `{d.owner}`@`localhost` trigger `{d.database}`.implops_import_log_{what} "
        f"before {what} on {table} for each row signal sqlstate '45000' set message_text = 'implops_import_log';"
        for what in ("update", "delete")
    ]
    columns = """import_id varchar(64) not null, file_sha256 char(64) not null, mapping_sha256 char(64) not null,
    target varchar(130) not null, batch_no integer not null, first_line bigint not null, last_line bigint not null,
    last_byte bigint not null, `rows` bigint not null, row_hash text not null, tool_version varchar(40) not null,
    committed_at timestamp(6) not null default current_timestamp(6),
    primary key (file_sha256, mapping_sha256, target, batch_no)"""
    form = "engine = InnoDB character set utf8mb4 collate utf8mb4_nopad_bin"
    return "\n".join([f"create table if not exists {table} ({columns}) {form};", *guards])


def _accounts(d: Any) -> None:
    """The owner comes in as the host's account of the same name only; app and import read and change rows."""
    from implops.deploy import ops

    # Not a login: no password, no shell; the schema files run as it.
    ops.bounded_shell(
        f"useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {d.owner}",
        unless=f"getent passwd {d.owner} >/dev/null",
        name="recipe.mariadb.owner",
    )
    wants = [_account(d.owner, "localhost", "unix_socket", "")]
    wants += [_account(d.import_, "localhost", "mysql_native_password", native(d.passwords[d.import_]))]
    wants += [_account(d.app, one, "mysql_native_password", native(d.passwords[d.app])) for one in d.app_addresses]
    for user, host, words in (
        (d.owner, "localhost", _OWNER),
        (d.import_, "localhost", (*ROWS, "CREATE TEMPORARY TABLES")),  # an upsert is staged
        *((d.app, one, (*ROWS, "EXECUTE")) for one in d.app_addresses),
    ):
        wants.append(_rights(d.database, user, host, words))
    keep = ", ".join(f"('{user}', '{host}')" for user, host in _known(d))
    names = ", ".join(f"'{user}'" for user in (d.owner, d.app, d.import_))
    stray = f"select count(*) from mysql.global_priv where user in ({names}) and (user, host) not in ({keep})"
    drop = (
        "execute immediate (select concat('drop user ', group_concat(quote(user), '@', quote(host))) from "
        f"mysql.global_priv where user in ({names}) and (user, host) not in ({keep}));"
    )
    wants.append(ops.Want(f"({stray}) = 0", drop))
    log = (
        "(select count(*) from information_schema.triggers where event_object_table = 'implops_import_log' "
        f"and trigger_schema = '{d.database}') = 2"
    )
    wants.append(ops.Want(log, _log(d)))
    ops.maria(wants, name="recipe.mariadb.accounts")


# Everything inside its database, nothing about the server, and nothing that it could hand on.
_OWNER = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER",
    "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE",
    "EVENT", "TRIGGER", "DELETE HISTORY",
)  # fmt: skip


def _known(d: Any) -> list[tuple[str, str]]:
    local = [(d.owner, "localhost"), (d.import_, "localhost")]
    return [*local, *((d.app, address) for address in d.app_addresses)]


def _account(user: str, host: str, plugin: str, verifier: str) -> Any:
    from implops.deploy import ops

    digest = hashlib.sha256(verifier.encode()).hexdigest()
    using = f" using '{verifier}'" if verifier else ""
    # The application's rows cross the network; whoever comes without TLS is refused.
    require = "none" if host == "localhost" else "ssl"
    tls = f"json_value(priv, '$.ssl_type') {'= 0' if require == 'none' else '= 1'}"
    holds = (
        f"exists (select 1 from mysql.global_priv where user = '{user}' and host = '{host}' "
        f"and json_value(priv, '$.plugin') = '{plugin}' and coalesce({tls}, {'1' if require == 'none' else '0'}) "
        f"and sha2(coalesce(json_value(priv, '$.authentication_string'), ''), 256) = '{digest}')"
    )
    who = f"`{user}`@`{host}`"
    how = f"identified via {plugin}{using} require {require}"
    return ops.Want(holds, f"create user if not exists {who} {how};\nalter user {who} {how};")


def _rights(database: str, user: str, host: str, words: tuple[str, ...]) -> Any:
    """Exactly these privileges, in this database, nowhere else."""
    from implops.deploy import ops

    # An underscore in the name of a database is a wildcard of GRANT.
    pattern = database.replace("_", "\\_")
    grantee = f"concat(quote('{user}'), '@', quote('{host}'))"
    given = (
        "(select group_concat(table_schema, ' ', privilege_type, ' ', is_grantable order by privilege_type) "
        f"from information_schema.schema_privileges where grantee = {grantee})"
    )
    expected = ",".join(f"{pattern} {word} NO" for word in sorted(words))
    server = f"(select group_concat(privilege_type) from information_schema.user_privileges where grantee = {grantee})"
    who = f"`{user}`@`{host}`"
    return ops.Want(
        f"{given} = '{expected.replace(chr(92), chr(92) * 2)}' and {server} = 'USAGE'",
        f"revoke all privileges, grant option from {who};\ngrant {', '.join(words)} on `{pattern}`.* to {who};",
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    database = site.database
    assert database
    query = (
        f"select 1 from information_schema.schemata where schema_name = '{database.name}' "
        f"and default_collation_name = '{database.collation}' and @@datadir = '{database.data}/'"
    )
    ask = f'[ "$(mariadb --no-defaults -S {SOCKET} -NBe "{query}")" = 1 ]'
    return [
        probes.active(UNIT),
        probes.tcp(host.address, database.port),
        probes.shell(f"sql:{database.name}", ask),
    ]


def leaves(site: Site, host: Host) -> list[str]:
    assert site.database
    return [site.database.data]


def undo() -> None:
    """Stopped for good; the data and all that is needed to start it by hand stay."""
    from implops.deploy import ops

    ops.withdraw([UNIT], name="recipe.mariadb.undo")
