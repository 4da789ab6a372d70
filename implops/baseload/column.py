"""One column of a mapping: where its values come from, what they must be, and what may be done to them."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

# Names reach SQL only quoted (server.py); the form keeps control characters and quotes out of psql's own commands.
NAME = r"[^\x00-\x20\x7f\"'`\\;.(),]{1,63}"
_TYPE = re.compile(r"text|int|date|datetime|time|bool|decimal\(([0-9]{1,2}), ?([0-9]{1,2})\)")
_TYPES = "text int decimal(14,2) date datetime time bool"
# Parts of a date format; what stands between them is taken literally. D, M, h: one or two digits.
FORMAT_PARTS = ("YYYY", "MM", "M", "DD", "D", "hh", "h", "mm", "ss")
# An empty text among values where "" means NULL. No file can hold a lone surrogate, and none can be sent or printed.
KEPT = "\udfff"
# What stands for NULL where "" is an empty text: in the canonical row and on the way to the server. No value has it.
ABSENT = "\x1e"
_FOR_TEXT = ("squeeze", "t2s", "upper", "lower", "newline")
_FOR_NUMBERS = ("currency", "thousands")


def _type(text: str) -> str:
    match = _TYPE.fullmatch(text)
    if not match or (match[1] and not 0 <= int(match[2]) < int(match[1]) <= 30):
        raise ValueError(f"import.form.type|{text}|{_TYPES}")
    return text.replace(" ", "")


def _pattern(text: str) -> str:
    try:
        re.compile(text, re.ASCII)
    except re.error as error:
        raise ValueError(f"import.form.pattern|{text}|{error}") from None
    return text


def _bound(value: object) -> str:
    """A number or a date, as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | date):
        raise ValueError(f"import.form.bound|{value}|0 12.5 2020-01-01")
    text = str(value)  # YAML reads 2020-01-01 as a date
    if not re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,10})?|[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:]{8})?", text):
        raise ValueError(f"import.form.bound|{text}|0 12.5 2020-01-01")
    return text


def _factor(value: object) -> str:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) or not Decimal(text):
        raise ValueError(f"import.form.unit|{text}|1 1000 0.001")
    return text


def _said(value: object) -> str:
    """A replacement or constant: text or number, as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"import.form.said|{value}|C001")
    return str(value)


SqlIdentifier = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
SqlTable = Annotated[str, StringConstraints(pattern=rf"^({NAME}\.)?{NAME}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Bound = Annotated[str, BeforeValidator(_bound)]
Said = Annotated[str, BeforeValidator(_said)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Ref(Part):
    """The value must stand in column ``match`` of ``table``; with ``take`` that row's ``take`` is stored instead."""

    table: SqlTable
    match: SqlIdentifier
    take: SqlIdentifier | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        schema, _, table = self.table.rpartition(".")
        return schema or "public", table, self.match

    def __str__(self) -> str:
        return f"{self.table}.{self.match}" + (f" → {self.take}" if self.take else "")


class Dictionary(Part):
    """A list of codes: written here, from a CSV file, or from a table of the target database."""

    codes: list[Said] | None = None
    file: Text | None = None
    encoding: str = "utf-8"
    table: SqlTable | None = None
    column: SqlIdentifier | None = None
    where: dict[SqlIdentifier, Said] = Field(default_factory=dict)


