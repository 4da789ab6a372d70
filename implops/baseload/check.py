"""One file judged without writing: encoding proof, header, rules, references, duplicates, against the live table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from implops.baseload.mapping import Mapping
from implops.baseload.proof import Proof, prove
from implops.baseload.rows import Known, Reader, Reject, Tally
from implops.baseload.server import Server
from implops.baseload.target import Cell, Table, already, describe, existing, fit, known_codes, logged


@dataclass
class Checked:
    """``loaded`` is the log row when this file went into this table before; nothing was read then."""

    mapping: Mapping
    proof: Proof
    table: Table
    cells: list[Cell]
    tally: Tally
    rejects: list[Reject]
    loaded: dict[str, str] | None = None

    @property
    def allowed(self) -> int:
        return self.mapping.allowed_rejects(self.tally.rows)

    @property
    def good(self) -> bool:
        return self.tally.rejected <= self.allowed


def wanted_codes(mapping: Mapping, others: Iterable[Mapping]) -> frozenset[str]:
    """The columns of this mapping's table that ``others`` refer to: their codes count before they are loaded."""
    here = (mapping.target.schema_name, mapping.target.table_name)
    return frozenset(
        column.ref.match
        for one in others
        for column in one.columns.values()
        if column.ref and column.ref.key[:2] == here and column.ref.match in mapping.columns
    )


def open_reader(
    server: Server,
    mapping: Mapping,
    table: Table,
    cells: list[Cell],
    pending: Known,
    *,
    hashed: bool = False,
    spots: frozenset[int] = frozenset(),
    resuming: bool = False,
    collect: frozenset[str] = frozenset(),
) -> Reader:
    """A Reader that knows the parent codes and the keys that the database holds now, and ``pending`` codes besides."""
    known: Known = {}
    for column in mapping.columns.values():
        if column.ref and column.ref.key not in known:
            known[column.ref.key] = known_codes(server, column.ref.key) | pending.get(column.ref.key, set()) | {""}
    taken = {names: existing(server, mapping, table, names, resuming=resuming) for names in Reader.keys(mapping)}
    return Reader(mapping, cells, known, taken, hashed=hashed, spots=spots, collect=collect)


def check(
    server: Server,
    mapping: Mapping,
    pending: Known,
    collect: frozenset[str],
    progress: Callable[[int, int], None],
) -> Checked:
    """Judge one file; its own codes named by ``collect`` are added to ``pending`` for the files that follow.

    Raises InputError for a mapping, header or encoding that is refused, DataError when the number of rows is not the
    customer's. Rejected rows are values.
    """
    proof = prove(mapping)
    table = describe(server, mapping)
    cells = fit(mapping, table)
    done = already(server, mapping, proof.sha256)
    if done:
        return Checked(mapping, proof, table, cells, Tally(), [], done)
    resuming = bool(mapping.batch and logged(server, mapping, proof.sha256))
    reader = open_reader(server, mapping, table, cells, pending, collect=collect, resuming=resuming)
    for block in reader.blocks():
        progress(reader.tally.good, block.line)
    reader.finish()
    schema, name = table.name
    for column, codes in reader.collected.items():
        pending.setdefault((schema, name, column), set()).update(codes)
    return Checked(mapping, proof, table, cells, reader.tally, reader.rejects)
