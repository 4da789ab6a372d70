# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
"""MariaDB through its own client in sandbox mode: commands on standard input, data in a fifo.

LOAD DATA LOCAL bends what it does not like and exits 0, in strict mode too: so every row is validated before it is
sent, and a warning or a missing row rolls back (import design §2.1, §4.5).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implops.baseload.fingerprint import crc_sum, md5_sum
from implops.baseload.server import Foreign, Place, Server, environment, identifier, private
from implops.baseload.target import LOG_TABLE, Cell, Table, TableColumn
from implops.errors import DataError, HostError, InputError

if TYPE_CHECKING:
    from implops.baseload.mapping import Mapping

# ANSI_QUOTES: names are quoted as in PostgreSQL. NO_BACKSLASH_ESCAPES: a backslash is a character.
_MODE = (
    "STRICT_ALL_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
_ERROR = re.compile(r"ERROR (\d+) \(([0-9A-Z]{5})\)[^:]*: (.+)")
# Errors of the client itself (2000 and up: no connection, connection lost), and of a server that will not let us in.
_LOST = {1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1927}
_LOCK_TIMEOUT = {1205}
_CRC32C_SINCE = 100800
# The server's own 1021 and 1114; others of its errors carry the system's error 28 in their text.
_DISK_FULL, _NO_ROOM = {1021, 1114}, re.compile(r"(?:Errcode: |error )28\b|No space left|Can't change size")
_INTEGERS = {"tinyint": 7, "smallint": 15, "mediumint": 23, "int": 31, "bigint": 63}
_TYPES = {"char": "bpchar", "varchar": "varchar", "tinytext": "text", "text": "text", "mediumtext": "text",
          "longtext": "text", "decimal": "numeric", "datetime": "timestamp"}  # fmt: skip


class MariaDB(Server):
    program, package = "mariadb", "mariadb-client"
    data_on_stdin = False
    json_array = "json_array"
    unheld = ("--quick",)

    @property
    def socket(self) -> Path:
        return self.folder / "mysqld.sock"

    @staticmethod
    def socket_there(port: int) -> str:
        return "/run/mysqld/mysqld.sock"

    def keep_password(self, password: str) -> None:
        if re.search(r"[\x00-\x1f\x7f]", password):
            raise InputError("import.password_form", role=self.user)
        escaped = password.replace("\\", "\\\\").replace('"', '\\"')
        private(self.folder / "client.cnf", f'[client]\npassword="{escaped}"\n')

    def arguments(self, commands: str = "-") -> list[str]:
        return [
            "mariadb", f"--defaults-file={self.folder / 'client.cnf'}", "--sandbox", "--local-infile=1", "--batch",
            "--raw", "--skip-column-names", "--unbuffered", "--connect-timeout=15", "--default-character-set=utf8mb4",
            "--protocol=socket", f"--socket={self.socket}", f"--user={self.user}", self.database,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return environment()

    def opening(self, *, write: bool) -> str:
        kind = "write" if write else "only"
        return (
            f"set sql_mode='{_MODE}', lock_wait_timeout=10, innodb_lock_wait_timeout=10, foreign_key_checks=1, "
            f"unique_checks=1;\nset session transaction read {kind};\n"
            "set session transaction isolation level repeatable read;"
        )

    def failed(self, stderr: str) -> HostError | DataError:
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        found = next((match for line in lines if (match := _ERROR.search(line))), None)
        if found is None:
            return HostError("import.server_lost", host=self.host, why=lines[0] if lines else "?")
        code = int(found[1])
        if 2000 <= code < 3000 or code in _LOST:
            return HostError("import.server_lost", host=self.host, why=found[3])
        if code in _LOCK_TIMEOUT:
            return HostError("import.table_locked", host=self.host, why=found[3], who="?")
        if code in _DISK_FULL or _NO_ROOM.search(found[3]):
            return DataError("import.disk_full", host=self.host, why=found[3], reclaim="OPTIMIZE TABLE")
        return DataError("import.server_said", host=self.host, why=found[3], state=f"{code}/{found[2]}")

    def literal(self, text: str) -> str:
        """As bytes: neither the client's reading of statements nor any sql_mode can take it for something else."""
        return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"

    def table(self, schema: str, table: str) -> str:
        return identifier(self.database if schema == "public" else schema, table)

    def place(self, schema: str, table: str) -> Place:
        return "public" if schema == self.database else schema, table

    def foreign_keys(self) -> Foreign:
        found = self.values(
            ["table_name", "referenced_table_name"],
            "information_schema.key_column_usage where table_schema = database() and referenced_table_schema = "
            "database() and referenced_table_name <> table_name",
        )
        return {(("public", child), ("public", parent)) for child, parent in found}

    def text(self, column: str) -> str:
        return f"cast({column} as char)"

    def row_hash(self, cells: Sequence[Cell], alias: str = "") -> str:
        values = ", ".join(self._canonical(cell, alias) for cell in cells)
        joined = f"concat_ws(_utf8mb4 x'1f', {values})"
        if any(cell.field.charset for cell in cells):
            joined = f"convert({joined} using utf8mb4)"
        # The row is joined once: the server reckons the left side first, and another order would agree with no file.
        each = f"crc32(@implops := {joined}) * 4294967296 + crc32c(@implops)"
        if not self._two_checksums:
            each = f"cast(conv(left(md5({joined}), 15), 16, 10) as unsigned)"
        return f"cast(coalesce(sum({each}), 0) as char)"

    def fingerprint(self, rows: Sequence[bytes]) -> int:
        return crc_sum(rows) if self._two_checksums else md5_sum(rows)

    @cached_property
    def _two_checksums(self) -> bool:
        return _number(self.query("select version();")) >= _CRC32C_SINCE

    @staticmethod
    def _canonical(cell: Cell, alias: str) -> str:
        name = alias + identifier(cell.name)
        absent = "_utf8mb4 x'1e'" if cell.column.keeps else "''"
        return name if cell.field.required else f"coalesce({name}, {absent})"

    def repeatable(self, sql: str) -> str:
        """Names in backticks: others have no ANSI_QUOTES. Names hold neither sign, and texts are written in hex."""
        return sql.replace('"', "`")

    def number(self, cell: Cell, column: str) -> str:
        return f"cast({column} as decimal(65, {cell.behind or 0}))"

    def same(self, one: str, other: str) -> str:
        """``<=>`` alone follows the collation, which takes a for A."""
        return f"(binary {one} <=> binary {other})"

    def _lock(self, mapping: Mapping) -> str:
        return self.literal("implops-" + hashlib.sha256(str(mapping.target).encode()).hexdigest()[:48])

    def begin(self, mapping: Mapping) -> str:
        return (
            f"start transaction with consistent snapshot;\nselect if(get_lock({self._lock(mapping)}, 0) = 1, 't', 'f');"
        )

    def holder(self, mapping: Mapping) -> str:
        return self._who(f"id = is_used_lock({self._lock(mapping)})")

    def lockers(self, table: Table) -> str:
        """Without the right PROCESS only connections of our own account are shown."""
        return self._who("id <> connection_id()")

    def _who(self, condition: str) -> str:
        rows = self.values(
            ["id", "user", "host", "time"],
            f"information_schema.processlist where db = database() and {condition} order by id limit 5",
        )
        return "; ".join(f"id {one} {user}@{where} {time} s" for one, user, where, time in rows)

    def reclaim(self, table: Table) -> str:
        return f"OPTIMIZE TABLE {table.name[1]}"

    def hold(self, table: Table) -> str:
        return ""

    def copy(self, table: str, cells: Sequence[Cell], delimiter: str, source: str) -> str:
        names = ", ".join(identifier(cell.name) for cell in cells)
        return (
            f"load data local infile '{source}' into table {table} character set utf8mb4 "
            f"fields terminated by x'{delimiter.encode().hex()}' optionally enclosed by '\"' escaped by '' "
            f"lines terminated by x'0a' ({names});\nselect concat_ws(char(10), row_count(), @@warning_count);"
        )

    def sent(self, rows: bytes, delimiter: str, *, keeping: bool = True) -> bytes:
        """An empty cell becomes the bare word NULL, and the word itself stands in quotes. The server would make 0 or
        0000-00-00 of an empty cell, and asking it of every cell costs a fifth of its time.
        """
        if b'"' in rows or b"NULL" in rows:
            return super().sent(_nulled(rows, delimiter), delimiter, keeping=keeping)
        mark, null = delimiter.encode(), delimiter.encode() + b"NULL"
        if mark + mark in rows:  # twice: neighbours share a delimiter
            rows = rows.replace(mark + mark, null + mark).replace(mark + mark, null + mark)
        rows = rows.replace(mark + b"\n", null + b"\n").replace(b"\n" + mark, b"\nNULL" + mark)
        return b"NULL" + rows if rows.startswith(mark) else rows

    def stage(self, table: Table, cells: Sequence[Cell]) -> str:
        columns = ", ".join(identifier(cell.name) for cell in cells)
        return (
            "drop temporary table if exists implops_stage;\n"
            f"create temporary table implops_stage engine=InnoDB as select {columns} from {table.sql} limit 0;"
        )

    def merge(self, table: Table, cells: Sequence[Cell], key: Sequence[str], update: Sequence[str]) -> str:
        names = [identifier(cell.name) for cell in cells]
        on = " and ".join(f"t.{identifier(name)} = s.{identifier(name)}" for name in key)
        changed = " and ".join(self.same(f"t.{identifier(name)}", f"s.{identifier(name)}") for name in update)
        given = ", ".join(f"t.{identifier(name)} = s.{identifier(name)}" for name in update)
        missing = " and ".join(f"t.{identifier(name)} is null" for name in key)
        updating = f"update {table.sql} t join implops_stage s on {on} set {given} where not ({changed});"
        return (
            (f"{updating}\nselect row_count();\n" if update else "select 0;\n")
            + f"insert into {table.sql} ({', '.join(names)}) select {', '.join(f's.{one}' for one in names)} "
            f"from implops_stage s left join {table.sql} t on {on} where {missing};\nselect row_count();"
        )

    def sequences(self, table: Table, cells: Sequence[Cell]) -> str:
        """AUTO_INCREMENT follows what is loaded by itself."""
        return ""

    @property
    def mine(self) -> str:
        return ""

    def describe(self, mapping: Mapping) -> Table:
        schema, table = mapping.target.schema_name, mapping.target.table_name
        shown = table if schema == "public" else f"{schema}.{table}"
        if schema not in ("public", self.database):
            raise InputError("import.no_table", place=mapping.path.name, table=shown, database=self.database)
        found = self._catalogue(table)
        kind = found["table"][0] if found["table"] else None
        if kind is None or kind[0] != "BASE TABLE":
            raise InputError("import.no_table", place=mapping.path.name, table=shown, database=self.database)
        if kind[1] != "InnoDB":
            raise InputError("import.no_transactions", place=mapping.path.name, table=shown, engine=kind[1])
        if not found["log"]:
            raise InputError("import.no_log_table", database=self.database)
        version, infile = found["server"][0]
        if not infile:
            raise InputError("import.no_local_infile", host=self.host)
        rights = {one[0] for one in found["right"]}
        needed = {"upsert": ("UPDATE", "CREATE TEMPORARY TABLES"), "replace": ("DELETE",)}
        for right in ("SELECT", "INSERT", *needed.get(mapping.target.mode, ())):
            if right not in rights:
                raise InputError("import.no_mode_right", table=shown, role=self.user, mode=mapping.target.mode,
                                 right=right)  # fmt: skip
        sql = identifier(self.database, table)
        rows = int(self.query(f"select count(*) from {sql};", timeout=3600))
        uniques: dict[str, list[str]] = {}
        for index, column in found["unique"]:
            uniques.setdefault(index, []).append(column)
        return Table(
            name=("public", table),
            columns={one[0]: _column(*one) for one in found["column"]},
            server_encoding="utf8mb4",
            version=_number(version),
            rows=rows,
            triggers=tuple(one[0] for one in found["trigger"]),
            sql=sql,
            uniques=tuple(tuple(sorted(names)) for names in uniques.values()),
        )

    def _catalogue(self, table: str) -> dict[str, list[list[Any]]]:
        name, log = self.literal(table), self.literal(LOG_TABLE)
        schema, place = "information_schema", "table_schema = database() and table_name"
        me = "grantee = concat(char(39), replace(current_user(), '@', concat(char(39), '@', char(39))), char(39))"
        script = {
            "server": "version(), if(@@global.local_infile, 1, 0) from dual",
            "table": f"table_type, engine from {schema}.tables where {place} = {name}",
            "log": f"1 from {schema}.tables where {place} = {log}",
            "column": "column_name, data_type, column_type, character_maximum_length, numeric_precision, "
            f"numeric_scale, is_nullable, column_default, extra, character_set_name from {schema}.columns "
            f"where {place} = {name} order by ordinal_position",
            "unique": f"index_name, column_name from {schema}.statistics where {place} = {name} and non_unique = 0 "
            f"and index_name not in (select index_name from {schema}.statistics where {place} = {name} "
            "and sub_part is not null)",
            "trigger": f"trigger_name from {schema}.triggers where event_object_schema = database() "
            f"and event_object_table = {name} order by trigger_name",
            "right": f"privilege_type from (select privilege_type from {schema}.user_privileges where {me} union "
            f"select privilege_type from {schema}.schema_privileges where {me} and database() like table_schema union "
            f"select privilege_type from {schema}.table_privileges where {me} and {place} = {name}) rights",
        }
        found: dict[str, list[list[Any]]] = {part: [] for part in script}
        asked = []
        for part, select in script.items():
            columns, _, rest = select.partition(" from ")
            asked.append(f"select json_array('{part}', {columns}) from {rest};")
        for line in self.query("\n".join(asked)).splitlines():
            part, *values = json.loads(line)
            found[part].append(values)
        return found


