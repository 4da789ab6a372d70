"""What a writer puts into a file: every text, on paper that holds together, and nothing that could run or hide."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from docx import Document as open_docx
from docx.oxml.ns import qn
from openpyxl import Workbook, load_workbook

from implops.documents.model import Cell, Column, Document, Fields, Paragraph, SignOff, Table
from implops.writers import excel, html, printable, word

NASTY = "</script><img src=x onerror=alert(1)><!-- ]]> {{ 7*7 }} & \"q\" 'q'"
SIGNERS = ("实施人员(签字)", "客户确认(签字/盖章)")


@pytest.fixture
def document() -> Document:
    checks = Table(
        "B 检查项目",
        (Column("序号", 0.5, "center"), Column("项目", 2), Column("实际值", 2), Column("结果", 1, "center")),
        (
            ("1", "/data 可用空间", "148 GiB\n2026-11-20", Cell("✘ 不合格", "fail")),
            ("2", NASTY, Cell("9f2c41aa" * 8, mono=True), Cell("✔ 合格", "pass")),
        ),
        note="注一",
    )
    todo = Table("C 客户待办", (Column("事项"), Column("期限")), (), empty="无待办")
    return Document(
        kind="ENV",
        title="实施环境检查表",
        number="HIS-TEST-ENV-0001",
        language="zh-Hans",
        header=Fields((("项目名称", "某医院"), ("结论", Cell("✘ 不合格", "fail")), ("操作人", "张工"))),
        parts=(checks, todo, Paragraph("一\n二", "说明")),
        signoff=SignOff(SIGNERS, "日期", "签字确认", "客户意见"),
        conclusion=Cell("✘ 不合格", "fail"),
        footer="HIS-TEST-ENV-0001 记录摘要 5e1b",
        finished="2026-11-20T14:03:05.120+08:00",
        landscape=True,
        stamp="演练",
    )


@pytest.mark.parametrize(("suffix", "write"), [("docx", word.write), ("xlsx", excel.write), ("html", html.write)])
def test_the_same_document_gives_the_same_bytes(document: Document, tmp_path: Path, suffix: str, write) -> None:  # type: ignore[no-untyped-def]
    for name in ("a", "b"):
        write(document, tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def _word(document: Document, folder: Path):  # type: ignore[no-untyped-def]
    word.write(document, folder / "a.docx")
    return open_docx(str(folder / "a.docx"))


def test_word_says_everything(document: Document, tmp_path: Path) -> None:
    docx = _word(document, tmp_path)
    header, checks, todo, signoff = docx.tables
    assert [cell.text for cell in header.rows[0].cells] == ["项目名称", "某医院", "结论", "✘ 不合格"]
    assert header.rows[1].cells[1].text == "张工"
    assert [cell.text for cell in checks.rows[0].cells] == ["序号", "项目", "实际值", "结果"]
    assert [cell.text for cell in checks.rows[1].cells] == ["1", "/data 可用空间", "148 GiB\n2026-11-20", "✘ 不合格"]
    assert checks.rows[2].cells[1].text == NASTY
    assert todo.rows[1].cells[0].text == "无待办"
    assert [row.cells[0].text for row in signoff.rows] == ["结论", *SIGNERS, "客户意见"]
    assert [row.cells[2].text for row in signoff.rows[1:3]] == ["日期", "日期"]
    texts = [paragraph.text for paragraph in docx.paragraphs]
    for text in ("实施环境检查表", "B 检查项目", "注一", "说明", "一", "二", "签字确认"):
        assert text in texts
    section = docx.sections[0]
    assert "演练" in section.header.paragraphs[0].text
    assert "某医院" in section.header.paragraphs[0].text
    assert document.footer in section.footer.paragraphs[0].text
    fields = [one.get(qn("w:instr")) for one in section.footer._element.iter(qn("w:fldSimple"))]
    assert fields == [" PAGE ", " NUMPAGES "]


def test_word_tables_hold_together_on_paper(document: Document, tmp_path: Path) -> None:
    docx = _word(document, tmp_path)
    for table in docx.tables:
        widths = [int(one.get(qn("w:w"))) for one in table._tbl.tblGrid]
        assert table._tbl.tblPr.find(qn("w:tblLayout")).get(qn("w:type")) == "fixed"
        for row in table.rows:
            assert row._tr.trPr.find(qn("w:cantSplit")) is not None
            cells = [int(tc.tcPr.find(qn("w:tcW")).get(qn("w:w"))) for tc in row._tr.tc_lst]
            assert sum(cells) == sum(widths)
    checks, signoff = docx.tables[1], docx.tables[-1]
    assert checks.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None
    assert checks.rows[1]._tr.trPr.find(qn("w:tblHeader")) is None
    for row in signoff.rows[1:]:
        assert row.height is not None
        assert row.height.cm >= 1.1
        assert all(p.paragraph_format.keep_with_next for p in row.cells[0].paragraphs)


def test_word_names_a_chinese_font_on_every_run(document: Document, tmp_path: Path) -> None:
    docx = _word(document, tmp_path)
    for body in (docx.element.body, docx.sections[0].header._element, docx.sections[0].footer._element):
        for run in body.iter(qn("w:r")):
            if run.find(qn("w:t")) is not None:
                assert run.find(qn("w:rPr")).find(qn("w:rFonts")).get(qn("w:eastAsia")) in ("宋体", "黑体")
    language = docx.styles.element.find(f".//{qn('w:rPrDefault')}/{qn('w:rPr')}/{qn('w:lang')}")
    assert language.get(qn("w:eastAsia")) == "zh-CN"


@pytest.mark.parametrize("landscape", [True, False])
def test_word_is_a4_and_tables_fit_it(document: Document, tmp_path: Path, landscape: bool) -> None:
    docx = _word(replace(document, landscape=landscape), tmp_path)
    section = docx.sections[0]
    sides = (round(section.page_width.cm, 1), round(section.page_height.cm, 1))
    assert sides == ((29.7, 21.0) if landscape else (21.0, 29.7))
    room = (section.page_width - section.left_margin - section.right_margin) / 635
    for table in docx.tables:
        assert sum(int(one.get(qn("w:w"))) for one in table._tbl.tblGrid) <= room + 2


def test_word_lets_a_row_taller_than_a_page_break(document: Document, tmp_path: Path) -> None:
    long = Table("日志", (Column("输出"),), (("行\n" * 700,), ("短",)))
    table = _word(replace(document, parts=(long,)), tmp_path).tables[1]
    assert table.rows[1]._tr.trPr.find(qn("w:cantSplit")) is None
    assert table.rows[2]._tr.trPr.find(qn("w:cantSplit")) is not None


@pytest.mark.parametrize(("suffix", "write"), [("docx", word.write), ("xlsx", excel.write)])
def test_an_office_file_carries_no_time_but_the_records(document: Document, tmp_path: Path, suffix: str, write) -> None:  # type: ignore[no-untyped-def]
    write(document, tmp_path / f"a.{suffix}")
    with ZipFile(tmp_path / f"a.{suffix}") as package:
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        core = package.read("docProps/core.xml").decode()
        assert not [name for name in package.namelist() if "thumbnail" in name]
    assert re.findall(r"20\d\d-[^<]*", core) == ["2026-11-20T06:03:05Z"] * 2
    assert re.search("<dc:creator[^>]*>implops<", core)


def _excel(document: Document, folder: Path) -> Workbook:
    excel.write(document, folder / "a.xlsx")
    return load_workbook(folder / "a.xlsx")


def _values(sheet) -> list[list[str | None]]:  # type: ignore[no-untyped-def]
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def test_excel_says_everything(document: Document, tmp_path: Path) -> None:
    book = _excel(document, tmp_path)
    assert book.sheetnames == ["实施环境检查表", "B 检查项目", "C 客户待办"]
    cover, checks, todo = book.worksheets
    rows = _values(cover)
    assert rows[0][0] == "实施环境检查表"
    assert rows[1] == ["项目名称", "某医院", "结论", "✘ 不合格"]
    assert rows[2][:2] == ["操作人", "张工"]
    said = [row[0] for row in rows]
    assert said[said.index("说明") :] == ["说明", "一", "二", "签字确认", "结论", *SIGNERS, "客户意见"]
    assert [row[2] for row in rows if row[0] in SIGNERS] == ["日期", "日期"]
    assert _values(checks) == [
        ["B 检查项目", None, None, None],
        ["序号", "项目", "实际值", "结果"],
        ["1", "/data 可用空间", "148 GiB\n2026-11-20", "✘ 不合格"],
        ["2", NASTY, "9f2c41aa" * 8, "✔ 合格"],
        ["注一", None, None, None],
    ]
    assert _values(todo)[2][0] == "无待办"
    for sheet in book.worksheets:
        assert sheet.oddFooter.left.text == document.footer
        assert sheet.oddFooter.right.text == "第 &P 页 / 共 &N 页"
        assert sheet.oddHeader.left.text == "某医院"
        assert "演练" in sheet.oddHeader.right.text


FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "#N/A", "TRUE", "1e5", "2026-11-20")


def test_excel_computes_nothing_that_a_host_wrote(document: Document, tmp_path: Path) -> None:
    table = Table("x", (Column("a"), Column("b")), tuple((one, Cell(one, "fail")) for one in FORMULAS))
    sheet = _excel(replace(document, parts=(table,)), tmp_path).worksheets[1]
    for number, text in enumerate(FORMULAS, start=3):
        for cell in sheet[number]:
            assert (cell.value, cell.data_type) == (text, "s")
            # When the cell is edited, too.
            assert bool(cell.quotePrefix) == text.startswith(("=", "+", "-", "@"))
    with ZipFile(tmp_path / "a.xlsx") as package:
        sheets = b"".join(package.read(name) for name in package.namelist() if "worksheets/" in name)
    assert b"<f>" not in sheets
    assert b'numberStoredAsText="1"' in sheets


def test_excel_shows_a_text_that_looks_like_its_own_escape(document: Document, tmp_path: Path) -> None:
    table = Table("x", (Column("a"),), (("_x0041_ _x004_",),))
    sheet = _excel(replace(document, parts=(table,)), tmp_path).worksheets[1]
    # As stored: Excel (and LibreOffice) show _x005F_ as the underscore that it stands for.
    assert sheet["A3"].value == "_x005F_x0041_ _x004_"


@pytest.mark.parametrize("landscape", [True, False])
def test_excel_prints_on_a4_with_its_headings_on_every_page(
    document: Document, tmp_path: Path, landscape: bool
) -> None:
    book = _excel(replace(document, landscape=landscape), tmp_path)
    for sheet in book.worksheets:
        assert sheet.page_setup.orientation == ("landscape" if landscape else "portrait")
        assert str(sheet.page_setup.paperSize) == "9"
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (1, 0)
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.value is None or cell.font.name in ("宋体", "黑体", "Consolas")
    checks = book.worksheets[1]
    assert (checks.print_title_rows, checks.freeze_panes, checks.auto_filter.ref) == ("$1:$2", "A3", "A2:D4")


def test_excel_makes_rows_as_high_as_their_text(document: Document, tmp_path: Path) -> None:
    texts = ("短", "内存不足" * 40, "word " * 60, "x" * 300, "1\n2\n3\n4", "内存" * 9000)
    table = Table("x", (Column("a"), Column("b", 3)), tuple((one, "") for one in texts))
    sheet = _excel(replace(document, parts=(table,)), tmp_path).worksheets[1]
    short, chinese, words, solid, lines, huge = (sheet.row_dimensions[row].height for row in range(3, 9))
    width = sheet.column_dimensions["A"].width
    assert short == 18
    assert chinese >= 320 / width * 13
    assert words >= 300 / width * 13
    assert solid >= 300 / width * 13
    assert 4 * 13 <= lines < 5 * 15
    assert huge == 409


def test_excel_sheets_have_names_that_excel_takes(document: Document, tmp_path: Path) -> None:
    titles = ("a/b[c]:*?\\d", "长" * 40, "长" * 50, "'quoted'", "Same", "same", "")
    parts = tuple(Table(title, (Column("a"),), ()) for title in titles)
    names = _excel(replace(document, parts=parts), tmp_path).sheetnames
    assert len({name.casefold() for name in names}) == len(titles) + 1
    for name in names:
        assert 0 < len(name) <= 31
        assert not re.search(r"[\[\]:*?/\\]|^'|'$", name)


def test_excel_footer_cannot_be_read_as_codes(document: Document, tmp_path: Path) -> None:
    book = _excel(replace(document, footer="A&B &P 1"), tmp_path)
    with ZipFile(tmp_path / "a.xlsx") as package:
        assert b"A&amp;&amp;B &amp;&amp;P 1" in package.read("xl/worksheets/sheet1.xml")
    assert book.worksheets[0].oddFooter.right.text.startswith("第")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts.append(data)
            self._open = ""
        elif self._open != "style":
            self.words.append(data)


def _html(document: Document, folder: Path) -> tuple[str, _Page]:
    html.write(document, folder / "a.html")
    text = (folder / "a.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    return text, page


def test_html_says_everything_without_javascript(document: Document, tmp_path: Path) -> None:
    _, page = _html(document, tmp_path)
    said = "\n".join(page.words)
    for text in (
        "某医院",
        "✘ 不合格",
        NASTY,
        "148 GiB",
        "无待办",
        "注一",
        "一",
        "演练",
        *SIGNERS,
        "客户意见",
        document.footer,
    ):
        assert text in said
    bar = next(attrs for tag, attrs in page.tags if attrs.get("class") == "bar")
    assert "hidden" in bar  # shown by the script that makes it work


def test_html_runs_nothing_from_its_data_and_loads_nothing(document: Document, tmp_path: Path) -> None:
    text, page = _html(document, tmp_path)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [attrs for tag, attrs in page.tags if tag in ("img", "link", "iframe", "base") or "src" in attrs]
    assert not re.search(r"https?://|url\(|@import", text)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    data = json.loads(page.scripts[0])
    assert data["number"] == "HIS-TEST-ENV-0001"
    assert data["parts"][0]["rows"][1][1] == NASTY


def test_html_rows_carry_their_worst_state_for_the_filter(document: Document, tmp_path: Path) -> None:
    _, page = _html(document, tmp_path)
    assert [attrs["data-state"] for tag, attrs in page.tags if tag == "tr" and "data-state" in attrs] == [
        "fail",
        "pass",
    ]
    offered = [attrs["data-state"] for tag, attrs in page.tags if tag == "button"]
    assert offered == ["", "fail", "pass"]


def test_html_style_cannot_be_left_by_a_footer(document: Document, tmp_path: Path) -> None:
    text, page = _html(replace(document, footer='"}</style><script>alert(1)</script>'), tmp_path)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert [tag for tag, _ in page.tags].count("style") == 1
    assert "alert(1)</script>" not in text


def test_output_of_hosts_cannot_break_or_disguise_a_sheet(document: Document, tmp_path: Path) -> None:
    evil = "a\x00b\x1b[31mc\u202edcba\ud800\ufffe\r\nnext\ttab"
    assert printable(evil) == "a\ufffdb\ufffd[31mc\ufffddcba\ufffd\ufffd\nnext\ttab"
    changed = replace(
        document, parts=(Table("x", (Column(evil),), ((evil,), (Cell(evil, mono=True),))), Paragraph(evil, evil))
    )
    docx = _word(changed, tmp_path)
    assert docx.tables[1].rows[1].cells[0].text.startswith("a\ufffdb")
    sheet = _excel(changed, tmp_path).worksheets[1]
    assert sheet["A3"].value == "a\ufffdb\ufffd[31mc\ufffddcba\ufffd\ufffd\nnext\ttab"
    _, page = _html(changed, tmp_path)
    assert "\u202e" not in "".join(page.words)
    assert "\x1b" not in "".join(page.scripts)


def test_a_table_that_is_signed_alone_has_its_own_row_below_it(document: Document, tmp_path: Path) -> None:
    columns = tuple(Column(name) for name in "ABCDEFG")
    sample = Table("附件三", columns, (tuple("1234567"),), note="种子", signoff=SignOff(("客户核对人",), "日期"))
    signed = replace(document, parts=(sample, *document.parts))
    docx = _word(signed, tmp_path)
    assert [cell.text for cell in docx.tables[2].rows[0].cells] == ["客户核对人", "", "日期", ""]
    excel.write(signed, tmp_path / "a.xlsx")
    sheet = load_workbook(tmp_path / "a.xlsx")["附件三"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=4)] == [
        ["种子", *[None] * 6], ["客户核对人", None, None, None, "日期", None, None]
    ]  # fmt: skip
    assert {str(one) for one in sheet.merged_cells.ranges} >= {"A5:B5", "C5:D5", "F5:G5"}
    html.write(signed, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.index("种子") < page.index("客户核对人") < page.index("B 检查项目")
