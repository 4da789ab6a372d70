"""What a mapping allows to be changed is changed, counted and listed; everything else is refused or left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_reading import COLUMNS, TABLE, Read, mat

from implops.baseload.column import Column
from implops.baseload.convert import Conversion
from implops.baseload.target import Table, TableColumn, fit
from implops.errors import InputError


def one(folder: Path, target: str, values: list[str], column: dict[str, Any], **more: Any) -> Read:
    """A file with a code and one more column, quoted so that any value is one cell."""
    columns = {"code": {"from": "code"}, "name": {"value": "x"}, target: {"from": "it", **column}}
    if target in ("code", "name"):
        columns[target] = {"from": "it", **column}
    rows = ['"' + value.replace('"', '""') + '"' for value in values]
    data = "code,it\n" + "".join(f"K{place},{row}\n" for place, row in enumerate(rows))
    ignore = ["code"] if target == "code" else []
    return Read(folder, data.encode(), columns, ignore=ignore, **more)


@pytest.mark.parametrize(
    ("target", "column", "value", "wanted"),
    [
        ("memo", {"clean": ["trim"]}, "　 甲\u200b", "甲"),
        ("memo", {"clean": ["trim"]}, "甲 乙", "甲 乙"),
        ("memo", {"clean": ["squeeze"]}, "甲  \u3000乙", "甲 乙"),
        ("memo", {"clean": ["width"]}, "ＡＢ（１）①㎏", "AB(1)1kg"),
        ("memo", {"clean": ["t2s"]}, "臺灣醫院", "台湾医院"),
        ("memo", {"clean": ["upper"]}, "aß1", "Aß1"),
        ("memo", {"clean": ["trim", "squeeze", "width", "t2s"]}, " 醫院　（東） ", "医院 (东)"),
        ("memo", {"map": {"成品": "C001", "半成品": "C002"}}, "成品", "C001"),
        ("memo", {"map": {"成品": "C001"}, "clean": ["trim"]}, " 成品", "C001"),
        ("memo", {"default": "无"}, "", "无"),
        ("price", {"type": "decimal(14,2)", "clean": ["currency", "thousands"]}, "¥1,234,567.50", "1234567.50"),
        ("price", {"type": "decimal(14,2)", "clean": ["currency"]}, "12.5元", "12.5"),
        ("price", {"type": "decimal(14,2)", "clean": ["width", "trim"]}, "１２．５ ", "12.5"),
        ("price", {"type": "decimal(14,2)", "units": {"万元": 10000, "元": 1}}, "1.2345万元", "12345"),
        ("price", {"type": "decimal(14,2)", "units": {"元": 1, "分": 0.01}}, "5分", "0.05"),
        ("n", {"type": "int", "units": {"千个": 1000}}, "3千个", "3000"),
        ("n", {"type": "int", "min": -5, "max": 5}, "-5", "-5"),
        ("d", {"type": "date", "formats": ["YYYY/M/D"]}, "2025/3/1", "2025-03-01"),
        ("d", {"type": "date", "formats": ["YYYY年M月D日"]}, "2025年3月1日", "2025-03-01"),
        ("d", {"type": "date", "formats": ["YYYYMMDD"]}, "20250301", "2025-03-01"),
        ("d", {"type": "date", "formats": ["excel_serial"]}, "45717", "2025-03-01"),
        ("d", {"type": "date", "formats": ["YYYY/M/D"]}, "2025-03-01", "2025-03-01"),
        ("d", {"type": "date", "min": "2025-01-01", "max": "2025-12-31"}, "2025-12-31", "2025-12-31"),
        ("at", {"type": "datetime"}, "2025-03-01 08:05:00", "2025-03-01 08:05:00"),
        ("at", {"type": "datetime", "formats": ["YYYY/M/D h:mm"]}, "2025/3/1 8:05", "2025-03-01 08:05:00"),
        ("at", {"type": "datetime", "formats": ["YYYY-MM-DD"]}, "2025-03-01", "2025-03-01 00:00:00"),
        ("at", {"type": "datetime", "formats": ["excel_serial"]}, "45717.5", "2025-03-01 12:00:00"),
        ("at", {"type": "datetime", "max": "2025-03-01"}, "2025-03-01 23:59:59", "2025-03-01 23:59:59"),
        ("clock", {"type": "time"}, "23:59:59", "23:59:59"),
        ("yes", {"type": "bool"}, "1", "1"),
        ("yes", {"type": "bool", "formats": ["是/否", "Y/N"]}, "否", "0"),
        ("yes", {"type": "bool", "formats": ["是/否", "Y/N"]}, "Y", "1"),
        ("code", {"clean": ["trim"], "unique": True, "pattern": "M[0-9]{3}"}, " M001", "M001"),
    ],
)
def test_a_value_is_changed_as_declared(
    tmp_path: Path, target: str, column: dict[str, Any], value: str, wanted: str
) -> None:
    read = one(tmp_path, target, [value], column)
    assert read.reasons == []
    assert read.rows[0][list(read.mapping.columns).index(target)] == wanted
    changed = [change for rules in read.reader.changes.values() for change in rules.values()]
    assert bool(changed) == (value != wanted)
    assert all(one.count == 1 and one.samples == [(2, value, wanted)] for one in changed)


@pytest.mark.parametrize(
    ("target", "column", "value", "code"),
    [
        ("price", {"type": "decimal(14,2)", "clean": ["thousands"]}, "1,23", "decimal"),
        ("price", {"type": "decimal(14,2)", "clean": ["thousands"]}, "1,2345", "decimal"),
        ("price", {"type": "decimal(14,2)", "units": {"万元": 10000}}, "1.23456789万元", "decimal"),
        ("price", {"type": "decimal(14,2)", "units": {"万元": 10000}}, "一万元", "unit"),
        ("price", {"type": "decimal(14,2)", "min": 0}, "-0.01", "range"),
        ("price", {"type": "decimal(14,2)", "max": 99.5}, "99.51", "range"),
        ("n", {"type": "int", "min": 0}, "-1", "range"),
        ("n", {"type": "int", "max": 5}, "6", "range"),
        ("n", {"type": "int"}, "１２", "int"),
        ("d", {"type": "date", "formats": ["D/M/YYYY", "M/D/YYYY"]}, "03/04/2025", "ambiguous"),
        ("d", {"type": "date", "formats": ["YYYY/M/D"]}, "2023/2/29", "date_format"),
        ("d", {"type": "date", "formats": ["YYYY/M/D"]}, "1899/2/1", "date_format"),
        ("d", {"type": "date", "formats": ["excel_serial"]}, "60", "date_format"),
        ("d", {"type": "date", "formats": ["excel_serial"]}, "59", "date_format"),
        ("d", {"type": "date", "formats": ["excel_serial"]}, "45717.5", "date_format"),
        ("d", {"type": "date", "min": "2025-01-01"}, "2024-12-31", "range"),
        ("at", {"type": "datetime"}, "2025-03-01 24:00:00", "datetime"),
        ("at", {"type": "datetime"}, "2025-03-01", "datetime"),
        ("clock", {"type": "time"}, "8:00:00", "time"),
        ("yes", {"type": "bool", "formats": ["是/否"]}, "有", "bool"),
        ("yes", {"type": "bool"}, "是", "bool"),
        ("memo", {"min": 3}, "ab", "short"),
        ("memo", {"min": 3, "clean": ["trim"]}, "ab ", "short"),
        ("memo", {"max": 2, "clean": ["trim"]}, " abc", "length"),
        ("memo", {"clean": ["trim"], "required": True}, " ", "required"),
        ("memo", {"clean": ["trim"], "pattern": "[^x]+"}, " x", "pattern"),
        ("memo", {"clean": ["width"]}, "a\u0007", "control"),
        ("memo", {}, "锟斤拷", "damaged"),
        ("memo", {"clean": ["trim"]}, " 锟斤拷", "damaged"),
    ],
)
def test_what_no_rule_covers_is_refused(
    tmp_path: Path, target: str, column: dict[str, Any], value: str, code: str
) -> None:
    read = one(
        tmp_path, target, ["", value] if not column.get("required") else ["好", value], column, prove_first=False
    )
    assert [(line, found) for line, _, found in read.reasons] == [(3, code)]
    assert len(read.rows) == 1


def test_null_texts_mean_null_in_every_column(tmp_path: Path) -> None:
    columns = {**COLUMNS, "price": {"from": "price", "type": "decimal(14,2)", "clean": ["trim"]}}
    read = Read(tmp_path, mat("M001,甲,-, NULL,,NULL", "M002,NULL,,,,", "M003,丙, - ,1,,x"), columns,
                source={"null": ["", "NULL", "-"]})  # fmt: skip
    assert read.reasons == [(2, "n", "int"), (3, "name", "required")]
    assert read.rows == [["M003", "丙", "", "1", "", "x"]]


def test_only_changes_of_kept_rows_are_counted_and_the_first_ones_listed(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "clean": ["trim"]}}
    rows = [f"M{place:03d},甲,,,, a" for place in range(7)] + ["M00,坏,,,, a", "M000,重,,,, a"]
    changes = Read(tmp_path, mat(*rows), columns).reader.changes
    assert changes["memo"]["trim"].count == 7
    assert changes["memo"]["trim"].samples == [(line, " a", "a") for line in range(2, 7)]


def test_a_clean_column_goes_on_as_it_stands(tmp_path: Path) -> None:
    columns = {**COLUMNS, "name": {"from": "name", "max": 20, "required": True, "clean": ["trim", "squeeze", "width"]}}
    data = mat("M001,甲,1.50,7,2024-02-29,备注", 'M002,"乙, ""丙""",,,,')
    read = Read(tmp_path, data, columns)
    assert (read.sent, read.reader.changes) == (data.partition(b"\n")[2], {})


