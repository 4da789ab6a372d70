"""What a mapping allows to be done to the values of a column: cleaning, null texts, replacements, formats, units.

Every change is counted per rule and the first ones are kept, before and after; a value that no rule of the mapping
touches goes through as it is. Each distinct value is worked on once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from implops.baseload.column import FORMAT_PARTS, KEPT, Column
from implops.baseload.rules import Fault, Field, fault_of, many, shape, strange_in

# Blanks that people type without seeing them: no-break and ideographic space, zero-width characters.
_BLANKS = " \t\u00a0\u3000\u2000-\u200d\u2060"
_ENDS = re.compile(rf"\A[{_BLANKS}]+|[{_BLANKS}]+\Z")
_RUNS = re.compile(f"[{_BLANKS}]{{2,}}|[\t\u00a0\u3000\u2000-\u200d\u2060]")
_LINE_ENDS = re.compile("\r\n|\r|\n")
_MONEY = re.compile(r"^(-?)(?:[¥￥$€£]|RMB|CNY|人民币)\s*(?=[-0-9])|(?<=[0-9])\s*(?:元|圆)$")
_GROUPED = re.compile(r"(-?[0-9]{1,3})((?:,[0-9]{3})+|(?:，[0-9]{3})+)(\.[0-9]+)?")
_EXCEL_FIRST = 61  # serials 59 and 60 both read as a 28 or 29 February that never was
_EXCEL_DAY = date(1899, 12, 30)
_KEPT = 5
_MEMORY = 200_000


@dataclass
class Change:
    """How often a rule changed a value of a column, and the first changes."""

    count: int = 0
    samples: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Done:
    value: str
    rules: tuple[str, ...] = ()
    code: str = ""
    params: tuple[tuple[str, Any], ...] = ()


class _Bad(Exception):
    def __init__(self, code: str, **params: Any) -> None:
        self.code, self.params = code, tuple(params.items())


def worked(column: Column, null: Sequence[str]) -> bool:
    """Whether the mapping does anything to this column's values beyond judging them."""
    changed = column.clean or column.formats or column.units or column.mapped or column.default is not None
    changed = changed or column.keeps
    bounds = column.kind != "text" and (column.min not in (None, "0") or column.max is not None)
    return bool(changed or bounds or column.kind == "datetime" or any(null))


