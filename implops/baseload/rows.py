"""Reads a proved file block by block: good lines as CSV for the server, bad lines as rejects with line and reason.

Good lines go on as they stand in the file when every column is mapped in place and nothing is changed; otherwise they
are written anew. Files that are no lines of cells (fixed width, workbooks, SQL) come as records under the same rules.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice

from implops.baseload import header, written
from implops.baseload.codec import DOUBTFUL, REFUSED, decoder, parting, reading_codec, together
from implops.baseload.column import KEPT
from implops.baseload.convert import Change, Conversion, worked
from implops.baseload.fingerprint import Fingerprint
from implops.baseload.judge import Judge, Known, Taken, damaged, groups
from implops.baseload.mapping import Mapping
from implops.baseload.mojibake import Suspicion
from implops.baseload.proof import undecodable
from implops.baseload.rules import Fault, Field, Rules, fault_of
from implops.baseload.seen import Suspects
from implops.baseload.source import Bytes, Originals, digest, shown, with_last
from implops.baseload.tally import EXACT, Block, Reject, Sums, Tally, canonical, total
from implops.baseload.target import Cell
from implops.errors import DataError, InputError

# So many rejects are kept one by one; a file with more has another problem, and memory has an end.
KEPT_REJECTS = 100_000
_RECORDS = 2000

Original = Callable[[int], bytes]


class Reader:
    """One pass over a file. ``known``: codes of parent tables and dictionaries; ``taken``: keys that the target holds
    already. ``fingerprint`` adds what the proof compares: sums, row hash, and good rows whose place is in ``spots``.
    ``suspicious`` looks for texts that were ruined before the file was saved.

    Raises InputError for a header that does not fit the mapping. ``tally``, ``rejects``, ``changes`` and ``sha256``
    are whole after the pass.
    """

    def __init__(
        self,
        mapping: Mapping,
        cells: Sequence[Cell],
        known: Known,
        taken: Taken,
        *,
        fingerprint: Fingerprint | None = None,
        spots: frozenset[int] = frozenset(),
        collect: frozenset[str] = frozenset(),
        suspicious: bool = False,
        suspects: Suspects | None = None,
    ) -> None:
        self.mapping, self.cells, self.fingerprint, self.spots = mapping, list(cells), fingerprint, spots
        source = mapping.source
        self.codec = reading_codec(source.codec)
        self.decode, self._bytes = parting(decoder(self.codec), source.delimiter), Bytes(mapping)
        self.tally = Tally(columns={cell.name: Sums() for cell in cells})
        for name in mapping.verify.sum:
            self.tally.columns[name].sum = Decimal(0)
        self.rejects: list[Reject] = []
        self.sha256 = ""
        self.spotted: list[tuple[int, list[str]]] = []
        self.collected: dict[str, set[str]] = {name: set() for name in collect}
        self.rules: Rules | None = None
        self._separator = source.separator
        self._refused = REFUSED.get(source.codec, "")
        self._works = {
            cell.name: Conversion(cell.column, cell.field, source.null, self._refused, told=source.format == "sql")
            for cell in cells if cell.column.source is not None and worked(cell.column, source.null)
        }  # fmt: skip
        self._judge = Judge(mapping, cells, known, taken, suspects or {})
        self._suspicion = Suspicion([cell.name for cell in cells if cell.field.kind == "text"]) if suspicious else None
        self._keeping = any(cell.column.keeps for cell in cells)
        self._places: list[int | None] = []
        self._pick: Callable[[str], list[Sequence[str] | None] | None] | None = None
        self._as_it_stands = self._untouched = False
        self._constants()

    @staticmethod
    def keys(mapping: Mapping) -> list[tuple[str, ...]]:
        """The column groups whose values must not repeat, in the file and in the table."""
        return groups(mapping)

    def suspects(self) -> tuple[Suspects, bool]:
        """After the pass: what another one must look at where keys were too many (seen.py); whether it must come."""
        return self._judge.suspects()

    @property
    def changes(self) -> dict[str, dict[str, Change]]:
        """Column -> rule -> what it changed in the rows that are kept."""
        return {name: work.changes for name, work in self._works.items() if work.changes}

    def _constants(self) -> None:
        for cell in self.cells:
            if cell.column.source is None:
                rules = Rules([cell.field], ",", '"', self._refused)
                fault = fault_of(cell.field, str(cell.column.value), rules.forms[0], rules.strange[0])
                if fault:
                    raise InputError("import.constant_form", place=self.mapping.path.name, column=cell.name,
                                     value=cell.column.value, type=cell.column.type)  # fmt: skip

    def blocks(self) -> Iterator[Block]:
        """Good rows in the order of the file."""
        csv.field_size_limit(2**22)
        if self.mapping.source.format in ("csv", "tsv"):
            yield from self._lines()
        else:
            yield from self._records()
        if self.rules is None:
            raise InputError("import.no_header", file=shown(self.mapping))
        self.rejects.sort(key=lambda one: one.line)
        self.tally.rows = self.tally.good + self.tally.rejected
        self.sha256 = self._bytes.sha256 if self._bytes.size else digest(self.mapping)[1]
        if self._suspicion and not self.mapping.source.encoding_confirmed:
            self._suspicion.verdict(self.mapping)

    def _lines(self) -> Iterator[Block]:
        line, first, carried = 1, True, b""
        for raw, last in with_last(self._bytes.blocks()):
            if first and raw.startswith(b"\xef\xbb\xbf") and self.codec == "utf-8":
                raw = raw[3:]
            if not raw.endswith(b"\n"):
                raw += b"\n"
            if first:
                raw, line = self._header(raw)
                first = False
            raw, carried = carried + raw, b""
            out: list[bytes] = []
            before, originals = self.tally.good, Originals(raw, line, self._bytes)
            for start, text, whole in self._texts(raw, line):
                assert self.rules
                for number, part, good in self.rules.split(start, text, last or not whole):
                    if good:
                        self._take(number, part, out, originals)
                    elif good is None:
                        carried = originals.rest(number)
                    else:
                        self._refuse_record(number, part, originals)
            line += raw.count(b"\n") - carried.count(b"\n")
            self.tally.last_line = line - 1
            yield Block(b"".join(out), self.tally.good - before, line - 1)

    def _texts(self, raw: bytes, line: int) -> Iterator[tuple[int, str, bool]]:
        """(first line, text, whether it goes on in the next block); a line that does not decode is a reject."""
        try:
            yield line, self.decode(raw), True
            return
        except UnicodeDecodeError:
            pass
        lines = raw.split(b"\n")[:-1]
        kept: list[bytes] = []
        for number, one in enumerate(lines, start=line):
            fault = undecodable(one, self.codec)
            if not fault:
                kept.append(one)
                continue
            if kept:
                yield number - len(kept), self.decode(b"\n".join(kept)) + "\n", False
                kept = []
            params = {"offset": fault[0] + 1, "hex": fault[1]}
            shown_ = one.decode(self.codec, "replace")
            self._reject(number, self._bytes.original(one), [Fault("", "encoding", shown_, params)])
        if kept:
            yield line + len(lines) - len(kept), self.decode(b"\n".join(kept)) + "\n", True

    def _header(self, raw: bytes) -> tuple[bytes, int]:
        """Read the header, fit the mapping's columns to the file's; the rest of the block and its first line."""
        mapping, source, above = self.mapping, self.mapping.source, self.mapping.source.header_line
        if raw[:4].lower() == b"sep=" and raw[5:6] in (b"\r", b"\n"):
            # Excel's own mark of the delimiter; it stands above everything else.
            told = raw[4:5].decode("latin-1")
            if source.delimiter and told != source.delimiter:
                raise InputError("import.sep", file=shown(mapping), found=told, declared=source.delimiter)
            self._separator = told
            self.tally.notes["noted_sep"] = told
            above += 1
        number = above if source.header_row else above + 1
        lines = raw.split(b"\n", number)
        if len(lines) <= number:
            raise InputError("import.no_header", file=shown(mapping))
        try:
            text = self.decode(lines[number - 1])
        except UnicodeDecodeError:
            raise InputError("import.header_bytes", file=shown(mapping), line=number) from None
        told_names = header.cut(text, self._separator, source.quote, shown(mapping))
        self._fit(told_names if source.header_row else list(range(1, len(told_names) + 1)))
        return raw.split(b"\n", above)[above], above + 1

    def _fit(self, names: Sequence[header.Name]) -> None:
        header.fit(self.mapping, names)
        wanted = {cell.column.source: cell for cell in self.cells if cell.column.source is not None}
        fields = [
            replace(wanted[name].field, loose=wanted[name].name in self._works) if name in wanted else Field("")
            for name in names
        ]
        quote = self.mapping.source.quote
        self.rules = Rules(fields, self._separator, quote, self._refused)
        self._places = [names.index(cell.column.source) if cell.column.source is not None else None
                        for cell in self.cells]  # fmt: skip
        in_place = self._places == list(range(len(names)))
        plain = self._separator.isascii() and (self._separator.isprintable() or self._separator == "\t")
        lines = self.mapping.source.format in ("csv", "tsv")
        self._as_it_stands = in_place and len(names) > 1 and quote == '"' and plain and lines
        looked = self._judge.wanted(frozenset(self._works)) | self._works.keys() | self.collected.keys()
        if self._suspicion:
            looked |= {cell.name for cell in self.cells if cell.field.kind == "text"}
        self._untouched = self._as_it_stands and not (self.fingerprint or looked)
        if looked and self._as_it_stands and not self.fingerprint and not self.rules.multiline:
            self._pick = self.rules.picker([place for place, field_ in enumerate(fields) if field_.name in looked])

    @property
    def delimiter(self) -> str:
        """Of the rows that ``blocks`` gives."""
        return self._separator if self._as_it_stands else ","

    def _records(self) -> Iterator[Block]:
        from implops.baseload import records

        rows = records.open_(self.mapping, self._bytes, self._fit, lambda: self.rules, self.tally.notes)
        while batch := list(islice(rows, _RECORDS)):
            out: list[bytes] = []
            before, good = self.tally.good, []
            assert self.rules
            raws = {line: raw for line, _, raw in batch}
            for line, cells, raw in batch:
                if KEPT in cells:
                    cells = self._told(cells)
                faults = cells if cells and isinstance(cells[0], Fault) else self._faults([str(one) for one in cells])
                if faults:
                    self._reject(line, raw, [one for one in faults if isinstance(one, Fault)])
                elif not any(cells):
                    self.tally.blank += 1
                else:
                    good.append((line, cells))
            if good:
                columns = list(zip(*(cells for _, cells in good), strict=True))
                self._columns([line for line, _ in good], columns, None, out, raws.__getitem__)
            self.tally.last_line = batch[-1][0]
            yield Block(b"".join(out), self.tally.good - before, batch[-1][0])

    def _told(self, cells: Sequence[str | Fault]) -> list[str | Fault]:
        """Empty texts that the file tells from NULL: only columns that keep them care."""
        keeping = {place for place, cell in zip(self._places, self.cells, strict=True) if cell.column.keeps}
        return ["" if one == KEPT and place not in keeping else one for place, one in enumerate(cells)]

    def _faults(self, cells: list[str]) -> list[Fault]:
        """Every fault of the cells of one record, those of worked columns too."""
        assert self.rules
        if len(cells) != len(self.rules.fields):
            return [Fault("", "columns", " ".join(cells), {"found": len(cells), "expected": len(self.rules.fields)})]
        found = self.rules.faults(cells)
        named = {fault.column for fault in found}
        for rule, value in zip(self.rules.fields, cells, strict=True):
            if found and rule.loose and rule.name not in named and (fault := self._works[rule.name].fault(value)):
                found.append(fault)
        named = {fault.column for fault in found}
        for place, cell in zip(self._places, self.cells, strict=True):
            if found and place is not None and cell.name not in named:
                work = self._works.get(cell.name)
                (value,) = work.values([0], [cells[place]])[0] if work else [cells[place]]
                found += self._judge.codes(cell, value)
        return found

    def _refuse_record(self, line: int, part: str, originals: Originals) -> None:
        assert self.rules
        faults = self.rules.why(part)
        if not faults:
            self.tally.blank += 1
            return
        if faults[0].column:
            faults = self._faults(self.rules.values(part)[0])
        self._reject(line, originals.span(line, part.count("\n")), faults)

    def _take(self, line: int, text: str, out: list[bytes], originals: Originals) -> None:
        """Good by form; now what needs work, other rows or tables."""
        assert self.rules
        if self._untouched and not damaged(text):
            out.append((text.replace("\r\n", "\n") if "\r" in text else text).encode())
            self.tally.good += text.count("\n")
            return
        if not self.rules.multiline:
            picked = self._pick(text) if self._pick else None
            self._columns(range(line, line + text.count("\n")), picked or self.rules.columns(text), text, out,
                          originals.line)  # fmt: skip
            return
        numbered = list(self.rules.numbered(line, text))
        ends = [*(start for start, _ in numbered[1:]), line + text.count("\n")]
        spans = {start: end - start for (start, _), end in zip(numbered, ends, strict=True)}
        columns = list(zip(*(cells for _, cells in numbered), strict=True))
        self._columns(list(spans), columns, None if "\r" in text else text, out,
                      lambda start: originals.span(start, spans[start]))  # fmt: skip

    def _columns(
        self, lines: Sequence[int], columns: Sequence[Sequence[str] | None], text: str | None, out: list[bytes],
        original: Original,
    ) -> None:  # fmt: skip
        """Rows whose form is good. A column that nobody looks at may be None until the rows must be written anew."""
        given: list[Sequence[str]] = [
            (columns[place] or ()) if place is not None else [str(cell.column.value)] * len(lines)
            for place, cell in zip(self._places, self.cells, strict=True)
        ]
        bad: dict[int, list[Fault]] = {}
        values = list(given)
        for place, cell in enumerate(self.cells):
            if work := self._works.get(cell.name):
                values[place], faults = work.values(lines, given[place])
                for index, fault in faults.items():
                    bad.setdefault(index, []).append(fault)
        if text is None or damaged(text):
            self._damaged(values, bad)
        values = self._judge.rows(lines, values, bad)
        for place, cell in enumerate(self.cells):
            if cell.name in self._works and values[place] is not given[place]:
                self._works[cell.name].count(lines, given[place], bad)
        changed = any(one is not other for one, other in zip(values, given, strict=True))
        if (bad or changed) and text is not None and None in columns:
            # Columns stand in place here, or none would have been left out.
            whole = self.rules.columns(text) if self.rules else []
            values = [whole[place] if columns[place] is None else one for place, one in enumerate(values)]
        if bad:
            for index, faults_ in sorted(bad.items()):
                self._reject(lines[index], original(lines[index]), faults_)
            kept = [index for index in range(len(lines)) if index not in bad]
            values, lines = [[column[index] for index in kept] for column in values], [lines[index] for index in kept]
        if not lines:
            return
        if self._as_it_stands and not bad and not changed and text is not None:
            out.append((text.replace("\r\n", "\n") if "\r" in text else text).encode())
        else:
            # A lone column is quoted: a bare \. would end the data for psql. Nor does Python quote a carriage return.
            lone = len(values) == 1 or (self.rules is not None and self.rules.multiline)
            out.append(written.rows(values, self.delimiter, quoted=lone, keeping=self._keeping))
        self._keep(lines, values)

    def _damaged(self, values: list[Sequence[str]], bad: dict[int, list[Fault]]) -> None:
        for cell, column in zip(self.cells, values, strict=True):
            if cell.field.kind == "text" and damaged("\n".join(column)):
                for index, value in enumerate(column):
                    if damaged(value):
                        bad.setdefault(index, []).append(Fault(cell.name, "damaged", value, {}))

    def _keep(self, lines: Sequence[int], values: list[Sequence[str]]) -> None:
        for cell, column in zip(self.cells, values, strict=True):
            if cell.column.keeps:
                column = ["" if one == KEPT else one for one in column]
            if cell.name in self.collected:
                self.collected[cell.name].update(column)
            if self._suspicion and cell.field.kind == "text":
                self._suspicion.look(cell.name, lines, column)
        if self.fingerprint:
            values = [cell.canonical(column) for cell, column in zip(self.cells, values, strict=True)]
            self._prove(lines, values)
            self.tally.row_hash += self.fingerprint(canonical(values))
        self.tally.good += len(lines)

    def _prove(self, lines: Sequence[int], values: list[Sequence[str]]) -> None:
        """Add canonical values to the sums; keep those that the sample wants."""
        tally, count = self.tally, len(lines)
        for cell, column in zip(self.cells, values, strict=True):
            sums = tally.columns[cell.name]
            absent = column.count(cell.absent)
            sums.count += count - absent
            if cell.counted:
                sums.length += len("".join(column)) - absent * len(cell.absent)
            if sums.sum is not None:
                numbers = [one for one in column if one != cell.absent] if absent else column
                sums.sum = EXACT.add(sums.sum, total(numbers, cell.behind))
        for place in self.spots.intersection(range(tally.good, tally.good + count)):
            index = place - tally.good
            self.spotted.append((lines[index], [column[index] for column in values]))

    def _reject(self, line: int, raw: bytes, faults: Iterable[Fault]) -> None:
        faults = tuple(faults)
        self.tally.rejected += 1
        self.tally.exists += any(one.code == "exists" for one in faults)
        if len(self.rejects) < KEPT_REJECTS:
            self.rejects.append(Reject(line, raw, tuple(map(self._shown, faults))))

    def _shown(self, fault: Fault) -> Fault:
        """As people see the file."""
        delimiter, value = self.mapping.source.delimiter or "", fault.value.replace(KEPT, "")
        if len(delimiter) > 1 and DOUBTFUL in value and fault.column:
            return replace(fault, value=together(value, delimiter), code="doubtful", params={"delimiter": delimiter})
        return replace(fault, value=together(value, delimiter))

    def finish(self) -> None:
        """What only the whole file shows. Raises DataError when the customer's own number of rows differs."""
        expected = self.mapping.verify.rows_expected
        if expected is not None and expected != self.tally.rows:
            raise DataError("import.rows_expected", file=shown(self.mapping), expected=expected,
                            found=self.tally.rows)  # fmt: skip
        if not self.tally.rows and expected != 0:
            raise DataError("import.no_rows", file=shown(self.mapping))