def test_codes_of_a_dictionary_must_be_exact(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "dict": "类", "map": {"药": "C1"}}}
    rows = ["M001,甲,,,,C12", "M002,乙,,,,C1", "M003,丙,,,,c12", "M004,丁,,,,Ｃ12", "M005,戊,,,,药", "M006,己,,,,"]
    read = Read(tmp_path, mat(*rows), columns, known={("", "", "类"): {"C12", "C1", ""}},
                dictionaries={"类": {"codes": ["C12", "C1"]}})  # fmt: skip
    assert read.reasons == [(4, "memo", "dictionary"), (5, "memo", "dictionary")]
    assert [row[5] for row in read.rows] == ["C12", "C1", "C1", ""]


def test_a_reference_is_replaced_by_what_the_parent_says(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "ref": {"table": "dept", "match": "name", "take": "id"}}}
    known: dict[tuple[str, ...], Any] = {("public", "dept", "name", "id"): {"内科": "7", "外科": None}}
    read = Read(
        tmp_path, mat("M001,甲,,,,内科", "M002,乙,,,,外科", "M003,丙,,,,儿科", "M004,丁,,,,"), columns, known=known
    )
    assert read.reasons == [(3, "memo", "reference_many"), (4, "memo", "reference")]
    assert [row[5] for row in read.rows] == ["7", ""]


