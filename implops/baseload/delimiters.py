"""What parts the cells of a text file, judged by its first lines. A suggestion only."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence

_DELIMITERS = (",", "\t", ";", "|", "^", "~")
# Between cells of exports that quote nothing.
_SEVERAL = (
    "|^|",
    "^|^",
    "|~|",
    "~|~",
    "|@|",
    "@|@",
    "|#|",
    "#|#",
    "|!|",
    "|$|",
    "||",
    "^^",
    "~~",
    "@@",
    "##",
    "$$",
    "::",
)


def delimiter_of(lines: Sequence[str]) -> str:
    """What cuts most lines into the same number of cells, two at least; empty when nothing does. Several characters
    where they cut every line alike: one of them alone would find columns that hold nothing but the others.
    """
    best: tuple[int, int, str] = (0, 0, "")
    for one in _DELIMITERS:
        counted = Counter(len(row) for row in csv.reader(lines[:200], delimiter=one))
        width, times = counted.most_common(1)[0]
        if width > 1 and (times, width) > best[:2]:
            best = (times, width, one)
    for several in _SEVERAL:
        widths = {line.count(several) for line in lines[:200]}
        alone = any(set(several) & set(line.replace(several, "")) for line in lines[:200])
        if best[2] in several and len(widths) == 1 and widths != {0} and not alone:
            return several
    return best[2]
