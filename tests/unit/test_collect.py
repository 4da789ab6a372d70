"""The workbook says what is wanted; what comes back is judged by the same rules, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner

from implops.baseload import mapping
from implops.baseload.mapping import Mapping
from implops.baseload.returned import validate
from implops.baseload.template import write
from implops.cli.collect import command
from implops.errors import InputError
from implops.site import Site
from implops.store import Store

KIND = """\
import: 分类
source: {file: kind.csv, encoding: gb18030}
target: {database: his, table: kind}
columns:
  code: {from: 代码, pattern: 'C[0-9]', required: true, unique: true}
  name: {from: 名称, max: 5, required: true}
"""
ITEM = """\
import: 物料/一
source: {file: ../x/item.csv, encoding: gb18030}
target: {database: his, table: item}
after: [分类]
key: [code]
columns:
  code: {from: 编码, required: true}
  kind: {from: 分类, ref: {table: kind, match: code}}
  unit: {from: 单位, dict: 单位, map: {个: PCS}}
  level: {from: 等级, dict: 等级}
  since: {from: 启用, type: date, formats: [YYYY/M/D]}
  on: {from: 在用, type: bool, formats: [是/否]}
  id: {from: 身份证号, pattern: '[0-9]{17}[0-9X]'}
  dept: {from: 部门, ref: {table: sys_dept, match: name, take: id}}
  by: {value: implops}
