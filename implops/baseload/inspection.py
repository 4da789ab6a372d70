"""What a customer's file looks like: evidence for its encoding, its delimiter, header and types. Suggestions only.

Nothing here decides anything: an import reads what its mapping declares and proves it (proof.py).
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from implops.baseload.codec import CODECS, SIXTEEN, decoder, reading_codec, visible
from implops.baseload.column import KEPT
from implops.baseload.convert import reader_of
from implops.baseload.delimiters import delimiter_of
from implops.baseload.mapping import Mapping
from implops.baseload.proof import Sample, mark_of, shown_name
from implops.baseload.score import scored_as, scores
from implops.baseload.source import Bytes, digest, name_of_member, shown
from implops.errors import InputError

_ROWS = 1000
_SAMPLES = 3
# Of so many lines the most telling ones are shown, so wide, with so much of what stands before their first letter.
_LOOKED = 200
_WIDTH = 60
_BEFORE = 15
_FEW = 5
_FORMATS = ("YYYY-MM-DD", "YYYY/M/D", "YYYY年M月D日", "YYYYMMDD", "YYYY.M.D", "YYYY-MM-DD hh:mm:ss", "YYYY/M/D h:mm:ss")
_CODE = re.compile(r"0[0-9]+|[0-9]{16,}")


@dataclass
class Guessed:
    """A column of the file, judged by its first rows."""

    name: str
    type: str
    formats: list[str]
    longest: int
    empty: int
    unique: bool
    samples: list[str]


@dataclass(frozen=True)
class Reading:
    """How one encoding reads the file. ``score``: in thousandths, None where it is not scored; ``lines``: (number,
    text) of the lines that tell most, fit for a terminal.
    """

    encoding: str
    score: int | None
    lines: list[tuple[int, str]]

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        lines = [{"line": number, "text": text} for number, text in self.lines]
        return {"encoding": self.encoding, "score_milli": self.score, "lines": lines}


@dataclass
class Inspection:
    """``encodings``: those that read every line looked at, the best first."""

    file: str
    bytes: int
    sha256: str
    kind: str
    mark: str = ""
    encodings: list[Reading] = field(default_factory=list)
    encoding: str = ""
    newlines: dict[str, int] = field(default_factory=dict)
    nonascii: int = 0
    delimiter: str = ""
    parts: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    columns: list[Guessed] = field(default_factory=list)
    rows: int = 0

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "file": self.file, "bytes": self.bytes, "sha256": self.sha256, "format": self.kind, "mark": self.mark,
            "encodings": [one.document() for one in self.encodings],
            "suggested_encoding": self.encoding, "nonascii_lines": self.nonascii, "newlines": self.newlines,
            "delimiter": self.delimiter, "parts": self.parts, "header": self.header, "rows_seen": self.rows,
            "columns": [vars(one) for one in self.columns],
        }  # fmt: skip

    def proposal(self) -> dict[str, Any]:
        """For ``--json``: only what the choice of an encoding needs."""
        words = ("file", "bytes", "sha256", "mark", "encodings", "suggested_encoding", "nonascii_lines")
        return {word: value for word, value in self.document().items() if word in words}


def bare(path: Path, encoding: str, member: str | None = None, sheet: str | None = None, kind: str = "csv") -> Mapping:
    """A mapping that only says where the bytes are."""
    mapping = Mapping.model_validate(
        {
            "import": path.stem[:100] or "x",
            "source": {"file": path.name, "format": kind, "encoding": encoding, "member": member, "sheet": sheet},
            "target": {"database": "x", "table": "x"},
            "columns": {"x": {"from": "x"}},
        }
    )
    mapping._path = path.absolute().parent / "x.yml"
    return mapping


def inspect(path: Path, member: str | None = None, sheet: str | None = None, encoding: str = "") -> Inspection:
    """Look at a file; ``encoding`` is used instead of the suggestion. Raises InputError when it cannot be read."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError("import.unreadable", file=path, why=error.strerror) from None
    suffix = Path(member or path.name).suffix.lower()
    kind = {".xlsx": "xlsx", ".sql": "sql", ".tsv": "tsv"}.get(suffix, "csv")
    if path.suffix.lower() == ".zip" and member is None:
        names = members(path)
        if len(names) != 1:
            size, sha = digest_of(path)
            return Inspection(path.name, size, sha, "zip", parts=names)
        return inspect(path, names[0], sheet, encoding)
    mapping = bare(path, "cp1252", member, sheet, kind)
    size, sha = digest(mapping)
    found = Inspection(path.name + (f"/{member}" if member else ""), size, sha, kind)
    if not size:
        raise InputError("import.empty_file", file=found.file)
    if kind == "xlsx":
        _workbook(mapping, found)
    else:
        _bytes(mapping, found)
        found.encoding = encoding or found.encoding
        if found.encoding:
            look = _statements if kind == "sql" else _text
            look(bare(path, found.encoding, member, kind=kind), found)
    return found


