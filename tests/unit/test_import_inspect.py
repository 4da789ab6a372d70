"""Inspecting suggests: encoding evidence, delimiter, header, types; a draft never assumes what a person must say."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner

from implops.baseload import mapping
from implops.baseload.delimiters import delimiter_of
from implops.baseload.draft import draft
from implops.baseload.inspection import inspect, type_of
from implops.baseload.target import Table, TableColumn
from implops.cli.import_ import command
from implops.errors import InputError, SiteError

NAMES = ["内科", "外科", "儿科门诊", "药库", "检验中心", "后勤保障部"]
TEXT = "编码;名称;启用;单价\n" + "".join(
    f"0{place};{name};2025/3/{place};{place}.50\n" for place, name in enumerate(NAMES, 1)
)


@pytest.mark.parametrize(
    ("encoding", "suggested"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("gbk", "gbk"),
        ("utf-16", "utf-16"),
        ("utf-16le", "utf-16le"),
        ("utf-16be", "utf-16be"),
    ],
)
def test_a_text_file_is_described(tmp_path: Path, encoding: str, suggested: str) -> None:
    path = tmp_path / "科室.csv"
    path.write_bytes(TEXT.encode(encoding))
    found = inspect(path)
    assert (found.encoding, found.delimiter) == (suggested, ";")
    assert found.header == ["编码", "名称", "启用", "单价"]
    assert [(one.type, one.formats) for one in found.columns] == [
        ("text", []), ("text", []), ("date", ["YYYY/M/D"]), ("decimal(16,2)", []),
    ]  # fmt: skip
    assert (found.columns[1].longest, found.columns[1].empty, found.columns[1].unique) == (5, 0, True)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "编码,名称\n1,𠮷野家\n2,内科门诊\n3,药剂科室\n"),
        ("big5", "編碼,名稱\n1,臺灣醫院\n2,門診藥局\n3,總務單位\n"),
        ("shift-jis", "コード,名称\n1,東京都です\n2,大阪府にある\n3,カタカナの\n"),
        ("euc-jp", "コード,名称\n1,東京都です\n2,大阪府にある\n3,カタカナの\n"),
        ("euc-kr", "코드,이름\n1,서울특별시\n2,대한민국\n3,병원 응급실\n"),
        ("cp1252", "Code,Name\n1,Müller\n2,Café\n3,Señor Peña\n"),
    ],
)
def test_the_evidence_names_the_right_encoding_first(tmp_path: Path, encoding: str, text: str) -> None:
    from implops.baseload.codec import codec_of

    path = tmp_path / "f.csv"
    path.write_bytes(text.encode(str(codec_of(encoding))))
    found = inspect(path)
    assert found.encoding == encoding
    assert found.encodings[0].lines[0][1] in text


def test_text_far_behind_ascii_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"code,name\n" + b"1,a\n" * 100_000 + "2,内科门诊\n3,外科药房\n".encode("gbk"))
    found = inspect(path)
    assert (found.encoding, found.nonascii) == ("gbk", 2)


def test_the_parts_of_zips_and_workbooks_are_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    assert inspect(tmp_path / "d.zip").parts == ["a.csv", "b.csv"]
    assert inspect(tmp_path / "d.zip", member="b.csv").header[0] == "编码"
    book = openpyxl.Workbook()
    book.active.append(["编码", "数量"])
    book.active.append(["01", 3])
    book.create_sheet("二")
    book.save(tmp_path / "b.xlsx")
    assert inspect(tmp_path / "b.xlsx").parts == ["Sheet", "二"]
    found = inspect(tmp_path / "b.xlsx", sheet="Sheet")
    assert [(one.name, one.type) for one in found.columns] == [("编码", "text"), ("数量", "int")]
    with pytest.raises(InputError):
        inspect(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2"], "int"), (["01", "2"], "text"), (["1.5", "2"], "decimal(15,1)"), (["a"], "text"), ([], "text"),
        (["11", "12", "13", "14", "15", "16"], "text"), (["2025-02-30"], "text"), (["2025-02-28"], "date"),
        (["2025-02-28 10:00:00"], "datetime"), (["110101199003078888"], "text"),
    ],
)  # fmt: skip
def test_a_type_is_only_suggested_when_every_value_has_it(values: list[str], kind: str) -> None:
    assert type_of(values)[0] == kind


def test_a_sql_file_shows_its_first_table_and_names_the_others(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_text(
        "SET NAMES utf8mb4;\nINSERT INTO `dept` (`code`,`名称`,`n`) VALUES ('01','内科',1),('02','',22);\n"
        "INSERT INTO kind (code) VALUES ('x');\n",
        encoding="utf-8",
    )
    found = inspect(path)
    assert (found.kind, found.parts, found.header, found.rows) == ("sql", ["dept", "kind"], ["code", "名称", "n"], 2)
    assert [(one.type, one.empty) for one in found.columns] == [("text", 0), ("text", 1), ("int", 0)]


def test_excels_own_first_line_is_no_header_and_the_last_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "科室.csv"
    path.write_bytes("sep=|\r\n编码|名称\r\n1|内科\r\n2|外科".encode())
    found = inspect(path)
    assert (found.delimiter, found.header, found.rows) == ("|", ["编码", "名称"], 2)


def test_the_delimiter_cuts_every_line_alike() -> None:
    assert delimiter_of(["a|b,c|d", "1|2|3"]) == "|"
    assert delimiter_of(['a,"b;c"', '1,"2;3"']) == ","
    assert delimiter_of(["abc", "def"]) == ""


def test_several_characters_part_what_one_of_them_would_cut_wrongly() -> None:
    assert delimiter_of(["a|^|b|^|c", "1|^|x,y|^|3"]) == "|^|"
    assert delimiter_of(["a||b", "1||2"]) == "||"
    assert delimiter_of(["a|b|c", "1||2"]) == "|"
    assert delimiter_of(["a,b", "x::y,1", "p::q,2"]) == ","


TABLE = Table(
    ("public", "dept"),
    {
        one.name: one
        for one in [
            TableColumn("id", "int8", None, None, None, True, True, True),
            TableColumn("code", "varchar", 8, None, None, True, False, False),
            TableColumn("dept_name", "varchar", 40, None, None, True, False, False),
            TableColumn("since", "date", None, None, None, False, False, False),
            TableColumn("price", "numeric", None, 14, 2, False, False, False),
            TableColumn("kind", "varchar", 4, None, None, True, False, False),
        ]
    },
    "UTF8", 150018, 0, (),
)  # fmt: skip


def test_a_draft_pairs_by_name_and_leaves_the_rest_to_a_person(tmp_path: Path) -> None:
    path = tmp_path / "科室.csv"
    header = "code;Dept Name;since;price;备注\n"
    path.write_bytes((header + "".join(f"0{n};科;2025/3/{n};{n}.5;x\n" for n in range(1, 5))).encode("gbk"))
    text = draft(inspect(path, encoding="gbk"), path, tmp_path, "his", TABLE)
    (tmp_path / "m.yml").write_text(text, encoding="utf-8")
    found = mapping.load(tmp_path / "m.yml")
    assert list(found.columns) == ["code", "dept_name", "since", "price"]
    assert found.columns["since"].formats == ["YYYY/M/D"]
    assert (found.columns["price"].type, found.columns["dept_name"].longest) == ("decimal(14,2)", 40)
    assert (found.source.encoding, found.source.separator, found.ignore) == ("gbk", ";", ["备注"])
    assert "# kind: {from: …}" in text
    assert "id:" not in text


def test_a_draft_of_several_marks_and_of_a_dump_of_several_tables_loads(tmp_path: Path) -> None:
    several, dump = tmp_path / "科室.csv", tmp_path / "dump.sql"
    several.write_text("code|^|price\n01|^|1\n02|^|2\n", encoding="ascii")
    dump.write_text("INSERT INTO d (code) VALUES ('01');\nINSERT INTO k (code) VALUES ('x');\n", encoding="ascii")
    sources = []
    for path in (several, dump):
        (tmp_path / "m.yml").write_text(draft(inspect(path), path, tmp_path, "his", TABLE), encoding="utf-8")
        sources.append(mapping.load(tmp_path / "m.yml").source)
    assert (sources[0].delimiter, sources[0].quote) == ("|^|", "")
    assert (sources[1].format, sources[1].table) == ("sql", "d")


def test_a_draft_without_a_common_name_does_not_load(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("甲,乙\n1,2\n", encoding="utf-8")
    (tmp_path / "m.yml").write_text(draft(inspect(path), path, tmp_path, "his", TABLE), encoding="utf-8")
    with pytest.raises(SiteError):
        mapping.load(tmp_path / "m.yml")


def test_the_command_prints_evidence_or_one_json_document(tmp_path: Path) -> None:
    path = tmp_path / "科室.csv"
    path.write_bytes(TEXT.encode("gbk"))
    shown = CliRunner().invoke(command, ["inspect", str(path)])
    assert shown.exit_code == 0
    assert "gbk" in shown.output
    assert "内科" in shown.output
    told = json.loads(CliRunner().invoke(command, ["inspect", str(path), "--json"]).output)
    assert told["suggested_encoding"] == "gbk"
    assert told["columns"][2]["formats"] == ["YYYY/M/D"]
    wrong = CliRunner().invoke(command, ["inspect", str(path), "--encoding", "ansi"])
    assert isinstance(wrong.exception, InputError)


def test_bytes_that_no_encoding_explains_are_told_and_a_missing_file_has_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,\xff\xff\x81\n" + b"\x80\xfe\n" * 3)
    told = CliRunner().invoke(command, ["inspect", str(path)], standalone_mode=False)
    assert "没有一种编码能解释全部字节" in told.stdout
    path.write_bytes(b"a,b\n1,2\n")
    assert "没有一种编码" not in CliRunner().invoke(command, ["inspect", str(path)], standalone_mode=False).stdout
    for wrong, why in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=why):
            inspect(wrong)