class Conversion:
    """One column. ``changes``: rule -> Change, over all columns given to ``column``. ``told``: the file itself tells
    NULL ("") from an empty text (KEPT).
    """

    def __init__(
        self, column: Column, rule: Field, null: Sequence[str], refused: str = "", *, told: bool = False
    ) -> None:  # fmt: skip
        self.column, self.rule = column, rule
        self.changes: dict[str, Change] = {}
        self._null = frozenset(null) - {""}
        self._form, self._strange = re.compile(shape(rule)), strange_in(rule, refused)
        self._pattern = re.compile(rule.pattern, re.ASCII) if rule.pattern and not rule.tame else None
        self._formats = [(form, reader_of(form)) for form in column.formats if column.kind != "bool"]
        self._words = [tuple(form.split("/")) for form in column.formats if column.kind == "bool"]
        self._done: dict[str, _Done] = {}
        self._steps = [(name, _STEPS[name]) for name in column.clean]
        self._told = told
        self._touched = frozenset(column.mapped) | self._null
        if column.default is not None or column.keeps:
            self._touched |= {"", KEPT}
        maybe = "?" if not rule.required or column.default is not None else ""
        ends = r"[^\n]" if rule.multiline else r"[^\r\n]"
        self._plain = many(f"(?:{shape(rule)}){maybe}" if rule.kind != "text" or rule.tame else
                           f"(?:{ends}{{{max(rule.least, 1)},{rule.limit or ''}}}){maybe}")  # fmt: skip

    def values(self, lines: Sequence[int], given: Sequence[str]) -> tuple[Sequence[str], dict[int, Fault]]:
        """(values for the table, place -> what is wrong). The same sequence comes back when nothing is touched."""
        if self._untouched(given):
            return given, {}
        done = self._done
        if len(done) > _MEMORY:
            done.clear()
        for value in set(given).difference(done):
            done[value] = self._work(value)
        out = [done[value].value for value in given]
        faults = {
            place: Fault(self.rule.name, one.code, value, dict(one.params))
            for place, value in enumerate(given) if (one := done[value]).code
        }  # fmt: skip
        return (out if faults or out != given else given), faults

    def count(self, lines: Sequence[int], given: Sequence[str], bad: Container[int]) -> None:
        """Add what was changed in the rows that are kept."""
        for place, value in enumerate(given):
            one = self._done.get(value)
            if one and one.rules and place not in bad:
                self._count(lines[place], value, one)

    def fault(self, value: str) -> Fault | None:
        """What is wrong with one value."""
        one = self._work(value)
        return Fault(self.rule.name, one.code, value, dict(one.params)) if one.code else None

    def _count(self, line: int, value: str, one: _Done) -> None:
        for rule in one.rules:
            change = self.changes.setdefault(rule, Change())
            change.count += 1
            if len(change.samples) < _KEPT:
                change.samples.append((line, value.replace(KEPT, ""), one.value.replace(KEPT, "")))

    def _untouched(self, given: Sequence[str]) -> bool:
        """A quick look at the whole column: everything is in its final form already."""
        if self._pattern or self._bounded or not self._touched.isdisjoint(given):
            return False
        text = "\n".join(given) + "\n"
        found = self._plain.match(text)
        if not found or found.end() != len(text) or text.count("\n") != len(given):
            return False
        return not any(_DIRTY[name](text) for name, _ in self._steps)

    @property
    def _bounded(self) -> bool:
        return self.column.kind != "text" and (self.column.min is not None or self.column.max is not None)

    def _work(self, given: str) -> _Done:
        rules: list[str] = []
        null = self._told and not given
        given = given.replace(KEPT, "")
        try:
            value = self._cleaned(given, rules)
            null = null or "null" in rules
            if value in self.column.mapped:
                value = self.column.mapped[value]
                rules.append("map")
            if not value and self.column.default is not None:
                value = self.column.default
                rules.append("default")
            if value:
                value = self._formed(value, rules)
                self._bounds(value)
            if self._pattern and value and not self._pattern.fullmatch(value):
                raise _Bad("pattern", pattern=self.rule.pattern)
        except _Bad as bad:
            return _Done("", (), bad.code, bad.params)
        if self.column.keeps and not value and not null:
            return _Done(KEPT, tuple(rules))
        fault = fault_of(self.rule, value, self._form, self._strange)
        if fault is None and not self.rule.multiline and ("\n" in value or "\r" in value):
            fault = Fault("", "newline", value, {})
        if fault:
            return _Done("", (), fault.code, tuple(fault.params.items()))
        return _Done(value, tuple(rules) if value != given else ())

    def _cleaned(self, value: str, rules: list[str]) -> str:
        if value in self._null:
            rules.append("null")
            return ""
        for name, step in self._steps:
            after = step(value)
            if after != value:
                rules.append(name)
                value = after
        if value in self._null:
            rules.append("null")
            return ""
        return value

    def _formed(self, value: str, rules: list[str]) -> str:
        if self.rule.kind == "bool":
            for yes, no in self._words:
                if value in (yes, no):
                    rules.append("format")
                    return "1" if value == yes else "0"
            if value not in ("0", "1"):
                raise _Bad("bool", words=" ".join("/".join(one) for one in self._words) or "1/0")
        if self._formats and not self._form.fullmatch(value):
            value = self._date(value)
            rules.append("format")
        if self.column.units:
            after = self._unit(value)
            if after != value:
                rules.append("unit")
            value = after
        return value

    def _date(self, value: str) -> str:
        found = {made for _, read in self._formats if (made := read(value)) is not None}
        if self.rule.kind == "datetime":
            found = {one if " " in one else f"{one} 00:00:00" for one in found}
        else:
            found = {one for one in found if " " not in one}
        if len(found) > 1:
            raise _Bad("ambiguous", values=" ".join(sorted(found)))
        if not found or not self._form.fullmatch(next(iter(found))):
            raise _Bad("date_format", formats=" ".join(form for form, _ in self._formats))
        return found.pop()

    def _unit(self, value: str) -> str:
        """``1.5万元`` -> ``15000``: exactly, or not at all."""
        named = sorted((unit for unit in self.column.units if value.endswith(unit)), key=len)
        if not named:
            return value
        number = value.removesuffix(named[-1]).rstrip()
        if not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,20})(?:\.[0-9]{1,12})?", number):
            raise _Bad("unit", units=" ".join(self.column.units))
        made = f"{Decimal(number) * Decimal(self.column.units[named[-1]]):f}"
        return made.rstrip("0").rstrip(".") if "." in made else made

    def _bounds(self, value: str) -> None:
        low, high = self.column.min, self.column.max
        if self.column.kind == "text" or (low is None and high is None) or not self._form.fullmatch(value):
            return
        if self.column.kind in ("int", "decimal"):
            number = Decimal(value)
            bad = (low is not None and number < Decimal(low)) or (high is not None and number > Decimal(high))
        else:
            # ISO dates compare as texts; a bound without a time means the whole day.
            bad = (low is not None and value < low) or (high is not None and value[: len(high)] > high)
        if bad:
            raise _Bad("range", least=low or "—", most=high or "—")


