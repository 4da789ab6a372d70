"""Excel: a cover sheet to sign (header, conclusion, remarks, signatures) and one sheet a table, to filter and to fill.

Every value is a string: what a host or a customer wrote is shown, never computed. Prints on A4, each sheet as wide as
the paper, with its header row on every page.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from openpyxl import Workbook
from openpyxl.cell.cell import Cell as SheetCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from implops import texts
from implops.documents.model import Cell, Document, Fields, Paragraph, SignOff, State, Table
from implops.writers import printable
from implops.writers.looks import BODY, BOLD, FILL, HEAD, HEADING, INK, LABEL, MONO, QUIET, STAMP
from implops.writers.package import save

# Width of the printed page in Excel's unit (a digit of the default font): it then prints at about full size.
_LANDSCAPE, _PORTRAIT = 142, 94
# Letters in points; a line of them, and the highest row that Excel knows (its specification), in points.
_SIZE, _LINE, _HIGHEST = 10, 13.5, 409.0
_CELL_LIMIT = 32767  # characters of a cell, Excel's specification
_SIGN_ROW, _REMARKS_ROW = 34.0, 68.0  # 1.2 and 2.4 cm: signers need 1.1 cm (forms.md §1)
# What another program would take for the beginning of a formula when the cell is edited.
_FORMULA = ("=", "+", "-", "@")
_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_WORDS = re.compile(r"[!-~]+|.", re.DOTALL)
Align = Literal["left", "center", "right"]


def write(document: Document, path: Path) -> None:
    """Write ``document`` as .xlsx; the same document gives the same bytes."""
    book = _Book(document)
    book.build()
    save(lambda raw: book.workbook.save(str(raw)), path, document.finished, _quiet)


def _quiet(name: str, data: bytes) -> bytes:
    """No green corner on every number that is meant as text; openpyxl does not know this element."""
    if not name.startswith("xl/worksheets/sheet"):
        return data
    ignored = b'<ignoredErrors><ignoredError sqref="A1:XFD1048576" numberStoredAsText="1"/></ignoredErrors>'
    return data.replace(b"</headerFooter>", b"</headerFooter>" + ignored)


@dataclass(frozen=True)
class _Look:
    """How a cell is written; equal looks share one style of the workbook."""

    size: float = _SIZE
    head: bool = False
    mono: bool = False
    ink: str = ""
    fill: str = ""
    align: Align = "left"
    border: bool = True
    wrap: bool = True
    quote: bool = False


_TITLE = _Look(size=12, head=True, border=False, wrap=False)


class _Book:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.language = document.language
        self.width = _LANDSCAPE if document.landscape else _PORTRAIT
        self.workbook = Workbook()
        self.styles: dict[_Look, Any] = {}
        self.names: set[str] = set()

    def build(self) -> None:
        document, properties = self.document, self.workbook.properties
        properties.title, properties.subject = printable(document.title), document.number
        properties.creator = properties.lastModifiedBy = "implops"
        properties.keywords = document.meta.get("run", "")
        sheet = self.workbook.active
        assert isinstance(sheet, Worksheet)
        self._cover(sheet)
        for part in document.parts:
            if isinstance(part, Table):
                self._table(part)

    # -- sheets

    def _page(self, sheet: Worksheet, name: str, widths: Sequence[float]) -> None:
        sheet.title = self._name(name)
        for number, width in enumerate(widths, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = width
        sheet.page_setup.orientation = "landscape" if self.document.landscape else "portrait"
        sheet.page_setup.paperSize = "9"  # A4
        sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
        sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
        sheet.print_options.horizontalCentered = True
        margins = sheet.page_margins
        margins.left = margins.right = 0.5
        margins.top, margins.bottom, margins.header, margins.footer = 0.75, 0.7, 0.35, 0.3
        sheet.sheet_view.showGridLines = False
        head, foot = sheet.oddHeader, sheet.oddFooter
        assert head is not None and foot is not None
        project = next((_plain(value) for _, value in self.document.header.pairs), "")
        self._running(head.left, printable(project))
        if self.document.stamp:
            note = texts.say("form.stamp_note", lang=self.language)
            self._running(head.right, f"{self.document.stamp}  {note}", STAMP)
        self._running(foot.left, printable(self.document.footer))
        self._running(foot.right, "")
        pages = texts.say("form.page", lang=self.language, page="\0", pages="\1").replace("&", "&&")
        foot.right.text = pages.replace("\0", "&P").replace("\1", "&N")

    def _running(self, part: Any, text: str, ink: str = QUIET) -> None:
        part.text = text.replace("&", "&&").replace("\n", " ")
        part.size, part.color, part.font = 8, ink, f"{BODY[self.language]},Regular"

    def _name(self, title: str) -> str:
        """A sheet's name: at most 31 characters, none of ``[]:*?/\\``, no apostrophe at an end, unique."""
        clean = re.sub(r"[\[\]:*?/\\]", " ", printable(title)).strip("' ")[:31] or "-"
        found, number = clean, 1
        while found.casefold() in self.names:
            number += 1
            found = f"{clean[:27]} {number}"
        self.names.add(found.casefold())
        return found

    def _cover(self, sheet: Worksheet) -> None:
        document = self.document
        weights = (13, 37, 13, 37) if document.landscape else (17, 33, 17, 33)
        widths = [self.width * weight / 100 for weight in weights]
        self._page(sheet, document.title, widths)
        self._put(sheet, 1, 1, document.title, _Look(size=18, head=True, align="center", border=False))
        sheet.merge_cells(start_row=1, end_row=1, start_column=1, end_column=4)
        sheet.row_dimensions[1].height = 34
        row = self._fields(sheet, 2, document.header, widths)
        for part in document.parts:
            if isinstance(part, Fields):
                row = self._fields(sheet, self._title(sheet, row, part.title), part, widths)
            elif isinstance(part, Paragraph):
                row = self._title(sheet, row, part.title)
                for line in part.text.split("\n"):
                    self._wide(sheet, row, 1, line, _Look(border=False), widths)
                    row += 1
            elif isinstance(part, SignOff):
                row = self._signoff(sheet, row, part, None, widths)
        self._signoff(sheet, row, document.signoff, document.conclusion, widths)

    def _title(self, sheet: Worksheet, row: int, title: str) -> int:
        """The next free row below a heading (or below a gap when there is none)."""
        if title:
            self._put(sheet, row, 1, title, _TITLE)
        sheet.row_dimensions[row].height = 26 if title else 8
        return row + 1

    def _fields(self, sheet: Worksheet, row: int, fields: Fields, widths: Sequence[float]) -> int:
        for start in range(0, len(fields.pairs), 2):
            pairs = fields.pairs[start : start + 2]
            heights = []
            for place, (label, value) in enumerate(pairs):
                column = 2 * place + 1
                self._put(sheet, row, column, label, _Look(head=True, fill=LABEL))
                if len(pairs) == 1:
                    self._wide(sheet, row, 2, value, self._look(value), widths)
                    heights.append(sheet.row_dimensions[row].height or 0)
                else:
                    self._put(sheet, row, column + 1, value, self._look(value))
                    heights.append(_height(_plain(value), widths[column]))
            sheet.row_dimensions[row].height = max(20, *heights)
            row += 1
        return row

    def _wide(
        self, sheet: Worksheet, row: int, column: int, value: Cell | str, look: _Look, widths: Sequence[float]
    ) -> None:
        """A value from ``column`` to the last one of the cover."""
        for number in range(column, len(widths) + 1):
            self._put(sheet, row, number, value if number == column else "", look)
        sheet.merge_cells(start_row=row, end_row=row, start_column=column, end_column=len(widths))
        sheet.row_dimensions[row].height = max(20, _height(_plain(value), sum(widths[column - 1 :])))

    def _signoff(
        self, sheet: Worksheet, row: int, signoff: SignOff, conclusion: Cell | None, widths: Sequence[float]
    ) -> int:
        label = _Look(head=True, fill=LABEL)
        row = self._title(sheet, row, signoff.title)
        if conclusion is not None:
            self._put(sheet, row, 1, texts.say("form.header.conclusion", lang=self.language), label)
            self._wide(sheet, row, 2, conclusion, self._look(conclusion), widths)
            row += 1
        for who in signoff.signers:
            for column, value, look in ((1, who, label), (2, "", _Look()), (3, signoff.date, label), (4, "", _Look())):
                self._put(sheet, row, column, value, look)
            sheet.row_dimensions[row].height = _SIGN_ROW
            row += 1
        if signoff.remarks:
            self._put(sheet, row, 1, signoff.remarks, label)
            self._wide(sheet, row, 2, "", _Look(), widths)
            sheet.row_dimensions[row].height = _REMARKS_ROW
            row += 1
        return row

    def _table(self, part: Table) -> None:
        """Title, header row, rows; the first two stay on the screen and repeat on paper."""
        sheet = self.workbook.create_sheet()
        total = sum(column.width for column in part.columns)
        widths = [max(5.0, self.width * column.width / total) for column in part.columns]
        last = get_column_letter(len(widths))
        self._page(sheet, part.title or self.document.title, widths)
        self._put(sheet, 1, 1, part.title, _TITLE)
        sheet.row_dimensions[1].height = 24
        for number, column in enumerate(part.columns, start=1):
            self._put(sheet, 2, number, column.title, _Look(head=True, fill=HEADING, align="center"))
        heads = [_height(column.title, width) for column, width in zip(part.columns, widths, strict=True)]
        sheet.row_dimensions[2].height = max(22.0, *heads)
        row = 3
        for cells in part.rows:
            for number, (value, column) in enumerate(zip(cells, part.columns, strict=True), start=1):
                self._put(sheet, row, number, value, self._look(value, column.align))
            heights = [_height(_plain(value), width) for value, width in zip(cells, widths, strict=True)]
            sheet.row_dimensions[row].height = max(heights)
            row += 1
        if part.rows:
            sheet.auto_filter.ref = f"A2:{last}{row - 1}"
        else:
            empty = part.empty or texts.say("form.none", lang=self.language)
            self._wide(sheet, row, 1, empty, _Look(ink=QUIET, align="center"), widths)
            row += 1
        if part.note:
            self._wide(sheet, row, 1, part.note, _Look(size=9, ink=QUIET, border=False), widths)
            row += 1
        if part.signoff:
            self._signed(sheet, row, part.signoff, len(widths))
        sheet.freeze_panes = "A3"
        sheet.print_title_rows = "1:2"

    def _signed(self, sheet: Worksheet, row: int, signoff: SignOff, columns: int) -> None:
        """Who signs a table of at least six columns, in its own sheet and its own columns."""
        label = _Look(head=True, fill=LABEL)
        spans = ((1, 2), (3, columns - 3), (columns - 2, columns - 2), (columns - 1, columns))
        for who in signoff.signers:
            for (first, last), value, look in zip(
                spans, (who, "", signoff.date, ""), (label, _Look()) * 2, strict=True
            ):
                for column in range(first, last + 1):
                    self._put(sheet, row, column, value if column == first else "", look)
                if last > first:
                    sheet.merge_cells(start_row=row, end_row=row, start_column=first, end_column=last)
            sheet.row_dimensions[row].height = _SIGN_ROW
            row += 1

    # -- cells

    def _look(self, value: Cell | str, align: Align = "left") -> _Look:
        if isinstance(value, str) or not (value.state or value.mono):
            return _Look(align=align)
        state: State | None = value.state
        return _Look(
            head=state in BOLD, mono=value.mono, align=align,
            ink=INK[state] if state else "", fill=FILL.get(state, "") if state else "",
        )  # fmt: skip

    def _put(self, sheet: Worksheet, row: int, column: int, value: Cell | str, look: _Look) -> None:
        text = printable(_plain(value))
        if len(text) > _CELL_LIMIT:
            text = text[: _CELL_LIMIT - 1] + "…"
        cell: Any = sheet.cell(row, column)
        if text:
            # Excel reads _x0041_ as a letter's number: a text that really says so is written with its own escape.
            cell.value = _ESCAPE.sub("_x005F_", text)
            cell.data_type = "s"
        quoted = text.startswith(_FORMULA)
        cell._style = copy(self._style(sheet, replace(look, quote=True) if quoted else look))

    def _style(self, sheet: Worksheet, look: _Look) -> Any:
        if look not in self.styles:
            cell: Any = SheetCell(sheet, row=1, column=1)  # stands in no sheet
            name = MONO if look.mono else HEAD[self.language] if look.head else BODY[self.language]
            cell.font = Font(name=name, size=look.size, bold=look.head, color=f"FF{look.ink}" if look.ink else None)
            if look.fill:
                cell.fill = PatternFill("solid", start_color=f"FF{look.fill}")
            if look.border:
                side = Side(style="thin", color="FF7F7F7F")
                cell.border = Border(left=side, right=side, top=side, bottom=side)
            # A number at the right edge would touch the text of the next column.
            indent = 1 if look.align == "right" else 0
            cell.alignment = Alignment(horizontal=look.align, vertical="center", wrap_text=look.wrap, indent=indent)
            cell.number_format = "@"
            cell.quotePrefix = look.quote
            self.styles[look] = cell._style
        return self.styles[look]


def _plain(value: Cell | str) -> str:
    return value.text if isinstance(value, Cell) else value


def _height(text: str, width: float) -> float:
    """Points of a row that shows ``text`` in a column; Excel itself grows no row of a merged or opened file."""
    # Ten points are a little narrower than the digit that the width counts; half a digit is the margin.
    room = max(2, int(width * 1.05 - 0.5))
    lines = sum(_lines(line, room) for line in text.split("\n"))
    return min(_HIGHEST, max(18.0, lines * _LINE + 4))


@cache
def _lines(text: str, room: int) -> int:
    """Lines that ``text`` takes: Latin words stay whole, Chinese breaks anywhere and is two digits wide."""
    if _units(text) <= room:
        return 1
    lines, used = 1, 0
    for word in _WORDS.findall(text):
        units = _units(word)
        if used + units > room and used:
            lines, used = lines + 1, 0
        if units > room:
            lines, used = lines + math.ceil(units / room) - 1, units % room
        else:
            used += units
    return lines


def _units(text: str) -> int:
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WFA" else 1 for c in text)
