"""The fast way for a plain file: good lines go to the server as they stand, a block at a time.

``run`` of the rules repeats the whole row, so the end of its match is the first line that is not good. The check of
the same bytes has listed those lines (``skip``); any other one means that file or database changed since. What needs
other rows is left to the table's own unique indexes and to one query after the load (load.py).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from implops.baseload.codec import REFUSED, SIXTEEN, decoder
from implops.baseload.judge import Known
from implops.baseload.mapping import Mapping
from implops.baseload.rules import Field, Rules
from implops.baseload.source import Bytes, opened, shown
from implops.baseload.tally import Block, Tally
from implops.baseload.target import Cell
from implops.errors import DataError

# What a plain column may say: everything that changes or computes values needs the reader of rows.py.
_PLAIN = {"source", "type", "max", "pattern", "required", "unique", "ref", "allow"}
_SOURCE = {"file", "format", "encoding", "encoding_confirmed", "delimiter", "quote", "header_row", "sha256"}
_KINDS = ("text", "int", "decimal", "date")
# So many codes go into the expression as a trie at no cost; a longer list costs time to compile, and is looked up.
_TRIE_CODES = 5_000


def plain(mapping: Mapping, cells: Sequence[Cell]) -> bool:
    """The lines of the file can be sent as they stand: every column of the file is a column of the table, in any
    order, and nothing is cleaned, computed or replaced.
    """
    source, columns = mapping.source, mapping.columns.values()
    with opened(mapping) as file:
        # Excel's own first line, which the reader of rows.py knows.
        marked = file.read(4).lower() == b"sep="
    return (
        not marked
        and source.format in ("csv", "tsv")
        and source.model_fields_set <= _SOURCE
        and source.quote == '"'
        and source.codec not in SIXTEEN
        and mapping.file.suffix.lower() != ".zip"
        and not mapping.ignore
        and len(columns) > 1
        and len({one.source for one in columns}) == len(columns)
        and all(one.model_fields_set <= _PLAIN and one.kind in _KINDS for one in columns)
        and not any((one.ref and one.ref.take) or (one.max is not None and one.kind != "text") for one in columns)
        and all(cell.field.pattern is None or cell.field.tame for cell in cells)
    )


@dataclass(frozen=True)
class Lines:
    """Whole lines to load. ``line`` and ``last``: the first and last line of the file that were read for them;
    ``numbers``: of each line when some are left out.
    """

    raw: bytes
    line: int
    last: int
    numbers: list[int] | None = None

    @property
    def rows(self) -> int:
        return self.last - self.line + 1 if self.numbers is None else len(self.numbers)

    def without(self, skip: frozenset[int]) -> Lines:
        """Blank lines and those in ``skip`` left out."""
        given = enumerate(self.raw.split(b"\n")[:-1], start=self.line)
        kept = [(number, one) for number, one in given if number not in skip and one not in (b"", b"\r")]
        raw = b"".join(one + b"\n" for _, one in kept)
        return Lines(raw, self.line, self.last, [number for number, _ in kept])


def lines(source: Bytes, skip: frozenset[int]) -> Iterator[Lines]:
    """The file without header and mark, in blocks of about 1 MiB. Blank lines stay: they are rare, and looking for
    them costs.
    """
    line, header = 1, source.mapping.source.header_row
    for read in source.blocks():
        raw = read if read.endswith(b"\n") else read + b"\n"
        if line == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf") if source.mapping.source.codec == "utf-8" else raw
            if header:
                raw = raw.split(b"\n", header)[-1]
                line += header
        count = raw.count(b"\n")
        block = Lines(raw, line, line + count - 1)
        yield block if not skip or skip.isdisjoint(range(line, line + count)) else block.without(skip)
        line += count


def cells_of(text: str, delimiter: str) -> Sequence[Sequence[str]]:
    """The columns of whole lines without blank ones. Raises ValueError when a line has another number of cells."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if '"' in text:
        return list(zip(*csv.reader(text[:-1].split("\n"), delimiter=delimiter), strict=True))
    # One list for the block instead of one for each row; every width-th cell is of the same column.
    width = text.count(delimiter, 0, text.index("\n")) + 1
    cells = text[:-1].replace("\n", delimiter).split(delimiter)
    if len(cells) != width * text.count("\n"):
        raise ValueError("cells")
    return [cells[place::width] for place in range(width)]


