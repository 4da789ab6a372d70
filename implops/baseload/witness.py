"""The file's side of the proof: a second process reads the file once more and reckons what the table must hold.

It shares nothing with the process that loads but the list of rejected lines, so a fault of the loading cannot hide
itself, and the other core works while the server loads. What it finds comes in parts, one a transaction.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection

from implops.baseload.codec import decoder
from implops.baseload.fingerprint import Fingerprint
from implops.baseload.grid import Grid
from implops.baseload.mapping import Mapping
from implops.baseload.rows import EXACT, Reader, Sums, Tally, total
from implops.baseload.source import Bytes, shown
from implops.baseload.stream import Lines, cells_of, lines
from implops.baseload.target import Cell
from implops.errors import DataError, ImplopsError, MachineError

_FOUR_BYTES = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_WIDE_ROWS = 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass
class Part:
    """What one transaction must leave: ``tally`` of its rows alone, and the sampled rows with their lines."""

    tally: Tally
    spotted: list[tuple[int, list[str]]] = field(default_factory=list)
    sha256: str = ""


class Plain:
    """Reckons a plain file (stream.py). ``cells`` in the order of the file, ``order`` their places in the mapping."""

    def __init__(
        self, mapping: Mapping, cells: Sequence[Cell], order: Sequence[int], skip: frozenset[int],
        spots: frozenset[int], fingerprint: Fingerprint,
    ) -> None:  # fmt: skip
        self.fingerprint = fingerprint
        self.mapping, self.cells, self.order, self.skip, self.spots = mapping, cells, list(order), skip, spots
        self.delimiter, self._utf8 = mapping.source.separator, mapping.source.codec == "utf-8"
        self.in_place = self.order == list(range(len(cells)))
        self.good = 0
        self.part = self._new()
        self._longest: tuple[int, int, list[str]] = (-1, 0, [])
        self._wide = 0

    def _new(self) -> Part:
        columns = {name: Sums() for name in self.mapping.columns}
        for name in self.mapping.verify.sum:
            columns[name].sum = Decimal(0)
        return Part(Tally(columns=columns))

    def parts(self) -> Iterator[Part]:
        """One for each ``batch`` of the mapping, cut where load.py cuts; the last one carries the file's sha256."""
        source, decode = Bytes(self.mapping), decoder(self.mapping.source.codec)
        for block in lines(source, self.skip):
            try:
                self._block(decode(block.raw), block)
            except ValueError:  # blank lines, or lines that the check had not seen
                block = block.without(self.skip)
                self._block(decode(block.raw), block)
            if self.mapping.batch and self.part.tally.good >= self.mapping.batch:
                yield self._done()
        last = self._done()
        last.sha256 = source.sha256
        yield last

    def _done(self) -> Part:
        part, self.part = self.part, self._new()
        if self._longest[2]:
            part.spotted.append((self._longest[1], self._longest[2]))
        self._longest = (-1, 0, [])
        return part

    def _block(self, text: str, block: Lines) -> None:
        if not text:
            return
        raw = block.raw if self._utf8 else text.encode()
        if "\r" in text:
            text, raw = text.replace("\r\n", "\n"), raw.replace(b"\r\n", b"\n")
        raw = self._as_it_stands(raw) or self._anew(text)
        rows = raw.split(b"\n")
        self.part.tally.row_hash += self.fingerprint(rows)
        self._sample(text, rows, block, wide=any(lead in raw for lead in _FOUR_BYTES))
        self.part.tally.good += len(rows)
        self.good += len(rows)

    def _as_it_stands(self, raw: bytes) -> bytes | None:
        """The canonical rows of lines that need no change but their delimiters; None, and nothing added, for others."""
        if not self.in_place or b'"' in raw or not self.delimiter.isascii():
            return None
        grid = Grid(raw, self.delimiter, len(self.cells))
        sums: dict[str, int] = {}
        for place, cell in enumerate(self.cells):
            if cell.type == "numeric" and not grid.canonical(place, cell.behind):
                return None
            if self.part.tally.columns[cell.name].sum is not None:
                found = grid.sum(place, cell.behind)
                if found is None:
                    return None
                sums[cell.name] = found
        for cell, filled, characters in zip(self.cells, grid.filled(), grid.characters(), strict=True):
            column = self.part.tally.columns[cell.name]
            column.count += filled
            if cell.counted:
                column.length += characters
            if column.sum is not None:
                column.sum = EXACT.add(column.sum, EXACT.scaleb(Decimal(sums[cell.name]), -(cell.behind or 0)))
        return raw[:-1].replace(self.delimiter.encode(), b"\x1f")

    def _anew(self, text: str) -> bytes:
        """The canonical rows of any text, cell by cell."""
        given = cells_of(text, self.delimiter)
        if len(given) != len(self.cells):
            raise ValueError("cells")
        canonical = [cell.canonical(column) for cell, column in zip(self.cells, given, strict=True)]
        for cell, column in zip(self.cells, canonical, strict=True):
            sums = self.part.tally.columns[cell.name]
            sums.count += len(column) - column.count("")
            if cell.counted:
                sums.length += len("".join(column))
            if sums.sum is not None:
                sums.sum = EXACT.add(sums.sum, total(column, cell.behind))
        ordered = [canonical[place] for place in self.order]
        return "\n".join(map("\x1f".join, zip(*ordered, strict=True))).encode()

    def _sample(self, text: str, rows: list[bytes], block: Lines, *, wide: bool) -> None:
        lines: list[str] = []

        def row(index: int) -> tuple[int, list[str]]:
            if not lines:
                lines.extend(text[:-1].split("\n"))
            given = [one[0] for one in cells_of(lines[index] + "\n", self.delimiter)]
            values = [cell.canonical([value])[0] for cell, value in zip(self.cells, given, strict=True)]
            line = block.numbers[index] if block.numbers else block.line + index
            return line, [values[place] for place in self.order]

        chosen = {place - self.good for place in self.spots.intersection(range(self.good, self.good + len(rows)))}
        for index, one in enumerate(rows) if wide else ():
            if self._wide < _WIDE_ROWS and any(lead in one for lead in _FOUR_BYTES):
                self._wide += 1
                chosen.add(index)
        self.part.spotted += [row(index) for index in sorted(chosen)]
        sizes = list(map(len, rows))
        if (longest := max(sizes)) > self._longest[0]:
            self._longest = (longest, *row(sizes.index(longest)))