def reader_of(form: str) -> Callable[[str], str | None]:
    """A reader of one date format: the ISO form of a value, or None when it has another form."""
    if form == "excel_serial":
        return excel_serial
    cut = re.split(f"({'|'.join(FORMAT_PARTS)})", form)
    named = {"Y": "(?P<Y>[0-9]{4})", "M": "(?P<M>{})", "D": "(?P<D>{})", "h": "(?P<h>{})", "m": "(?P<m>[0-9]{2})",
             "s": "(?P<s>[0-9]{2})"}  # fmt: skip
    two, one = "[0-9]{2}", "[0-9]{1,2}"
    pattern = re.compile("".join(
        named[part[0]].replace("{}", two if len(part) == 2 else one) if part in FORMAT_PARTS else re.escape(part)
        for part in cut
    ))  # fmt: skip

    def read(value: str) -> str | None:
        match = pattern.fullmatch(value)
        if not match:
            return None
        found = match.groupdict()
        try:
            day = date(int(found["Y"]), int(found["M"]), int(found["D"])).isoformat()
        except ValueError:
            return None
        if "h" not in found:
            return day
        return f"{day} {int(found['h']):02d}:{found['m']}:{found.get('s') or '00'}"

    return read


def excel_serial(value: str) -> str | None:
    """``45717`` -> ``2025-03-01``; with a fraction, the time of day to the second."""
    match = re.fullmatch(r"([1-9][0-9]{1,5})(\.[0-9]+)?", value)
    if not match or int(match[1]) < _EXCEL_FIRST:
        return None
    day = (_EXCEL_DAY + timedelta(days=int(match[1]))).isoformat()
    if not match[2] or not Decimal(match[2]):
        return day
    seconds = round(Decimal(match[2]) * 86400)
    if seconds == 86400:
        return f"{(_EXCEL_DAY + timedelta(days=int(match[1]) + 1)).isoformat()} 00:00:00"
    return f"{day} {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _thousands(value: str) -> str:
    match = _GROUPED.fullmatch(value)
    return match[1] + match[2].replace(",", "").replace("，", "") + (match[3] or "") if match else value


@cache
def _opencc() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_STEPS: dict[str, Callable[[str], str]] = {
    "trim": lambda value: _ENDS.sub("", value),
    "squeeze": lambda value: _RUNS.sub(" ", value),
    "width": lambda value: unicodedata.normalize("NFKC", value),
    "t2s": lambda value: value if value.isascii() else str(_opencc().convert(value)),
    "currency": lambda value: _MONEY.sub(r"\1", value),
    "thousands": _thousands,
    "upper": lambda value: value.translate(_UPPER),
    "lower": lambda value: value.translate(_LOWER),
    "newline": lambda value: _LINE_ENDS.sub(" ", value),
}
_BLANK_ENDS = re.compile(f"(?:^|\n)[{_BLANKS}]|[{_BLANKS}](?=\n)")
# Whether a step could change any of many values, each on a line of its own; for numbers the form has said no already.
_DIRTY: dict[str, Callable[[str], object]] = {
    "trim": _BLANK_ENDS.search,
    "squeeze": _RUNS.search,
    "width": lambda text: not unicodedata.is_normalized("NFKC", text),
    "t2s": lambda text: not text.isascii(),
    "currency": lambda text: False,
    "thousands": lambda text: False,
    "upper": re.compile("[a-z]").search,
    "lower": re.compile("[A-Z]").search,
    "newline": lambda text: "\r" in text,
}
