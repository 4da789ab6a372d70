"""Whatever a customer hands over is read as it is: text of any kind, fixed width, workbooks, SQL dumps, zips."""

from __future__ import annotations

import datetime
import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_reading import COLUMNS, HEADER, Read, mat, texts

from implops.errors import InputError

GOOD = "M001,甲,1.50,7,2024-02-29,备注"
TWO = {"code": {"from": "code"}, "name": {"from": "name"}}
TABLE = texts("code", "name")


def refused(folder: Path, data: bytes, *given_: Any, **more: Any) -> InputError:
    with pytest.raises(InputError) as error:
        Read(folder, data, *given_, **more)
    assert error.value.code == 2
    assert "\n" not in str(error.value)
    return error.value


# Text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16le", "utf-16be"])
def test_sixteen_bits_are_never_cut_inside_a_character(tmp_path: Path, encoding: str) -> None:
    # 上 is 4E0A: a reader that cuts at byte 0A loses it.
    data = mat("M001,上上,,,,𠮷", "M1,坏,,,,上", "M003,下,,,,").decode().encode(encoding)
    read = Read(tmp_path, data, encoding=encoding)
    assert read.reasons == [(3, "code", "pattern")]
    assert read.reader.rejects[0].raw == "M1,坏,,,,上".encode(encoding if encoding != "utf-16" else "utf-16le")
    assert [row[1] for row in read.rows] == ["上上", "下"]


def test_a_lone_surrogate_is_one_bad_line(tmp_path: Path) -> None:
    end = "\n".encode("utf-16le")
    lines = [one.encode("utf-16le") for one in (HEADER.decode(), "M001,甲,,,,\n", "M002,乙,,,,", "M003,丙,,,,\n")]
    lines[2] += b"\x00\xd8" + end
    read = Read(tmp_path, b"\xff\xfe" + b"".join(lines), encoding="utf-16")
    assert read.reasons == [(3, "", "encoding")]
    assert read.reader.rejects[0].raw == lines[2][:-2]
    assert [row[0] for row in read.rows] == ["M001", "M003"]


def test_sixteen_bits_without_what_they_need_stop(tmp_path: Path) -> None:
    text = mat(GOOD).decode()
    assert refused(tmp_path, text.encode("utf-16le"), encoding="utf-16").key == "import.no_mark"
    odd = refused(tmp_path, text.encode("utf-16") + b"\x41", encoding="utf-16")
    assert (odd.key, odd.params["hex"]) == ("import.odd_bytes", "41")
    assert refused(tmp_path, text.encode("utf-16"), encoding="utf-16be").key == "import.mark"
    assert refused(tmp_path, text.encode("utf-16"), encoding="gbk").key == "import.mark"
    assert refused(tmp_path, text.encode("utf-16le"), encoding="gbk").key == "import.sixteen_bits"


def test_carriage_returns_end_lines_when_the_mapping_says_so(tmp_path: Path) -> None:
    data = mat(GOOD, "M1,坏,,,,", "M003,丙,,,,").replace(b"\n", b"\r")
    assert refused(tmp_path, data).key == "import.cr_only"
    read = Read(tmp_path, data, source={"newline": "cr"})
    assert (read.reasons, len(read.rows)) == ([(3, "code", "pattern")], 2)


@pytest.mark.parametrize("delimiter", ["|", ";", "\t", "\u0001", "，", "~"])
def test_any_single_character_may_separate(tmp_path: Path, delimiter: str) -> None:
    data = mat("M001,甲,1.5,,,x").decode().replace(",", delimiter).encode()
    read = Read(tmp_path, data, source={"delimiter": delimiter})
    assert read.rows == [["M001", "甲", "1.5", "", "", "x"]]


