"""The few WordprocessingML elements that a form is made of.

python-docx opens and saves the package; rows are built here because its cell objects take seconds for 130 rows.
"""

from __future__ import annotations

import re
from typing import Any

from docx.oxml import OxmlElement
from docx.oxml.ns import qn

from implops.writers import printable

TWIPS_CM = 567
_DATE_HYPHEN = re.compile(r"(?<=[0-9]{4})-(?=[0-9]{2}-[0-9]{2}(?![0-9]))|(?<=[0-9]{4}-[0-9]{2})-(?=[0-9]{2}(?![0-9]))")


def element(tag: str, attributes: dict[str, str] | None = None, *children: Any) -> Any:
    """``element("w:tcW", {"w": "900", "type": "dxa"})``: attributes are of the w: namespace."""
    made = OxmlElement(tag)
    for name, value in (attributes or {}).items():
        made.set(qn(f"w:{name}"), value)
    for child in children:
        if child is not None:
            made.append(child)
    return made


def fonts(latin: str, east: str) -> Any:
    """Both families on one run: without eastAsia Word takes its own font for Chinese."""
    return element("w:rFonts", {"ascii": latin, "hAnsi": latin, "cs": latin, "eastAsia": east})


def run(text: str, *properties: Any) -> Any:
    """A run of text; a newline becomes a line break, and a date is not broken at its hyphens."""
    made = element("w:r", None, element("w:rPr", None, *properties))
    for number, line in enumerate(printable(text).split("\n")):
        if number:
            made.append(element("w:br"))
        for place, piece in enumerate(_DATE_HYPHEN.split(line)):
            if place:
                made.append(element("w:noBreakHyphen"))
            word = element("w:t")
            word.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
            word.text = piece
            made.append(word)
    return made


def field(code: str, *properties: Any) -> Any:
    """PAGE or NUMPAGES, counted by the program that prints."""
    return element("w:fldSimple", {"instr": f" {code} "}, run("1", *properties))


def paragraph(
    *runs: Any,
    align: str = "left",
    keep: bool = False,
    before: int = 0,
    after: int = 0,
    anywhere: bool = False,
    style: str = "",
    tabs: Any = None,
) -> Any:
    """``before`` and ``after`` in twentieths of a point; ``keep`` holds it on the page of what follows; ``anywhere``
    lets Latin words break within (hashes, paths)."""
    properties = element(
        "w:pPr",
        None,
        element("w:pStyle", {"val": style}) if style else None,
        element("w:keepNext") if keep else None,
        tabs,
        element("w:wordWrap", {"val": "0"}) if anywhere else None,
        element("w:spacing", {"before": str(before), "after": str(after), "line": "240", "lineRule": "auto"}),
        element("w:jc", {"val": align}),
    )
    return element("w:p", None, properties, *runs)


def cell(width: int, content: list[Any], *, fill: str = "", span: int = 1) -> Any:
    properties = element(
        "w:tcPr",
        None,
        element("w:tcW", {"w": str(width), "type": "dxa"}),
        element("w:gridSpan", {"val": str(span)}) if span > 1 else None,
        element("w:shd", {"val": "clear", "color": "auto", "fill": fill}) if fill else None,
        element("w:vAlign", {"val": "center"}),
    )
    return element("w:tc", None, properties, *content)


def row(cells: list[Any], *, heading: bool = False, height: int = 0, splits: bool = False) -> Any:
    """``height`` in twips is a minimum; ``heading`` repeats on every page; ``splits`` for a row taller than a page."""
    properties = element(
        "w:trPr",
        None,
        None if splits else element("w:cantSplit"),
        element("w:trHeight", {"val": str(height), "hRule": "atLeast"}) if height else None,
        element("w:tblHeader") if heading else None,
    )
    return element("w:tr", None, properties, *cells)


def table(widths: list[int], rows: list[Any], *, margin: int = 70) -> Any:
    """A fixed table with thin lines. LibreOffice reads the grid, Word the cells: both carry the widths."""
    line = {"val": "single", "sz": "4", "space": "0", "color": "7F7F7F"}
    edges = [element(f"w:{side}", line) for side in ("top", "left", "bottom", "right", "insideH", "insideV")]
    room = [
        element(f"w:{side}", {"w": str(size), "type": "dxa"})
        for side, size in (("top", 30), ("left", margin), ("bottom", 30), ("right", margin))
    ]
    properties = element(
        "w:tblPr",
        None,
        element("w:tblW", {"w": str(sum(widths)), "type": "dxa"}),
        element("w:jc", {"val": "center"}),
        element("w:tblBorders", None, *edges),
        element("w:tblLayout", {"type": "fixed"}),
        element("w:tblCellMar", None, *room),
    )
    grid = element("w:tblGrid", None, *(element("w:gridCol", {"w": str(width)}) for width in widths))
    return element("w:tbl", None, properties, grid, *rows)


def shares(weights: list[float], total: int) -> list[int]:
    """``total`` divided by ``weights`` in whole numbers; the last takes what rounding left."""
    made = [int(total * weight / sum(weights)) for weight in weights]
    made[-1] += total - sum(made)
    return made
