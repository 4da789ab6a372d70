"""One file judged without writing: encoding proof, header, rules, references, duplicates, against the live table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from implops.baseload.codec import codec_of, decoder
from implops.baseload.column import Dictionary
from implops.baseload.convert import Change
from implops.baseload.fingerprint import Fingerprint
from implops.baseload.judge import Known, Taken, lookups
from implops.baseload.mapping import Mapping
from implops.baseload.past import Past, past, stands
from implops.baseload.proof import Proof, prove
from implops.baseload.rows import Reader
from implops.baseload.seen import Suspects
from implops.baseload.server import Server
from implops.baseload.tally import Reject, Tally
from implops.baseload.target import (
    Cell,
    Table,
    describe,
    existing,
    fit,
    known_codes,
    known_pairs,
    listed,
)
from implops.errors import DataError, InputError


@dataclass
class Checked:
    """``loaded`` is the log row when this file went into this table before and its rows are there; nothing was read
    then. ``past``: what of the file is in, and which round of it this is. ``suspects``: seen.py, for the readers of the
    load.
    """

    mapping: Mapping
    proof: Proof
    table: Table
    cells: list[Cell]
    tally: Tally
    rejects: list[Reject]
    loaded: dict[str, str] | None = None
    changes: dict[str, dict[str, Change]] = field(default_factory=dict)
    suspects: Suspects = field(default_factory=dict)
    past: Past = field(default_factory=Past)

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
    fingerprint: Fingerprint | None = None,
    spots: frozenset[int] = frozenset(),
    resuming: bool = False,
    collect: frozenset[str] = frozenset(),
    suspicious: bool = False,
    suspects: Suspects | None = None,
    every: bool = False,
) -> Reader:
    """A Reader that knows the parent codes and the keys that the database holds now, and ``pending`` codes besides.

    ``every``: keys, see existing. Raises InputError for a dictionary that cannot be read.
    """
    known = known_to(server, mapping, cells, pending)
    taken: Taken = {
        names: existing(server, mapping, table, names, resuming=resuming, only=(suspects or {}).get(names), every=every)
        for names in Reader.keys(mapping)
    }
    return Reader(mapping, cells, known, taken, fingerprint=fingerprint, spots=spots, collect=collect,
                  suspicious=suspicious, suspects=suspects)  # fmt: skip


def known_to(server: Server, mapping: Mapping, cells: list[Cell], pending: Known) -> Known:
    """Every list of codes that the mapping's columns refer to."""
    known: Known = {}
    for key in {key for cell in cells for key in lookups(cell)}:
        waiting = pending.get(key[:3], set())
        if not key[0]:
            known[key] = dictionary(server, mapping, key[2]) | {""}
        elif len(key) == 4:
            # What is not loaded yet has no value to be stored; only a check comes here.
            known[key] = {**dict.fromkeys(waiting, ""), **known_pairs(server, key)}
        else:
            known[key] = known_codes(server, (key[0], key[1], key[2])) | set(waiting) | {""}
    return known


def dictionary(server: Server | None, mapping: Mapping, name: str) -> set[str]:
    """The codes of one dictionary of the mapping. Raises InputError when its file does not fit."""
    codes = mapping.dictionaries[name]
    if codes.codes is not None:
        return set(codes.codes)
    if codes.file is not None:
        return set(from_file(mapping, codes))
    assert server
    return listed(server, codes)


def from_file(mapping: Mapping, codes: Dictionary) -> list[str]:
    """The codes of a dictionary's CSV file: the named column, or the first one."""
    path = mapping.path.parent / str(codes.file)
    try:
        text = decoder(str(codec_of(codes.encoding)))(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        place = header.index(codes.column) if codes.column else 0
        return [row[place] for row in rows if row]
    except OSError as error:
        raise InputError("import.unreadable", file=path, why=error.strerror) from None
    except (ValueError, IndexError) as error:
        raise InputError("import.bad_dictionary", file=path.name, encoding=codes.encoding, why=error) from None


def check(
    server: Server,
    mapping: Mapping,
    pending: Known,
    collect: frozenset[str],
    progress: Callable[[int], Callable[[int, int], None]],
) -> Checked:
    """Judge one file; its own codes named by ``collect`` are added to ``pending`` for the files that follow.
    ``progress`` is given the lines of the file, and what it returns is told rows and line again and again.

    Raises InputError for a mapping, header or encoding that is refused, DataError when the number of rows is not the
    customer's, and when a part of the rows of an earlier import is gone. Rejected rows are values.
    """
    proof = prove(mapping)
    table = describe(server, mapping)
    cells = fit(mapping, table)
    before = past(server, mapping, proof.sha256)

    def keys_there() -> int:
        reader, _ = judged(lambda told: open_reader(server, mapping, table, cells, pending, suspects=told, every=True),
                           progress(proof.lines))  # fmt: skip
        return reader.tally.exists

    if not stands(server, mapping, table, cells, before, keys_there):
        before = before.again
    if before.whole:
        return Checked(mapping, proof, table, cells, Tally(), [], before.document(), past=before)
    if before.batches and not mapping.batch:
        raise DataError("import.batch_missing", place=mapping.path.name, rows=before.rows)
    resuming = bool(before.batches)
    reader, suspects = judged(
        lambda told: open_reader(server, mapping, table, cells, pending, collect=collect, suspicious=True,
                                 resuming=resuming, suspects=told),
        progress(proof.lines),
    )  # fmt: skip
    reader.finish()
    schema, name = table.name
    for column, codes in reader.collected.items():
        codes_ = pending.setdefault((schema, name, column), set())
        assert isinstance(codes_, set)
        codes_.update(codes)
    return Checked(mapping, proof, table, cells, reader.tally, reader.rejects, changes=reader.changes,
                   suspects=suspects, past=before)  # fmt: skip


def judged(opened: Callable[[Suspects], Reader], progress: Callable[[int, int], None]) -> tuple[Reader, Suspects]:
    """A reader that has read its file to the end, and what it told of keys too many for memory. Where some of them
    may repeat, the file is read a second time.
    """
    reader = opened({})
    _read(reader, progress)
    suspects, undecided = reader.suspects()
    if undecided:
        reader = opened(suspects)
        _read(reader, progress)
    return reader, suspects


def _read(reader: Reader, progress: Callable[[int, int], None]) -> None:
    for block in reader.blocks():
        progress(reader.tally.good, block.line)