@pytest.mark.parametrize("delimiter", ["|^|", "||", "@@", "<|>", "::", "#@#"])
def test_several_characters_may_separate(tmp_path: Path, delimiter: str) -> None:
    data = (
        mat('M001,"甲^乙",1.5,,,x', "M002,乙", "M1,坏,,,,", "M003,丙\uffff,,,,")
        .decode()
        .replace(",", delimiter)
        .encode()
    )
    read = Read(tmp_path, data, source={"delimiter": delimiter, "quote": ""})
    assert read.rows == [["M001", '"甲^乙"', "1.5", "", "", "x"]]
    assert read.reasons == [(3, "", "columns"), (4, "code", "pattern"), (5, "name", "replacement")]
    assert read.reader.rejects[0].faults[0].value == f"M002{delimiter}乙"


def test_a_part_of_the_delimiter_is_text_where_it_can_be_told(tmp_path: Path) -> None:
    rows = ["M001,甲^,,,,|乙", "M002,丙|^,,,,", "M003,丁,,,,^|"]
    data = mat(*rows).decode().replace(",", "|^|").encode("gb18030")
    read = Read(tmp_path, data, source={"delimiter": "|^|", "quote": ""}, encoding="gb18030")
    assert read.rows == [["M001", "甲^", "", "", "", "|乙"]]
    assert {(line, code) for line, _, code in read.reasons} == {(3, "doubtful"), (4, "doubtful")}


def test_empty_cells_between_doubled_marks_are_empty_and_odd_runs_refused(tmp_path: Path) -> None:
    data = mat("M001,甲,,,,", "M002,|乙,,,,", "M003,丙|,1,2,,").decode().replace(",", "||").encode()
    read = Read(tmp_path, data, source={"delimiter": "||", "quote": ""})
    assert read.rows == [["M001", "甲", "", "", "", ""]]
    assert {(line, code) for line, _, code in read.reasons} == {(3, "doubtful"), (4, "doubtful")}


@pytest.mark.parametrize("clean", [[], ["trim"]])
def test_a_doubtful_end_is_refused_beside_a_column_that_nobody_reads(tmp_path: Path, clean: list[str]) -> None:
    columns = {"code": {"from": "code", "required": True}, "name": {"from": "name", "clean": clean}}
    data = "code,name,junk\n1,甲|^,x\n2,丙,y\n".replace(",", "|^|").encode()
    read = Read(tmp_path, data, columns, table=texts("code", "name"), source={"delimiter": "|^|", "quote": ""},
                ignore=["junk"])  # fmt: skip
    assert (read.rows, read.reasons) == ([["2", "丙"]], [(2, "name", "doubtful")])


def test_a_trail_byte_is_no_delimiter(tmp_path: Path) -> None:
    # 東 is 96 7C in GBK and 誠 is D5 5C: the second bytes are | and a backslash.
    data = mat("M001,東誠,,,,誠").decode().replace(",", "|").encode("gbk")
    assert Read(tmp_path, data, source={"delimiter": "|"}, encoding="gbk").rows[0][1] == "東誠"


def test_excels_own_first_line_is_recognised(tmp_path: Path) -> None:
    data = b"sep=;\r\n" + mat("M001,甲,,,,", "M1,坏,,,,").replace(b",", b";")
    read = Read(tmp_path, data)
    assert (read.reasons, read.reader.tally.notes) == ([(4, "code", "pattern")], {"noted_sep": ";"})
    assert refused(tmp_path, data, source={"delimiter": "|"}).key == "import.sep"


def test_total_lines_at_the_end_are_skipped_only_when_named(tmp_path: Path) -> None:
    data = "物料表\n".encode() + mat(GOOD, "M002,乙,,,,") + "合计,,2,,,\n\n".encode()
    read = Read(tmp_path, data, source={"skip": [1, 1]})
    assert (read.reasons, len(read.rows)) == ([], 2)
    assert Read(tmp_path, data, source={"skip": [1, 0]}).reasons == [(5, "code", "pattern"), (5, "name", "required")]
    assert Read(tmp_path, mat(GOOD), source={"skip": [0, 1]}).rows == []


def test_a_trailing_delimiter_is_named(tmp_path: Path) -> None:
    data = mat(GOOD).replace(b"\n", b",\n")
    assert refused(tmp_path, data).key == "import.header_trailing"
    assert Read(tmp_path, data, ignore=[""]).rows == [GOOD.split(",")]


