"""The mapping as one regular expression over whole lines: ``run`` repeats the row, so its end is the first bad line.

Source: import design §4.3 (69,936 random rows agree with an independent csv-and-datetime check). Python's possessive
quantifier before 3.11.5 returned a wrong end, so it is probed when this module is loaded; plain greedy ends at the
same place, because nothing follows it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

POSSESSIVE = False
try:
    _probe = re.match("(?:ab?c)*+", "aca")
    POSSESSIVE = _probe is not None and _probe.end() == 2
except re.error:
    POSSESSIVE = False

# A record of several lines is no longer than this; a lost quote must not swallow the file.
LONGEST_RECORD = 2**20
# C0 and C1 controls, line separators, BOM, replacement and non-characters: never text.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd-\uffff"
_PRIVATE = r"\ue000-\uf8ff\U000f0000-\U0010ffff"
_LEAP = "(?:19(?:0[48]|[2468][048]|[13579][26])|20(?:[02468][048]|[13579][26]))"
_DAY = (
    "(?:(?:19|20)[0-9]{2}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_CLOCK = "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
# Customer patterns that cannot run wild nor swallow a delimiter: ASCII classes and characters with counted repeats.
_TAME = re.compile(r"(?:(?:\[[A-Za-z0-9-]+\]|\\d|[A-Za-z0-9])(?:\{[0-9]{1,3}(?:,[0-9]{1,3})?\}|\?)?)+")
# What programs leave where text was lost: the bytes of UTF-8's replacement characters read as GBK.
DAMAGED = "锟斤拷"


@dataclass(frozen=True)
class Field:
    """One column of the file, in the file's order. ``name`` is empty for an ignored column.

    ``loose``: the values are worked on (convert.py), so that the form of a line says nothing about them.
    ``charset``: what the table's column stores; empty when every character fits. ``kept``: an empty cell is a value.
    """

    name: str
    kind: str = "any"
    required: bool = False
    limit: int | None = None
    pattern: str | None = None
    digits: tuple[int, int] = (0, 0)
    greatest: int = 0
    private_use: bool = False
    least: int = 0
    signed: bool = True
    loose: bool = False
    multiline: bool = False
    charset: str = ""
    kept: bool = False

    @property
    def tame(self) -> bool:
        return self.pattern is not None and not self.multiline and _TAME.fullmatch(self.pattern) is not None


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
    # Short numbers are the common ones and come first.
    return f"(?:{'|'.join([*parts, digits])})"


def _number(field: Field) -> str:
    if field.kind == "int":
        # -0 is refused: the server would give 0 back.
        return f"(?:{up_to(field.greatest)}" + (f"|-(?!0){up_to(field.greatest + 1)})" if field.signed else ")")
    whole, behind = field.digits[0] - field.digits[1], field.digits[1]
    left = f"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole > 0 else "0"
    return ("-?" if field.signed else "") + left + (rf"(?:\.[0-9]{{1,{behind}}})?" if behind else "")


def shape(field: Field) -> str:
    """An expression for a value that is not empty, as the database takes it; no line feed in it."""
    if field.kind in ("int", "decimal"):
        return f"(?:{_number(field)})"
    if field.kind == "date":
        return _DAY
    if field.kind == "datetime":
        return f"(?:{_DAY} {_CLOCK})"
    if field.kind == "time":
        return _CLOCK
    if field.kind == "bool":
        return "[01]"
    if field.tame:
        return f"(?:{str(field.pattern).replace(chr(92) + 'd', '[0-9]')})"
    most = "" if field.limit is None else field.limit
    return rf"[^\r\n]{{{max(field.least, 1)},{most}}}"


def many(expression: str) -> re.Pattern[str]:
    """As many lines of the expression as there are."""
    return re.compile(f"(?:{expression}\n)*" + "+" * POSSESSIVE)


def fault_of(field: Field, value: str, form: re.Pattern[str], strange: re.Pattern[str]) -> Fault | None:
    """What is wrong with one value that must have the form of its field."""
    if found := strange.search(value):
        code = ord(found[0])
        kind = {0: "nul", 0xFEFF: "bom", 0xFFFD: "replacement"}.get(code) or (
            "private_use" if re.match(f"[{_PRIVATE}]", found[0]) else "control"
        )
        return Fault(field.name, kind, value, {"code": f"U+{code:04X}"})
    if not value:
        return Fault(field.name, "required", value, {}) if field.required else None
    if field.kind == "text" and not field.tame:
        if field.limit is not None and len(value) > field.limit:
            return Fault(field.name, "length", value, {"length": len(value), "limit": field.limit})
        if len(value) < field.least:
            return Fault(field.name, "short", value, {"length": len(value), "least": field.least})
        return None
    if form.fullmatch(value):
        return None
    if not field.signed and value[:1] == "-" and form.fullmatch(value[1:]):
        return Fault(field.name, "range", value, {"least": "0", "most": "—"})
    return Fault(field.name, "pattern" if field.kind == "text" else field.kind, value, _expected(field))


def strange_in(field: Field, refused: str) -> re.Pattern[str]:
    """Characters that are no text in this column."""
    bad = _CONTROL + "".join(f"\\u{ord(one):04x}" for one in refused) + ("" if field.private_use else _PRIVATE)
    return re.compile(f"[{bad}]")


class Rules:
    """``split`` tells good lines from bad ones; ``why`` names the faults of a bad one."""

    def __init__(self, fields: list[Field], delimiter: str, quote: str, refused: str = "") -> None:
        self.fields, self.delimiter, self.quote = fields, delimiter, quote
        self._bad = _CONTROL + "".join(f"\\u{ord(one):04x}" for one in refused)
        cells = [self._cell(field) for field in fields]
        row = re.escape(delimiter).join(cells) + r"\r?\n"
        self.run = re.compile(f"(?:{row})*" + "+" * POSSESSIVE)
        self.one = re.compile(row)
        self.forms = [re.compile(shape(field)) for field in fields]
        self.strange = [strange_in(field, refused) for field in fields]
        self.multiline = any(field.multiline for field in fields)

    def _cell(self, field: Field) -> str:
        delimiter, quote = re.escape(self.delimiter), re.escape(self.quote)
        bad = "" if field.kind == "any" else self._bad + ("" if field.private_use else _PRIVATE)
        if field.loose or (field.kind in ("any", "text") and not field.tame):
            # A lone column must not match an empty line: that is a blank line, not a row.
            least = int(len(self.fields) == 1)
            size = f"{{{least},}}"
            if not field.loose:
                least = max(least, field.least, int(field.required))
                size = f"{{{least},{'' if field.limit is None or field.pattern else field.limit}}}"
            optional = "?" if not field.loose and least > 1 and not field.required else ""
            bare = rf"[^\r\n{delimiter}{quote}{bad}]{size}"
            if not quote:
                return f"(?:{bare}){optional}"
            ends = "" if field.multiline else r"\r\n"
            # Quotes around nothing are a value even where a blank line is none.
            quoted = rf"(?:[^{ends}{quote}{bad}]|{quote}{quote}){'*' if field.kept else size}"
            return f"(?:{bare}|{quote}(?:{quoted}){optional}{quote}){optional}"
        value = shape(field)
        empty = "" if field.required or len(self.fields) == 1 else "?"
        within = "" if field.required else "?"
        return f"(?:{value}|{quote}{value}{within}{quote}){empty}" if quote else f"{value}{empty}"

    def split(self, line: int, text: str, final: bool = True) -> Iterator[tuple[int, str, bool | None]]:
        """(first line, text, good) for each run of good lines and for each bad record; None instead of good for a
        record whose end is not in ``text`` (unless ``final``). ``text`` ends in a line feed.
        """
        start = 0
        while start < len(text):
            match = self.run.match(text, start)
            assert match
            end = match.end()
            if end > start:
                yield line, text[start:end], True
            line += text.count("\n", start, end)
            if end == len(text):
                return
            stop = self.record(text, end, final)
            if stop is None:
                yield line, text[end:], None
                return
            yield line, text[end:stop], False
            line += text.count("\n", end, stop)
            start = stop

    def values(self, text: str) -> list[list[str]]:
        """The cells of good lines."""
        return [cells for _, cells in self.numbered(0, text)]

    def columns(self, text: str) -> list[Sequence[str]]:
        """The cells of good lines, column by column. Without quotes a cut at every delimiter is exact and fast."""
        if "\r" in text and not self.multiline:
            text = text.replace("\r\n", "\n")
        if not self.quote or self.quote not in text:
            width = len(self.fields)
            cells = text[:-1].replace("\n", self.delimiter).split(self.delimiter)
            return [cells[place::width] for place in range(width)]
        return list(zip(*self.values(text), strict=True))

    def picker(self, places: Collection[int]) -> Callable[[str], list[Sequence[str] | None] | None]:
        """A function of good lines that gives only the columns at ``places``, None for each other one; None instead
        of a list when quotes make it impossible.
        """
        width, last = len(self.fields), max(places)
        cell = rf"[^\n{re.escape(self.delimiter)}]*"
        cells = (f"({cell})" if place in places else cell for place in range(last + 1))
        line = re.compile(re.escape(self.delimiter).join(cells) + r"[^\n]*\n")
        ordered = sorted(places)

        def pick(text: str) -> list[Sequence[str] | None] | None:
            if (self.quote and self.quote in text) or "\r" in text:
                return None
            found = line.findall(text)
            columns: list[Sequence[str] | None] = [None] * width
            picked = [found] if len(ordered) == 1 else list(zip(*found, strict=True))
            for place, column in zip(ordered, picked, strict=True):
                columns[place] = column
            return columns

        return pick

    def numbered(self, line: int, text: str) -> Iterator[tuple[int, list[str]]]:
        """(first line, cells) of each record; blank lines are left out."""
        if not self.quote:
            for number, one in enumerate(text.removesuffix("\n").split("\n"), start=line):
                yield number, one.removesuffix("\r").split(self.delimiter)
            return
        lines = [one + "\n" for one in text.split("\n")]
        if lines[-1] == "\n":
            lines.pop()
        reader = csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote)
        before = 0
        for cells in reader:
            if cells:
                yield line + before, cells
            before = reader.line_num

    def why(self, record: str) -> list[Fault]:
        """Every fault of one bad record; an empty list for a blank line."""
        line = record.removesuffix("\n").removesuffix("\r")
        if not line:
            return []
        if not self.multiline and "\r" in line:
            return [Fault("", "carriage_return", line, {})]
        if self.quote and _open_quote(line, self.delimiter, self.quote):
            return [Fault("", "quote", line, {})]
        values = self.values(line + "\n")[0]
        if len(values) != len(self.fields):
            return [Fault("", "columns", line, {"found": len(values), "expected": len(self.fields)})]
        faults = self.faults(values)
        return faults or [Fault("", "quote", line, {})]

    def faults(self, values: Sequence[str]) -> list[Fault]:
        """What is wrong with the cells of one record, those left out that are worked on."""
        found = []
        for field, value, form, strange in zip(self.fields, values, self.forms, self.strange, strict=True):
            if field.kind == "any":
                continue
            fault = None
            # A value that is worked on is judged afterwards, but what is no text stays none.
            if not field.loose or strange.search(value):
                fault = fault_of(field, value, form, strange)
            if not fault and not field.multiline and ("\n" in value or "\r" in value):
                fault = Fault(field.name, "newline", value, {})
            if fault:
                found.append(fault)
        return found

    def record(self, text: str, start: int, final: bool) -> int | None:
        """Where the bad record at ``start`` ends. With cells of several lines: behind its closing quote when the
        record has the right number of cells, otherwise before the next line that begins a good row. None: the text
        ends inside it and more is to come.
        """
        first = text.find("\n", start) + 1 or len(text)
        if not self.multiline or not self.quote:
            return first
        quote = re.escape(self.quote)
        whole = re.compile(rf"[^\n{quote}]*(?:{quote}[^{quote}]*{quote}[^\n{quote}]*)*\n").match(text, start)
        if whole is None and not final and len(text) - start < LONGEST_RECORD:
            return None
        if whole and whole.end() > first:
            given = text[start : whole.end()]
            sound = not _open_quote(given.removesuffix("\n").removesuffix("\r"), self.delimiter, self.quote)
            if sound and len(self.values(given)[0]) == len(self.fields):
                return whole.end()
        end = first
        while end < len(text) and end - start < LONGEST_RECORD:
            if self.one.match(text, end):
                return end
            end = text.find("\n", end) + 1 or len(text)
        return first


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
