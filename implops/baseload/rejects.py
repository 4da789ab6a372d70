"""The list of rejected lines, for the customer to repair: CSV in the file's own encoding, original bytes untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from implops import texts
from implops.baseload.mapping import Mapping
from implops.baseload.rows import Reject

_HEADER = ("line", "column", "value", "code", "reason", "original")


def reason(code: str, params: dict[str, object], language: str | None = None) -> str:
    """``duplicate`` and its parameters as a sentence."""
    return texts.say(f"import.reason.{code}", lang=language, **params)


def write(mapping: Mapping, rejects: Sequence[Reject], folder: Path) -> tuple[Path, str]:
    """``folder/rejects-NAME.csv`` and its sha256: one line per fault; a line with two faults stands there twice."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rejects-{mapping.path.stem}.csv"
    codec = mapping.source.codec
    # Excel takes a UTF-8 file without a mark for the code page of the machine.
    lines = [b"\xef\xbb\xbf" if codec == "utf-8" else b""]
    lines[0] += b",".join(_cell(texts.say(f"import.column.{name}"), codec) for name in _HEADER)
    sources = {name: column.source for name, column in mapping.columns.items()}
    for one in rejects:
        for fault in one.faults:
            cells = [_cell(str(one.line), codec), _cell(str(sources.get(fault.column, fault.column)), codec)]
            cells += [_cell(word, codec) for word in (fault.value, fault.code, reason(fault.code, fault.params))]
            lines.append(b",".join([*cells, _quoted(one.raw.rstrip(b"\r"))]))
    data = b"\r\n".join([*lines, b""])
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
    return path, hashlib.sha256(data).hexdigest()


def _cell(text: str, codec: str) -> bytes:
    return _quoted(text.encode(codec, "replace"))


def _quoted(raw: bytes) -> bytes:
    # 22 is never the second half of a character in a codec of ours, so bytes may be quoted undecoded.
    return b'"' + raw.replace(b'"', b'""') + b'"'
