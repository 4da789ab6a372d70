"""What a pass over a file leaves: blocks for the server, rejects, and the account that the proof compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import reduce

from implops.baseload.rules import Fault

# The default context rounds to 28 digits; the widest column and the longest file stay below 60.
EXACT = Context(prec=60)


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
    """What was read. ``exists``: rejected rows whose key the table holds. ``notes``: remarks (key of a text -> its
    parameter). ``row_hash``: fingerprint.py.
    """

    rows: int = 0
    good: int = 0
    blank: int = 0
    rejected: int = 0
    exists: int = 0
    last_line: int = 0
    row_hash: int = 0
    columns: dict[str, Sums] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Good rows for the server (UTF-8, CSV), and how many lines of the file have been read so far."""

    data: bytes
    rows: int
    line: int


def total(column: Sequence[str], behind: int | None) -> Decimal:
    """Exact sum of canonical numbers. With a fixed scale they are summed as whole numbers, five times as fast."""
    given = [one for one in column if one] if "" in column else column
    if behind is None and any("." in one for one in given):
        return reduce(EXACT.add, map(Decimal, given), Decimal(0))
    whole = "\n".join(given).replace(".", "").split("\n") if behind and given else given
    return EXACT.scaleb(Decimal(sum(map(int, whole))), -(behind or 0))


def canonical(columns: Sequence[Sequence[str]]) -> list[bytes]:
    """The rows as the database joins them for their hash: values in the mapping's order, NULL as an empty text."""
    return ["\x1f".join(row).encode() for row in zip(*columns, strict=True)]