def evidence(mapping: Mapping) -> Inspection:
    """The bytes of a mapping's file and how each encoding reads them, whatever the mapping says of its encoding.

    Raises InputError when the file cannot be read or is empty.
    """
    neutral = _as(mapping, "cp1252")
    size, sha = digest(neutral)
    found = Inspection(shown(mapping), size, sha, mapping.source.format)
    if not size:
        raise InputError("import.empty_file", file=found.file)
    _bytes(neutral, found)
    if found.encoding and not found.encodings:
        # ASCII alone, or 16-bit text: there is nothing to choose between, but something to look at.
        found.encodings = [Reading(found.encoding, None, _first(_as(mapping, found.encoding)))]
    return found


def _as(mapping: Mapping, encoding: str) -> Mapping:
    return mapping.model_copy(update={"source": mapping.source.model_copy(update={"encoding": encoding})})


def _first(mapping: Mapping) -> list[tuple[int, str]]:
    """The first lines below the header, or the header when nothing else is there."""
    above = mapping.source.header_line
    for block in _pieces(mapping):
        # Blocks of 16-bit text come as UTF-8, with what means nothing still in them.
        lines = list(enumerate(block.decode("utf-8", "replace").split("\n"), start=1))
        below = [(number, excerpt(text)) for number, text in lines if number > above and text]
        return below[:_SAMPLES] or [(number, excerpt(text)) for number, text in lines[:_SAMPLES]]
    return []


def digest_of(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256) of any file."""
    import hashlib

    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def members(path: Path) -> list[str]:
    """The files in a zip, by the names that were meant."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name_of_member(one) for one in archive.infolist() if not one.is_dir())
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError("import.bad_zip", file=path.name, why=error) from None