def _number(version: str) -> int:
    """``10.11.6-MariaDB-0+deb12u1`` -> 101106."""
    return int("".join(f"{int(part):02d}" for part in version.split("-")[0].split(".")[:3]))


def _nulled(rows: bytes, delimiter: str) -> bytes:
    given = csv.reader(io.StringIO(rows.decode(), newline=""), delimiter=delimiter)
    return "".join(
        delimiter.join('"' + cell.replace('"', '""') + '"' if cell else "NULL" for cell in row) + "\n" for row in given
    ).encode()


def _column(
    name: str, kind: str, full: str, length: int | None, digits: int | None, behind: int | None, nullable: str,
    default: str | None, extra: str, charset: str | None,
) -> TableColumn:  # fmt: skip
    """A column under the type names that the mapping's types are fitted to."""
    greatest = None
    if kind in _INTEGERS:
        greatest = 2 ** (_INTEGERS[kind] + ("unsigned" in full)) - 1
    return TableColumn(
        name=name,
        type=_TYPES.get(kind) or ("int8" if kind in _INTEGERS else kind),
        limit=int(length) if kind in ("char", "varchar") and length is not None else None,
        digits=digits if kind == "decimal" else None,
        behind=behind if kind == "decimal" else None,
        not_null=nullable == "NO",
        default=default is not None or "auto_increment" in extra,
        generated="GENERATED" in extra,
        greatest=greatest,
        charset=None if charset == "utf8mb4" else charset,
        shown=full,
    )


ENGINE = MariaDB
