# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
"""PostgreSQL through psql: commands on a pipe of their own, data on its standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implops.baseload.fingerprint import lookup3_sum
from implops.baseload.server import Foreign, Server, environment, identifier, private
from implops.baseload.target import LOG_TABLE, Cell, Sequencer, Table, TableColumn
from implops.errors import DataError, HostError, InputError

if TYPE_CHECKING:
    from implops.baseload.mapping import Mapping

# What PostgreSQL says before anything of ours has run: the server could not be reached or would not let us in.
_CONNECTION = ("could not connect", "connection to server", "terminating connection", "closed the connection")
_LOCK_TIMEOUT, _DISK_FULL = "55P03", "53100"
_PLACE = re.compile(r"^psql(?::[^:\s]+:\d+)?: (?:error: )?")
_STATE = re.compile(r"\b(?=[A-Z]*[0-9])([0-9A-Z]{5}): (.+)")  # not the word ERROR


class PostgreSQL(Server):
    program, package = "psql", "postgresql-client"
    data_on_stdin = True
    json_array = "json_build_array"
    unheld = ("-v", "FETCH_COUNT=10000")

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    @staticmethod
    def socket_there(port: int) -> str:
        return f"/run/postgresql/.s.PGSQL.{port}"

    def keep_password(self, password: str) -> None:
        if "\n" in password:
            raise InputError("import.password_form", role=self.user)
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        private(self.folder / "passfile", f"*:*:*:{self.user}:{escaped}\n")

    def arguments(self, commands: str = "-") -> list[str]:
        return [
            "psql", "-AtqXw", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
            "-h", str(self.folder), "-p", str(self.port), "-U", self.user, "-d", self.database, "-f", commands,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            **environment(),
            "PGPASSFILE": str(self.folder / "passfile"),
            "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "15",
            "PGAPPNAME": "implops-import",
            "PGOPTIONS": "-c standard_conforming_strings=on -c datestyle=ISO,YMD -c lock_timeout=10s "
            "-c client_min_messages=error",  # a notice must not be taken for the reason of a broken session
        }

    def opening(self, *, write: bool) -> str:
        return "" if write else "set default_transaction_read_only = on;"

    def failed(self, stderr: str) -> HostError | DataError:
        """The server speaks the customer's language, so only codes are read: VERBOSITY=verbose prints the SQLSTATE."""
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        state = next((match for line in lines if (match := _STATE.search(line))), None)
        if state is None or any(word in stderr for word in _CONNECTION):
            why = _PLACE.sub("", lines[0]) if lines else "?"
            return HostError("import.server_lost", host=self.host, why=why)
        if state[1] == _DISK_FULL:
            return DataError("import.disk_full", host=self.host, why=state[2], reclaim="VACUUM")
        if state[1] == _LOCK_TIMEOUT:
            return HostError("import.table_locked", host=self.host, why=state[2], who="?")
        said = (re.match(r"(?:DETAIL|详细信息|詳細資料): *(.+)", line) for line in lines)
        detail = next((match[1] for match in said if match), "")
        return DataError("import.server_said", host=self.host, why=f"{state[2]} {detail}".strip(), state=state[1])

    def literal(self, text: str) -> str:
        """standard_conforming_strings is set by every session of ours."""
        return "'" + text.replace("'", "''") + "'"

    def table(self, schema: str, table: str) -> str:
        return identifier(schema, table)

    def foreign_keys(self) -> Foreign:
        found = self.values(
            ["cn.nspname", "c.relname", "pn.nspname", "p.relname"],
            "pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace cn on cn.oid = c.relnamespace "
            "join pg_class p on p.oid = k.confrelid join pg_namespace pn on pn.oid = p.relnamespace "
            "where k.contype = 'f' and k.conrelid <> k.confrelid",
        )
        return {((one[0], one[1]), (one[2], one[3])) for one in found}

    def text(self, column: str) -> str:
        return f"{column}::text"

    def row_hash(self, cells: Sequence[Cell], alias: str = "") -> str:
        values = ", ".join(self._canonical(cell, alias) for cell in cells)
        # The server's encoding is UTF8 (describe); the collation says that bytes are hashed.
        return f"coalesce(sum(hashtextextended(concat_ws(E'\\x1f', {values}) collate \"C\", 0)), 0)::text"

    def fingerprint(self, rows: Sequence[bytes]) -> int:
        return lookup3_sum(rows)

    @staticmethod
    def _canonical(cell: Cell, alias: str) -> str:
        # char(n) without its padding only as text.
        name = alias + identifier(cell.name) + ("" if cell.type in ("text", "varchar") else "::text")
        absent = "E'\\x1e'" if cell.column.keeps else "''"
        return name if cell.field.required else f"coalesce({name}, {absent})"

    def number(self, cell: Cell, column: str) -> str:
        # sum() of int2, int4 and int8 is exact as it is, and the cast costs.
        return column if cell.type in ("int2", "int4", "int8") else f"{column}::numeric"

    def same(self, one: str, other: str) -> str:
        return f"({one} is not distinct from {other})"

    def begin(self, mapping: Mapping) -> str:
        target = self.literal(str(mapping.target))
        return (
            f"begin;\nset local lock_timeout = '10s';\nselect pg_try_advisory_xact_lock(hashtextextended({target}, 7));"
        )

    def holder(self, mapping: Mapping) -> str:
        key = f"hashtextextended({self.literal(str(mapping.target))}, 7)"
        return self._who(
            f"l.locktype = 'advisory' and l.classid = (({key} >> 32) & 4294967295)::oid "
            f"and l.objid = ({key} & 4294967295)::oid"
        )

    def lockers(self, table: Table) -> str:
        return self._who(f"l.relation = to_regclass({self.literal(table.sql)})")

    def _who(self, condition: str) -> str:
        rows = self.values(
            ["a.pid", "a.usename", "a.application_name", "coalesce(a.client_addr::text, 'socket')",
             "to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS')"],
            "pg_stat_activity a where a.pid in (select l.pid from pg_locks l where l.granted and l.database = "
            f"(select oid from pg_database where datname = current_database()) and {condition}) order by a.pid limit 5"
        )  # fmt: skip
        return "; ".join(f"pid {pid} {user} {name or '-'} {where} {since}" for pid, user, name, where, since in rows)

    def reclaim(self, table: Table) -> str:
        return f"VACUUM {'.'.join(table.name)}"

    def hold(self, table: Table) -> str:
        return f"lock table {table.sql} in share row exclusive mode;"

    def copy(self, table: str, cells: Sequence[Cell], delimiter: str, source: str) -> str:
        columns = ", ".join(identifier(cell.name) for cell in cells)
        given = "E'\\t'" if delimiter == "\t" else self.literal(delimiter)
        # A quoted empty cell is NULL too, but where empty texts are kept: there a bare one is.
        nulls = ", ".join(identifier(cell.name) for cell in cells if not cell.column.keeps)
        options = f"format csv, delimiter {given}" + (f", force_null({nulls})" if nulls else "")
        return f"\\copy {table}({columns}) from pstdin with ({options})\n\\echo :ROW_COUNT\n\\echo 0"

    def stage(self, table: Table, cells: Sequence[Cell]) -> str:
        columns = ", ".join(identifier(cell.name) for cell in cells)
        return (
            "drop table if exists pg_temp.implops_stage;\n"
            f"create temporary table implops_stage on commit drop as select {columns} from {table.sql} with no data;"
        )

    def merge(self, table: Table, cells: Sequence[Cell], key: Sequence[str], update: Sequence[str]) -> str:
        names = [identifier(cell.name) for cell in cells]
        on = " and ".join(f"t.{identifier(name)} = s.{identifier(name)}" for name in key)
        changed = " and ".join(self.same(f"t.{identifier(name)}", f"s.{identifier(name)}") for name in update)
        given = ", ".join(f"{identifier(name)} = s.{identifier(name)}" for name in update)
        updating = f"update {table.sql} t set {given} from implops_stage s where {on} and not ({changed});"
        return (
            "analyze implops_stage;\n"
            + (f"{updating}\n\\echo :ROW_COUNT\n" if update else "\\echo 0\n")
            + f"insert into {table.sql} ({', '.join(names)}) select {', '.join(f's.{one}' for one in names)} "
            f"from implops_stage s where not exists (select from {table.sql} t where {on});\n\\echo :ROW_COUNT"
        )

    def sequences(self, table: Table, cells: Sequence[Cell]) -> str:
        """Only ever onwards: what others have drawn from it meanwhile is not drawn twice."""
        mapped = {cell.name for cell in cells}
        setting = []
        for one in table.sequences:
            if one.column in mapped:
                furthest, beyond = ("min", "<") if one.down else ("max", ">")
                setting.append(
                    f"select setval({self.literal(one.sequence)}::regclass, loaded) from {one.sequence}, "
                    f"(select {furthest}({identifier(one.column)})::bigint as loaded from {table.sql}) t "
                    f"where loaded {beyond} last_value or (loaded = last_value and not is_called);"
                )
        return "\n".join(setting)

    @property
    def mine(self) -> str:
        return "xmin = pg_current_xact_id()::xid"

    def describe(self, mapping: Mapping) -> Table:
        schema, table = mapping.target.schema_name, mapping.target.table_name
        name, log = self.literal(identifier(schema, table)), self.literal(identifier("public", LOG_TABLE))
        typmod, oid = "a.atttypmod", f"to_regclass({name})"
        sql = f"""select json_build_object(
          'there', {oid} is not null,
          'log', to_regclass({log}) is not null,
          'encoding', current_setting('server_encoding'),
          'version', current_setting('server_version_num')::int,
          'kind', (select relkind from pg_class where oid = {oid}),
          'insert', has_table_privilege({oid}::oid, 'INSERT') and has_table_privilege({oid}::oid, 'SELECT'),
          'update', has_table_privilege({oid}::oid, 'UPDATE'),
          'delete', has_table_privilege({oid}::oid, 'DELETE'),
          'temporary', has_database_privilege(current_database(), 'TEMPORARY'),
          'triggers', (select coalesce(json_agg(tgname order by tgname), '[]') from pg_trigger
                       where tgrelid = {oid} and not tgisinternal),
          'uniques', (select coalesce(json_agg(names order by names::text), '[]') from (
              select (select json_agg(a.attname order by a.attname) from pg_attribute a
                      where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) as names
              from pg_index i where i.indrelid = {oid} and i.indisunique and i.indisvalid and i.indimmediate
                and i.indpred is null and i.indexprs is null) u),
          'sequences', (select coalesce(json_agg(json_build_object('column', a.attname,
                'sequence', format('%I.%I', n.nspname, s.relname), 'down', q.seqincrement < 0,
                'ours', has_sequence_privilege(s.oid, 'UPDATE') and has_sequence_privilege(s.oid, 'SELECT'))
                order by a.attnum), '[]')
              from (select adnum as attnum, d.refobjid as seq from pg_attrdef f join pg_depend d on d.objid = f.oid
                      and d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass
                      where f.adrelid = {oid}
                    union select d.refobjsubid, d.objid from pg_depend d where d.classid = 'pg_class'::regclass
                      and d.refclassid = 'pg_class'::regclass and d.refobjid = {oid} and d.deptype in ('a', 'i')) b
              join pg_class s on s.oid = b.seq and s.relkind = 'S' join pg_sequence q on q.seqrelid = s.oid
              join pg_namespace n on n.oid = s.relnamespace
              join pg_attribute a on a.attrelid = {oid} and a.attnum = b.attnum
                and a.atttypid = any(array['int2', 'int4', 'int8', 'numeric']::regtype[])),
          'columns', (select coalesce(json_agg(json_build_object(
              'name', a.attname, 'type', t.typname,
              'limit', case when t.typname in ('varchar', 'bpchar') and {typmod} > 4 then {typmod} - 4 end,
              'digits', case when t.typname = 'numeric' and {typmod} > 4 then (({typmod} - 4) >> 16) & 65535 end,
              'behind', case when t.typname = 'numeric' and {typmod} > 4 then ({typmod} - 4) & 2047 end,
              'not_null', a.attnotnull, 'default', a.atthasdef or a.attidentity <> '',
              'generated', a.attgenerated <> '' or a.attidentity = 'a') order by a.attnum), '[]')
            from pg_attribute a join pg_type t on t.oid = a.atttypid
            where a.attrelid = {oid} and a.attnum > 0 and not a.attisdropped));"""
        found: dict[str, Any] = json.loads(self.query(sql))
        shown = f"{schema}.{table}"
        if not found["there"] or found["kind"] not in ("r", "p"):
            raise InputError("import.no_table", place=mapping.path.name, table=shown, database=self.database)
        if not found["insert"]:
            raise InputError("import.no_right", table=shown, role=self.user)
        lacking = {"upsert": ("update", "temporary"), "replace": ("delete",)}.get(mapping.target.mode, ())
        for right in lacking:
            if not found[right]:
                raise InputError("import.no_mode_right", table=shown, role=self.user, mode=mapping.target.mode,
                                 right=right.upper())  # fmt: skip
        if not found["log"]:
            raise InputError("import.no_log_table", database=self.database)
        if found["encoding"] != "UTF8":
            raise InputError("import.server_encoding", database=self.database, encoding=found["encoding"])
        sequences = tuple(Sequencer(**one) for one in found["sequences"])
        for one in sequences:
            if one.column in mapping.columns and not one.ours:
                raise InputError("import.no_sequence_right", table=shown, column=one.column, sequence=one.sequence,
                                 role=self.user)  # fmt: skip
        rows = int(self.query(f"select count(*) from {identifier(schema, table)};", timeout=3600))
        return Table(
            name=(schema, table),
            columns={one["name"]: TableColumn(**one) for one in found["columns"]},
            server_encoding=found["encoding"],
            version=found["version"],
            rows=rows,
            triggers=tuple(found["triggers"]),
            sql=identifier(schema, table),
            uniques=tuple(tuple(one) for one in found["uniques"]),
            sequences=sequences,
        )


ENGINE = PostgreSQL