MEMO = {**COLUMNS, "memo": {"from": "memo", "multiline": True, "max": 40}}


def test_a_cell_of_several_lines_is_one_record(tmp_path: Path) -> None:
    data = mat(
        'M001,甲,,,,"一\n二 ""引"""', "M1,坏,,,,x", 'M003,丙,,,,"三\r\n四"', 'M0,坏,,,,"五\n六"', 'M005,戊,,,,"\n"'
    )
    read = Read(tmp_path, data, MEMO)
    assert [(line, code) for line, _, code in read.reasons] == [(4, "pattern"), (7, "pattern")]
    assert [row[5] for row in read.rows] == ['一\n二 "引"', "三\r\n四", "\n"]
    assert read.reader.rejects[1].raw == 'M0,坏,,,,"五\n六"'.encode()


def test_a_lost_quote_costs_one_record_not_the_file(tmp_path: Path) -> None:
    rows = [f'M{place:03d},甲,,,,"一\n二"' for place in range(100, 400)]
    rows[50] = 'M150,甲,,,,"没有引号'
    for columns in (MEMO, COLUMNS):
        given_ = rows if columns is MEMO else [row.replace("\n", "") for row in rows]
        read = Read(tmp_path, mat(*given_), columns)
        assert len(read.rows) == 299
        assert len(read.reader.rejects) == 1


def test_a_line_that_would_end_the_data_is_refused(tmp_path: Path) -> None:
    read = Read(tmp_path, mat('M001,甲,,,,"一\n\\.\n二"', 'M002,乙,,,,"\\."'), MEMO)
    assert read.reasons == [(2, "memo", "end_mark")]


def test_a_record_may_lie_across_blocks(tmp_path: Path) -> None:
    from implops.baseload import source

    body = "\n".join(f'M{place % 900 + 100},甲{place},,,,"一{"长" * 30}\n二"' for place in range(30000))
    columns = {**MEMO, "code": {"from": "code", "pattern": "M[0-9]{3}"}}
    data = HEADER + body.encode() + b"\n"
    assert len(data) > 2 * source.BLOCK
    read = Read(tmp_path, data, columns)
    assert (read.reasons, len(read.rows)) == ([], 30000)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.text("ab\"\n,;'|", max_size=6), st.text('甲"\n\r,', max_size=6)), min_size=1, max_size=6)
)
def test_any_cells_of_several_lines_come_out_as_they_went_in(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    import csv

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("code", "name"), *rows])
    columns = {name: {"from": name, "multiline": True} for name in ("code", "name")}
    read = Read(tmp_path, buffer.getvalue().encode(), columns, table=TABLE, prove_first=False)
    assert read.reasons == []
    assert [tuple(row) for row in read.rows] == rows


# Fixed width -----------------------------------------------------------------------------------------------------


def test_fixed_width_counts_bytes_of_the_files_own_encoding(tmp_path: Path) -> None:
    lines = ["A1  甲乙  ", "A2  丙    ", "A3  丁戊己", "", "A4  太长了啊", "A5"]
    data = "\r\n".join(lines).encode("gbk") + b"\nA6 \xbc\xd7\xd2\xd2\xd2  \n"
    columns = {"code": {"from": 1}, "name": {"from": 2}}
    read = Read(tmp_path, data, columns, encoding="gbk", table=TABLE, prove_first=False,
                source={"format": "fixed", "widths": [4, 6], "header_row": 0})  # fmt: skip
    assert read.rows == [["A1", "甲乙"], ["A2", "丙"], ["A3", "丁戊己"]]
    assert read.reasons == [(5, "", "width"), (6, "", "width"), (7, "", "encoding")]
    assert read.reader.tally.blank == 1


def test_fixed_width_counts_characters_of_unicode(tmp_path: Path) -> None:
    read = Read(tmp_path, "code name\nA1  甲乙丙 \n".encode(), {"code": {"from": "code"}, "name": {"from": "name"}},
                table=TABLE, source={"format": "fixed", "widths": [5, 4]})  # fmt: skip
    assert read.rows == [["A1  甲", "乙丙"]]


