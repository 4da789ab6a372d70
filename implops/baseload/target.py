"""What the table takes: columns, types, limits, rights. The mapping is fitted to it before a row is read."""

# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from implops.baseload.column import Column, Dictionary
from implops.baseload.mapping import Mapping
from implops.baseload.rules import Field
from implops.baseload.server import Server, identifier, literal
from implops.errors import InputError
from implops.strict_yaml import nearest

LOG_TABLE = ("public", "implops_import_log")
_GREATEST = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
_BOOL = {"1": "true", "0": "false", "": ""}
_SAME = {"date": "date", "datetime": "timestamp", "time": "time", "bool": "bool"}
_TEXTS = ("text", "varchar", "bpchar")


@dataclass(frozen=True)
class TableColumn:
    """``limit`` characters of a text, ``digits`` and ``behind`` of a numeric; None where the type sets none."""

    name: str
    type: str
    limit: int | None
    digits: int | None
    behind: int | None
    not_null: bool
    default: bool
    generated: bool


@dataclass(frozen=True)
class Table:
    """The target as the catalogue of the database describes it."""

    name: tuple[str, str]
    columns: dict[str, TableColumn]
    server_encoding: str
    version: int
    rows: int
    triggers: tuple[str, ...]

    @property
    def sql(self) -> str:
        return identifier(*self.name)


@dataclass(frozen=True)
class Cell:
    """A mapped column fitted to its table column. ``behind``: digits behind the point that the server prints."""

    name: str
    column: Column
    field: Field
    type: str
    behind: int | None

    def canonical(self, values: Sequence[str]) -> Sequence[str]:
        """The values as the server gives them back; empty means NULL."""
        if self.type == "bool":
            return [_BOOL[one] for one in values]
        if self.type != "numeric":
            return values
        if self.behind:
            # Most values are written at full scale already; only the others are worth a call.
            point = -self.behind - 1
            return [one if one[point : point + 1] == "." and one[0] != "-" else self._number(one) for one in values]
        return [self._number(one) if one[:1] == "-" else one for one in values]

    def _number(self, value: str) -> str:
        if value.startswith("-") and not value.strip("-0."):
            value = value[1:]
        if not value or not self.behind:
            return value
        whole, _, behind = value.partition(".")
        return f"{whole}.{behind.ljust(self.behind, '0')}"


def describe(server: Server, mapping: Mapping) -> Table:
    """Ask the catalogue. Raises InputError when the table or the log table is not there or not ours to fill."""
    schema, table = mapping.target.schema_name, mapping.target.table_name
    name = literal(identifier(schema, table))
    log = literal(identifier(*LOG_TABLE))
    typmod = "a.atttypmod"
    sql = f"""select json_build_object(
      'there', to_regclass({name}) is not null,
      'log', to_regclass({log}) is not null,
      'encoding', current_setting('server_encoding'),
      'version', current_setting('server_version_num')::int,
      'kind', (select relkind from pg_class where oid = to_regclass({name})),
      'insert', has_table_privilege(to_regclass({name})::oid, 'INSERT')
                and has_table_privilege(to_regclass({name})::oid, 'SELECT'),
      'triggers', (select coalesce(json_agg(tgname order by tgname), '[]') from pg_trigger
                   where tgrelid = to_regclass({name}) and not tgisinternal),
      'columns', (select coalesce(json_agg(json_build_object(
          'name', a.attname, 'type', t.typname,
          'limit', case when t.typname in ('varchar', 'bpchar') and {typmod} > 4 then {typmod} - 4 end,
          'digits', case when t.typname = 'numeric' and {typmod} > 4 then (({typmod} - 4) >> 16) & 65535 end,
          'behind', case when t.typname = 'numeric' and {typmod} > 4 then ({typmod} - 4) & 2047 end,
          'not_null', a.attnotnull, 'default', a.atthasdef,
          'generated', a.attgenerated <> '' or a.attidentity <> '') order by a.attnum), '[]')
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = to_regclass({name}) and a.attnum > 0 and not a.attisdropped));"""
    found: dict[str, Any] = json.loads(server.query(sql))
    shown = f"{schema}.{table}"
    if not found["there"] or found["kind"] not in ("r", "p"):
        raise InputError("import.no_table", place=mapping.path.name, table=shown, database=server.database)
    if not found["insert"]:
        raise InputError("import.no_right", table=shown, role=server.user)
    if not found["log"]:
        raise InputError("import.no_log_table", database=server.database)
    if found["encoding"] != "UTF8":
        raise InputError("import.server_encoding", database=server.database, encoding=found["encoding"])
    rows = int(server.query(f"select count(*) from {identifier(schema, table)};"))
    columns = {one["name"]: TableColumn(**one) for one in found["columns"]}
    return Table((schema, table), columns, found["encoding"], found["version"], rows, tuple(found["triggers"]))


