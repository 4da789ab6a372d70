"""What the table takes: columns, types, limits, rights. The mapping is fitted to it before a row is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from implops.baseload.column import ABSENT, KEPT, Column, Dictionary
from implops.baseload.mapping import Mapping
from implops.baseload.rules import Field
from implops.baseload.seen import KEPT_KEYS, Hashes
from implops.baseload.server import Server, identifier
from implops.errors import InputError
from implops.strict_yaml import nearest

LOG_TABLE = "implops_import_log"
_GREATEST = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
_BOOL = {"1": "true", "0": "false", "": ""}
_SAME = {"date": ("date",), "datetime": ("timestamp", "datetime"), "time": ("time",), "bool": ("bool", *_GREATEST)}
_TEXTS = ("text", "varchar", "bpchar")


@dataclass(frozen=True)
class TableColumn:
    """``limit`` characters of a text, ``digits`` and ``behind`` of a numeric; None where the type sets none.
    ``type`` is PostgreSQL's word for it, ``shown`` the engine's own; ``charset`` of a MariaDB text column.
    """

    name: str
    type: str
    limit: int | None
    digits: int | None
    behind: int | None
    not_null: bool
    default: bool
    generated: bool
    greatest: int | None = None
    charset: str | None = None
    shown: str = ""


@dataclass(frozen=True)
class Sequencer:
    """A sequence behind a column, which it owns or only draws from. ``down``: it counts downwards; ``ours``: the import
    may set it.
    """

    column: str
    sequence: str
    down: bool
    ours: bool


@dataclass(frozen=True)
class Table:
    """The target as the catalogue of the database describes it. ``uniques``: sorted column names of each unique
    index.
    """

    name: tuple[str, str]
    columns: dict[str, TableColumn]
    server_encoding: str
    version: int
    rows: int
    triggers: tuple[str, ...]
    sql: str = ""
    uniques: tuple[tuple[str, ...], ...] = ()
    sequences: tuple[Sequencer, ...] = ()

    def unique(self, names: Sequence[str]) -> bool:
        """The table itself keeps ``names`` from repeating."""
        return any(set(one) <= set(names) for one in self.uniques)


@cache
def _scaled(behind: int) -> re.Pattern[str]:
    """Lines of numbers that are all written at full scale, or empty."""
    return re.compile(rf"(?:(?:[0-9]+\.[0-9]{{{behind}}})?\n)*")


@dataclass(frozen=True)
class Cell:
    """A mapped column fitted to its table column. ``behind``: digits behind the point that the server prints."""

    name: str
    column: Column
    field: Field
    type: str
    behind: int | None

    @property
    def counted(self) -> bool:
        """The characters of its values are part of the proof: of texts only, numbers may be summed instead."""
        return self.type in _TEXTS

    @property
    def found_by_text(self) -> bool:
        """Both engines look a value up by its text, in an index, and miss none that is equal to it."""
        return self.type in _TEXTS or self.type in _GREATEST

    @property
    def absent(self) -> str:
        """What stands for NULL among canonical values."""
        return ABSENT if self.column.keeps else ""

    def canonical(self, values: Sequence[str]) -> Sequence[str]:
        """The values as the server gives them back, NULL as ``absent``."""
        if self.column.keeps:
            return [{"": ABSENT, KEPT: ""}.get(one, one) for one in values]
        if self.type == "bool":
            return [_BOOL[one] for one in values]
        if self.type != "numeric":
            return values
        if self.behind:
            if _scaled(self.behind).fullmatch("\n".join(values) + "\n"):
                return values
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
    return server.describe(mapping)


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
                "import.type_mismatch",
                place=place,
                column=name,
                type=column.type,
                table=shown,
                there=there.shown or there.type,
            )
        cells.append(cell)
    return cells


def _cell(mapping: Mapping, name: str, column: Column, there: TableColumn) -> Cell | None:
    required = column.required or there.not_null or name in mapping.key
    private = "private_use" in column.allow
    kind, field = column.kind, None
    signed = column.min != "0"
    if column.ref and column.ref.take:
        # The file's value is looked up; what is stored comes from the parent and has its type.
        return Cell(name, column, Field(name, "text", required, column.longest, column.pattern, private_use=private),
                    there.type, there.behind)  # fmt: skip
    if kind == "text" and there.type in _TEXTS:
        limits = [one for one in (column.longest, there.limit) if one is not None]
        limit = min(limits) if limits else None
        field = Field(name, "text", required, limit, column.pattern, private_use=private,
                      least=column.shortest, multiline=column.multiline, charset=there.charset or "",
                      kept=column.keeps)  # fmt: skip
    elif there.type in _SAME.get(kind, ()):
        field = Field(name, kind, required)
    elif kind == "int" and there.type in (*_GREATEST, "numeric"):
        # A numeric without limits takes what a bigint takes: more digits would be a code, not a count.
        digits = there.digits - (there.behind or 0) if there.digits is not None else 18
        greatest = there.greatest or _GREATEST.get(there.type) or 10 ** min(digits, 18) - 1
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
    rows = server.values([server.text(identifier(column))], server.table(schema, table))
    return {row[0] for row in rows}


def known_pairs(server: Server, key: tuple[str, ...]) -> dict[str, str | None]:
    """What each value of a parent's column stands for: that row's value of another one, None when rows disagree."""
    schema, table, match, take = key
    found: dict[str, str | None] = {}
    columns = [server.text(identifier(name)) for name in (match, take)]
    for code, stored in server.values(columns, server.table(schema, table)):
        found[code] = stored if found.get(code, stored) == stored else None
    return found


def listed(server: Server, codes: Dictionary) -> set[str]:
    """The codes of a dictionary that lies in a table."""
    schema, _, table = str(codes.table).rpartition(".")
    asked = " and ".join(
        f"{server.text(identifier(name))} = {server.literal(value)}" for name, value in codes.where.items()
    )
    rows = server.values(
        [server.text(identifier(str(codes.column)))],
        server.table(schema or "public", table) + (f" where {asked}" if asked else ""),
    )
    return {row[0] for row in rows if row[0]}


def existing(
    server: Server, mapping: Mapping, table: Table, columns: tuple[str, ...], *, resuming: bool = False,
    only: frozenset[int] | None = None, every: bool = False,
) -> set[tuple[str, ...]] | Hashes:  # fmt: skip
    """The keys that the table holds already and that a new row would repeat: of a large table their hashes, or with
    ``only`` the keys with these hashes.

    None for an upsert, which changes those rows, nor for a file that is half in: its own rows are there; in both the
    table's unique indexes decide. ``every``: all keys of the table, whatever the mode would do to them.
    """
    target, left = mapping.target, ""
    if not every:
        if not table.rows or resuming or target.mode == "upsert":
            return set()
        if target.mode == "replace":
            if not target.replace_where:
                return set()
            left = f" where not coalesce({replaced(server, mapping)}, false)"
    kept = [mapping.columns[name].keeps for name in columns]
    asked = [_key_text(server, name, keeps=one) for name, one in zip(columns, kept, strict=True)]
    rows: Iterable[tuple[str, ...]] = map(tuple, server.stream(asked, table.sql + left))
    if any(kept):
        rows = (tuple(KEPT if one == ABSENT else one for one in row) for row in rows)
    if only is not None:
        return {row for row in rows if _key_hash(row) in only}
    return Hashes(map(_key_hash, rows)) if table.rows > KEPT_KEYS else set(rows)


def _key_text(server: Server, name: str, *, keeps: bool) -> str:
    """SQL: a column of a key as text; where empty texts are kept they are told from NULL."""
    text = server.text(identifier(name))
    return f"case when char_length({text}) = 0 then {server.literal(ABSENT)} else {text} end" if keeps else text


def _key_hash(row: tuple[str, ...]) -> int:
    """As a pass over a file hashes its keys: of one column the text itself."""
    return hash(row[0] if len(row) == 1 else row)


def replaced(server: Server, mapping: Mapping) -> str:
    """SQL: the condition for the rows that ``replace`` deletes first; empty for all of them."""
    return " and ".join(
        f"{server.text(identifier(name))} = {server.literal(value)}"
        for name, value in mapping.target.replace_where.items()
    )
