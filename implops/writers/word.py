"""Word: the form that the customer prints and signs. A4, black on white; colour only repeats what sign and word say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docx import Document as new_docx
from docx.enum.section import WD_ORIENT
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from docx.shared import Cm

from implops import texts
from implops.documents.model import Cell, Column, Document, Fields, Paragraph, SignOff, Table
from implops.writers import printable
from implops.writers.looks import BODY, BOLD, FILL, HEAD, HEADING, INK, LABEL, LATIN, MONO, QUIET, STAMP
from implops.writers.ooxml import (
    TWIPS_CM,
    cell,
    element,
    field,
    fonts,
    paragraph,
    row,
    run,
    shares,
    table,
)
from implops.writers.package import save

_LANG = {"zh-Hans": "zh-CN", "zh-Hant": "zh-TW", "en": "zh-CN"}
# Signers need 1.1 cm (forms.md §1); remarks are sentences.
_SIGN_ROW, _REMARKS_ROW = int(1.2 * TWIPS_CM), int(2.4 * TWIPS_CM)
# A row that may fill a page must be allowed to break, or Word cuts it off.
_LONG_CELL = 1200


def write(document: Document, path: Path) -> None:
    """Write ``document`` as .docx; the same document gives the same bytes."""
    paper = _Paper(document)
    paper.build()
    save(lambda raw: paper.docx.save(str(raw)), path, document.finished)


class _Paper:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.language = document.language
        self.docx = new_docx()
        self.side = 1.5 if document.landscape else 1.8
        self.width = int(((29.7 if document.landscape else 21.0) - 2 * self.side) * TWIPS_CM)
        self.body = self.docx.element.body
        self.end = self.body.sectPr

    def build(self) -> None:
        self._page()
        self._styles()
        self._properties()
        document = self.document
        self._add(paragraph(self._text(document.title, size=18, head=True), align="center", after=120, style="Title"))
        self._fields(document.header)
        for part in document.parts:
            self._part(part)
        self._signoff(document.signoff, document.conclusion)
        self._gap(0)  # Word wants a paragraph after the last table

    # -- the sheet

    def _page(self) -> None:
        section = self.docx.sections[0]
        if self.document.landscape:
            section.orientation = WD_ORIENT.LANDSCAPE
            section.page_width, section.page_height = Cm(29.7), Cm(21.0)
        else:
            section.page_width, section.page_height = Cm(21.0), Cm(29.7)
        section.left_margin = section.right_margin = Cm(self.side)
        section.top_margin, section.bottom_margin = Cm(1.8), Cm(1.6)
        section.header_distance, section.footer_distance = Cm(0.8), Cm(0.7)
        self._running_head(section.header._element)
        self._running_foot(section.footer._element)

    def _running_head(self, head: Any) -> None:
        """Project on the left; on the right the stamp, so that no page of a rehearsal passes for a real one."""
        _clear(head)
        project = next((_plain(value) for _, value in self.document.header.pairs), "")
        runs = [self._text(project, size=8, ink=QUIET)]
        if self.document.stamp:
            note = texts.say("form.stamp_note", lang=self.language)
            runs += [
                element("w:r", None, element("w:tab")),
                self._text(f" {self.document.stamp} ", size=14, head=True, ink=STAMP, frame=True),
                self._text(f"  {note}", size=8, ink=STAMP),
            ]
        head.append(paragraph(*runs, tabs=self._tab()))

    def _running_foot(self, foot: Any) -> None:
        _clear(foot)
        before, middle, after = texts.say("form.page", lang=self.language, page="\0", pages="\0").split("\0")
        small = [*self._letters(8, QUIET)]
        foot.append(
            paragraph(
                self._text(self.document.footer, size=8, ink=QUIET),
                element("w:r", None, element("w:tab")),
                self._text(before, size=8, ink=QUIET),
                field("PAGE", *small),
                self._text(middle, size=8, ink=QUIET),
                field("NUMPAGES", *self._letters(8, QUIET)),
                self._text(after, size=8, ink=QUIET),
                tabs=self._tab(),
            )
        )

    def _tab(self) -> Any:
        """One stop at the right edge; the template's own two belong to a page of another width."""
        stops = [element("w:tab", {"val": "clear", "pos": pos}) for pos in ("4320", "8640")]
        return element("w:tabs", None, *stops, element("w:tab", {"val": "right", "pos": str(self.width)}))

    def _styles(self) -> None:
        """Fonts and language as the document's defaults: what a user types by hand then looks the same."""
        styles = self.docx.styles.element
        defaults = styles.find(".//{*}rPrDefault/{*}rPr")
        for child in list(defaults):
            defaults.remove(child)
        language = {"val": "en-US", "eastAsia": _LANG[self.language]}
        for child in (
            fonts(LATIN, BODY[self.language]),
            element("w:sz", {"val": "20"}),
            element("w:szCs", {"val": "20"}),
            element("w:lang", language),
        ):
            defaults.append(child)
        for style in self.docx.styles:
            properties = style.element.rPr if style.element.tag.endswith("}style") else None
            if properties is None:
                continue
            for child in list(properties):
                if child.tag.endswith(("}rFonts", "}color", "}lang")):
                    properties.remove(child)
        title = self.docx.styles["Title"].element
        for child in title.findall(".//{*}pBdr"):
            child.getparent().remove(child)
        # Below 15 Word opens the sheet in a compatibility mode and says so in its title bar.
        for setting in self.docx.settings.element.iter(qn("w:compatSetting")):
            if setting.get(qn("w:name")) == "compatibilityMode":
                setting.set(qn("w:val"), "15")

    def _properties(self) -> None:
        core = self.docx.core_properties
        core.title, core.subject = printable(self.document.title), self.document.number
        core.author = core.last_modified_by = "implops"
        core.comments, core.keywords, core.language = "", self.document.meta.get("run", ""), _LANG[self.language]
        package = self.docx.part.package
        for key, relation in list(package.rels.items()):
            if relation.reltype == RELATIONSHIP_TYPE.THUMBNAIL:
                del package.rels[key]  # the template's picture of an empty page

    # -- its parts

    def _add(self, child: Any) -> None:
        self.end.addprevious(child)

    def _gap(self, points: int = 6) -> None:
        self._add(paragraph(self._text("", size=2), after=points * 20))

    def _part(self, part: Table | Fields | Paragraph | SignOff) -> None:
        if isinstance(part, SignOff):
            self._signoff(part, None)
            return
        self._title(part.title)
        if isinstance(part, Table):
            self._table(part)
        elif isinstance(part, Fields):
            self._fields(part)
        else:
            for line in part.text.split("\n"):
                self._add(paragraph(self._text(line, size=10), after=60))

    def _title(self, title: str) -> None:
        if title:
            self._add(
                paragraph(self._text(title, size=12, head=True), keep=True, before=200, after=80, style="Heading2")
            )
        else:
            self._gap()

    def _fields(self, fields: Fields) -> None:
        widths = shares([13, 37, 13, 37] if self.document.landscape else [15, 35, 15, 35], self.width)
        rows = []
        for start in range(0, len(fields.pairs), 2):
            pairs = fields.pairs[start : start + 2]
            cells = []
            for place, (label, value) in enumerate(pairs):
                alone = len(pairs) == 1
                wide = sum(widths[1:]) if alone else widths[2 * place + 1]
                cells.append(cell(widths[2 * place], [self._label(label)], fill=LABEL))
                fill = FILL.get(value.state, "") if isinstance(value, Cell) and value.state else ""
                cells.append(cell(wide, [self._value(value, 9.5)], span=3 if alone else 1, fill=fill))
            rows.append(row(cells, height=int(0.6 * TWIPS_CM)))
        self._add(table(widths, rows))

    def _table(self, part: Table) -> None:
        size = _size(len(part.columns), self.document.landscape)
        widths = shares([column.width for column in part.columns], self.width)
        margin = 70 if len(part.columns) <= 10 else 45
        top = [
            cell(
                width,
                [paragraph(self._text(column.title, size=size, head=True), align="center", keep=True)],
                fill=HEADING,
            )
            for column, width in zip(part.columns, widths, strict=True)
        ]
        rows = [row(top, heading=True)]
        rows += [self._row(cells, part.columns, widths, size) for cells in part.rows]
        if not part.rows:
            empty = part.empty or texts.say("form.none", lang=self.language)
            content = paragraph(self._text(empty, size=size, ink=QUIET), align="center")
            rows.append(row([cell(self.width, [content], span=len(widths))], height=int(0.8 * TWIPS_CM)))
        self._add(table(widths, rows, margin=margin))
        if part.note:
            self._add(paragraph(self._text(part.note, size=8.5, ink="404040"), before=60, after=40))
        if part.signoff:
            self._signoff(part.signoff, None)

    def _row(self, cells: tuple[Cell | str, ...], columns: tuple[Column, ...], widths: list[int], size: float) -> Any:
        made = []
        for value, column, width in zip(cells, columns, widths, strict=True):
            fill = FILL.get(value.state, "") if isinstance(value, Cell) and value.state else ""
            made.append(cell(width, [self._value(value, size, column.align)], fill=fill))
        return row(made, splits=any(len(_plain(value)) > _LONG_CELL for value in cells))

    def _signoff(self, signoff: SignOff, conclusion: Cell | None) -> None:
        """Kept on one page: a signature without the words above it means nothing."""
        self._title(signoff.title)
        widths = shares([24, 40, 10, 26], self.width)
        rows = []
        if conclusion is not None:
            label = texts.say("form.header.conclusion", lang=self.language)
            value = self._value(conclusion, 11, keep=True)
            rows.append(
                row(
                    [cell(widths[0], [self._label(label)], fill=LABEL), cell(sum(widths[1:]), [value], span=3)],
                    height=int(0.8 * TWIPS_CM),
                )
            )
        for who in signoff.signers:
            cells = [
                cell(widths[0], [self._label(who)], fill=LABEL),
                cell(widths[1], [paragraph(keep=True)]),
                cell(widths[2], [self._label(signoff.date)], fill=LABEL),
                cell(widths[3], [paragraph(keep=True)]),
            ]
            rows.append(row(cells, height=_SIGN_ROW))
        if signoff.remarks:
            cells = [
                cell(widths[0], [self._label(signoff.remarks)], fill=LABEL),
                cell(sum(widths[1:]), [paragraph()], span=3),
            ]
            rows.append(row(cells, height=_REMARKS_ROW))
        self._add(table(widths, rows))

    # -- its letters

    def _label(self, text: str) -> Any:
        return paragraph(self._text(text, size=9.5, head=True), keep=True)

    def _value(self, value: Cell | str, size: float, align: str = "left", *, keep: bool = False) -> Any:
        if isinstance(value, str):
            return paragraph(self._text(value, size=size), align=align, keep=keep)
        ink = INK[value.state] if value.state else ""
        bold = value.state in BOLD
        letters = self._text(value.text, size=size, ink=ink, bold=bold, mono=value.mono)
        return paragraph(letters, align=align, keep=keep, anywhere=value.mono)

    def _text(
        self,
        text: str,
        *,
        size: float,
        head: bool = False,
        ink: str = "",
        bold: bool = False,
        mono: bool = False,
        frame: bool = False,
    ) -> Any:
        latin = MONO if mono else LATIN
        east = HEAD[self.language] if head or bold else BODY[self.language]
        # The order of the schema: Word repairs a run whose properties stand in another one.
        properties = [
            fonts(latin, east),
            element("w:b") if bold or head else None,
            element("w:color", {"val": ink}) if ink else None,
            element("w:sz", {"val": str(int(size * 2))}),
            element("w:szCs", {"val": str(int(size * 2))}),
            element("w:bdr", {"val": "single", "sz": "12", "space": "0", "color": ink}) if frame else None,
            element("w:lang", {"val": "en-US", "eastAsia": _LANG[self.language]}),
        ]
        return run(text, *properties)

    def _letters(self, size: float, ink: str) -> list[Any]:
        return [
            fonts(LATIN, BODY[self.language]),
            element("w:color", {"val": ink}),
            element("w:sz", {"val": str(int(size * 2))}),
        ]


def _size(columns: int, landscape: bool) -> float:
    """Points of a table's letters, by how many columns share the sheet."""
    room = columns * (1.0 if landscape else 1.5)
    if room <= 9:
        return 9.0
    return 8.5 if room <= 11 else 8.0 if room <= 14 else 7.0


def _plain(value: Cell | str) -> str:
    return value.text if isinstance(value, Cell) else value


def _clear(part: Any) -> None:
    for child in list(part):
        part.remove(child)
