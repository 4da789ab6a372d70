"""Office files (docx, xlsx) are zip packages full of times; here one is rewritten so that its bytes repeat."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_STAMP = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


def save(
    write: Callable[[Path], None], path: Path, time: str, change: Callable[[str, bytes], bytes] | None = None
) -> None:
    """Have ``write`` fill a file beside ``path``, then rewrite it to ``path``: sorted names, one date.

    ``time`` is the record's finish (RFC 3339), the only time in the file; ``change`` may alter a member (name, bytes).
    """
    raw = path.with_name(f"{path.name}.raw")
    try:
        write(raw)
        _freeze(raw, path, _utc(time).encode(), change)
    finally:
        raw.unlink(missing_ok=True)


def _freeze(source: Path, target: Path, when: bytes, change: Callable[[str, bytes], bytes] | None) -> None:
    with ZipFile(source) as old, ZipFile(target, "w") as new:
        for name in sorted(old.namelist(), key=lambda one: (one != "[Content_Types].xml", one)):
            data = old.read(name)
            if name == "docProps/core.xml":
                data = _STAMP.sub(rb"\g<1>" + when, data)
            entry = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o600 << 16
            new.writestr(entry, change(name, data) if change else data, ZIP_DEFLATED)


def _utc(time: str) -> str:
    """The core properties take UTC only."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
