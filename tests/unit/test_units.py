from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implops.units import format_seconds, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0 B", 0), ("16 GB", 16 * 10**9), ("16GiB", 16 * 2**30), ("1.5 MB", 1_500_000), ("2 TB", 2 * 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["16", 16, "16 gb", "GB", "-1 GB", "1e3 GB", "16  GB", "16 GB/s", "١ GB", "", None, True]
)
def test_a_size_without_a_proper_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^size\|"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 ms", 0.03), ("5 s", 5), ("2 min", 120), ("1 h", 3600), ("7 d", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "30 m", "30 S", "5 GB", "soon"])
def test_a_duration_without_a_proper_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^duration\|"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (16_543_440_896, "15.4 GiB"),
        (200 * 2**30, "200 GiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=2**50))
def test_what_is_printed_is_within_one_percent_of_what_is_meant(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.01, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0342, "34 ms"),
        (2.06, "2.1 s"),
        (59.96, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3600, "1 h 0 min"),
        (0.9999, "1.0 s"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
