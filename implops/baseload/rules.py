"""The mapping as one regular expression over whole lines: ``run`` repeats the row, so its end is the first bad line.

Source: import design §4.3 (69,936 random rows agree with an independent csv-and-datetime check). Python's possessive
quantifier before 3.11.5 returned a wrong end, so it is probed when this module is loaded; plain greedy ends at the
same place, because nothing follows it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

POSSESSIVE = False
try:
    _probe = re.match("(?:ab?c)*+", "aca")
    POSSESSIVE = _probe is not None and _probe.end() == 2
except re.error:
    POSSESSIVE = False

# C0 and C1 controls, line separators, BOM, replacement and non-characters: never text.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd-\uffff"
_PRIVATE = r"\ue000-\uf8ff\U000f0000-\U0010ffff"
_LEAP = "(?:19(?:0[48]|[2468][048]|[13579][26])|20(?:[02468][048]|[13579][26]))"
_DAY = (
    "(?:(?:19|20)[0-9]{2}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
# Customer patterns that cannot run wild nor swallow a delimiter: ASCII classes and characters with counted repeats.
_TAME = re.compile(r"(?:(?:\[[A-Za-z0-9-]+\]|\\d|[A-Za-z0-9])(?:\{[0-9]{1,3}(?:,[0-9]{1,3})?\}|\?)?)+")


@dataclass(frozen=True)
class Field:
    """One column of the file, in the file's order. ``name`` is empty for an ignored column."""

    name: str
    kind: str = "any"
    required: bool = False
    limit: int | None = None
    pattern: str | None = None
    digits: tuple[int, int] = (0, 0)
    greatest: int = 0
    private_use: bool = False

    @property
    def tame(self) -> bool:
        return self.pattern is not None and _TAME.fullmatch(self.pattern) is not None


@dataclass(frozen=True)
class Fault:
    """Why a line is refused: column, reason code (``import.reason.CODE``), the value, parameters of the reason."""

    column: str
    code: str
    value: str
    params: dict[str, Any]


