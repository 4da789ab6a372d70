# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
"""What stands in the table, by the table's own account: rows, row hash, and per column values, characters and sums."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from implops.baseload.column import ABSENT
from implops.baseload.mapping import Mapping
from implops.baseload.server import Server, identifier
from implops.baseload.session import Session
from implops.baseload.tally import Sums, Tally
from implops.baseload.target import Cell
from implops.baseload.witness import added
from implops.errors import DataError


@dataclass
class State:
    rows: int = 0
    row_hash: int = 0
    columns: dict[str, Sums] = field(default_factory=dict)

    def plus(self, other: State, sign: int = 1) -> State:
        """The rows of both together; with ``sign`` -1 those of this state that are not the other's."""
        one = Tally(good=self.rows, row_hash=self.row_hash, columns=self.columns)
        both = added(one, Tally(good=other.rows, row_hash=other.row_hash, columns=other.columns), sign)
        return State(both.good, both.row_hash, both.columns)


def question(server: Server, mapping: Mapping, cells: Sequence[Cell], rows: str, alias: str = "") -> str:
    """A select over ``rows`` (a table, a join, with its condition) whose one line ``read`` understands."""
    parts = ["count(*)", server.row_hash(cells, alias)]
    for cell in cells:
        name = alias + identifier(cell.name)
        length = f"cast(coalesce(sum(char_length({name})), 0) as char(90))" if cell.counted else "0"
        # An empty text that is kept is no number.
        number = server.number(cell, f"nullif({name}, '')" if cell.column.keeps else name)
        total = f"cast(coalesce(sum({number}), 0) as char(90))"
        parts += [f"count({name})", length]
        parts.append(f"trim({total})" if cell.name in mapping.verify.sum else "null")
    return f"select {server.json_array}({', '.join(parts)}) from {rows};"


def read(line: str, cells: Sequence[Cell]) -> State:
    rows, row_hash, *rest = json.loads(line)
    columns = {}
    for number, cell in enumerate(cells):
        count, length, total = rest[3 * number : 3 * number + 3]
        columns[cell.name] = Sums(int(count), int(length), None if total is None else Decimal(total))
    return State(int(rows), int(row_hash), columns)


def ask(session: Session, mapping: Mapping, cells: Sequence[Cell], rows: str, alias: str = "") -> State:
    return read(session.ask(question(session.server, mapping, cells, rows, alias))[-1], cells)


def compare(mapping: Mapping, tally: Tally, there: State) -> None:
    """Raises DataError for the first difference between the file's account and the table's."""
    pairs: list[tuple[str, object, object]] = [
        ("rows", tally.good, there.rows),
        ("row_hash", tally.row_hash, there.row_hash),
    ]
    for name, mine in tally.columns.items():
        theirs = there.columns[name]
        pairs.append((f"{name}.count", mine.count, theirs.count))
        pairs.append((f"{name}.length", mine.length, theirs.length))
        pairs.append((f"{name}.sum", mine.sum, theirs.sum))
    for what, in_file, in_table in pairs:
        if in_file != in_table:
            raise differs(mapping, what, in_file, in_table)


def differs(mapping: Mapping, what: str, in_file: object, in_table: object) -> DataError:
    return DataError("import.not_equal", file=mapping.file.name, table=str(mapping.target), what=what,
                     in_file=in_file, in_table=in_table)  # fmt: skip


def spots(
    session: Session, mapping: Mapping, table: str, cells: Sequence[Cell], spotted: Sequence[tuple[int, list[str]]]
) -> list[dict[str, Any]]:
    """The sampled rows, read back by key from the table. Raises DataError for one that differs."""
    key = key_of(mapping)
    if not key or not spotted:
        return []
    server, order = session.server, [cell.name for cell in cells]
    places = [order.index(name) for name in key]
    wanted = {tuple(values[place] for place in places): (line, values) for line, values in spotted}
    # A key may be a unique column that is NULL in some rows: those cannot be asked for.
    wanted = {one: told for one, told in wanted.items()
              if all(value != cells[place].absent for value, place in zip(one, places, strict=True))}  # fmt: skip
    if not wanted:
        return []
    keys = ", ".join(server.text(identifier(name)) for name in key)
    rows = ", ".join("(" + ", ".join(map(server.literal, one)) + ")" for one in wanted)
    listed = ", ".join(f"coalesce({server.text(identifier(cell.name))}, {server.literal(cell.absent)})"
                       for cell in cells)  # fmt: skip
    # The bare columns find the rows by an index, and perhaps a few more; the texts of the keys tell which.
    near = "".join(
        f"{identifier(name)} in ({', '.join(sorted({server.literal(one[number]) for one in wanted}))}) and "
        for number, name in enumerate(key) if cells[places[number]].found_by_text
    )  # fmt: skip
    told = session.ask(f"select {server.json_array}({listed}) from {table} where {near}({keys}) in ({rows});")
    there = {tuple(row[place] for place in places): row for row in map(json.loads, told)}
    found = []
    for one, (line, values) in wanted.items():
        target = there.get(one, [])
        if values != target:
            raise differs(mapping, " ".join(one), " ".join(values), " ".join(target))
        source, target = ([value.replace(ABSENT, "") for value in row] for row in (values, target))
        found.append({"line": line, "key": list(one), "source": source, "target": target})
    return sorted(found, key=lambda spot: spot["line"])


def key_of(mapping: Mapping) -> list[str]:
    """The columns that tell one row from another."""
    return mapping.key or next(([name] for name, one in mapping.columns.items() if one.unique), [])
