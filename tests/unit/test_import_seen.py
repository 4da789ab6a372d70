"""Keys of any number: what goes to disk as hashes ends in the same verdicts as what is held in memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_reading import TABLE, Read, mat

from implops.baseload import judge, seen, source
from implops.baseload.check import judged
from implops.baseload.rows import Reader
from implops.baseload.seen import Hashes, Seen, twice
from implops.baseload.target import fit
from implops.errors import MachineError


def verdicts(one: Seen, keys: Sequence[Any], size: int, bad: frozenset[int]) -> list[tuple[int, int | None]]:
    """(place, first line or None) of what one pass in blocks of ``size`` refuses; lines count from 10."""
    found = []
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        wrong = {place - start for place in bad if start <= place < start + size}
        told = one.repeated(part, range(start + 10, start + 10 + len(part)), wrong)
        found += [(start + place, first) for place, first in told]
    return found


KEYS = st.lists(st.one_of(st.sampled_from(["a", "b", "c", ""]), st.text(max_size=3)), max_size=40)


@given(KEYS, st.sets(st.sampled_from(["a", "b", "x", "y"])), st.integers(1, 9), st.frozensets(st.integers(0, 39)),
       st.booleans())  # fmt: skip
@settings(max_examples=150)
def test_hashes_on_disk_end_in_the_verdicts_of_keys_in_memory(
    keys: list[str], table: set[str], size: int, bad: frozenset[int], large: bool
) -> None:
    expected = verdicts(Seen(table, None), keys, size, bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "_RUN", 4)
        first = Seen(Hashes(map(hash, table)) if large else table, None, 3)
        found, told = verdicts(first, keys, size, bad), first.suspects()
    if told is None or not told[1]:
        assert found == expected
    if told is not None:
        there = {one for one in table if hash(one) in told[0]}
        assert verdicts(Seen(there, told[0]), keys, size, bad) == expected


def test_equal_hashes_of_different_keys_refuse_nothing() -> None:
    class Same(str):
        def __hash__(self) -> int:
            return 7

    keys = [Same("a"), Same("b"), Same("c"), Same("b")]
    first = Seen(Hashes([7]), None, 1)
    assert verdicts(first, keys, 2, frozenset()) == []
    assert first.suspects() == ({7}, True)
    assert verdicts(Seen({keys[2]}, frozenset({7})), keys, 2, frozenset()) == [(2, None), (3, 11)]


def test_hashes_of_many_runs_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RUN", 1000)
    numbers = random.Random(3)
    many = [numbers.randrange(-(2**63), 2**63) for _ in range(10_000)]
    mine = Hashes([*many, many[17], 2**63 - 1, -(2**63)])
    assert len(mine.runs) == 10
    assert twice(mine, None) == {many[17]}
    assert twice(mine, Hashes([many[5], many[9999], 3])) == {many[17], many[5], many[9999]}
    assert sum(len(part) for part in mine.parts(7)) == 10_003


def test_no_room_for_hashes_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RUN", 2)
    full = Hashes()
    full._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(MachineError) as error:
        full.extend([1, 2, 3])
    assert error.value.key == "import.no_room"


@pytest.mark.parametrize("kept", [5, 500_000])
def test_a_file_with_more_keys_than_memory_has_room_for_is_read_twice_only_when_some_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(judge, "KEPT_KEYS", kept)
    monkeypatch.setattr(source, "BLOCK", 256)
    lines = [f"M{number:03d},甲,,,," for number in range(100, 140)]
    one = Read(tmp_path, mat(*lines)).mapping
    passes = []

    def opened(told: seen.Suspects) -> Reader:
        passes.append(told)
        only = told.get(("code",))
        there = {("M139",)} if only is None or hash("M139") in only else set()
        return Reader(one, fit(one, TABLE), {}, {("code",): there}, suspects=told)

    reader, _ = judged(opened, lambda rows, line: None)
    assert [one.line for one in reader.rejects] == [41]
    assert len(passes) == 1
    lines[20:20] = ["M101,乙,,,,", "M100,乙,x,,,", "M139,乙,,,,"]
    (tmp_path / "f.csv").write_bytes(mat(*lines))
    passes.clear()
    reader, suspects = judged(opened, lambda rows, line: None)
    assert len(passes) == (2 if kept == 5 else 1)
    told = [(one.line, one.faults[0].code, one.faults[0].params.get("first")) for one in reader.rejects]
    assert told == [(22, "duplicate", 3), (23, "decimal", None), (24, "exists", None), (44, "exists", None)]
    assert (reader.tally.good, reader.tally.rejected) == (39, 4)
    loading = opened(suspects)
    assert sum(block.rows for block in loading.blocks()) == 39
    assert loading.rejects == reader.rejects
