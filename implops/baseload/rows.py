"""Reads a proved file block by block: good lines as CSV for the server, bad lines as rejects with line and reason.

Good lines go on as they stand in the file when every column is mapped in place; otherwise they are written anew.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import reduce
from hashlib import md5, sha256
from typing import Any

from implops.baseload.codec import REFUSED, decoder
from implops.baseload.mapping import Mapping
from implops.baseload.proof import blocks, undecodable
from implops.baseload.rules import Fault, Field, Rules
from implops.baseload.target import Cell
from implops.errors import DataError, InputError
from implops.strict_yaml import nearest

# So many rejects are kept one by one; a file with more has another problem, and memory has an end.
KEPT_REJECTS = 100_000
_NULL = "\\N"
# The default context rounds to 28 digits; the widest column and the longest file stay below 60.
EXACT = Context(prec=60)

Key = tuple[str, str, str]
Known = dict[Key, set[str]]


@dataclass(frozen=True)
class Reject:
    """A line that is not loaded: its number in the file, its bytes, and every fault found in it."""

    line: int
    raw: bytes
    faults: tuple[Fault, ...]


@dataclass
class Sums:
    """Of one column: values that are not NULL, characters, and the sum where the mapping asks for one."""

    count: int = 0
    length: int = 0
    sum: Decimal | None = None


@dataclass
class Tally:
    """What was read. ``row_hash`` is the sum over all rows of the first 60 bits of md5(canonical row)."""

    rows: int = 0
    good: int = 0
    blank: int = 0
    rejected: int = 0
    last_line: int = 0
    row_hash: int = 0
    columns: dict[str, Sums] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Good rows for the server (UTF-8, CSV), and how many lines of the file have been read so far."""

    data: bytes
    rows: int
    line: int


