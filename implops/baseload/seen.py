"""Keys that must not repeat, of files and tables of any size.

A few are kept as they are. Of more, only hashes are written to disk, eight bytes a key; when the file is over, those
that stand there twice are suspects, and a second pass keeps just the suspects' keys and compares them as texts. So a
hash names candidates and never decides: no row is refused because two hashes are equal, none passes for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from implops.errors import MachineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# About 300 bytes each in memory.
KEPT_KEYS = 500_000
# Hashes that are sorted and looked at at once: 8 MB.
_RUN = 1_000_000
_PLACE = "/var/tmp"  # noqa: S108 - /tmp is memory on many machines; the file has no name

Names = tuple[str, ...]
# Of each group of columns whose keys were too many: hashes that stand for more than one row.
Suspects = dict[Names, frozenset[int]]


class Hashes:
    """64-bit hashes on disk, in sorted runs. Raises MachineError when there is no room for them."""

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._file = tempfile.TemporaryFile(dir=_PLACE)  # noqa: SIM115 - lives as long as this
        self._held: list[int] = []
        self.runs: list[int] = []
        self.extend(hashes)

    def extend(self, hashes: Iterable[int]) -> None:
        for one in _pieces(hashes, _RUN):
            self._held += one
            if len(self._held) >= _RUN:
                self._write()

    def _write(self) -> None:
        import numpy as np

        run = np.array(self._held, np.int64)
        run.sort()
        try:
            self._file.write(run.tobytes())
            self._file.flush()
        except OSError as error:
            raise MachineError("import.no_room", folder=_PLACE, why=error.strerror) from None
        self.runs.append(len(run))
        self._held = []

    def parts(self, count: int) -> Iterator[npt.NDArray[np.int64]]:
        """All hashes, cut by value into ``count`` ranges of about the same size; each range sorted."""
        import numpy as np

        if self._held:
            self._write()
        step = 2**64 // count
        edges = np.array([step * one - 2**63 for one in range(1, count)], np.int64)
        cuts, first = [], 0
        for size in self.runs:
            run = np.memmap(self._file, np.int64, "r", offset=8 * first, shape=(size,))
            cuts.append([first, *(first + int(one) for one in np.searchsorted(run, edges)), first + size])
            first += size
        for place in range(count):
            found = [self._read(one[place], one[place + 1]) for one in cuts]
            part = np.concatenate(found) if found else np.array([], np.int64)
            part.sort()
            yield part

    def _read(self, start: int, end: int) -> npt.NDArray[np.int64]:
        import numpy as np

        self._file.seek(8 * start)
        return np.frombuffer(self._file.read(8 * (end - start)), np.int64)

    @property
    def total(self) -> int:
        return sum(self.runs) + len(self._held)


def twice(mine: Hashes, theirs: Hashes | None) -> frozenset[int]:
    """Hashes that stand twice among ``mine``, or in both."""
    import numpy as np

    count = (mine.total + (theirs.total if theirs else 0)) // _RUN + 1
    found: set[int] = set()
    others = theirs.parts(count) if theirs else None
    for part in mine.parts(count):
        found.update(part[1:][part[1:] == part[:-1]].tolist())
        if others:
            found.update(np.intersect1d(part, next(others)).tolist())
    return frozenset(found)


class Seen:
    """The keys of one group of columns in one pass. ``taken``: keys that the table holds, or their hashes; ``only``:
    hashes of the keys that matter, when a pass before this one has told them.
    """

    def __init__(self, taken: Collection[Any] | Hashes, only: frozenset[int] | None, kept: int = KEPT_KEYS) -> None:
        self._only, self._kept = only, kept
        self._theirs = taken if isinstance(taken, Hashes) else None
        self._taken: set[Any] = set() if isinstance(taken, Hashes) else set(taken)
        self._first: dict[Any, int] = {}
        self._mine: Hashes | None = None
        self._told: set[int] = set()

    def repeated(
        self, keys: Sequence[Any], lines: Sequence[int], bad: Collection[int]
    ) -> Iterator[tuple[int, int | None]]:
        """(place, line of the first row with that key; None when it is the table's), of rows not in ``bad``."""
        if self._only is not None and self._only.isdisjoint(map(hash, keys)):
            return
        if self._only is None and not bad and "" not in keys and self._taken.isdisjoint(keys):
            if self._mine is not None:
                self._mine.extend(map(hash, keys))
                return
            fresh = set(keys)
            if len(fresh) == len(keys) and self._first.keys().isdisjoint(fresh):
                self._first.update(zip(keys, lines, strict=True))
                self._spill(self._kept)
                return
        for place, key in enumerate(keys):
            if key == "" or place in bad or (self._only is not None and hash(key) not in self._only):
                continue
            if key in self._taken:
                self._told.add(hash(key))
                yield place, None
            elif self._mine is not None:
                self._mine.extend([hash(key)])
            elif key in self._first:
                self._told.add(hash(key))
                yield place, self._first[key]
            else:
                self._first[key] = lines[place]
        if self._only is None:
            self._spill(self._kept)

    def _spill(self, kept: int) -> None:
        if self._mine is None and len(self._first) > kept:
            self._mine = Hashes(map(hash, self._first))
            self._first.clear()

    def suspects(self) -> tuple[frozenset[int], bool] | None:
        """At the end of a pass: the hashes that another one must look at to come to its verdicts, and whether this one
        could not decide. None when all keys were in memory.
        """
        if self._only is not None or (self._mine is None and self._theirs is None):
            return None
        self._spill(-1)
        assert self._mine is not None
        found = twice(self._mine, self._theirs)
        # What was refused at once is not written twice.
        return found | self._told, bool(found)


def _pieces(hashes: Iterable[int], size: int) -> Iterator[list[int]]:
    from itertools import islice

    rest = iter(hashes)
    while piece := list(islice(rest, size)):
        yield piece