# Workbooks -------------------------------------------------------------------------------------------------------


def book(*rows: list[Any], edit: Any = None) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.active
    for row in rows:
        sheet.append(row)
    if edit:
        edit(made, sheet)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


NAMES = ["code", "name", "price", "n", "d", "memo"]
XLSX = {"format": "xlsx", "encoding": ""}


def sheet(folder: Path, data: bytes, **more: Any) -> Read:
    source = {"format": "xlsx", **more.pop("source", {})}
    columns = {**COLUMNS, "memo": {"from": "memo", "max": 20}, **more.pop("columns", {})}
    return Read(folder, data, columns, name="f.xlsx", source=source, **more)


def test_cells_of_a_workbook_are_written_as_their_type_says(tmp_path: Path) -> None:
    data = book(
        NAMES, ["M001", "甲", 0.1 + 0.2, 7, datetime.date(2025, 3, 1), 12345], ["M002", "乙", 1234.5, 7.0, None, True]
    )
    read = sheet(tmp_path, data)
    assert read.reasons == []
    assert read.rows == [
        ["M001", "甲", "0.3", "7", "2025-03-01", "12345"], ["M002", "乙", "1234.5", "7", "", "TRUE"],
    ]  # fmt: skip


def test_what_excel_damaged_is_refused_with_its_row(tmp_path: Path) -> None:
    def formula(made: Any, sheet_: Any) -> None:
        sheet_["F7"] = "=1+1"

    data = book(
        [], NAMES, ["M001", "甲", None, None, None, 110101199003078888], ["M002", "乙", None, None, None, "#N/A"],
        ["M003", "丙", None, None, 59, None], ["M004", "丁", None, None, None, datetime.date(2025, 3, 1)],
        ["M005", "戊"], ["M006", "己", None, None, datetime.datetime(1900, 1, 5), None],
        ["M007", "庚"], edit=formula,
    )  # fmt: skip
    read = sheet(tmp_path, data, source={"header_row": 2})
    assert read.reasons == [
        (3, "memo", "excel_digits"), (4, "memo", "excel_error"), (5, "d", "date"), (6, "memo", "excel_became_date"),
        (7, "memo", "excel_formula"), (8, "d", "excel_date"),
    ]  # fmt: skip
    assert [row[0] for row in read.rows] == ["M007"]


def test_merged_blocks_are_refused_and_hidden_rows_noted(tmp_path: Path) -> None:
    def edit(made: Any, sheet_: Any) -> None:
        sheet_.merge_cells("F2:F3")
        sheet_.row_dimensions[4].hidden = True

    read = sheet(tmp_path, book(NAMES, ["M001", "甲"], ["M002", "乙"], ["M003", "丙"], ["合计", "3"], edit=edit),
                 source={"skip": [0, 1]})  # fmt: skip
    assert read.reasons == [(2, "", "excel_merged"), (3, "", "excel_merged")]
    assert [row[0] for row in read.rows] == ["M003"]
    assert read.reader.tally.notes == {"noted_hidden": "4"}


def test_serial_dates_and_the_1904_calendar(tmp_path: Path) -> None:
    columns = {"d": {"from": "d", "type": "date", "formats": ["excel_serial"]}}
    rows = [["M001", "甲", None, None, 61], ["M002", "乙", None, None, 60], ["M003", "丙", None, None, "45717"]]
    read = sheet(tmp_path, book(NAMES, *rows), columns=columns)
    assert read.reasons == [(3, "d", "date_format")]
    assert [row[4] for row in read.rows] == ["1900-03-01", "2025-03-01"]

    def old(made: Any, sheet_: Any) -> None:
        made.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    read = sheet(tmp_path, book(NAMES, ["M001", "甲", None, None, datetime.date(2025, 3, 1)], edit=old))
    assert read.rows[0][4] == "2025-03-01"


