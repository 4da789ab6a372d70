"""Sizes, durations and rates carry units; a bare number is refused.

GB is 10^9 bytes and GiB is 2^30 (IEC 80000-13).
"""

from __future__ import annotations

import re

_SIZES = {"B": 1}
for _power, _letter in enumerate("KMGTP", start=1):
    _SIZES[f"{_letter}B"] = 1000**_power
    _SIZES[f"{_letter}iB"] = 1024**_power
_TIMES = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z/]+)")


def _parse(text: object, units: dict[str, float] | dict[str, int], what: str) -> float:
    match = _NUMBER.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match or match[2] not in units:
        raise ValueError(f"{what}|{text}|{' '.join(units)}")
    return float(match[1]) * units[match[2]]


def parse_size(text: object) -> int:
    """``"16 GB"`` -> 16000000000 bytes. Raises ValueError("size|TEXT|UNITS")."""
    return int(_parse(text, _SIZES, "size"))


def parse_duration(text: object) -> float:
    """``"30 ms"`` -> 0.03 seconds. Raises ValueError("duration|TEXT|UNITS")."""
    return _parse(text, _TIMES, "duration")


def format_size(size: float) -> str:
    """Bytes for people: binary units, three significant digits (``15.4 GiB``)."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.3g} {unit}"
        size /= 1024
    raise AssertionError


def format_seconds(seconds: float) -> str:
    """``0.034`` -> ``34 ms``, ``2.06`` -> ``2.1 s``, ``75`` -> ``1 min 15 s``, ``7260`` -> ``2 h 1 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def measure(text: str) -> tuple[float, str] | None:
    """A number and its kind (``size``, ``duration``, ``rate``, ``%`` or a unit's own word; "" for a count) of what a
    check printed: ``15.4 GiB``, ``92 %``, ``1 min 15 s``, ``4``. None for what is no single number.
    """
    words = text.strip()
    for kind, parse in (("size", parse_size), ("rate", _parse_rate), ("duration", _parse_composed)):
        try:
            return float(parse(words)), kind
        except ValueError:
            continue
    match = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]+)?) ?(%?|[A-Za-z]+)", words)
    return (float(match[1]), match[2]) if match else None


def _parse_rate(text: str) -> float:
    size, slash, per = text.partition("/")
    if not slash or per.strip() != "s":
        raise ValueError(text)
    return parse_size(size)


def _parse_composed(text: str) -> float:
    parts = re.findall(r"[0-9.]+ ?[a-z]+", text)
    if not parts or " ".join(parts) != text:
        raise ValueError(text)
    return sum(parse_duration(one) for one in parts)