def up_to(greatest: int) -> str:
    """An expression for the whole numbers 0 to ``greatest`` without leading zeros."""
    digits = str(greatest)
    parts = ["0"]
    if len(digits) > 1:
        parts.append(f"[1-9][0-9]{{0,{len(digits) - 2}}}")
    for place, digit in enumerate(digits):
        low = 1 if place == 0 else 0
        if int(digit) > low:
            rest = len(digits) - place - 1
            parts.append(f"{digits[:place]}[{low}-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return f"(?:{'|'.join([digits, *reversed(parts)])})"


def _number(field: Field) -> str:
    if field.kind == "int":
        # -0 is refused: the server would give 0 back.
        return f"(?:-(?!0){up_to(field.greatest + 1)}|{up_to(field.greatest)})"
    whole, behind = field.digits[0] - field.digits[1], field.digits[1]
    left = f"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole > 0 else "0"
    return f"-?{left}" + (rf"(?:\.[0-9]{{1,{behind}}})?" if behind else "")


class Rules:
    """``split`` tells good lines from bad ones; ``why`` names the faults of a bad one."""

    def __init__(self, fields: list[Field], delimiter: str, quote: str, refused: str = "") -> None:
        self.fields, self.delimiter, self.quote = fields, delimiter, quote
        self._bad = _CONTROL + "".join(f"\\x{ord(one):02x}" for one in refused)
        cells = [self._cell(field) for field in fields]
        row = re.escape(delimiter).join(cells) + r"\r?\n"
        self.run = re.compile(f"(?:{row})*" + "+" * POSSESSIVE)
        self._values = [re.compile(self._value(field)) for field in fields]
        self._strange = [re.compile(f"[{self._bad}{'' if field.private_use else _PRIVATE}]") for field in fields]

    def _cell(self, field: Field) -> str:
        delimiter, quote = re.escape(self.delimiter), re.escape(self.quote)
        bad = "" if field.kind == "any" else self._bad + ("" if field.private_use else _PRIVATE)
        if field.kind in ("any", "text") and not field.tame:
            # A lone column must not match an empty line: that is a blank line, not a row.
            least = int(field.required or len(self.fields) == 1)
            most = "" if field.limit is None or field.pattern else field.limit
            size = f"{{{least},{most}}}"
            bare = rf"[^\r\n{delimiter}{quote}{bad}]{size}"
            if not quote:
                return bare
            return rf"(?:{bare}|{quote}(?:[^\r\n{quote}{bad}]|{quote}{quote}){size}{quote})"
        value = self._value(field, empty=False)
        empty = "" if field.required or len(self.fields) == 1 else "?"
        within = "" if field.required else "?"
        return f"(?:{value}|{quote}{value}{within}{quote}){empty}" if quote else f"{value}{empty}"

    def _value(self, field: Field, *, empty: bool = True) -> str:
        """The value without quotes; with ``empty`` nothing at all passes too unless it is required."""
        maybe = "?" if empty and not field.required else ""
        if field.kind in ("int", "decimal"):
            return f"(?:{_number(field)}){maybe}"
        if field.kind == "date":
            return f"(?:{_DAY}){maybe}"
        if field.tame:
            return f"(?:{str(field.pattern).replace(chr(92) + 'd', '[0-9]')}){maybe}"
        return r"[^\r\n]*"

    def split(self, line: int, text: str) -> Iterator[tuple[int, str, bool]]:
        """(first line, text, good) for each run of good lines and for each bad line. ``text`` ends in a line feed."""
        start = 0
        while start < len(text):
            match = self.run.match(text, start)
            assert match
            end = match.end()
            if end > start:
                yield line, text[start:end], True
            line += text.count("\n", start, end)
            start = text.find("\n", end) + 1 or len(text)
            if end < start:
                yield line, text[end:start], False
            line += 1

    def values(self, text: str) -> list[list[str]]:
        """The cells of good lines."""
        lines = text.replace("\r\n", "\n").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        if not self.quote:
            return [line.split(self.delimiter) for line in lines]
        return list(csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote))

    def why(self, record: str) -> list[Fault]:
        """Every fault of one bad line; an empty list for a blank line."""
        line = record.rstrip("\n").removesuffix("\r")
        if not line:
            return []
        if "\r" in line:
            return [Fault("", "carriage_return", line, {})]
        if self.quote and _open_quote(line, self.delimiter, self.quote):
            return [Fault("", "quote", line, {})]
        values = self.values(line)[0]
        if len(values) != len(self.fields):
            return [Fault("", "columns", line, {"found": len(values), "expected": len(self.fields)})]
        faults = [fault for place, value in enumerate(values) if (fault := self._fault(place, value))]
        return faults or [Fault("", "quote", line, {})]

    def _fault(self, place: int, value: str) -> Fault | None:
        field = self.fields[place]
        if field.kind == "any":
            return None
        if strange := self._strange[place].search(value):
            code = ord(strange[0])
            kind = {0: "nul", 0xFEFF: "bom", 0xFFFD: "replacement"}.get(code) or (
                "private_use" if re.match(f"[{_PRIVATE}]", strange[0]) else "control"
            )
            return Fault(field.name, kind, value, {"code": f"U+{code:04X}"})
        if not value:
            return Fault(field.name, "required", value, {}) if field.required else None
        if field.kind == "text" and not field.pattern and field.limit is not None and len(value) > field.limit:
            return Fault(field.name, "length", value, {"length": len(value), "limit": field.limit})
        if not self._values[place].fullmatch(value):
            return Fault(field.name, "pattern" if field.kind == "text" else field.kind, value, _expected(field))
        return None


def _expected(field: Field) -> dict[str, Any]:
    if field.kind == "text":
        return {"pattern": field.pattern}
    if field.kind == "int":
        return {"greatest": str(field.greatest)}
    return {"digits": field.digits[0], "behind": field.digits[1]} if field.kind == "decimal" else {}


def _open_quote(line: str, delimiter: str, quote: str) -> bool:
    """A quote that is not around a whole cell, or is never closed."""
    cell = rf"(?:[^{re.escape(delimiter + quote)}]*|{quote}(?:[^{quote}]|{quote}{quote})*{quote})"
    return re.fullmatch(rf"{cell}(?:{re.escape(delimiter)}{cell})*", line) is None
