"""The list of rejected lines, for the customer to repair: CSV in the file's own encoding with the original bytes, and
the same as a workbook.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font

from implops import texts
from implops.baseload.codec import SIXTEEN, decoder, reading_codec
from implops.baseload.mapping import Mapping
from implops.baseload.rules import Fault
from implops.baseload.source import exact_codec
from implops.baseload.tally import Reject

_HEADER = ("line", "column", "value", "code", "reason", "original")
_WIDTHS = (8, 18, 30, 16, 40, 80)


def reason(code: str, params: dict[str, object], language: str | None = None) -> str:
    """``duplicate`` and its parameters as a sentence."""
    return texts.say(f"import.reason.{code}", lang=language, **params)


def write(mapping: Mapping, rejects: Sequence[Reject], folder: Path) -> tuple[Path, str]:
    """``folder/rejects-NAME.csv`` and its sha256, and ``.xlsx`` beside it: one line per fault, so that a line with two
    faults stands there twice. Excel runs what begins with = in a CSV; in the workbook every cell is a text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rejects-{mapping.path.stem}.csv"
    data = _csv(mapping, rejects)
    _replace(path, data)
    _workbook(mapping, rejects, path.with_suffix(".xlsx"))
    return path, hashlib.sha256(data).hexdigest()


def clear(mapping: Mapping, folder: Path) -> None:
    """Remove the lists of an earlier check: they say nothing about the file that is good now."""
    for suffix in (".csv", ".xlsx"):
        (folder / f"rejects-{mapping.path.stem}{suffix}").unlink(missing_ok=True)


def _faults(mapping: Mapping, rejects: Sequence[Reject]) -> Iterator[tuple[Reject, Fault, str]]:
    """Each fault with the name that the file gives its column."""
    sources = {name: column.source for name, column in mapping.columns.items()}
    for one in rejects:
        for fault in one.faults:
            yield one, fault, str(sources.get(fault.column, fault.column))


def _csv(mapping: Mapping, rejects: Sequence[Reject]) -> bytes:
    codec, exact = mapping.source.codec, exact_codec(mapping)
    wide = codec in SIXTEEN
    inner = reading_codec(codec)
    # Excel takes a UTF-8 file without a mark for the code page of the machine.
    mark = b"\xef\xbb\xbf" if codec == "utf-8" else b""
    lines = [mark + b",".join(_cell(texts.say(f"import.column.{name}"), inner) for name in _HEADER)]
    for one, fault, column in _faults(mapping, rejects):
        words = (str(one.line), column, fault.value, fault.code, reason(fault.code, fault.params))
        raw = one.raw
        if wide:
            raw = raw.decode(exact, "surrogatepass").encode("utf-8", "surrogatepass")
        lines.append(b",".join([*(_cell(word, inner) for word in words), _quoted(raw.rstrip(b"\r"))]))
    data = b"\r\n".join([*lines, b""])
    if wide:
        text = "\ufeff" + data.decode("utf-8", "surrogatepass")
        return text.encode(exact, "surrogatepass")
    return data


def _workbook(mapping: Mapping, rejects: Sequence[Reject], path: Path) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet(texts.say("import.column.rejected"))
    sheet.freeze_panes = "A2"
    for letter, width in zip("ABCDEF", _WIDTHS, strict=True):
        sheet.column_dimensions[letter].width = width
    header = []
    for name in _HEADER:
        cell = WriteOnlyCell(sheet, value=texts.say(f"import.column.{name}"))
        cell.font = Font(bold=True)
        header.append(cell)
    sheet.append(header)
    codec = exact_codec(mapping)
    for one, fault, column in _faults(mapping, rejects):
        original = _original(one.raw, codec)
        words = (column, fault.value, fault.code, reason(fault.code, fault.params), original)
        row = [WriteOnlyCell(sheet, value=one.line)]
        for word in words:
            cell = WriteOnlyCell(sheet, value="")
            # A text, even when it begins with = or +: nobody's cell is run on the customer's machine.
            cell.value, cell.data_type = ILLEGAL_CHARACTERS_RE.sub("·", word)[:32_000], "s"
            row.append(cell)
        sheet.append(row)
    part = path.with_name(f".{path.name}.part")
    book.save(part)
    part.replace(path)


def _original(raw: bytes, codec: str) -> str:
    """The line as text; bytes that mean nothing are written out."""
    try:
        return decoder(codec)(raw)
    except UnicodeDecodeError:
        return raw.decode(codec, "backslashreplace")


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _cell(text: str, codec: str) -> bytes:
    return _quoted(text.encode(codec, "replace"))


def _quoted(raw: bytes) -> bytes:
    # 22 is never the second half of a character in a codec of ours, so bytes may be quoted undecoded.
    return b'"' + raw.replace(b'"', b'""') + b'"'