def _bytes(mapping: Mapping, found: Inspection) -> None:
    """Marks, line ends, and how each codec reads lines sampled over the whole file."""
    mark = mark_of(mapping)
    found.mark = mark.hex(" ")
    if mark[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found.encoding = "utf-16"
        return
    sample, first = Sample(), True
    lines = crlf = cr = 0
    for block in _pieces(mapping):
        if first:
            halves = [block[half::2] for half in (0, 1)]
            for half, name in ((1, "utf-16le"), (0, "utf-16be")):
                if halves[half].count(0) * 5 > len(halves[half]) > 1:
                    found.encoding = name
                    return
            block = block.removeprefix(b"\xef\xbb\xbf")  # told as the mark, and text in no encoding
        first = False
        crlf += block.count(b"\r\n")
        cr += block.count(b"\r")
        if not block.isascii():
            for number, line in enumerate(block.split(b"\n"), start=lines + 1):
                if not line.isascii():
                    found.nonascii += 1
                    sample.add(number, line)
        lines += block.count(b"\n")
    found.newlines = {"crlf": crlf, "lf": lines - crlf, "cr": cr - crlf}
    if not found.nonascii:
        found.encoding = "utf-8"
        return
    text = sample.text()
    scored = scores(text)
    telling = _telling(sample, mapping.source.header_line)
    for name, (codec, errors, _) in CODECS.items():
        if codec in SIXTEEN:
            continue
        try:
            text.decode(codec, errors)
        except UnicodeDecodeError:
            continue
        score, read = scored.get(scored_as(codec)), decoder(codec)
        found.encodings.append(Reading(name, None if score is None else round(score * 1000),
                                       [(number, excerpt(read(line))) for number, line in telling]))  # fmt: skip
    found.encodings.sort(key=lambda one: -(one.score if one.score is not None else -99_000))
    if scored:
        # GB18030 holds GBK: the narrower one is proposed when it reads everything, for widening removes a safety net.
        best = shown_name(next(iter(scored)))
        readable = {one.encoding for one in found.encodings}
        found.encoding = "gbk" if best == "gb18030" and "gbk" in readable else best


def _telling(sample: Sample, above: int) -> list[tuple[int, bytes]]:
    """The lines with most characters beyond ASCII, each once, in their order; the header only among too few others."""
    lines = list({line: (number, line) for number, line in reversed(sample.lines[:_LOOKED])}.values())
    below = [one for one in lines if one[0] > above]
    chosen = below if len(below) >= _SAMPLES else lines
    return sorted(sorted(chosen, key=lambda one: -sum(byte >= 0x80 for byte in one[1]))[:_SAMPLES])


def _pieces(mapping: Mapping) -> Iterator[bytes]:
    try:
        yield from Bytes(mapping).blocks()
    except InputError as error:
        if error.key != "import.no_line_feed":
            raise


def _text(mapping: Mapping, found: Inspection) -> None:
    """Delimiter, header and types from the first lines."""
    codec = reading_codec(mapping.source.codec)
    decode = decoder(codec)
    lines: list[str] = []
    for block in _pieces(mapping):
        for line in block.split(b"\n"):
            try:
                lines.append(decode(line.removeprefix(b"\xef\xbb\xbf") if not lines else line).removesuffix("\r"))
            except UnicodeDecodeError:
                continue
            if len(lines) > _ROWS:
                break
        if len(lines) > _ROWS:
            break
    lines = [line for line in lines if line]
    told = lines.pop(0)[4:] if lines and re.fullmatch("(?i)sep=[^\r\n]", lines[0]) else ""
    if not lines:
        return
    found.delimiter = told or delimiter_of(lines)
    if len(found.delimiter) > 1:
        _columns(found, [line.split(found.delimiter) for line in lines])
    else:
        _columns(found, list(csv.reader(lines, delimiter=found.delimiter or "\0")))


def _statements(mapping: Mapping, found: Inspection) -> None:
    """Columns and types of the first rows of the first table of a SQL file; its tables, as far as they were met."""
    from implops.baseload.sqlfile import inserts

    header: list[str] = []
    rows: list[list[str]] = []
    try:
        for _, cells, _ in islice(
            inserts(mapping, Bytes(mapping), lambda names: header.extend(map(str, names)), {}), _ROWS
        ):
            rows.append([one.replace(KEPT, "") for one in cells if isinstance(one, str)])
    except InputError as error:
        # What the import will refuse is no reason to show nothing of what it can read.
        found.parts = error.params["known"].split() if error.key == "import.sql_tables" else []
    if header:
        _columns(found, [header, *rows])


def _workbook(mapping: Mapping, found: Inspection) -> None:
    from implops.baseload.sheet import sheets, table

    found.parts = sheets(mapping)
    if mapping.source.sheet is None and len(found.parts) != 1:
        return
    _, values = table(mapping)
    rows = [["" if value is None else _cell(value) for value in row] for row in values[: _ROWS + 1]]
    _columns(found, [row for row in rows if any(row)])


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def _columns(found: Inspection, rows: list[list[str]]) -> None:
    if not rows:
        return
    found.header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    found.rows = len(body)
    for place, name in enumerate(found.header):
        values = [row[place] for row in body]
        given = [value for value in values if value]
        kind, formats = type_of(given)
        found.columns.append(
            Guessed(name, kind, formats, max(map(len, values), default=0), len(values) - len(given),
                    len(given) > 1 and len(set(given)) == len(values), list(dict.fromkeys(given))[:_SAMPLES])
        )  # fmt: skip


def type_of(values: Sequence[str]) -> tuple[str, list[str]]:
    """(type, date formats) that every value has; text when in doubt: numbers that are all equally
    long, and those with a leading zero, are codes.
    """
    if not values:
        return "text", []
    for form in _FORMATS:
        read = reader_of(form)
        if all(read(value) for value in values):
            kind = "datetime" if "h" in form else "date"
            return kind, [] if form in ("YYYY-MM-DD", "YYYY-MM-DD hh:mm:ss") else [form]
    same = len(values) > _FEW and len(set(map(len, values))) == 1 and len(values[0]) > 1
    if any(_CODE.fullmatch(value) for value in values) or (same and "".join(values).isdigit()):
        return "text", []
    if all(re.fullmatch(r"-?[0-9]{1,15}", value) for value in values):
        return "int", []
    if all(re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,10})?", value) for value in values):
        behind = max(len(value.partition(".")[2]) for value in values)
        return f"decimal({min(30, 14 + behind)},{behind})", []
    return "text", []


def excerpt(text: str) -> str:
    """At most 60 characters of a line from where it leaves ASCII, fit for a terminal."""
    text = text.strip("\r\n ")
    start = next((place for place, one in enumerate(text) if one > "\x7f"), 0) - _BEFORE
    if start > 0 and len(text) > _WIDTH:
        text = "…" + text[min(start, len(text) - _WIDTH + 1) :]
    shown_ = visible(text[: _WIDTH + 1])
    return shown_ if len(shown_) <= _WIDTH else shown_[: _WIDTH - 1] + "…"
