"""Cells of whole lines as places in their bytes: counted, measured and summed without making a text of each.

For blocks in UTF-8 without quotes and carriage returns, where every delimiter and line feed ends a cell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Places = npt.NDArray[np.int64]
_LINE_FEED, _MINUS, _POINT, _ZERO = b"\n-.0"


class Grid:
    """``width`` cells in each line of ``raw``. Raises ValueError when a line has another number of them."""

    def __init__(self, raw: bytes, delimiter: str, width: int) -> None:
        self._raw = raw
        self._bytes = np.frombuffer(raw, np.uint8)
        stops = np.flatnonzero((self._bytes == ord(delimiter)) | (self._bytes == _LINE_FEED))
        self.rows = raw.count(b"\n")
        if len(stops) != width * self.rows or not (self._bytes[stops[width - 1 :: width]] == _LINE_FEED).all():
            raise ValueError("cells")
        self._stops = stops.reshape(-1, width)
        starts = np.zeros_like(stops)
        starts[1:] = stops[:-1] + 1
        self._starts = starts.reshape(-1, width)
        self._lengths = self._stops - self._starts

    def filled(self) -> list[int]:
        """Of each column: cells that are not empty."""
        return [int(one) for one in np.count_nonzero(self._lengths, axis=0)]

    def characters(self) -> list[int]:
        """Of each column: the characters of all its cells."""
        sizes = self._lengths.sum(axis=0)
        if not self._raw.isascii():
            # Every byte of a character but its first one is 10xxxxxx.
            following = np.cumsum((self._bytes & 0xC0) == 0x80, dtype=np.int32)
            at_stops = following[self._stops.ravel()]
            sizes -= np.diff(at_stops, prepend=0).reshape(self._stops.shape).sum(axis=0)
        return [int(one) for one in sizes]

    def canonical(self, column: int, behind: int | None) -> bool:
        """Whether all numbers of a column stand as the server prints them: at full scale, and no zero with a sign."""
        starts, stops = self._cells(column)
        if behind and not ((stops - starts > behind + 1) & (self._bytes[stops - behind - 1] == _POINT)).all():
            return False
        signed = np.flatnonzero(self._bytes[starts] == _MINUS)
        return all(self._raw[starts[one] : stops[one]].strip(b"-0.") for one in signed)

    def sum(self, column: int, behind: int | None) -> int | None:
        """The exact sum of a column's canonical numbers without their point; None when other signs stand in it."""
        starts, stops = self._cells(column)
        if not len(starts):
            return 0
        negative = self._bytes[starts] == _MINUS
        signs = np.where(negative, -1, 1)
        lengths = stops - starts - negative
        total, weight = 0, 1
        for place in range(int(lengths.max())):
            there = lengths > place
            digits = self._bytes[stops[there] - 1 - place] - np.uint8(_ZERO)
            if behind and place == behind:
                if (digits != np.uint8((_POINT - _ZERO) % 256)).any():
                    return None
                continue
            if (digits > 9).any():
                return None
            total += int((digits * signs[there]).sum()) * weight
            weight *= 10
        return total

    def _cells(self, column: int) -> tuple[_Places, _Places]:
        """Where the cells of a column that are not empty start and stop."""
        starts, stops = self._starts[:, column], self._stops[:, column]
        filled = self._lengths[:, column] > 0
        return starts[filled], stops[filled]
