"""Rows of an xlsx workbook as texts, and what a workbook hides: damaged numbers, error cells, formulas without a value.

Cells come from calamine; errors, formulas, hidden rows and merged blocks from the sheet's own XML, because calamine
shows the first two as empty and the others not at all. Row numbers are those that Excel shows.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from xml.parsers import expat

from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

from implops.baseload.mapping import Mapping
from implops.baseload.records import Fit, Record, csv_line
from implops.baseload.rules import Fault, Rules
from implops.baseload.source import opened, shown
from implops.errors import InputError

# Excel keeps 15 digits; serials before 1 March 1900 are counted from a day that never was.
_EXACT = 10**15
_FIRST_DAY = date(1900, 3, 1)


@dataclass
class Hidden:
    """What the XML of a sheet says. Cells by (row, column) from 1; ranges as (first row, first column, last …)."""

    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    unvalued: set[tuple[int, int]] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)


def rows(mapping: Mapping, fit: Fit, rules: Callable[[], Rules | None], notes: dict[str, str]) -> Iterator[Record]:
    """The records under the header. Raises InputError for a file that is no xlsx or has no such sheet."""
    name, values = table(mapping)
    above, below = mapping.source.header_line, mapping.source.skip[1]
    named = mapping.source.header_row > 0
    if len(values) < above or not values:
        raise InputError("import.no_header", file=shown(mapping))
    width = _width(values[above - 1] if named else [], values[above:])
    fit([_name(one) for one in values[above - 1][:width]] if named else list(range(1, width + 1)))
    hidden = look(mapping, name)
    last = len(values)
    while below and last > above:
        below -= any(one != "" for one in values[last - 1])
        last -= 1
    fields = rules()
    assert fields
    merged = {row: one for one in hidden.merged for row in range(one[0], one[2] + 1)}
    unseen = [row for row in sorted(hidden.rows) if above < row <= last and any(one != "" for one in values[row - 1])]
    if unseen:
        notes["noted_hidden"] = " ".join(map(str, unseen[:20]))
    for number, row in enumerate(values[above:last], start=above + 1):
        cells: list[str] = []
        faults: list[Fault] = []
        for place, (rule, value) in enumerate(zip(fields.fields, row, strict=False), start=1):
            at = (number, place)
            if at in hidden.errors:
                told: str | Fault = Fault(rule.name, "excel_error", hidden.errors[at], {})
            elif at in hidden.unvalued and value in ("", None):
                told = Fault(rule.name, "excel_formula", "", {})
            else:
                told = text(value, rule.kind, rule.name)
            if isinstance(told, str):
                cells.append(told)
            elif rule.name:
                faults.append(told)
            else:
                cells.append("")
        if number in merged:
            faults.append(Fault("", "excel_merged", "", {"range": _range(merged[number])}))
        yield number, faults or cells, csv_line([_name(one) for one in row[:width]])


def table(mapping: Mapping) -> tuple[str, list[list[object]]]:
    """The sheet's name and all its rows from row 1 on."""
    file, wanted = shown(mapping), mapping.source.sheet
    with opened(mapping) as bytes_:
        try:
            book = CalamineWorkbook.from_filelike(bytes_)
            seen = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
            if wanted is None and len(seen) != 1:
                raise InputError("import.which_sheet", file=file, known=" ".join(book.sheet_names))
            if wanted is not None and wanted not in book.sheet_names:
                raise InputError("import.no_sheet", file=file, name=wanted, known=" ".join(book.sheet_names))
            name = wanted or seen[0]
            return name, [list(row) for row in book.get_sheet_by_name(name).to_python(skip_empty_area=False)]
        except CalamineError as error:
            raise InputError("import.no_workbook", file=file, why=error) from None