class Reader:
    """One pass over a file. ``known``: codes of parent tables; ``taken``: keys that the target holds already.
    ``hashed`` adds what the proof compares: sums, row hash, and the good rows whose place is in ``spots``.

    Raises InputError for a header that does not fit the mapping. ``tally``, ``rejects`` and ``sha256`` are whole
    after the pass.
    """

    def __init__(
        self,
        mapping: Mapping,
        cells: Sequence[Cell],
        known: Known,
        taken: dict[tuple[str, ...], set[tuple[str, ...]]],
        *,
        hashed: bool = False,
        spots: frozenset[int] = frozenset(),
        collect: frozenset[str] = frozenset(),
    ) -> None:
        self.mapping, self.cells, self.known, self.hashed, self.spots = mapping, list(cells), known, hashed, spots
        self.codec, self.decode = mapping.source.codec, decoder(mapping.source.codec)
        self.tally = Tally(columns={cell.name: Sums() for cell in cells})
        for name in mapping.verify.sum:
            self.tally.columns[name].sum = Decimal(0)
        self.rejects: list[Reject] = []
        self.sha256 = ""
        self.spotted: list[tuple[int, list[str]]] = []
        self.collected: dict[str, set[str]] = {name: set() for name in collect}
        self.rules: Rules | None = None
        self._places: list[int | None] = []
        self._as_it_stands = False
        self._seen: list[tuple[tuple[str, ...], dict[Any, int], set[Any]]] = []
        for names in self.keys(mapping):
            rows = taken.get(names, set())
            self._seen.append((names, {}, {row[0] for row in rows} if len(names) == 1 else set(rows)))
        self._tame: dict[str, set[str]] = {}

    @staticmethod
    def keys(mapping: Mapping) -> list[tuple[str, ...]]:
        """The column groups whose values must not repeat, in the file and in the table."""
        keys: list[tuple[str, ...]] = [(name,) for name, column in mapping.columns.items() if column.unique]
        return [*keys, tuple(mapping.key)] if mapping.key and tuple(mapping.key) not in keys else keys

    def blocks(self) -> Iterator[Block]:
        """Good rows in the order of the file."""
        csv.field_size_limit(2**22)
        line, first, total = 1, True, sha256()
        for raw in blocks(self.mapping.file):
            total.update(raw)
            if first and raw.startswith(b"\xef\xbb\xbf") and self.codec == "utf-8":
                raw = raw[3:]
            if not raw.endswith(b"\n"):
                raw += b"\n"
            if first:
                raw, line = self._header(raw)
                first = False
            out: list[bytes] = []
            before, lines = self.tally.good, raw.count(b"\n")
            originals = _Originals(raw, line)
            for start, text in self._texts(raw, line):
                assert self.rules
                for number, part, good in self.rules.split(start, text):
                    if good:
                        self._take(number, part, out, originals)
                    else:
                        faults = self.rules.why(part)
                        if faults:
                            self._reject(number, originals[number], faults)
                        else:
                            self.tally.blank += 1
            line += lines
            self.tally.last_line = line - 1
            yield Block(b"".join(out), self.tally.good - before, line - 1)
        self.tally.rows = self.tally.good + self.tally.rejected
        self.sha256 = total.hexdigest()

    def _texts(self, raw: bytes, line: int) -> Iterator[tuple[int, str]]:
        """(first line, text) of a block; a line that does not decode is a reject."""
        try:
            yield line, self.decode(raw)
            return
        except UnicodeDecodeError:
            pass
        offset = 0
        for number, one in enumerate(raw.split(b"\n")[:-1], start=line):
            fault = undecodable(one, self.codec)
            if fault:
                params = {"offset": fault[0] + 1, "hex": fault[1]}
                shown = one.decode(self.codec, "replace")
                self._reject(number, one, [Fault("", "encoding", shown, params)])
            else:
                yield number, self.decode(one) + "\n"
            offset += len(one) + 1

    def _header(self, raw: bytes) -> tuple[bytes, int]:
        """Read the header, fit the mapping's columns to the file's; the rest of the block and its first line."""
        number = self.mapping.source.header_row
        lines = raw.split(b"\n", max(number, 1))
        if len(lines) <= number:
            raise InputError("import.no_header", file=self.mapping.file.name)
        try:
            text = self.decode(lines[max(number, 1) - 1])
        except UnicodeDecodeError:
            raise InputError("import.header_bytes", file=self.mapping.file.name, line=number) from None
        source = self.mapping.source
        line = text.removesuffix("\r")
        if source.quote:
            header = next(csv.reader([line], delimiter=source.separator, quotechar=source.quote), [])
        else:
            header = line.split(source.separator)
        names: list[str | int] = list(header) if number else list(range(1, len(header) + 1))
        self._fit(names)
        return (lines[number], number + 1) if number else (raw, 1)

    def _fit(self, names: list[str | int]) -> None:
        mapping, file = self.mapping, self.mapping.file.name
        for name in names:
            if names.count(name) > 1:
                raise InputError("import.header_twice", file=file, name=name)
        wanted = {cell.column.source: cell for cell in self.cells if cell.column.source is not None}
        known = {*wanted, *mapping.ignore}
        for source in wanted:
            if source not in names:
                raise InputError("import.header_missing", file=file, place=mapping.path.name, name=source,
                                 known=_nearest(source, names))  # fmt: skip
        for name in names:
            if name not in known:
                raise InputError("import.header_unmapped", file=file, place=mapping.path.name, name=_visible(name),
                                 known=" ".join(map(str, known)))  # fmt: skip
        for ignored in mapping.ignore:
            if ignored not in names:
                raise InputError("import.header_missing", file=file, place=mapping.path.name, name=ignored,
                                 known=_nearest(ignored, names))  # fmt: skip
        fields = [wanted[name].field if name in wanted else Field("") for name in names]
        quote, separator = mapping.source.quote, mapping.source.separator
        self.rules = Rules(fields, separator, quote, REFUSED.get(self.codec, ""))
        self._places = [names.index(cell.column.source) if cell.column.source is not None else None
                        for cell in self.cells]  # fmt: skip
        in_place = self._places == list(range(len(names)))
        self._as_it_stands = in_place and len(names) > 1 and quote == '"'

    @property
    def delimiter(self) -> str:
        """Of the rows that ``blocks`` gives."""
        return self.mapping.source.separator if self._as_it_stands else ","

    def _take(self, line: int, text: str, out: list[bytes], originals: _Originals) -> None:
        """Good by form; now what needs other rows or tables: references, duplicates, free patterns, lengths."""
        assert self.rules
        rows = self.rules.values(text)
        columns = list(zip(*rows, strict=True))
        values: list[Sequence[str]] = [
            columns[place] if place is not None else [str(cell.column.value)] * len(rows)
            for place, cell in zip(self._places, self.cells, strict=True)
        ]
        bad = self._beyond_form(line, values)
        if bad:
            for index, faults in sorted(bad.items()):
                self._reject(line + index, originals[line + index], faults)
            kept = [index for index in range(len(rows)) if index not in bad]
            values = [[column[index] for index in kept] for column in values]
        count = len(rows) - len(bad)
        if not count:
            return
        if self._as_it_stands and not bad:
            out.append((text.replace("\r\n", "\n") if "\r" in text else text).encode())
        else:
            out.append(self._written(values))
        self._collect(values)
        if self.hashed:
            self._prove([cell.canonical(column) for cell, column in zip(self.cells, values, strict=True)], line, count)
        self.tally.good += count

    def _beyond_form(self, line: int, values: list[Sequence[str]]) -> dict[int, list[Fault]]:
        bad: dict[int, list[Fault]] = {}

        def refuse(index: int, name: str, code: str, value: str, **params: Any) -> None:
            bad.setdefault(index, []).append(Fault(name, code, value, params))

        for cell, column in zip(self.cells, values, strict=True):
            rule = cell.field
            if cell.column.source is None:
                continue
            if rule.pattern and rule.limit is not None and max(map(len, column)) > rule.limit:
                for index, value in enumerate(column):
                    if len(value) > rule.limit:
                        refuse(index, cell.name, "length", value, length=len(value), limit=rule.limit)
            if rule.pattern and not rule.tame:
                self._match(cell, column, refuse)
            if cell.column.ref:
                codes = self.known[cell.column.ref.key]
                if not codes.issuperset(column):
                    for index, value in enumerate(column):
                        if value and value not in codes:
                            table = f"{cell.column.ref.table}.{cell.column.ref.match}"
                            refuse(index, cell.name, "reference", value, table=table)
        self._repeated(line, values, bad, refuse)
        return bad

    def _match(self, cell: Cell, column: Sequence[str], refuse: Any) -> None:
        """A customer's own pattern, asked once for every distinct value."""
        import re

        pattern = re.compile(str(cell.field.pattern), re.ASCII)
        good = self._tame.setdefault(cell.name, {""})
        new = {value for value in set(column) - good if pattern.fullmatch(value)}
        good |= new
        if not good.issuperset(column):
            for index, value in enumerate(column):
                if value not in good:
                    refuse(index, cell.name, "pattern", value, pattern=cell.field.pattern)

    def _repeated(self, line: int, values: list[Sequence[str]], bad: dict[int, list[Fault]], refuse: Any) -> None:
        order = [cell.name for cell in self.cells]
        for names, seen, taken in self._seen:
            picked = [values[order.index(name)] for name in names]
            keys: Sequence[Any] = picked[0] if len(names) == 1 else list(zip(*picked, strict=True))
            fresh = set(keys)
            clean = len(fresh) == len(keys) and seen.keys().isdisjoint(fresh) and taken.isdisjoint(fresh) and not bad
            if clean and "" not in fresh:
                seen.update(zip(keys, range(line, line + len(keys)), strict=True))
                continue
            for index, key in enumerate(keys):
                if key == "" or index in bad:
                    continue
                shown = key if isinstance(key, str) else " ".join(key)
                if key in taken:
                    refuse(index, " ".join(names), "exists", shown)
                elif key in seen:
                    refuse(index, " ".join(names), "duplicate", shown, first=seen[key])
                else:
                    seen[key] = line + index

    def _written(self, values: list[Sequence[str]]) -> bytes:
        buffer = io.StringIO()
        # A lone column is quoted: a bare \. would end the data for psql.
        lone = len(values) == 1
        csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if lone else csv.QUOTE_MINIMAL).writerows(
            zip(*values, strict=True)
        )
        return buffer.getvalue().encode()

    def _collect(self, values: list[Sequence[str]]) -> None:
        for cell, column in zip(self.cells, values, strict=True):
            if cell.name in self.collected:
                self.collected[cell.name].update(column)

    def _prove(self, values: list[Sequence[str]], line: int, count: int) -> None:
        """Add canonical values to the sums and the row hash; keep those that the sample wants."""
        tally = self.tally
        for cell, column in zip(self.cells, values, strict=True):
            sums = tally.columns[cell.name]
            sums.count += count - column.count("")
            if cell.counted:
                sums.length += len("".join(column))
            if sums.sum is not None:
                sums.sum = EXACT.add(sums.sum, total(column, cell.behind))
        for place in self.spots.intersection(range(tally.good, tally.good + count)):
            index = place - tally.good
            self.spotted.append((line + index, [column[index] for column in values]))
        tally.row_hash += row_hash(values)

    def _reject(self, line: int, raw: bytes, faults: Iterable[Fault]) -> None:
        self.tally.rejected += 1
        if len(self.rejects) < KEPT_REJECTS:
            self.rejects.append(Reject(line, raw, tuple(faults)))

    def finish(self) -> None:
        """What only the whole file shows. Raises DataError when the customer's own number of rows differs."""
        expected = self.mapping.verify.rows_expected
        if expected is not None and expected != self.tally.rows:
            raise DataError("import.rows_expected", file=self.mapping.file.name, expected=expected,
                            found=self.tally.rows)  # fmt: skip
        if not self.tally.rows and expected != 0:
            raise DataError("import.no_rows", file=self.mapping.file.name)


