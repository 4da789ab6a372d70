"""What is reckoned for many rows at once is what is reckoned one by one, and what PostgreSQL itself says."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implops.baseload.fingerprint import lookup3_sum, md5_sum
from implops.baseload.grid import Grid
from implops.baseload.rows import total
from implops.baseload.stream import cells_of

_32 = 2**32 - 1


def slowly(row: bytes) -> int:
    """hash_bytes_extended of PostgreSQL's hashfn.c, line by line."""

    def turned(word: int, by: int) -> int:
        return ((word << by) | (word >> (32 - by))) & _32

    a = b = c = (0x9E3779B9 + len(row) + 3923095) & _32
    while len(row) >= 12:
        a = (a + int.from_bytes(row[:4], "little")) & _32
        b = (b + int.from_bytes(row[4:8], "little")) & _32
        c = (c + int.from_bytes(row[8:12], "little")) & _32
        a = ((a - c) & _32) ^ turned(c, 4)
        c = (c + b) & _32
        b = ((b - a) & _32) ^ turned(a, 6)
        a = (a + c) & _32
        c = ((c - b) & _32) ^ turned(b, 8)
        b = (b + a) & _32
        a = ((a - c) & _32) ^ turned(c, 16)
        c = (c + b) & _32
        b = ((b - a) & _32) ^ turned(a, 19)
        a = (a + c) & _32
        c = ((c - b) & _32) ^ turned(b, 4)
        b = (b + a) & _32
        row = row[12:]
    a = (a + int.from_bytes(row[:4], "little")) & _32
    b = (b + int.from_bytes(row[4:8], "little")) & _32
    c = (c + (int.from_bytes(row[8:], "little") << 8)) & _32
    c = ((c ^ b) - turned(b, 14)) & _32
    a = ((a ^ c) - turned(c, 11)) & _32
    b = ((b ^ a) - turned(a, 25)) & _32
    c = ((c ^ b) - turned(b, 16)) & _32
    a = ((a ^ c) - turned(c, 4)) & _32
    b = ((b ^ a) - turned(a, 14)) & _32
    c = ((c ^ b) - turned(b, 24)) & _32
    found = (b << 32) | c
    return found - 2**64 if found >= 2**63 else found


@pytest.mark.parametrize(
    ("row", "said"),
    # select hashtextextended(…, 0), PostgreSQL 15.18
    [
        ("", -6939563903564495251),
        ("a", 3591986179850072241),
        ("M00000001\x1f甲", -5935334881654914746),
        ("0123456789ab", -300982144080685429),
        ("𠮷" * 9 + "xy", 3495154597534773315),
    ],
)
def test_postgresql_says_the_same(row: str, said: int) -> None:
    assert lookup3_sum([row.encode()]) == slowly(row.encode()) == said


@given(st.lists(st.binary(max_size=50), max_size=30))
def test_many_rows_are_reckoned_as_one_by_one(rows: list[bytes]) -> None:
    assert lookup3_sum(rows) == sum(map(slowly, rows)) == lookup3_sum(rows[::-1])
    assert md5_sum(rows) == sum(int(hashlib.md5(row).hexdigest()[:15], 16) for row in rows)  # noqa: S324


CELLS = st.one_of(st.just(""), st.text(alphabet="ab甲𠮷é |\\'", max_size=5))
NUMBERS = st.one_of(
    st.just(""),
    st.integers(-(10**18), 10**18).map(lambda one: f"{one // 100}.{abs(one) % 100:02d}"),
    st.sampled_from(["-0.00", "5", "5.1", ".55", "-", "-.50", "1.234", "0.00", "12.34", "1x.00", "--1.00"]),
)


@given(st.lists(st.tuples(CELLS, NUMBERS, st.integers(-99, 10**20).map(str)), min_size=1, max_size=20))
def test_a_grid_counts_measures_and_sums_what_its_cells_say(rows: list[tuple[str, str, str]]) -> None:
    text = "".join(",".join(row) + "\n" for row in rows)
    names, prices, amounts = cells_of(text, ",")
    grid = Grid(text.encode(), ",", 3)
    assert grid.rows == len(rows)
    assert grid.filled() == [sum(map(bool, column)) for column in (names, prices, amounts)]
    assert grid.characters() == [len("".join(column)) for column in (names, prices, amounts)]
    assert grid.sum(2, None) == total(amounts, None)
    scaled = all(len(one) > 3 and one[-3] == "." and (one[0] != "-" or one.strip("-0.")) for one in prices if one)
    assert grid.canonical(1, 2) == scaled
    if scaled:
        found = grid.sum(1, 2)
        sound = all(one.removeprefix("-").replace(".", "", 1).isdigit() for one in prices if one)
        assert (found is not None) == sound
        if sound:
            assert found == total(prices, 2).scaleb(2)


@pytest.mark.parametrize("text", ["a,b\nc\n", "\na,b\n", "a,b,c\nd\n", "a\nb,c,d\n"])
def test_a_line_with_another_number_of_cells_is_no_grid(text: str) -> None:
    with pytest.raises(ValueError, match="cells"):
        Grid(text.encode(), ",", 2)
