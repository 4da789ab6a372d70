"""系统安装部署资料清单 (F2) as a workbook for the customer: what is to be delivered, one sheet a file with its rules in
the header, drop-down lists for codes, and the sheets that every installation needs. Passwords have no place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from implops import texts
from implops.baseload.check import dictionary
from implops.baseload.column import Column
from implops.baseload.mapping import Mapping
from implops.site import Site

# So many rows of a sheet are guarded by drop-downs and formats; rows below are judged all the same.
_GUARDED = 10_000
_HEAD = PatternFill("solid", fgColor="1F4E79")
_MUST = PatternFill("solid", fgColor="C00000")
_SIDE = Side("thin", color="BFBFBF")
_LINE = Border(left=_SIDE, right=_SIDE, top=_SIDE, bottom=_SIDE)
_LIST = ("no", "name", "purpose", "format", "required", "contact", "planned", "received", "file", "rows", "encoding",
         "sha256", "result", "missing", "handover")  # fmt: skip
_EMPTY_SHEETS = ("interfaces", "licences", "contacts")


def worded(key: str, **params: Any) -> str:
    return texts.say(f"collect.{key}", **params)


def sheet_name(mapping: Mapping) -> str:
    """The import's name as Excel takes it: 31 characters, none of its own signs."""
    return "".join("_" if one in "[]:*?/\\'" else one for one in mapping.name)[:31]


def titles(mapping: Mapping) -> dict[str, str]:
    """Target column -> header of the sheet, for every column that the customer fills."""
    return {
        name: str(column.source) if isinstance(column.source, str) else name
        for name, column in mapping.columns.items()
        if column.source is not None
    }


def write(site: Site, mappings: Sequence[Mapping], path: Path) -> None:
    """The workbook. Raises InputError for a dictionary's file that cannot be read; codes of tables are not listed."""
    book = Workbook()
    front = book.active
    assert isinstance(front, Worksheet)
    front.title = worded("sheet.list")
    _front(front, site, mappings)
    codes = book.create_sheet(worded("sheet.codes"))
    listed: dict[tuple[str, str], str] = {}
    for mapping in mappings:
        sheet = book.create_sheet(sheet_name(mapping))
        _file(sheet, mapping, codes, listed)
    if not listed:
        book.remove(codes)
    else:
        book.move_sheet(codes, len(mappings))
    _servers(book.create_sheet(worded("sheet.servers")), site)
    for name in _EMPTY_SHEETS:
        _head(book.create_sheet(worded(f"sheet.{name}")), worded(f"{name}.columns").split(" "))
    part = path.with_name(f".{path.name}.part")
    book.save(part)
    part.replace(path)


def _head(sheet: Worksheet, words: Sequence[str], row: int = 1) -> None:
    for place, word in enumerate(words, start=1):
        cell = sheet.cell(row, place, word)
        cell.font, cell.fill, cell.border = Font(bold=True, color="FFFFFF"), _HEAD, _LINE
        cell.alignment = Alignment("center", "center", wrap_text=True)
        width = max(10.0, 2.2 * len(word) + 2)
        letter = get_column_letter(place)
        sheet.column_dimensions[letter].width = max(width, sheet.column_dimensions[letter].width or 0)
    sheet.freeze_panes = f"A{row + 1}"
    # Printed on one width: the customer signs on paper.
    sheet.page_setup.orientation, sheet.page_setup.fitToHeight = "landscape", 0
    sheet.page_setup.paperSize = 9  # A4
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def _front(sheet: Worksheet, site: Site, mappings: Sequence[Mapping]) -> None:
    project = site.project
    sheet["A1"] = worded("title")
    sheet["A1"].font = Font(bold=True, size=16)
    sheet["A2"] = worded("about", name=project.name, contract=project.contract, customer=project.customer)
    sheet["A3"] = worded("advice")
    for line in (1, 2, 3):
        sheet.merge_cells(start_row=line, end_row=line, start_column=1, end_column=len(_LIST))
    sheet["A3"].alignment = Alignment(wrap_text=True, vertical="top")
    sheet.row_dimensions[3].height = 48
    _head(sheet, [texts.say(f"form_collect.column.{name}") for name in _LIST], row=5)
    for number, mapping in enumerate(mappings, start=1):
        told = worded("format", sheet=sheet_name(mapping), file=Path(mapping.source.file).name)
        needed = texts.say("form_collect.yes" if mapping.verify.rows_expected != 0 else "form_collect.no")
        values: list[str | int | None] = [number, mapping.name, mapping.target.table, told, needed, "", "", "", "",
                  mapping.verify.rows_expected, "" if mapping.source.asks else mapping.source.encoding]  # fmt: skip
        for place, value in enumerate(values, start=1):
            cell = sheet.cell(5 + number, place)
            cell.value = value
            cell.border, cell.alignment = _LINE, Alignment(wrap_text=True, vertical="top")
        for place in range(len(values) + 1, len(_LIST) + 1):
            sheet.cell(5 + number, place).border = _LINE
    for letter, width in (("B", 20), ("D", 34), ("F", 18), ("I", 22), ("N", 30)):
        sheet.column_dimensions[letter].width = width