class Column(Part):
    """``source`` (YAML: from) names the file's column, or its number when there is no header; or ``value`` is fixed.

    ``max`` and ``min`` bound the length of a text and the value of everything else. What ``clean``, ``formats``,
    ``units``, ``map`` and ``default`` change is counted and listed; nothing is changed that they do not name.
    ``empty``: an empty cell is NULL, or is kept as the empty text that it is.
    """

    source: str | int | None = Field(default=None, alias="from")
    value: Said | None = None
    default: Said | None = None
    empty: Literal["keep"] | None = None
    type: Annotated[str, AfterValidator(_type)] = "text"
    max: Bound | None = None
    min: Bound | None = None
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    required: bool = False
    unique: bool = False
    codes: Text | None = Field(default=None, alias="dict")
    ref: Ref | None = None
    mapped: dict[Said, Said] = Field(default_factory=dict, alias="map")
    clean: list[Literal["trim", "squeeze", "width", "t2s", "currency", "thousands", "upper", "lower", "newline"]] = (
        Field(default_factory=list)
    )
    formats: list[Text] = Field(default_factory=list)
    units: dict[Text, Annotated[str, BeforeValidator(_factor)]] = Field(default_factory=dict)
    multiline: bool = False
    allow: list[Literal["private_use"]] = Field(default_factory=list)

    @property
    def keeps(self) -> bool:
        """Empty cells stay empty texts."""
        return self.empty == "keep"

    @property
    def kind(self) -> str:
        return self.type.partition("(")[0]

    @property
    def precision(self) -> tuple[int, int]:
        """(digits, digits behind the point) of a decimal."""
        match = _TYPE.fullmatch(self.type)
        assert match and match[1]
        return int(match[1]), int(match[2])

    @property
    def longest(self) -> int | None:
        """Characters of a text at most."""
        return int(self.max) if self.kind == "text" and self.max is not None else None

    @property
    def shortest(self) -> int:
        """Characters of a text at least, unless it is empty."""
        return int(self.min) if self.kind == "text" and self.min is not None else 0


def fault(column: Column, *, key: bool) -> tuple[str, dict[str, Any]] | None:
    """Parts of a column that do not fit together: (key of the text, parameters), or None."""
    kind = column.kind
    if (column.source is None) == (column.value is None):
        return "from_or_value", {}
    if column.value is not None and (
        column.ref or column.codes or column.unique or column.mapped or column.clean or column.keeps
    ):
        return "constant", {}
    if column.keeps and kind != "text":
        return "keep_text", {"type": column.type}
    if column.keeps and (column.ref or column.default is not None):
        return "keep_with", {}
    if kind != "text" and (column.pattern or column.multiline or (column.mapped and kind == "bool")):
        return "text_only", {"type": column.type}
    if column.ref and column.ref.take and kind != "text":
        return "take_type", {"type": column.type}
    if column.units and kind not in ("int", "decimal"):
        return "numbers_only", {"type": column.type}
    for step in column.clean:
        if (step in _FOR_TEXT and kind != "text") or (step in _FOR_NUMBERS and kind not in ("int", "decimal")):
            return "clean_type", {"value": step, "type": column.type}
        if step in ("t2s", "width") and (key or column.unique or column.ref or column.codes):
            return "clean_code", {"value": step}
    if column.required and column.default is not None:
        return "default_required", {}
    return _bounds(column) or _formats(column)


def _bounds(column: Column) -> tuple[str, dict[str, Any]] | None:
    shapes = {
        "text": r"[0-9]{1,7}", "int": r"-?[0-9]+", "decimal": r"-?[0-9]+(\.[0-9]+)?",
        "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "datetime": r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:]{8})?",
    }  # fmt: skip
    for bound in (column.min, column.max):
        if bound is not None and not re.fullmatch(shapes.get(column.kind, "(?!)"), bound):
            return "bound_type", {"value": bound, "type": column.type}
    if column.kind == "text" and column.max is not None and int(column.max) < max(1, column.shortest):
        return "bound_type", {"value": column.max, "type": column.type}
    return None


def _formats(column: Column) -> tuple[str, dict[str, Any]] | None:
    """Formats are for dates and times, and for the two words of a bool."""
    if column.formats and column.kind not in ("date", "datetime", "bool"):
        return "formats_type", {"type": column.type}
    for form in column.formats:
        good = _format_ok(form, column.kind)
        if not good:
            return "format", {"value": form}
    return None


def _format_ok(form: str, kind: str) -> bool:
    if kind == "bool":
        words = form.split("/")
        return len(words) == 2 and all(words) and words[0] != words[1]
    if form == "excel_serial":
        return True
    parts = re.findall("|".join(FORMAT_PARTS), form)
    letters = re.sub("|".join(FORMAT_PARTS), "", form)
    if re.search(r"[A-Za-z0-9]", letters.replace("T", "") if kind == "datetime" else letters):
        return False
    once = [part[0] for part in parts]
    needed = {"Y", "M", "D"} | ({"h", "m"} if kind == "datetime" and "h" in once else set())
    known = {"Y", "M", "D"} | ({"h", "m", "s"} if kind == "datetime" else set())
    return len(once) == len(set(once)) and needed <= set(once) <= known