def sheets(mapping: Mapping) -> list[str]:
    """The visible sheets of a workbook."""
    with opened(mapping) as bytes_:
        try:
            book = CalamineWorkbook.from_filelike(bytes_)
            return [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
        except CalamineError as error:
            raise InputError("import.no_workbook", file=shown(mapping), why=error) from None


def text(value: object, kind: str, name: str = "") -> str | Fault:
    """A cell as its declared type writes it, or why it cannot be."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(int(value)) if kind in ("bool", "int") else str(value).upper()
    if isinstance(value, int | float):
        if abs(value) >= _EXACT:
            return Fault(name, "excel_digits", f"{value:.15g}", {})
        return f"{Decimal(f'{value:.15g}'):f}"
    if isinstance(value, datetime | date):
        day = value.date() if isinstance(value, datetime) else value
        clock = value.time() if isinstance(value, datetime) else time()
        if kind not in ("date", "datetime"):
            return Fault(name, "excel_became_date", str(value) if clock != time() else day.isoformat(), {})
        if day < _FIRST_DAY:
            return Fault(name, "excel_date", day.isoformat(), {})
        if kind == "date":
            return day.isoformat() if clock == time() else f"{day.isoformat()} {clock:%H:%M:%S}"
        return f"{day.isoformat()} {clock:%H:%M:%S}"
    if isinstance(value, time):
        return f"{value:%H:%M:%S}"
    return Fault(name, "excel_value", str(value), {})


def _name(value: object) -> str:
    told = text(value, "text")
    return told if isinstance(told, str) else told.value


def _width(names: Sequence[object], rows_: Sequence[Sequence[object]]) -> int:
    """Columns that hold anything; a workbook often has formatted, empty ones on the right."""
    width = len(names) or max(map(len, rows_), default=0)
    while width and (not names or names[width - 1] == "") and all(
        len(row) < width or row[width - 1] == "" for row in rows_
    ):  # fmt: skip
        width -= 1
    return width


def look(mapping: Mapping, name: str) -> Hidden:
    """The sheet's XML, read once."""
    with opened(mapping) as bytes_:
        try:
            with zipfile.ZipFile(bytes_) as archive, archive.open(_part(archive, name)) as part:
                return _parse(part.read())
        except (zipfile.BadZipFile, KeyError, expat.ExpatError) as error:
            raise InputError("import.no_workbook", file=shown(mapping), why=error) from None


def _part(archive: zipfile.ZipFile, name: str) -> str:
    """The path of a sheet inside the workbook. Raises KeyError."""
    ids: dict[str, str] = {}
    targets: dict[str, str] = {}

    def sheet(tag: str, given: dict[str, str]) -> None:
        if tag.rpartition(" ")[2] == "sheet":
            ids[given["name"]] = next(value for key, value in given.items() if key.endswith(" id"))

    def relation(tag: str, given: dict[str, str]) -> None:
        if tag.rpartition(" ")[2] == "Relationship":
            targets[given["Id"]] = given["Target"]

    for path, handler in (("xl/workbook.xml", sheet), ("xl/_rels/workbook.xml.rels", relation)):
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = handler
        parser.Parse(archive.read(path), True)
    return posixpath.normpath(posixpath.join("xl", targets[ids[name]])).lstrip("/")


def _parse(xml: bytes) -> Hidden:
    found = Hidden()
    at, formula, valued, error = (0, 0), False, False, False
    row = column = 0
    told: list[str] = []
    inside = ""

    def start(tag: str, given: dict[str, str]) -> None:
        nonlocal at, formula, valued, error, row, column, inside
        kind = tag.rpartition(" ")[2]
        if kind == "row":
            row, column = int(given.get("r", row + 1)), 0
            if given.get("hidden") in ("1", "true"):
                found.rows.add(row)
        elif kind == "c":
            at = _cell(given["r"]) if "r" in given else (row, column + 1)
            column = at[1]
            formula, valued, error = False, False, given.get("t") == "e"
            told.clear()
        elif kind == "f":
            formula = True
        elif kind in ("v", "t"):
            inside = kind
        elif kind == "mergeCell":
            first, _, last = given["ref"].partition(":")
            found.merged.append((*_cell(first), *_cell(last or first)))

    def end(tag: str) -> None:
        nonlocal inside
        kind = tag.rpartition(" ")[2]
        if kind == "c":
            if error:
                found.errors[at] = "".join(told) or "#"
            elif formula and not valued:
                found.unvalued.add(at)
        elif kind in ("v", "t"):
            inside = ""

    def characters(text_: str) -> None:
        nonlocal valued
        if inside:
            valued = True
            if error:
                told.append(text_)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    parser.Parse(xml, True)
    return found


def _cell(reference: str) -> tuple[int, int]:
    """``AB12`` -> (12, 28)."""
    match = re.fullmatch(r"([A-Z]+)([0-9]+)", reference.replace("$", ""))
    if not match:
        return 0, 0
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - 64
    return int(match[2]), column


def _range(block: tuple[int, int, int, int]) -> str:
    def letters(number: int) -> str:
        made = ""
        while number:
            number, rest = divmod(number - 1, 26)
            made = chr(65 + rest) + made
        return made

    return f"{letters(block[1])}{block[0]}:{letters(block[3])}{block[2]}"