ignore: [备注]
dictionaries: {单位: {codes: [PCS, BOX]}, 等级: {codes: [A, B]}}
"""
ROW: list[Any] = ["M1", "C1", "个", "A", "2025/3/1", "是", "11010119900307888X", "内科"]


@pytest.fixture
def mappings(tmp_path: Path) -> list[Mapping]:
    folder = tmp_path / "mappings"
    folder.mkdir()
    for name, text in (("kind", KIND), ("item", ITEM)):
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return [mapping.load(folder / "kind.yml"), mapping.load(folder / "item.yml")]


def test_the_workbook_says_what_is_wanted(tmp_path: Path, site: Site, mappings: list[Mapping]) -> None:
    write(site, mappings, tmp_path / "list.xlsx")
    book = openpyxl.load_workbook(tmp_path / "list.xlsx")
    assert book.sheetnames[:4] == ["资料清单", "分类", "物料_一", "字典代码"]
    sheet = book["物料_一"]
    assert [cell.value for cell in sheet[1]] == ["编码", "分类", "单位", "等级", "启用", "在用", "身份证号", "部门"]
    assert sheet["A1"].fill.fgColor.rgb != sheet["B1"].fill.fgColor.rgb
    assert "必填" in sheet["A1"].comment.text
    assert "[0-9]{17}" in sheet["G1"].comment.text
    assert (sheet["G2"].number_format, sheet["E2"].number_format) == ("@", "yyyy-mm-dd")
    lists = {str(one.sqref).partition(":")[0]: one.formula1 for one in sheet.data_validations.dataValidation
             if one.type == "list"}  # fmt: skip
    codes = book["字典代码"]
    chosen = {cell: [codes[place].value for place in _cells(formula)] for cell, formula in lists.items()}
    assert chosen == {"C2": ["个"], "D2": ["A", "B"], "F2": ["是", "否"]}
    front = [[cell.value for cell in row] for row in book["资料清单"].iter_rows(min_row=6)]
    assert [row[1] for row in front] == ["分类", "物料/一"]
    servers = [[cell.value for cell in row] for row in book["服务器与网络"].iter_rows(min_row=2)]
    assert [row[0] for row in servers] == list(site.hosts)
    words = " ".join(str(cell.value) for one in book for row in one.iter_rows() for cell in row if cell.value)
    assert "secrets/" not in words


def _cells(formula: str) -> list[str]:
    """``='字典代码'!$B$2:$B$3`` -> B2 and B3."""
    letter, last = formula.split("$")[1], int(formula.split("$")[-1])
    return [f"{letter}{row}" for row in range(2, last + 1)]


def _fill(path: Path, kinds: list[list[Any]], items: list[list[Any]] | None) -> None:
    book = openpyxl.load_workbook(path)
    for row in kinds:
        _append(book["分类"], row)
    for row in items or []:
        _append(book["物料_一"], row)
    if items is None:
        del book["物料_一"]
    book.save(path)


def _append(sheet: Any, row: list[Any]) -> None:
    place = next(number for number in range(2, 500) if sheet.cell(number, 1).value is None)
    for column, value in enumerate(row, start=1):
        sheet.cell(place, column, value)


def test_a_filled_workbook_is_judged_by_the_rules(tmp_path: Path, site: Site, mappings: list[Mapping]) -> None:
    path = tmp_path / "list.xlsx"
    write(site, mappings, path)
    _fill(path, [["C1", "药品"], ["C2", "耗材"]], [ROW])
    found = validate(mappings, path)
    assert [(one.state, one.rows, one.unjudged) for one in found] == [("complete", 2, []), ("complete", 1, ["dept"])]
    bad: list[list[Any]] = [
        ["M2", "C9", "个", "A"], ["M3", "C1", "只", "A"], ["M4", "C1", "BOX", "C"], ["M5", "C1", "PCS", "A", "二月"],
        ["M6", "C1", "PCS", "B", None, "Y"], ["M7", "C1", "PCS", "B", None, "否", 110101199003078888], ["M1", "C1"],
    ]  # fmt: skip
    _fill(path, [], bad)
    item = validate(mappings, path)[1]
    assert item.state == "rejected"
    assert [(one.line, one.faults[0].column, one.faults[0].code) for one in item.rejects] == [
        (3, "kind", "reference"), (4, "unit", "dictionary"), (5, "level", "dictionary"), (6, "since", "date_format"),
        (7, "on", "bool"), (8, "id", "excel_digits"), (9, "code", "duplicate"),
    ]  # fmt: skip


def test_what_did_not_come_is_named(tmp_path: Path, site: Site, mappings: list[Mapping]) -> None:
    path = tmp_path / "list.xlsx"
    write(site, mappings, path)
    assert [one.state for one in validate(mappings, path)] == ["empty", "empty"]
    _fill(path, [["C1", "药品"]], None)
    assert [one.state for one in validate(mappings, path)] == ["complete", "missing"]
    folder = tmp_path / "back"
    folder.mkdir()
    assert [one.state for one in validate(mappings, folder)] == ["missing", "missing"]
    (folder / "kind.csv").write_bytes("代码,名称\nC1,药品\n".encode("gb18030"))
    header = "编码,分类,单位,等级,启用,在用,身份证号,部门,备注\n"
    (folder / "item.csv").write_bytes((header + ",".join(map(str, ROW)) + ",x\n").encode("gb18030"))
    assert [one.state for one in validate(mappings, folder)] == ["complete", "complete"]
    (folder / "item.csv").write_bytes(header.replace("备注", "其他").encode("gb18030"))
    refused = validate(mappings, folder)[1]
    assert (refused.state, refused.error.key if refused.error else "") == ("refused", "import.header_missing")
    with pytest.raises(InputError):
        validate(mappings, tmp_path / "none.txt")


def test_another_number_of_rows_than_agreed_hides_no_fault(tmp_path: Path, site: Site, mappings: list[Mapping]) -> None:
    path = tmp_path / "list.xlsx"
    write(site, mappings, path)
    _fill(path, [["C1", "药品"], ["C", "坏"]], None)
    wanted = mappings[0].model_copy(update={"verify": mappings[0].verify.model_copy(update={"rows_expected": 3})})
    (kind, _) = validate([wanted, mappings[1]], path)
    assert (kind.state, kind.rows, kind.error.key if kind.error else "") == ("counted", 2, "import.rows_expected")
    assert [one.line for one in kind.rejects] == [3]


def test_a_bad_row_is_told_all_its_faults_at_once(tmp_path: Path, site: Site, mappings: list[Mapping]) -> None:
    path = tmp_path / "list.xlsx"
    write(site, mappings, path)
    _fill(path, [["C1", "药品"]], [[None, "C9", "只", "Z", "二月", "Y", "1", "内科"]])
    (reject,) = validate(mappings, path)[1].rejects
    assert {(one.column, one.code) for one in reject.faults} == {
        ("code", "required"), ("kind", "reference"), ("unit", "dictionary"), ("level", "dictionary"),
        ("since", "date_format"), ("on", "bool"), ("id", "pattern"),
    }  # fmt: skip


def test_the_command_writes_judges_records_and_prints_the_form(
    tmp_path: Path, example: Path, mappings: list[Mapping], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPLOPS_OPERATOR", "张三/1001")
    names = [str(one.path) for one in mappings]
    text = example.read_text(encoding="utf-8")
    example.write_text(
        "\n".join("data: []" if line.startswith("data:") else line for line in text.splitlines()), encoding="utf-8"
    )
    path = tmp_path / "list.xlsx"
    runner = CliRunner()
    made = runner.invoke(command, [str(example), *names, "-o", str(path)], standalone_mode=False)
    assert (made.return_value, path.is_file()) == (0, True)
    _fill(path, [["C1", "药品"], ["C", "坏"]], None)
    told = runner.invoke(command, [str(example), *names, "--validate", str(path), "--json"], standalone_mode=False)
    assert told.return_value == 1, told.exception
    answer = json.loads(told.stdout)
    assert [one["state"] for one in answer["items"]] == ["rejected", "missing"]
    assert store.last("collect.finished").payload["conclusion"] == "fail"  # type: ignore[union-attr]
    out = tmp_path / "out"
    assert {one.suffix for one in out.glob("*LIST*")} >= {".docx", ".html"}
    assert (out / "rejects-kind.csv").is_file()