def total(column: Sequence[str], behind: int | None) -> Decimal:
    """Exact sum of canonical numbers. With a fixed scale they are summed as whole numbers, five times as fast."""
    given = [one for one in column if one] if "" in column else column
    if behind is None and any("." in one for one in given):
        return reduce(EXACT.add, map(Decimal, given), Decimal(0))
    whole = "\n".join(given).replace(".", "").split("\n") if behind and given else given
    return EXACT.scaleb(Decimal(sum(map(int, whole))), -(behind or 0))


def row_hash(columns: Sequence[Sequence[str]]) -> int:
    """Sum of the first 60 bits of the md5 of each canonical row; the order of rows does not count."""
    shown = [[one or _NULL for one in column] if "" in column else column for column in columns]
    return sum(
        int(md5("\x1f".join(row).encode(), usedforsecurity=False).hexdigest()[:15], 16)
        for row in zip(*shown, strict=True)
    )


class _Originals:
    """The lines of a block as the file has them; cut only when somebody asks."""

    def __init__(self, block: bytes, first: int) -> None:
        self.block, self.first = block, first
        self._lines: list[bytes] = []

    def __getitem__(self, line: int) -> bytes:
        if not self._lines:
            self._lines = self.block.split(b"\n")
        return self._lines[line - self.first]


def _visible(name: str | int) -> str:
    """A header cell with what cannot be seen written as code points."""
    return "".join(
        one if one.isprintable() and one != "\u3000" and not (one == " " and str(name).strip() != name) else
        f"<U+{ord(one):04X}>" for one in str(name)
    )  # fmt: skip


def _nearest(name: str | int, names: Sequence[str | int]) -> str:
    return nearest(str(name), [_visible(one) for one in names])
