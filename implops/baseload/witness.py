"""The file's side of the proof: a second process reads the file once more and reckons what the table must hold.

It shares nothing with the process that loads but the list of rejected lines, so a fault of the loading cannot hide
itself, and the other core works while the server loads. What it finds comes in parts, one a transaction.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection
from struct import unpack
from typing import Any

from implops.baseload.codec import decoder
from implops.baseload.mapping import Mapping
from implops.baseload.rows import EXACT, Reader, Sums, Tally, total
from implops.baseload.source import Bytes, shown
from implops.baseload.stream import Lines, cells_of, lines
from implops.baseload.target import Cell
from implops.errors import DataError, ImplopsError, MachineError

# The md5 of OpenSSL takes three times as long to begin as the one that Python has of its own.
try:
    md5: Callable[[bytes], Any] = importlib.import_module("_md5").md5
except ImportError:
    from hashlib import md5

_LOW = bytes(one & 15 for one in range(256))
_FOUR_BYTES = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_WIDE_ROWS = 20


@dataclass
class Part:
    """What one transaction must leave: ``tally`` of its rows alone, and the sampled rows with their lines."""

    tally: Tally
    spotted: list[tuple[int, list[str]]] = field(default_factory=list)
    sha256: str = ""


def digest(rows: Sequence[bytes]) -> int:
    """The sum over rows of the first 60 bits of their md5."""
    found = b"".join([md5(row).digest() for row in rows])  # noqa: S324 - a sum against accidents, no secret
    high: int = sum(unpack(">" + "Q8x" * len(rows), found))
    return (high - sum(found[7::16].translate(_LOW))) >> 4


class Plain:
    """Reckons a plain file (stream.py). ``cells`` in the order of the file, ``order`` their places in the mapping."""

    def __init__(
        self, mapping: Mapping, cells: Sequence[Cell], order: Sequence[int], skip: frozenset[int], spots: frozenset[int]
    ) -> None:
        self.mapping, self.cells, self.order, self.skip, self.spots = mapping, cells, list(order), skip, spots
        self.delimiter = mapping.source.separator
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
        given = cells_of(text, self.delimiter)
        if len(given) != len(self.cells):
            raise ValueError("cells")
        count, tally = len(given[0]), self.part.tally
        canonical = [cell.canonical(column) for cell, column in zip(self.cells, given, strict=True)]
        as_it_stands = self.in_place and '"' not in text and all(a is b for a, b in zip(given, canonical, strict=True))
        raw = self._bytes(text) if as_it_stands else self._joined(canonical)
        for cell, column in zip(self.cells, canonical, strict=True):
            sums = tally.columns[cell.name]
            sums.count += count - column.count("")
            if cell.counted:
                sums.length += len("".join(column))
            if sums.sum is not None:
                sums.sum = EXACT.add(sums.sum, total(column, cell.behind))
        shown = raw.split(b"\n")
        tally.row_hash += digest(shown)
        self._sample(canonical, shown, block, wide=any(one in raw for one in _FOUR_BYTES))
        tally.good += count
        self.good += count

    def _bytes(self, text: str) -> bytes:
        """The canonical rows of text without quotes: delimiters replaced, empty cells named."""
        raw = text.encode().replace(b"\r\n", b"\n").replace(self.delimiter.encode(), b"\x1f")
        if b"\x1f\x1f" in raw:  # twice: neighbours share a delimiter
            raw = raw.replace(b"\x1f\x1f", b"\x1f\\N\x1f").replace(b"\x1f\x1f", b"\x1f\\N\x1f")
        raw = raw.replace(b"\x1f\n", b"\x1f\\N\n").replace(b"\n\x1f", b"\n\\N\x1f")
        return (b"\\N" if raw.startswith(b"\x1f") else b"") + raw[:-1]

    def _joined(self, canonical: list[Sequence[str]]) -> bytes:
        ordered = [canonical[place] for place in self.order]
        shown = [[one or "\\N" for one in column] if "" in column else column for column in ordered]
        return "\n".join(map("\x1f".join, zip(*shown, strict=True))).encode()

    def _sample(self, canonical: list[Sequence[str]], shown: list[bytes], block: Lines, *, wide: bool) -> None:
        def row(index: int) -> tuple[int, list[str]]:
            line = block.numbers[index] if block.numbers else block.line + index
            return line, [canonical[place][index] for place in self.order]

        chosen = {place - self.good for place in self.spots.intersection(range(self.good, self.good + len(shown)))}
        for index, one in enumerate(shown) if wide else ():
            if self._wide < _WIDE_ROWS and any(lead in one for lead in _FOUR_BYTES):
                self._wide += 1
                chosen.add(index)
        self.part.spotted += [row(index) for index in sorted(chosen)]
        longest = max(map(len, shown))
        if longest > self._longest[0]:
            self._longest = (longest, *row(next(place for place, one in enumerate(shown) if len(one) == longest)))


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