def test_a_workbook_of_several_sheets_needs_a_name(tmp_path: Path) -> None:
    def edit(made: Any, sheet_: Any) -> None:
        second = made.create_sheet("物料")
        for row in (NAMES, ["M009", "末"]):
            second.append(row)

    data = book(NAMES, edit=edit)
    with pytest.raises(InputError) as error:
        sheet(tmp_path, data)
    assert error.value.key == "import.which_sheet"
    assert sheet(tmp_path, data, source={"sheet": "物料"}).rows[0][0] == "M009"
    with pytest.raises(InputError) as error:
        sheet(tmp_path, data, source={"sheet": "无"})
    assert error.value.key == "import.no_sheet"
    with pytest.raises(InputError) as error:
        sheet(tmp_path, b"no workbook")
    assert error.value.key == "import.no_workbook"


# SQL -------------------------------------------------------------------------------------------------------------

SQL = {"format": "sql"}


def sql(folder: Path, text: str, encoding: str = "utf-8", **more: Any) -> Read:
    return Read(folder, text.encode(encoding), TWO, encoding=encoding, name="f.sql", table=TABLE,
                source={**SQL, **more})  # fmt: skip


def test_inserts_are_parsed_never_run(tmp_path: Path) -> None:
    text = """-- MySQL dump
/*!40101 SET NAMES utf8mb4 */;
SET sql_mode = '';
LOCK TABLES `t` WRITE;
INSERT INTO `t` (`code`, `name`) VALUES ('1','甲''乙;')
,(2,NULL), (-3.50, N'b');
insert into s.t (code, name) values ('4', now()), (E'5', E'a\\nb'), ('6', 'x', 'y');
UNLOCK TABLES;
"""
    read = sql(tmp_path, text)
    assert read.rows == [["1", "甲'乙;"], ["2", ""], ["-3.50", "b"]]
    assert read.reasons == [(7, "", "sql_value"), (7, "name", "newline"), (7, "", "columns")]


@pytest.mark.parametrize(
    "statement",
    ["COMMIT;", "DROP TABLE t;", "GRANT ALL ON t TO x;", "CREATE TABLE t (a int);", "\\! rm -rf /", "system id",
     "UPDATE t SET a = 1;", "INSERT INTO t SELECT 1;", "INSERT IGNORE INTO t (code) VALUES (1);",
     "INSERT INTO t (code, name) VALUES (1, 2) ON CONFLICT DO NOTHING;", "TRUNCATE t;"],
)  # fmt: skip
def test_a_statement_that_wants_to_be_run_is_refused(tmp_path: Path, statement: str) -> None:
    with pytest.raises(InputError) as error:
        sql(tmp_path, f"INSERT INTO t (code, name) VALUES ('1', '2');\n{statement}\n")
    assert error.value.key == "import.sql_statement"
    assert error.value.params["line"] == 2


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("INSERT INTO t VALUES (1, 2);", "sql_no_columns"),
        ("INSERT INTO t (code, name) VALUES (1, 2); INSERT INTO t (name, code) VALUES (1, 2);", "sql_columns"),
        ("INSERT INTO t (code, name) VALUES (1, 2); INSERT INTO u (code, name) VALUES (1, 2);", "sql_tables"),
        ("INSERT INTO t (code, name) VALUES (1, 'a\\'b');", "sql_dialect"),
        ("INSERT INTO t (code, name) VALUES (1, 'a", "sql_syntax"),
        ("INSERT INTO t (code, name) VALUES (1, 2", "sql_syntax"),
        ("-- nothing\n", "sql_none"),
    ],
)
def test_a_sql_file_that_is_not_clear_is_refused(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InputError) as error:
        sql(tmp_path, text)
    assert error.value.key == f"import.{key}"


def test_a_backslash_means_what_the_dialect_says(tmp_path: Path) -> None:
    text = "INSERT INTO t (code, name) VALUES ('a\\'b', 'c\\\\d\\t');\n"
    assert sql(tmp_path, text, dialect="mysql").rows == [["a'b", "c\\d\t"]]
    assert sql(tmp_path, "INSERT INTO t (code, name) VALUES ('a\\', 'b');", dialect="postgresql").rows == [["a\\", "b"]]
    # 誠 is D5 5C in GBK: its second byte is no backslash.
    assert sql(tmp_path, "INSERT INTO t (code, name) VALUES ('誠','誠');", "gbk").rows == [["誠", "誠"]]