class General:
    """Reckons any file with a reader that was made for the proof (``hashed``)."""

    def __init__(self, reader: Reader) -> None:
        self.mapping, self.reader = reader.mapping, reader
        self._told = Tally(columns={name: Sums(sum=None if one.sum is None else Decimal(0))
                                    for name, one in reader.tally.columns.items()})  # fmt: skip
        self._spotted = 0

    def parts(self) -> Iterator[Part]:
        batch, rows = self.mapping.batch, 0
        for block in self.reader.blocks():
            rows += block.rows
            if batch and rows >= batch:
                rows = 0
                yield self._done()
        last = self._done()
        last.sha256 = self.reader.sha256
        yield last

    def _done(self) -> Part:
        """What was read since the last time."""
        now, before = self.reader.tally, self._told
        part = Part(added(now, before, -1), self.reader.spotted[self._spotted :])
        self._told, self._spotted = added(now, before, 0), len(self.reader.spotted)
        return part


def added(one: Tally, two: Tally, sign: int = 1) -> Tally:
    """The account of both together, or of the first without the second."""
    columns = {}
    for name in one.columns or two.columns:
        left, right = one.columns.get(name, Sums()), two.columns[name]
        both = None if right.sum is None else EXACT.add(left.sum or Decimal(0), sign * right.sum)
        columns[name] = Sums(left.count + sign * right.count, left.length + sign * right.length, both)
    good, rejected, blank = (getattr(one, name) + sign * getattr(two, name) for name in ("good", "rejected", "blank"))
    return Tally(
        rows=good + rejected, good=good, blank=blank, rejected=rejected, last_line=one.last_line,
        row_hash=one.row_hash + sign * two.row_hash, columns=columns,
    )  # fmt: skip


class Witness:
    """A reckoning in a process of its own, which ends with this one."""

    def __init__(self, reckoning: Plain | General) -> None:
        context = multiprocessing.get_context("fork")
        self._answers, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(reckoning, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def part(self) -> Part:
        """The next part. Raises what the reckoning raised, MachineError when its process was killed."""
        try:
            found = self._answers.recv()
        except EOFError:
            raise MachineError("import.witness_lost") from None
        if isinstance(found, Part):
            return found
        key, params, kind = found
        raise kind(key, **params)

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._answers.close()


def _work(reckoning: Plain | General, answers: Connection, parent: int) -> None:
    gc.disable()  # millions of short lists, no circles
    # Blocks are as large as what glibc gives back to the kernel at once; faulting them in again costs a quarter.
    with contextlib.suppress(OSError, AttributeError):
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, 2**26)
    # The load goes first: this one takes what it leaves.
    with contextlib.suppress(OSError):
        os.nice(10)
    try:
        for part in reckoning.parts():
            if os.getppid() != parent:
                return
            answers.send(part)
    except ImplopsError as error:
        answers.send((error.key, error.params, type(error)))
    except (ValueError, UnicodeDecodeError):
        # Lines that the check had not seen.
        answers.send(("import.file_changed", {"file": shown(reckoning.mapping)}, DataError))
    except KeyboardInterrupt:
        pass