def _file(sheet: Worksheet, mapping: Mapping, codes: Worksheet, listed: dict[tuple[str, str], str]) -> None:
    named = titles(mapping)
    _head(sheet, list(named.values()))
    for place, name in enumerate(named, start=1):
        column, cell, letter = mapping.columns[name], sheet.cell(1, place), get_column_letter(place)
        if must(column):
            cell.fill = _MUST
        cell.comment = Comment(rules(column), "implops", width=320, height=140)
        # Excel must not turn codes into numbers or dates: text stays text.
        shown = {"date": "yyyy-mm-dd", "datetime": "yyyy-mm-dd hh:mm:ss", "time": "hh:mm:ss"}.get(column.kind, "@")
        if column.kind in ("int", "decimal"):
            shown = "General"
        sheet.column_dimensions[letter].number_format = shown
        for row in range(2, 202):
            sheet.cell(row, place).number_format = shown
        if guard := _guard(mapping, name, column, codes, listed):
            guard.add(f"{letter}2:{letter}{_GUARDED}")
            sheet.add_data_validation(guard)


def must(column: Column) -> bool:
    return (column.required and not column.keeps) or (column.unique and column.default is None)


def rules(column: Column) -> str:
    """What a column must be, in the customer's words."""
    lines = [
        worded("rule.must") if must(column) else worded("rule.may"),
        worded(f"rule.{column.kind}", type=column.type),
    ]
    if column.unique:
        lines.append(worded("rule.unique"))
    for word in ("min", "max"):
        if (bound := getattr(column, word)) is not None:
            lines.append(worded(f"rule.{'length_' if column.kind == 'text' else ''}{word}", value=bound))
    if column.pattern:
        lines.append(worded("rule.pattern", value=column.pattern))
    if column.formats:
        lines.append(worded("rule.formats", value=" ".join(column.formats)))
    if column.units:
        lines.append(worded("rule.units", value=" ".join(column.units)))
    if column.codes:
        lines.append(worded("rule.dict", value=column.codes))
    if column.mapped:
        lines.append(worded("rule.map", value=" ".join(list(column.mapped)[:20])))
    if column.ref:
        lines.append(worded("rule.ref", value=f"{column.ref.table}.{column.ref.match}"))
    return "\n".join(lines)


def _guard(
    mapping: Mapping, name: str, column: Column, codes: Worksheet, listed: dict[tuple[str, str], str]
) -> DataValidation | None:
    """A drop-down of codes or words; a length for texts."""
    words = _words(mapping, column)
    if words:
        key = (mapping.name, name)
        place = len(listed) + 1
        heads = [str(cell.value) for cell in codes[1] if cell.value]
        _head(codes, [*heads, f"{mapping.name} {titles(mapping)[name]}"])
        for row, word in enumerate(words, start=2):
            codes.cell(row, place, word).number_format = "@"
        letter = get_column_letter(place)
        listed[key] = f"'{codes.title}'!${letter}$2:${letter}${len(words) + 1}"
        guard = DataValidation("list", formula1=f"={listed[key]}", allow_blank=True)
    elif column.kind == "text" and column.longest:
        guard = DataValidation("textLength", operator="between", formula1=str(column.shortest),
                               formula2=str(column.longest), allow_blank=True)  # fmt: skip
    else:
        return None
    guard.showErrorMessage, guard.error = True, worded("rule.refused")
    return guard


def _words(mapping: Mapping, column: Column) -> list[str]:
    """What may be chosen: the words that are replaced, or the codes; nothing when only the database knows them."""
    if column.mapped:
        return list(column.mapped)
    if column.codes and mapping.dictionaries[column.codes].table is None:
        return sorted(dictionary(None, mapping, column.codes))
    if column.kind == "bool":
        return column.formats[0].split("/") if column.formats else ["1", "0"]
    return []


def _servers(sheet: Worksheet, site: Site) -> None:
    _head(sheet, worded("servers.columns").split(" "))
    for row, host in enumerate(site.hosts.values(), start=2):
        for place, value in enumerate((host.name, str(host.address), " ".join(host.roles), host.owner), start=1):
            sheet.cell(row, place, value or "")
