"""PostgreSQL on the declared mount: cluster, who may come in from where, roles, database, rights."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from implops.deploy import databases, mounted, probes, scram
from implops.errors import StepError
from implops.site import Host, Site

META = {"id": "postgresql", "roles": ("db",), "needs": ("os_base",), "timeout": 900}

LOG_TABLE = "implops_import_log"
OPEN_FILES = TASKS = 65535
COMMON = "/etc/postgresql-common"


def wanted(site: Site, host: Host) -> bool:
    database = site.database
    return database is not None and database.engine == "postgresql" and not database.existing


def packages(site: Site, host: Host) -> list[str]:
    assert site.database
    return [f"postgresql-{site.database.major}"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    database = site.database
    assert database
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "postgres", ""),
        ("port", str(database.port), "postgres"),
        ("directory", database.data, "postgres"),
        ("service", f"postgresql@{database.major}-main", ""),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    database = site.database
    assert database
    return {
        **databases.params(site, host, "postgresql"),
        "major": database.major,
        "encoding": database.encoding,
        "locale": database.locale,
        "zone": site.time.zone,
        "shared_buffers_kb": database.shared_buffers // 1024,
        "huge_pages": "on" if database.huge_pages else "try",
        "log_table": resources.files("implops.baseload").joinpath("log_table.sql").read_text(encoding="utf-8"),
    }


def files(site: Site, host: Host) -> dict[str, str]:
    assert site.database
    conf = f"/etc/postgresql/{site.database.major}/main"
    settings = ["data", "address", "port", "max_connections", "shared_buffers_kb", "huge_pages", "zone", "locale"]
    access = ["database", "app", "import_", "app_addresses"]
    return {
        **dict.fromkeys(settings, f"{conf}/postgresql.conf"),
        **dict.fromkeys(access, f"{conf}/pg_hba.conf"),
        "owner": f"{conf}/pg_ident.conf",
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    conf = f"/etc/postgresql/{d.major}/main"
    # Debian's package makes a cluster under /var/lib/postgresql unless it is told not to before it is installed. It is
    # told twice: the package's own file, which names the folder of the other, is empty after a power cut at the wrong
    # moment. One of somebody else's that is there already stays as it is.
    text, places = "create_main_cluster = false", ["createcluster.d/implops.conf"]
    if ops.fact(f"cat {COMMON}/createcluster.conf 2>/dev/null; true").strip() in ("", text):
        places.append("createcluster.conf")
    ops.write(
        [ops.File(f"{COMMON}/{one}", f"{text}\n") for one in places],
        name="recipe.postgresql.no_default",
    )
    ops.install(d.packages, name="recipe.postgresql.packages")
    _refuse(host.name, d, conf)
    _cluster(d)
    _configure(d, conf)
    _accounts(d)
    _database(host.name, d)
    _rights(d)


def _refuse(name: str, d: Any, conf: str) -> None:
    """Never touch a database that is not ours, and never fill the root disk because a mount is missing."""
    from implops.deploy import ops

    if d.mount and not mounted.there(d.mount, comes=d.disk):
        raise StepError("recipe.postgresql.no_mount", host=name, path=d.mount)
    if ops.fact(f"mountpoint -q {d.data} && echo yes; true"):
        raise StepError("recipe.postgresql.is_mount", host=name, path=d.data)
    other = ops.fact(
        f"[ -e {conf}/postgresql.conf ] && "
        f"! grep -qxF \"data_directory = '{d.data}'\" {conf}/postgresql.conf && echo yes; true"
    )
    if other:
        raise StepError("recipe.postgresql.other_cluster", host=name, path=f"{conf}/postgresql.conf")
    version = ops.fact(f"cat {d.data}/PG_VERSION 2>/dev/null; true").strip()
    if version not in ("", str(d.major)):
        raise StepError("recipe.postgresql.other_major", host=name, path=d.data, found=version, wanted=d.major)
    if not version and ops.fact(f"ls -A {d.data} 2>/dev/null | head -n 1"):
        raise StepError("recipe.postgresql.not_empty", host=name, path=d.data)


def _cluster(d: Any) -> None:
    """initdb beside the place, renamed into it: a cluster that is there is whole, whenever the power went."""
    from implops.deploy import ops

    new = f"{d.data}.implops-new"
    initdb = (
        f"/usr/lib/postgresql/{d.major}/bin/initdb -D {new} -E {d.encoding} --locale={d.locale} --data-checksums "
        "--auth-local=peer --auth-host=scram-sha-256"
    )
    command = [
        "set -e",
        f"mkdir -p -m 755 {PurePosixPath(d.data).parent}",
        f"rm -rf {new}",
        f"install -d -m 700 -o postgres -g postgres {new}",
        f"cd / && runuser -u postgres -- {initdb} >/dev/null",
        # The configuration that counts lies in /etc, where Debian's tools look for it.
        f"rm {new}/postgresql.conf {new}/pg_hba.conf {new}/pg_ident.conf",
        f"sync -f {new}",
        f"mv -T {new} {d.data}",
        f"sync -f {d.data}",
    ]
    ops.bounded_shell("\n".join(command), 300, unless=f"[ -f {d.data}/PG_VERSION ]", name="recipe.postgresql.initdb")


def _configure(d: Any, conf: str) -> None:
    from implops.deploy import ops

    unit = f"postgresql@{d.major}-main.service"
    own = {"user": "postgres", "group": "postgres"}
    values = {
        name: getattr(d, name)
        for name in ("major", "data", "address", "port", "max_connections", "shared_buffers_kb", "huge_pages", "zone",
                     "locale", "database", "owner", "app", "import_", "app_addresses")
    }  # fmt: skip
    main = [
        ops.File(f"{conf}/postgresql.conf", ops.template("postgresql.conf.j2", **values), **own),
        ops.File(f"{conf}/start.conf", "auto\n", **own),
        ops.File(f"{conf}/pg_ctl.conf", "pg_ctl_options = ''\n", **own),
        ops.File(f"{conf}/environment", "", **own),
        ops.File(
            f"/etc/systemd/system/{unit}.d/implops.conf",
            ops.template("postgresql.unit.j2", data=d.data, address=d.address, open_files=OPEN_FILES, tasks=TASKS),
        ),
    ]
    access = [
        ops.File(f"{conf}/pg_hba.conf", ops.template("postgresql.hba.j2", **values), "640", **own),
        ops.File(f"{conf}/pg_ident.conf", f"owner postgres {d.owner}\n", "640", **own),
    ]
    parents = [ops.Folder(str(path), **own) for path in (PurePosixPath(conf).parent, PurePosixPath(conf))]
    ops.folders([*parents, ops.Folder(f"{conf}/conf.d", **own)], name="recipe.postgresql.folders")
    ops.write([*main, *access], name="recipe.postgresql.conf")
    ops.service(["postgresql.service"], name="recipe.postgresql.enabled")
    ops.restart_if_stale(unit, [one.path for one in main], name="recipe.postgresql.restart")
    ops.restart_if_stale(
        unit,
        [one.path for one in access],
        mark=f"{unit}.access",
        reload=True,
        name="recipe.postgresql.reload",
    )


def _accounts(d: Any) -> None:
    from implops.deploy import ops

    wants = []
    for role, login in ((d.owner, False), (d.app, True), (d.import_, True)):
        plain = "rolcanlogin and not (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)"
        # The owner has no password: only the account postgres of this host gets in, by pg_ident.
        extra = "" if login else " and rolpassword is null"
        wants.append(
            ops.Want(
                f"exists (select from pg_authid where rolname = '{role}' and {plain}{extra})",
                f"do $$ begin if to_regrole('{role}') is null then create role {role}; end if; end $$;\n"
                f"alter role {role} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
                f"{'' if login else ' password null'};",
            )
        )
    names = ", ".join(f"'{role}'" for role in d.passwords)
    query = (
        "select rolname || ' ' || split_part(split_part(rolpassword, '$', 2), ':', 2) from pg_authid "
        f"where rolname in ({names}) and rolpassword like 'SCRAM-SHA-256$%'"
    )
    salts = dict(line.split() for line in ops.fact(ops.psql("postgres", d.port, "-c", query)).splitlines())
    for role, password in d.passwords.items():
        salt = base64.b64decode(salts[role]) if role in salts else os.urandom(scram.SALT_BYTES)
        verifier = scram.verifier(password, salt)
        digest = hashlib.sha256(verifier.encode()).hexdigest()
        wants.append(
            ops.Want(
                f"exists (select from pg_authid where rolname = '{role}' "
                f"and encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex') = '{digest}')",
                f"alter role {role} password '{verifier}';",
            )
        )
    ops.sql(wants, "postgres", d.port, name="recipe.postgresql.roles")


def _database(name: str, d: Any) -> None:
    from implops.deploy import ops

    query = (
        "select pg_encoding_to_char(encoding), datcollate, datctype from pg_database "
        f"where datname = '{d.database}' and (pg_encoding_to_char(encoding), datcollate, datctype) "
        f"is distinct from ('{d.encoding}', '{d.locale}', '{d.locale}')"
    )
    if found := ops.fact(ops.psql("postgres", d.port, "-c", query)):
        raise StepError(
            "recipe.postgresql.other_locale",
            host=name,
            database=d.database,
            found=found.replace("|", " "),
            wanted=f"{d.encoding} {d.locale}",
        )
    create = (
        f"create database {d.database} owner {d.owner} template template0 encoding '{d.encoding}' "
        f"lc_collate '{d.locale}' lc_ctype '{d.locale}';"
    )
    there = f"exists (select from pg_database where datname = '{d.database}')"
    ops.sql([ops.Want(there, create)], "postgres", d.port, transaction=False, name="recipe.postgresql.database")


def _granted(acl: str, roles: list[str], expected: list[str]) -> str:
    """SQL: PUBLIC and ``roles`` hold exactly the ``ROLE=PRIVILEGE`` of ``expected``; other roles are not our matter."""
    listed = ", ".join(f"'{role}'" for role in ["public", *roles])
    given = (
        "select coalesce(string_agg(who || '=' || what, ' ' order by who || '=' || what), '') from (select "
        "case grantee when 0 then 'public' else pg_get_userbyid(grantee)::text end, privilege_type "
        f"from aclexplode({acl})) as given(who, what) where who in ({listed})"
    )
    return f"({given}) = '{' '.join(sorted(expected))}'"


def _rights(d: Any) -> None:
    """The owner owns; app and import read and change rows, nothing else; nobody else comes in."""
    from implops.deploy import ops

    users = [d.app, d.import_]
    both = ", ".join(users)
    rows = ["SELECT", "INSERT", "UPDATE", "DELETE"]
    database = "(select coalesce(datacl, acldefault('d', datdba)) from pg_database where datname = current_database())"
    schema = "(select coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace where nspname = 'public')"

    def default(kind: str, code: str, given: dict[str, list[str]]) -> Any:
        acl = (
            f"(select defaclacl from pg_default_acl where defaclrole = to_regrole('{d.owner}') "
            f"and defaclnamespace = 'public'::regnamespace and defaclobjtype = '{code}')"
        )
        whose = f"alter default privileges for role {d.owner} in schema public"
        grants = [f"{whose} grant {', '.join(words)} on {kind} to {user};" for user, words in given.items()]
        return ops.Want(
            _granted(acl, users, [f"{user}={word}" for user, words in given.items() for word in words]),
            "\n".join([f"{whose} revoke all on {kind} from public, {both};", *grants]),
        )

    log_acl = f"(select relacl from pg_class where oid = to_regclass('public.{LOG_TABLE}'))"
    wants = [
        ops.Want(
            f"(select datdba from pg_database where datname = current_database()) = to_regrole('{d.owner}')",
            f"alter database {d.database} owner to {d.owner};",
        ),
        ops.Want(
            f"(select nspowner from pg_namespace where nspname = 'public') = to_regrole('{d.owner}')",
            f"alter schema public owner to {d.owner};",
        ),
        ops.Want(
            # An upsert is staged in a temporary table.
            _granted(database, users, [*(f"{user}=CONNECT" for user in users), f"{d.import_}=TEMPORARY"]),
            f"revoke all on database {d.database} from public, {both};\n"
            f"grant connect on database {d.database} to {both};\n"
            f"grant temporary on database {d.database} to {d.import_};",
        ),
        ops.Want(
            _granted(schema, users, [f"{user}=USAGE" for user in users]),
            f"revoke all on schema public from public, {both};\ngrant usage on schema public to {both};",
        ),
        default("tables", "r", dict.fromkeys(users, rows)),
        # An import that brings its own numbers sets the sequence behind them.
        default("sequences", "S", {d.app: ["USAGE", "SELECT"], d.import_: ["USAGE", "SELECT", "UPDATE"]}),
        ops.Want(
            # The question is an error for anything but a sequence, and only a case keeps the order of conditions.
            "not exists (select from pg_class where case when relkind = 'S' and relnamespace = 'public'::regnamespace "
            f"then not has_sequence_privilege('{d.import_}', oid, 'UPDATE') end)",
            f"grant usage, select, update on all sequences in schema public to {d.import_};",
        ),
        ops.Want(
            f"to_regclass('public.{LOG_TABLE}') is not null and "
            + _granted(log_acl, users, [f"{d.import_}=SELECT", f"{d.import_}=INSERT"]),
            # What was loaded is told by the import alone, and never altered.
            f"set local role {d.owner};\n{d.log_table}\nrevoke all on public.{LOG_TABLE} from public, {both};\n"
            f"grant select, insert on public.{LOG_TABLE} to {d.import_};\nreset role;",
        ),
    ]
    ops.sql(wants, d.database, d.port, name="recipe.postgresql.rights")


def verify(site: Site, host: Host) -> list[probes.Probe]:
    database = site.database
    assert database
    # A role that may not connect to the database it is asked about proves that the server reads pg_hba.conf.
    query = (
        f"select 1 from pg_database where datname = '{database.name}' and datcollate = '{database.locale}' "
        f"and pg_encoding_to_char(encoding) = '{database.encoding}' "
        f"and current_setting('data_directory') = '{database.data}'"
    )
    ask = f'cd / && [ "$(runuser -u postgres -- psql -XAtqp {database.port} -d {database.name} -c "{query}")" = 1 ]'
    return [
        probes.active(f"postgresql@{database.major}-main.service"),
        probes.tcp(host.address, database.port),
        probes.shell(f"sql:{database.name}", ask),
    ]


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    assert site.database
    return {"major": site.database.major}


def leaves(site: Site, host: Host) -> list[str]:
    assert site.database
    return [site.database.data]


def undo() -> None:
    """Stopped for good; the data and all that is needed to start it by hand stay."""
    from pyinfra import host

    from implops.deploy import ops

    major = host.data.major
    start = ops.File(f"/etc/postgresql/{major}/main/start.conf", "manual\n", user="postgres", group="postgres")
    ops.write([start], name="recipe.postgresql.undo")
    unit = f"postgresql@{major}-main.service"
    ops.withdraw([unit], [f"{ops.APPLIED}/{unit}.access"], name="recipe.postgresql.undo")
