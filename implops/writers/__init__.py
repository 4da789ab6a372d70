"""Writers: a Document becomes a file. How things look is decided here, what they say is not."""

from __future__ import annotations

import re

# Output of hosts ends up in cells: control characters are no XML, and direction marks make a line read as another.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """``text`` with every character that cannot stand on a sheet replaced by U+FFFD; tab and newline stay."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n"))
