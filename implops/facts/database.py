"""What a declared database server says of itself. Asked in the second trip, through its own socket."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Database, Host, Site

_POSTGRESQL = (
    "select 'set '||name||' '||translate(setting, E'\\n\\t', repeat(' ', 2)) from pg_settings where name in "
    "('server_version_num', 'server_encoding', 'max_connections', 'superuser_reserved_connections', "
    "'reserved_connections', 'fsync', 'full_page_writes', 'synchronous_commit', 'TimeZone', 'data_directory', "
    "'archive_mode', 'archive_command');",
    "select 'set shared_buffers '||pg_size_bytes(current_setting('shared_buffers'));",
    "select 'database '||datname||' '||pg_encoding_to_char(encoding)||' '||datcollate||' '||datctype from pg_database "
    "where datname in ('{name}', 'template1');",
    "select 'set size '||sum(pg_database_size(oid)) from pg_database;",
    "select 'extension '||name from pg_available_extensions;",
    "select 'right '||rolname||' '||what||' '||given from (select rolname, what, has_database_privilege(r.oid, d.oid, "
    "what) as given from pg_roles r, pg_database d, (values ('CREATE'), ('CONNECT')) as w(what) where datname = "
    "'{name}' union all select rolname, 'LOGIN', rolcanlogin from pg_roles union all select rolname, 'PUBLIC', "
    "has_schema_privilege(r.oid, n.oid, 'CREATE') from pg_roles r, pg_namespace n where nspname = 'public' and "
    "current_database() = '{name}') as x where rolname in ({accounts});",
    "select 'set recovery '||pg_is_in_recovery();",
    "select 'standby '||coalesce(nullif(translate(application_name, E' \\n\\t', '___'), ''), '-')||' '||state||' '||"
    "coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint, 0) from pg_stat_replication "
    "where not pg_is_in_recovery();",
    "select 'set archive_failing '||coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) "
    "from pg_stat_archiver;",
)
_GRANTEE = "substring_index(substring(grantee, 2), char(39), 1)"
_MARIADB = (
    "select concat('set ', lower(variable_name), ' ', variable_value) from information_schema.global_variables where "
    "variable_name in ('version', 'max_connections', 'innodb_buffer_pool_size', 'innodb_flush_log_at_trx_commit', "
    "'sync_binlog', 'log_bin', 'innodb_doublewrite', 'time_zone', 'datadir', 'sql_mode', 'max_allowed_packet', "
    "'lower_case_table_names', 'character_set_server', 'collation_server', 'read_only');",
    "select concat('database ', schema_name, ' ', default_character_set_name, ' ', default_collation_name, ' -') "
    "from information_schema.schemata where schema_name = '{name}';",
    "select concat('set size ', coalesce(sum(data_length + index_length), 0)) from information_schema.tables;",
    "select concat('set zones ', count(*)) from mysql.time_zone_name;",
    "select concat('right ', {grantee}, ' ', privilege_type, ' true') from information_schema.user_privileges "
    "where privilege_type <> 'USAGE' and {grantee} in ({accounts}) union select concat('right ', {grantee}, ' ', "
    "privilege_type, ' true') from information_schema.schema_privileges where '{name}' like table_schema and "
    "{grantee} in ({accounts});",
    "select concat('set replica ', lower(variable_value)) from information_schema.global_status where variable_name = "
    "'Slave_running';",
)


def questions(database: Database) -> list[str]:
    """Statements that only read; every row they give is one line. Names are SqlName: letters, digits, underscores."""
    names = ", ".join(f"'{one}'" for one in (database.owner, database.app.role, database.import_.role))
    chosen = _POSTGRESQL if database.engine == "postgresql" else _MARIADB
    return [one.format(name=database.name, accounts=names, grantee=_GRANTEE) for one in chosen]


@dataclass(frozen=True)
class Schema:
    """A database: its encoding, its collation, and its character classes ("-" where the engine has none)."""

    encoding: str
    collation: str
    ctype: str


@dataclass(frozen=True)
class Server(Fact, section="database", trip=2):
    """``engine``: "-" where no server runs. ``rights``: account -> what it may do (and LOGIN, PUBLIC of PostgreSQL)."""

    engine: str | Unknown
    version: str | Unknown  # as Debian names the release: 15, 10.11
    settings: dict[str, str] | Unknown
    schemas: dict[str, Schema] | Unknown
    extensions: frozenset[str] | Unknown
    rights: dict[str, frozenset[str]] | Unknown
    standbys: dict[str, int] | Unknown  # name -> bytes that it is behind

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        one = site.database
        if one is None or "db" not in host.roles:
            return {"DATABASE": [], "SQL": []}
        # One blank between words: no text in these statements has two.
        return {"DATABASE": [one.engine, str(one.port), one.name], "SQL": " ".join(questions(one)).split()}

    @classmethod
    def read(cls, section: Section) -> Self:
        def told(word: str) -> list[str]:
            lines = section.all("told")
            # The answer to the last statement: without it nothing that is missing may count as "none".
            if not any(line.startswith(("set archive_failing ", "set replica ")) for line in lines):
                raise NotMeasured(Unknown("truncated"))
            return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == word]

        def settings() -> dict[str, str]:
            return {line.partition(" ")[0]: line.partition(" ")[2] for line in told("set")}

        def rights() -> dict[str, frozenset[str]]:
            found: dict[str, set[str]] = {}
            for line in told("right"):
                name, _, rest = line.partition(" ")
                what, _, given = rest.rpartition(" ")
                found.setdefault(name, set())
                if given == "true":
                    found[name].add(what)
            return {name: frozenset(what) for name, what in found.items()}

        return cls(
            engine=attempt(lambda: section.text("server")),
            version=attempt(lambda: _version(settings())),
            settings=attempt(settings),
            schemas=attempt(lambda: {line.split(" ")[0]: Schema(*line.split(" ")[1:4]) for line in told("database")}),
            extensions=attempt(lambda: frozenset(told("extension"))),
            rights=attempt(rights),
            standbys=attempt(lambda: {line.split(" ")[0]: int(line.split(" ")[2]) for line in told("standby")}),
        )

    def setting(self, name: str) -> str:
        """Raises NotMeasured for one that the server did not tell."""
        settings = self.settings
        assert not isinstance(settings, Unknown)
        if name not in settings:
            raise NotMeasured(Unknown("missing", name))
        return settings[name]

    def number(self, name: str) -> int:
        return to_int(self.setting(name), name)


@dataclass(frozen=True)
class Tunnelled(Server, section="tunnel", trip=10):
    """The same over an SSH forward with an account of the site file, where the host gives no root (check/login.py)."""


@dataclass(frozen=True)
class Login(Fact, section="login", trip=11):
    """A login as the application, from this host's address: as whom the server knows it, or what it said against it."""

    account: str | Unknown  # NAME@ADDRESS; "" when it was refused
    refused: str | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: section.text("account")), attempt(lambda: section.text("refused")))


def _version(settings: dict[str, str]) -> str:
    if "server_version_num" in settings:
        return str(to_int(settings["server_version_num"], "version") // 10000)
    match = re.match(r"([0-9]+\.[0-9]+)\.", settings.get("version", ""))
    if not match:
        raise NotMeasured(Unknown("garbled", "version"))
    return match[1]