def fit(mapping: Mapping, table: Table) -> list[Cell]:
    """The mapped columns with the table's own limits. Raises InputError for what can never be stored."""
    place, shown = mapping.path.name, ".".join(table.name)
    for name, there in table.columns.items():
        if there.not_null and not there.default and not there.generated and name not in mapping.columns:
            raise InputError("import.not_mapped", place=place, table=shown, column=name)
    cells = []
    for name, column in mapping.columns.items():
        if name not in table.columns:
            known = nearest(name, list(table.columns))
            raise InputError("import.no_target_column", place=place, table=shown, column=name, known=known)
        there = table.columns[name]
        if there.generated:
            raise InputError("import.generated", place=place, table=shown, column=name)
        cell = _cell(mapping, name, column, there)
        if cell is None:
            raise InputError(
                "import.type_mismatch", place=place, column=name, type=column.type, table=shown, there=there.type
            )
        cells.append(cell)
    return cells


def _cell(mapping: Mapping, name: str, column: Column, there: TableColumn) -> Cell | None:
    required = column.required or there.not_null or name in mapping.key
    private = "private_use" in column.allow
    kind, field = column.kind, None
    signed = column.min != "0"
    if kind == "text" and there.type in _TEXTS:
        limits = [one for one in (column.longest, there.limit) if one is not None]
        limit = min(limits) if limits else None
        field = Field(name, "text", required, limit, column.pattern, private_use=private,
                      least=column.shortest, multiline=column.multiline)  # fmt: skip
    elif there.type == _SAME.get(kind):
        field = Field(name, kind, required)
    elif kind == "int" and there.type in (*_GREATEST, "numeric"):
        # A numeric without limits takes what a bigint takes: more digits would be a code, not a count.
        digits = there.digits - (there.behind or 0) if there.digits is not None else 18
        greatest = _GREATEST.get(there.type) or 10 ** min(digits, 18) - 1
        field = Field(name, "int", required, greatest=greatest, signed=signed)
    elif kind == "decimal" and there.type == "numeric":
        digits, behind = column.precision
        if there.digits is None or (there.behind is not None and there.behind >= behind
                                    and there.digits - there.behind >= digits - behind):  # fmt: skip
            field = Field(name, "decimal", required, digits=(digits, behind), signed=signed)
    return Cell(name, column, field, there.type, there.behind) if field else None


def known_codes(server: Server, key: tuple[str, str, str]) -> set[str]:
    """Every value of a parent table's column. Raises DataError when there is no such table or column."""
    schema, table, column = key
    rows = server.values(f"select {identifier(column)}::text from {identifier(schema, table)}")
    return {row[0] for row in rows if row}


def known_pairs(server: Server, key: tuple[str, ...]) -> dict[str, str | None]:
    """What each value of a parent's column stands for: that row's value of another one, None when rows disagree."""
    schema, table, match, take = key
    found: dict[str, str | None] = {}
    for code, stored in server.values(
        f"select {identifier(match)}::text, {identifier(take)}::text from {identifier(schema, table)}"
    ):
        found[code] = stored if found.get(code, stored) == stored else None
    return found


def listed(server: Server, codes: Dictionary) -> set[str]:
    """The codes of a dictionary that lies in a table."""
    schema, _, table = str(codes.table).rpartition(".")
    asked = " and ".join(f"{identifier(name)}::text = {literal(value)}" for name, value in codes.where.items())
    rows = server.values(
        f"select {identifier(str(codes.column))}::text from {identifier(schema or 'public', table)}"
        + (f" where {asked}" if asked else "")
    )
    return {row[0] for row in rows if row}


def existing(server: Server, table: Table, columns: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The keys that the table holds already; empty without asking when it has no rows."""
    if not table.rows:
        return set()
    listed = ", ".join(f"{identifier(name)}::text" for name in columns)
    return {tuple(row) for row in server.values(f"select {listed} from {table.sql}")}


def already(server: Server, mapping: Mapping, sha256: str) -> dict[str, str] | None:
    """The log row of the same file, mapping and target, or None."""
    rows = server.values(
        f"select import_id, rows, row_hash, committed_at from {identifier(*LOG_TABLE)} where file_sha256 = "
        f"{literal(sha256)} and mapping_sha256 = {literal(mapping.sha256)} and target = {literal(str(mapping.target))}"
    )
    return dict(zip(("import_id", "rows", "row_hash", "committed_at"), rows[0], strict=True)) if rows else None
