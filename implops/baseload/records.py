"""Files whose lines are not cells already: fixed width, workbooks, SQL dumps; read as numbered records of texts.

``open_`` calls ``fit`` with the names of the columns before the first record comes, as the reader of lines does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from implops.baseload.codec import SIXTEEN, decoder, reading_codec
from implops.baseload.header import Name
from implops.baseload.mapping import Mapping
from implops.baseload.proof import undecodable
from implops.baseload.rules import Fault, Rules
from implops.baseload.source import Bytes, shown
from implops.errors import InputError

# (line or row number, cells or what is wrong with the whole record, the record's own bytes)
Record = tuple[int, Sequence[str | Fault], bytes]
Fit = Callable[[Sequence[Name]], None]


def open_(
    mapping: Mapping, source: Bytes, fit: Fit, rules: Callable[[], Rules | None], notes: dict[str, str]
) -> Iterator[Record]:
    """The records of a file, by its declared format."""
    if mapping.source.format == "fixed":
        return _fixed(mapping, source, fit)
    if mapping.source.format == "sql":
        from implops.baseload.sqlfile import inserts

        return inserts(mapping, source, fit, notes)
    from implops.baseload.sheet import rows

    return rows(mapping, fit, rules, notes)


def csv_line(cells: Sequence[object]) -> bytes:
    """A record as one CSV line in UTF-8, for the list of rejects."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue().encode()


def _fixed(mapping: Mapping, source: Bytes, fit: Fit) -> Iterator[Record]:
    """Widths count bytes of the file's own encoding, and characters in Unicode ones."""
    codec = reading_codec(mapping.source.codec)
    decode, unicode = decoder(codec), codec == "utf-8"
    number, header_line, named = 0, mapping.source.header_line, mapping.source.header_row > 0
    if not named:
        fit(list(range(1, len(mapping.source.widths) + 1)))
    for block in source.blocks():
        for line in block.removesuffix(b"\n").split(b"\n"):
            number += 1
            if number == 1 and unicode:
                line = line.removeprefix(b"\xef\xbb\xbf")
            raw = line.removesuffix(b"\r")
            if number < header_line or (number == header_line and not named):
                continue
            try:
                cells = _cut(raw, mapping.source.widths, decode, unicode)
            except UnicodeDecodeError:
                if number == header_line:
                    raise InputError("import.header_bytes", file=shown(mapping), line=number) from None
                cells = [_undecoded(raw, codec)]
            if number == header_line:
                fit([cell for cell in cells if isinstance(cell, str)])
                continue
            yield number, cells, source.original(raw) if codec in SIXTEEN else raw
    if number < header_line:
        raise InputError("import.no_header", file=shown(mapping))


def _cut(raw: bytes, widths: Sequence[int], decode: Callable[[bytes], str], unicode: bool) -> list[str | Fault]:
    line: bytes | str = decode(raw) if unicode else raw
    total = sum(widths)
    if not line.strip():
        return [""] * len(widths)
    rest = line[total:].strip()
    if rest or len(line) <= total - widths[-1]:
        # Padding at the end of the last column may be cut off, a whole column may not.
        return [Fault("", "width", decode(raw), {"found": len(line), "expected": total})]
    cells: list[str | Fault] = []
    place = 0
    for width in widths:
        part = line[place : place + width]
        cells.append((part if isinstance(part, str) else decode(part)).strip(" "))
        place += width
    return cells


def _undecoded(raw: bytes, codec: str) -> Fault:
    fault = undecodable(raw, codec)
    shown_ = raw.decode(codec, "replace")
    if fault is None:
        # The line is text, but a width ends inside a character.
        return Fault("", "width_inside", shown_, {})
    return Fault("", "encoding", shown_, {"offset": fault[0] + 1, "hex": fault[1]})
