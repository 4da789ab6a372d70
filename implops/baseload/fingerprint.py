"""One number for many rows, whatever their order: the sum of a hash of each canonical row.

The hash is one that the database reckons cheaply and that Python can follow: md5 costs PostgreSQL four times as much
as all the rest of the proof, so there it is the server's own hash of a text (``hashtextextended``, Bob Jenkins'
lookup3 as in PostgreSQL's common/hashfn.c since version 11, on machines that store the low byte first). A server that
reckons otherwise never agrees with the file, so nothing is loaded there unproved.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from struct import unpack
from typing import Any

import numpy as np
import numpy.typing as npt

Fingerprint = Callable[[Sequence[bytes]], int]
_Words = npt.NDArray[np.uint32]

# The md5 of OpenSSL takes three times as long to begin as the one that Python has of its own.
try:
    md5: Callable[[bytes], Any] = importlib.import_module("_md5").md5
except ImportError:
    from hashlib import md5

_LOW = bytes(one & 15 for one in range(256))
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(5)], np.uint32)
_MIX = ((0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4))
_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def md5_sum(rows: Sequence[bytes]) -> int:
    """The sum over rows of the first 60 bits of their md5."""
    found = b"".join([md5(row).digest() for row in rows])  # noqa: S324 - a sum against accidents, no secret
    high: int = sum(unpack(">" + "Q8x" * len(rows), found))
    return (high - sum(found[7::16].translate(_LOW))) >> 4


def lookup3_sum(rows: Sequence[bytes]) -> int:
    """The sum over rows of PostgreSQL's ``hashtextextended(row, 0)``, numbers of 64 bits with a sign."""
    if not rows:
        return 0
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    # The longest first: each round works on the rows that still have words.
    order = np.argsort(-(lengths // 12), kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    lengths = lengths[order]
    data = b"".join(rows) + bytes(12)
    words = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    state = [(lengths + (0x9E3779B9 + 3923095)).astype(np.uint32) for _ in range(3)]
    rounds = lengths // 12
    for number in range(int(rounds[0])):
        left = int(np.searchsorted(-rounds, -number))
        part = [one[:left] for one in state]
        for place in range(3):
            part[place] += words[starts[:left] + (12 * number + 4 * place)]
        for one, other, third, by in _MIX:
            part[one] -= part[other]
            part[one] ^= _turned(part[other], by)
            part[other] += part[third]
    _last(state, words, starts + 12 * rounds, lengths - 12 * rounds)
    for one, other, by in _FINAL:
        state[one] ^= state[other]
        state[one] -= _turned(state[other], by)
    high, low = int(state[1].view(np.int32).sum(dtype=np.int64)), int(state[2].sum(dtype=np.uint64))
    return (high << 32) + low


def _last(state: list[_Words], words: _Words, starts: npt.NDArray[np.int64], left: npt.NDArray[np.int64]) -> None:
    """Add the last 0 to 11 bytes of each row; the low byte of the third word stays free for the length."""
    for place in range(3):
        mask = _MASKS[np.clip(left - 4 * place, 0, 4)]
        found = words[np.minimum(starts + 4 * place, len(words) - 1)] & mask
        state[place] += found << np.uint32(8) if place == 2 else found


def _turned(words: _Words, by: int) -> _Words:
    """All bits moved to the left, those that fall out come in again at the right."""
    found: _Words = (words << np.uint32(by)) | (words >> np.uint32(32 - by))
    return found