def test_other_tables_of_a_dump_are_noted(tmp_path: Path) -> None:
    read = sql(tmp_path, "INSERT INTO u (x) VALUES (1);\nINSERT INTO t (code, name) VALUES (1, 2);", table="t")
    assert (read.rows, read.reader.tally.notes) == ([["1", "2"]], {"noted_tables": "u"})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.text("a'\"\\`;(),-/*甲", max_size=8), st.text("'\\;甲 ", max_size=8)), min_size=1, max_size=4
    )
)
@pytest.mark.parametrize("dialect", ["mysql", "postgresql"])
def test_any_text_in_a_dump_comes_out_as_it_went_in(tmp_path: Path, dialect: str, rows: list[tuple[str, str]]) -> None:
    def quoted(text: str) -> str:
        text = text.replace("\\", "\\\\") if dialect == "mysql" else text
        return "'" + text.replace("'", "''") + "'"

    tuples = ", ".join(f"({quoted(code)}, {quoted(name)})" for code, name in rows)
    read = sql(tmp_path, f"INSERT INTO t (code, name) VALUES {tuples};\n", dialect=dialect)
    kept = [list(row) for row in rows if any(row)]
    assert (read.reasons, read.rows) == ([], kept)


# Zips ------------------------------------------------------------------------------------------------------------


def packed(*files: tuple[str, bytes], gbk: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    made = buffer.getvalue()
    if gbk:
        for name, _ in files:
            # Chinese Windows writes the name's GBK bytes and no flag.
            fake = name.encode()
            made = made.replace(fake, name.encode("latin-1"))
    return made


def test_a_file_is_read_out_of_a_zip(tmp_path: Path) -> None:
    data = packed(("a.csv", mat(GOOD)), ("b/说明.txt", b"x"))
    read = Read(tmp_path, data, name="f.zip", source={"member": "a.csv"})
    assert read.rows == [GOOD.split(",")]
    assert Read(tmp_path, packed(("a.csv", mat(GOOD))), name="f.zip").rows == [GOOD.split(",")]
    many = refused(tmp_path, data, name="f.zip")
    assert (many.key, many.params["known"]) == ("import.zip_member", "a.csv b/说明.txt")
    assert refused(tmp_path, data, name="f.zip", source={"member": "c.csv"}).key == "import.zip_no_member"
    assert refused(tmp_path, b"PK no zip", name="f.zip").key == "import.bad_zip"


def test_names_in_gbk_are_read_as_meant(tmp_path: Path) -> None:
    raw = "物料.csv".encode("gbk")
    placeholder = "X" * len(raw)
    data = packed((placeholder, mat(GOOD))).replace(placeholder.encode(), raw)
    assert Read(tmp_path, data, name="f.zip", source={"member": "物料.csv"}).rows == [GOOD.split(",")]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.csv", "C:x.csv"])
def test_a_path_that_leaves_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    data = packed(("a.csv", mat(GOOD)), (name, b"x"))
    assert refused(tmp_path, data, name="f.zip", source={"member": "a.csv"}).key == "import.zip_slip"


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    data = packed(("a.csv", mat(GOOD) + b"\n" * 30_000_000))
    assert refused(tmp_path, data, name="f.zip").key == "import.zip_bomb"


def test_a_pattern_must_match_one_file(tmp_path: Path) -> None:
    (tmp_path / "物料_1.csv").write_bytes(mat(GOOD))
    with pytest.raises(InputError) as error:
        Read(tmp_path, mat(GOOD), source={"file": "物料_*.xls"}, name="f.csv")
    assert error.value.key == "import.which_file"
    assert Read(tmp_path, mat(GOOD), source={"file": "物料_*.csv"}).mapping.file.name == "物料_1.csv"
