"""What the log table knows of a file, and whether the rows that it speaks of still stand in the target.

The log is never altered. Where the rows are gone (the table was emptied, or dropped and made again) the file is loaded
anew in another round, which the log tells from the first by a number behind the target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from implops.baseload import state
from implops.baseload.mapping import Mapping
from implops.baseload.server import Server, identifier
from implops.baseload.target import LOG_TABLE, Cell, Table
from implops.errors import DataError


@dataclass(frozen=True)
class Logged:
    """A row of the log: a file, or one of its batches. ``last_byte`` is 0 while batches of the file are left."""

    import_id: str
    sha256: str
    round: int
    batch: int
    last_line: int
    last_byte: int
    rows: int
    row_hash: str
    committed_at: str


@dataclass(frozen=True)
class Past:
    """The newest round of one file, mapping and target: its batches in their order, none when it never came."""

    batches: tuple[Logged, ...] = ()
    round: int = 1

    @property
    def whole(self) -> bool:
        """The file went in to its end."""
        return bool(self.batches) and self.batches[-1].last_byte > 0

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.batches)

    @property
    def row_hash(self) -> int:
        return sum(int(one.row_hash) for one in self.batches)

    @property
    def again(self) -> Past:
        """The next round, of which nothing is in."""
        return Past(round=self.round + 1)

    def document(self) -> dict[str, str]:
        """For the record."""
        last = self.batches[-1]
        return {"import_id": last.import_id, "rows": str(self.rows), "row_hash": str(self.row_hash),
                "committed_at": last.committed_at}  # fmt: skip


def target_of(mapping: Mapping, round_: int) -> str:
    """The target as the log has it. No name holds a blank."""
    return f"{mapping.target} {round_}" if round_ > 1 else str(mapping.target)


def past(server: Server, mapping: Mapping, sha256: str) -> Past:
    """What the log knows of this file with this mapping and target."""
    return _newest([one for one in _logged(server, mapping) if one.sha256 == sha256])


def _logged(server: Server, mapping: Mapping) -> list[Logged]:
    """The log rows of every file with this mapping and target, in the order of rounds and batches."""
    names = ("import_id", "file_sha256", "target", "batch_no", "last_line", "last_byte", "rows", "row_hash",
             "committed_at")  # fmt: skip
    target, size = str(mapping.target), len(str(mapping.target))
    column = identifier("target")
    found = server.values(
        [server.text(identifier(one)) for one in names],
        f"{server.table('public', LOG_TABLE)} where mapping_sha256 = {server.literal(mapping.sha256)} and "
        f"({column} = {server.literal(target)} or left({column}, {size + 1}) = {server.literal(target + ' ')})",
    )
    rows = [
        Logged(id_, sha, int(given[size:] or 1), int(a), int(b), int(c), int(d), digest, at)
        for id_, sha, given, a, b, c, d, digest, at in found
    ]
    return sorted(rows, key=lambda one: (one.round, one.batch))


def _newest(rows: Sequence[Logged]) -> Past:
    last = max((one.round for one in rows), default=1)
    return Past(tuple(one for one in rows if one.round == last), last)


def stands(
    server: Server, mapping: Mapping, table: Table, cells: Sequence[Cell], before: Past, keys_there: Callable[[], int]
) -> bool:
    """Whether the rows of ``before`` are in the table; False when it must begin again.

    First the whole table is held against the sum of all files that went into it with this mapping. When others have
    filled or changed it, the keys of the file's rows decide (``keys_there`` counts those that the table holds): what
    an application changes in a row is its own affair. Raises DataError when only a part of the rows is there and to
    load them again would not mend it, or when rows without a key cannot be told from others.
    """
    if not before.rows:
        return True
    if not table.rows:
        return False
    there = state.read(server.query(state.question(server, mapping, cells, table.sql), timeout=3600).strip(), cells)
    if (there.rows, there.row_hash) in _sums(server, mapping, before):
        return True
    mode = mapping.target.mode
    known: dict[str, Any] = {"file": mapping.file.name, "table": str(mapping.target), "rows": before.rows,
                             "time": before.batches[-1].committed_at}  # fmt: skip
    if not keyed(mapping, cells):
        if table.rows < before.rows:
            if mode == "insert":
                raise DataError("import.partly_gone", found=f"≤ {table.rows}", **known)
            return False
        if before.whole:
            raise DataError("import.cannot_tell", **known)
        return True
    found = keys_there()
    if 0 < found < before.rows and mode == "insert":
        raise DataError("import.partly_gone", found=found, **known)
    return found >= before.rows


def keyed(mapping: Mapping, cells: Sequence[Cell]) -> bool:
    """Each row has a value by which it can be found."""
    return bool(mapping.key) or any(cell.column.unique and cell.field.required for cell in cells)


def _sums(server: Server, mapping: Mapping, before: Past) -> set[tuple[int, int]]:
    """(rows, row hash) of the table if it holds this file alone, or every file of its mapping."""
    files: dict[str, list[Logged]] = {}
    for one in _logged(server, mapping):
        files.setdefault(one.sha256, []).append(one)
    all_ = [_newest(rows) for rows in files.values()]
    return {(before.rows, before.row_hash), (sum(one.rows for one in all_), sum(one.row_hash for one in all_))}