def test_what_the_column_cannot_store_is_found_before(tmp_path: Path) -> None:
    import dataclasses

    cells = fit(Read(tmp_path, mat("M001,甲,,,,")).mapping, TABLE)
    from implops.baseload.rows import Reader

    for charset, stored, lost in (("utf8mb3", "䶮", "𠮷"), ("gbk", "镕", "䶮"), ("latin1", "é€", "中")):
        read = Read(tmp_path, mat(f"M001,甲,,,,{stored}", f"M002,乙,,,,a{lost}"))
        bound = [
            dataclasses.replace(cell, field=dataclasses.replace(cell.field, charset=charset))
            if cell.name == "memo" else cell for cell in cells
        ]  # fmt: skip
        reader = Reader(read.mapping, bound, {}, {})
        list(reader.blocks())
        (reject,) = reader.rejects
        assert (reject.line, reject.faults[0].code, reject.faults[0].params["lost"]) == (3, "storable", lost)


def test_a_constant_must_fit_its_column(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Read(tmp_path, mat("M001,甲,,,,"), {**COLUMNS, "n": {"value": "x", "type": "int"}}, ignore=["n"])
    assert error.value.key == "import.constant_form"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=5))
def test_the_quick_look_and_the_slow_work_agree(values: list[str]) -> None:
    """A column that is let through untouched is one that no rule would have changed or refused."""
    there = TableColumn("memo", "varchar", 5, None, None, False, False, False)
    table = Table(("public", "t"), {"memo": there}, "UTF8", 150018, 0, ())
    from implops.baseload.mapping import Mapping

    column = {"from": "memo", "clean": ["trim", "squeeze", "width", "upper"], "map": {"a": "b"}}
    mapping = Mapping.model_validate(
        json.loads(json.dumps({
            "import": "x", "source": {"file": "f", "encoding": "utf-8"}, "target": {"database": "d", "table": "t"},
            "columns": {"memo": column},
        }))
    )  # fmt: skip
    (cell,) = fit(mapping, table)
    assert isinstance(cell.column, Column)
    # What is no text never comes this far: the form of the line refuses it.
    values = [value for value in values if not any(ord(one) < 32 or 0x7F <= ord(one) < 0xA0 for one in value)]
    values = [value for value in values if not cell_strange(cell.field, value)]
    work = Conversion(cell.column, cell.field, [""])
    out, faults = work.values(range(len(values)), values)
    slow = Conversion(cell.column, cell.field, ["", "\0never"])
    for place, value in enumerate(values):
        assert (slow.fault(value) is not None) == (place in faults)
        if place not in faults:
            assert slow.values([0], [value])[0][0] == out[place]


def cell_strange(rule: Any, value: str) -> bool:
    from implops.baseload.rules import strange_in

    return strange_in(rule, "").search(value) is not None