def header(mapping: Mapping, columns: int) -> list[str | int]:
    """The file's names of its columns, of a file that was checked; numbers from 1 when there is no header."""
    number, source = mapping.source.header_row, mapping.source
    if not number:
        return list(range(1, columns + 1))
    line = next(Bytes(mapping).blocks()).removeprefix(b"\xef\xbb\xbf").split(b"\n")[number - 1]
    text = decoder(source.codec)(line).removesuffix("\r")
    return list(next(csv.reader([text], delimiter=source.separator), []))


@dataclass(frozen=True)
class _Coded(Field):
    """A field whose pattern is a list of codes."""

    @property
    def tame(self) -> bool:
        return True


def trie(codes: set[str]) -> str:
    """``{'C01', 'C02', 'D'}`` -> ``(?:C0[12]|D)``: the cost of a lookup hardly grows with the number of codes."""
    tails: dict[str, set[str]] = {}
    for code in codes:
        tails.setdefault(code[:1], set()).add(code[1:])
    maybe = "?" if tails.pop("", None) else ""  # a code may end here and another go on
    leaves = [re.escape(one) for one in sorted(tails) if tails[one] == {""}]
    parts = [f"[{''.join(leaves)}]"] if len(leaves) > 1 else leaves
    parts += [re.escape(one) + trie(tails[one]) for one in sorted(tails) if tails[one] != {""}]
    whole = parts[0] if len(parts) == 1 and not maybe else f"(?:{'|'.join(parts)})"
    return whole + maybe if parts else ""


class Stream:
    """Blocks of good lines for the copy command. ``cells`` in the order of the file; ``known`` as for a Reader."""

    def __init__(self, mapping: Mapping, cells: Sequence[Cell], known: Known, skip: frozenset[int]) -> None:
        self.mapping, self.cells, self.skip = mapping, list(cells), skip
        self.delimiter = mapping.source.separator
        self.tally, self.sha256 = Tally(), ""
        self._decode = decoder(mapping.source.codec)
        self._codes: dict[int, set[str]] = {}
        self._seen: dict[int, set[str]] = {}
        given = [self._field(place, cell, known) for place, cell in enumerate(cells)]
        refused = REFUSED.get(mapping.source.codec, "")
        self._run = Rules(given, self.delimiter, '"', refused).run
        # Where no cell is in quotes, a tenth is saved by not asking for them.
        self._bare = Rules(given, self.delimiter, "", refused).run

    def _field(self, place: int, cell: Cell, known: Known) -> Field:
        ref = cell.column.ref
        if ref is None:
            return cell.field
        codes = set(known[ref.key]) - {""}
        simple = cell.field.pattern is None and codes and not any(set(code) & {self.delimiter, '"'} for code in codes)
        if not simple or len(codes) > _TRIE_CODES:
            self._codes[place], self._seen[place] = codes | {""}, set()
            return cell.field
        kept = {one.name: getattr(cell.field, one.name) for one in fields(Field)}
        limit = cell.field.limit
        fitting = {code for code in codes if limit is None or len(code) <= limit}
        return _Coded(**{**kept, "pattern": trie(fitting), "limit": None})

    def blocks(self) -> Iterator[Block]:
        """In the order of the file. Raises DataError for a line that the check did not reject and that is not good."""
        source, utf8, tally = Bytes(self.mapping), self.mapping.source.codec == "utf-8", self.tally
        for block in lines(source, self.skip):
            text = self._good(block)
            if text is None:
                block = block.without(self.skip)
                text = self._good(block)
                if text is None:
                    raise self._changed(block.line)
            if self._codes:
                self._look_up(text, block)
            raw = block.raw
            if "\r" in text:
                text = text.replace("\r\n", "\n")
                raw = text.encode()
            elif not utf8:
                raw = text.encode()
            tally.good += block.rows
            tally.last_line = block.last
            yield Block(raw, block.rows, block.last)
        tally.rejected = len(self.skip)
        tally.rows = tally.good + tally.rejected
        self.sha256 = source.sha256

    def _good(self, block: Lines) -> str | None:
        """The text of a block whose lines are all good."""
        try:
            text = self._decode(block.raw)
        except UnicodeDecodeError:
            return None
        match = (self._run if '"' in text else self._bare).match(text)
        return text if match and match.end() == len(text) else None

    def _look_up(self, text: str, block: Lines) -> None:
        columns = cells_of(text, self.delimiter) if text else []
        for place, codes in self._codes.items() if columns else ():
            fresh = set(columns[place]) - self._seen[place]
            if not fresh <= codes:
                raise self._changed(block.line)
            self._seen[place] |= fresh

    def _changed(self, line: int) -> DataError:
        return DataError("import.rejected_now", file=shown(self.mapping), line=line)
