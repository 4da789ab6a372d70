"""Rows written anew as CSV for the server (``Server.sent`` gives them to its copy command)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from implops.baseload.column import ABSENT, KEPT


def rows(columns: Sequence[Sequence[str]], delimiter: str, *, quoted: bool, keeping: bool) -> bytes:
    """Lines in UTF-8. ``quoted``: every cell stands in quotes; ``keeping``: empty texts are told from NULL."""
    if keeping:
        lines = (delimiter.join(map(_cell, row)) for row in zip(*columns, strict=True))
        return "".join(f"{line}\n" for line in lines).encode()
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n",
                        quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)  # fmt: skip
    writer.writerows(zip(*columns, strict=True))
    return buffer.getvalue().encode()


def _cell(value: str) -> str:
    """NULL is nothing at all, an empty text a mark between quotes."""
    if not value:
        return ""
    inner = ABSENT if value == KEPT else value.replace('"', '""')
    return f'"{inner}"'
