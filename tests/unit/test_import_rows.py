"""Every row is judged before it is sent: what is wrong, in which line and column; what is right goes on unchanged."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_reading import COLUMNS, HEADER, TABLE, Read, mat

from implops.baseload import rejects as rejects_file
from implops.baseload.codec import CODECS
from implops.baseload.rules import up_to
from implops.baseload.tally import canonical, total
from implops.baseload.target import Table, fit
from implops.errors import DataError, InputError

GOOD = "M001,甲,1.50,7,2024-02-29,备注"


def test_good_rows_go_on_as_they_stand(tmp_path: Path) -> None:
    data = mat(GOOD, 'M002,"乙, ""丙""",,,,', "M003,𠮷野家,-0.5,-2147483648,1999-12-31,\\.", "M004,丁,0,0,,NULL")
    read = Read(tmp_path, data)
    assert read.reasons == []
    assert read.sent == data.removeprefix(HEADER)


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        ("M1,甲,,,,", "code", "pattern"),
        (",甲,,,,", "code", "required"),
        ("M００１,甲,,,,", "code", "pattern"),
        ("M002,,,,,", "name", "required"),
        ('M002,"",,,,', "name", "required"),
        (f"M002,{'长' * 21},,,,", "name", "length"),
        ("M002,甲,1.005,,,", "price", "decimal"),
        ("M002,甲,1e3,,,", "price", "decimal"),
        ("M002,甲,NaN,,,", "price", "decimal"),
        ("M002,甲,１２,,,", "price", "decimal"),
        ("M002,甲,1234567890123,,,", "price", "decimal"),
        ("M002,甲,,1_000,,", "n", "int"),
        ("M002,甲,, 12,,", "n", "int"),
        ("M002,甲,,007,,", "n", "int"),
        ("M002,甲,,-0,,", "n", "int"),
        ("M002,甲,,2147483648,,", "n", "int"),
        ("M002,甲,,-2147483649,,", "n", "int"),
        ("M002,甲,,,2023-02-29,", "d", "date"),
        ("M002,甲,,,1900-02-29,", "d", "date"),
        ("M002,甲,,,2025-04-31,", "d", "date"),
        ("M002,甲,,,today,", "d", "date"),
        ("M002,甲,,,03/04/2025,", "d", "date"),
        ("M002,甲,,,,a\x00b", "memo", "nul"),
        ("M002,甲,,,,a\ue08bb", "memo", "private_use"),
        ("M002,甲,,,,a\U000f0000b", "memo", "private_use"),
        ("M002,甲,,,,a\x07b", "memo", "control"),
        ("M002,甲,,,,a\x85b", "memo", "control"),
        ("M002,甲,,,,a\ufffdb", "memo", "replacement"),
        ("M002,甲,,,,a\ufeffb", "memo", "bom"),
        ("M002,甲,,,,a\rb", "", "carriage_return"),
        ("M002,上海,浦东,,,,", "", "columns"),
        ("M002,甲,,,", "", "columns"),
        ("合计", "", "columns"),
        ('M002,"甲,,,,', "", "quote"),
        ('M002,a"b",,,,', "", "quote"),
        ("M001,乙,,,,", "code", "duplicate"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_is_kept(tmp_path: Path, row: str, column: str, code: str) -> None:
    read = Read(tmp_path, mat(GOOD, row, "M999,末,,,,"), prove_first=False)
    assert read.reasons == [(3, column, code)]
    assert read.reader.rejects[0].raw == row.encode()
    assert [one[0] for one in read.rows] == ["M001", "M999"]
    assert (read.reader.tally.rows, read.reader.tally.good, read.reader.tally.rejected) == (3, 2, 1)


def test_an_undecodable_line_keeps_its_bytes(tmp_path: Path) -> None:
    raw = "M002,甲".encode() + b"\xff" + b",,,,"
    read = Read(tmp_path, mat(GOOD) + raw + b"\n" + "M003,丙,,,,\n".encode())
    (reject,) = read.reader.rejects
    assert (reject.line, reject.raw) == (3, raw)
    assert (reject.faults[0].code, reject.faults[0].params) == ("encoding", {"offset": 9, "hex": "ff"})
    assert [one[0] for one in read.rows] == ["M001", "M003"]


def test_a_character_cut_in_half_at_the_end_is_a_reject(tmp_path: Path) -> None:
    read = Read(tmp_path, mat(GOOD) + "M002,甲,,,,乙".encode()[:-1])
    assert read.reasons == [(3, "", "encoding")]


def test_the_first_of_two_equal_keys_stays_and_is_named(tmp_path: Path) -> None:
    read = Read(tmp_path, mat("M001,甲,,,,", "M002,乙,,,,", "M001,丙,,,,", "M002,丁,,,,"))
    assert [(one.line, one.faults[0].params) for one in read.reader.rejects] == [(4, {"first": 2}), (5, {"first": 3})]
    assert [one[1] for one in read.rows] == ["甲", "乙"]


def test_a_key_of_two_columns_counts_as_one(tmp_path: Path) -> None:
    columns = {**COLUMNS, "code": {"from": "code"}}
    read = Read(tmp_path, mat("a,b,,,,", "a,c,,,,", "a,b,,,,"), columns, key=["code", "name"])
    assert read.reasons == [(4, "code name", "duplicate")]


def test_a_key_that_the_table_holds_is_refused(tmp_path: Path) -> None:
    read = Read(tmp_path, mat(GOOD, "M002,乙,,,,"), taken={("code",): {("M002",)}})
    assert read.reasons == [(3, "code", "exists")]


def test_a_missing_parent_is_refused_and_only_exact_codes_pass(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "ref": {"table": "kind", "match": "code"}}}
    data = mat("M001,甲,,,,C12", "M002,乙,,,,C1", "M003,丙,,,,c12", "M004,丁,,,,Ｃ12", "M005,戊,,,,")
    read = Read(tmp_path, data, columns, known={("public", "kind", "code"): {"C12", ""}})
    assert read.reasons == [(line, "memo", "reference") for line in (3, 4, 5)]
    assert [one[0] for one in read.rows] == ["M001", "M005"]


def test_private_use_passes_where_it_is_allowed(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "allow": ["private_use"]}}
    assert Read(tmp_path, mat("M001,甲,,,,\ue08b"), columns).reasons == []


def test_a_pattern_that_could_run_wild_is_asked_value_by_value(tmp_path: Path) -> None:
    columns = {**COLUMNS, "memo": {"from": "memo", "pattern": "(?:[^x]+,?)+", "max": 5}}
    read = Read(tmp_path, mat("M001,甲,,,,ab", "M002,乙,,,,xb", "M003,丙,,,,", "M004,丁,,,,abcdef"), columns)
    assert read.reasons == [(3, "memo", "pattern"), (5, "memo", "length")]


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_do_not_matter(tmp_path: Path, ending: str, last: bool) -> None:
    data = mat(GOOD, "M002,乙,,,,").replace(b"\n", ending.encode())
    read = Read(tmp_path, data if last else data.removesuffix(ending.encode()))
    assert read.sent == f"{GOOD}\nM002,乙,,,,\n".encode()


def test_blank_lines_are_counted_apart(tmp_path: Path) -> None:
    read = Read(tmp_path, mat(GOOD, "", "M002,乙,,,,", ""))
    assert (read.reasons, read.reader.tally.blank, read.reader.tally.rows) == ([], 2, 2)


def test_columns_in_another_order_ignored_and_constant(tmp_path: Path) -> None:
    columns = {"memo": {"value": "implops"}, "name": {"from": "名称", "required": True}, "code": {"from": "代码"}}
    read = Read(tmp_path, '代码,旧码,名称\nM1,\x07,甲\nM2,x,"乙,丙"\n'.encode(), columns, ignore=["旧码"])
    assert read.rows == [["implops", "甲", "M1"], ["implops", "乙,丙", "M2"]]


def test_a_lone_column_is_quoted_so_that_no_cell_ends_the_data(tmp_path: Path) -> None:
    columns = {"name": {"from": "name", "required": True}, "code": {"value": "1"}}
    assert Read(tmp_path, b"name\n\\.\n", columns).rows == [["\\.", "1"]]
    lone = Table(TABLE.name, {"memo": TABLE.columns["memo"]}, "UTF8", 150018, 0, ())
    read = Read(tmp_path, b"name\n\\.\n\nx\n", {"memo": {"from": "name"}}, table=lone)
    assert read.sent == b'"\\."\n"x"\n'
    assert read.reader.tally.blank == 1


@pytest.mark.parametrize("quote", ["'", ""])
def test_other_quotes_and_delimiters_are_rewritten(tmp_path: Path, quote: str) -> None:
    cell = f"{quote}a;b{quote}" if quote else 'a"b'
    read = Read(tmp_path, f"code;name;price;n;d;memo\nM001;{cell};;;;\n".encode(),
                source={"delimiter": ";", "quote": quote})  # fmt: skip
    assert read.rows == [["M001", "a;b" if quote else 'a"b', "", "", "", ""]]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("code,name,price,n,d", "import.header_missing"),
        ("code,name,price,n,d,memo,more", "import.header_unmapped"),
        ("code,name,name,n,d,memo", "import.header_twice"),
        ("code,name ,price,n,d,memo", "import.header_missing"),
        ("code,name,price,n,d,memo\u3000", "import.header_missing"),
        ("code,name,price,n,d,\u200bmemo", "import.header_missing"),
    ],
)
def test_a_header_that_does_not_fit_stops(tmp_path: Path, header: str, key: str) -> None:
    with pytest.raises(InputError) as error:
        Read(tmp_path, f"{header}\n{GOOD}\n".encode())
    assert (error.value.key, error.value.code) == (key, 2)


def test_what_cannot_be_seen_in_a_header_is_written_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape("memo<U+3000>")):
        Read(tmp_path, f"code,name,price,n,d,memo\u3000\n{GOOD}\n".encode())


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    columns = {"code": {"from": 2}, "name": {"from": 1}}
    assert Read(tmp_path, "甲,M1\n".encode(), columns, source={"header_row": 0}).rows == [["M1", "甲"]]


def test_title_lines_stand_above_the_header(tmp_path: Path) -> None:
    read = Read(tmp_path, "物料表\n\n".encode() + mat(GOOD, "M1,坏,,,,"), source={"header_row": 3})
    assert read.reasons == [(5, "code", "pattern")]


@pytest.mark.parametrize(
    ("verify", "data", "key"),
    [
        ({"rows_expected": 3}, mat(GOOD), "import.rows_expected"),
        ({}, HEADER, "import.no_rows"),
        ({"rows_expected": 0}, HEADER, None),
        ({"rows_expected": 1}, mat(GOOD), None),
    ],
)
def test_the_customers_own_number_of_rows(tmp_path: Path, verify: dict[str, int], data: bytes, key: str | None) -> None:
    reader = Read(tmp_path, data, verify=verify).reader
    if key is None:
        reader.finish()
        return
    with pytest.raises(DataError) as error:
        reader.finish()
    assert error.value.key == key


def test_sums_are_those_of_the_values(tmp_path: Path) -> None:
    read = Read(tmp_path, mat("M001,甲,1.5,1,,", "M002,乙乙,-0.25,2,,x"), verify={"sum": ["price", "n", "code"][:2]})
    sums = read.reader.tally.columns
    assert (sums["price"].count, str(sums["price"].sum)) == (2, "1.25")
    assert (sums["name"].length, sums["memo"].count, str(sums["n"].sum)) == (3, 1, "3")


@pytest.mark.parametrize(
    ("raw", "shown"), [("1", "1.00"), ("1.5", "1.50"), ("-0.00", "0.00"), ("-0.5", "-0.50"), ("", "")]
)
def test_a_decimal_is_hashed_as_the_server_prints_it(tmp_path: Path, raw: str, shown: str) -> None:
    cell = next(one for one in fit(Read(tmp_path, mat(GOOD)).mapping, TABLE) if one.name == "price")
    assert cell.canonical([raw, "7.25"]) == [shown, "7.25"]


def test_sums_of_long_numbers_are_exact() -> None:
    wide = "123456789012345678901234567.891"
    assert str(total([wide, "0.001", ""], 3)) == "123456789012345678901234567.892"
    assert str(total([wide, "0.0001", "5"], None)) == "123456789012345678901234572.8911"


def test_a_canonical_row_has_an_empty_text_for_no_value() -> None:
    assert canonical([["1", "2"], ["", "乙"]]) == [b"1\x1f", "2\x1f乙".encode()]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"more": {"from": "memo"}}, "import.no_target_column"),
        ({"id": {"from": "memo", "type": "int"}}, "import.generated"),
        ({"n": {"from": "n"}}, "import.type_mismatch"),
        ({"price": {"from": "price", "type": "decimal(14,3)"}}, "import.type_mismatch"),
    ],
)
def test_a_mapping_that_the_table_cannot_take_stops(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    columns = {name: one for name, one in COLUMNS.items() if name != "memo"} | change
    with pytest.raises(InputError) as error:
        Read(tmp_path, mat(GOOD), columns, ignore=[] if "from" in str(change) and "memo" in str(change) else ["memo"])
    assert error.value.key == key


def test_a_required_column_of_the_table_must_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Read(tmp_path, b"code\nM001\n", {"code": {"from": "code"}})
    assert (error.value.key, error.value.params["column"]) == ("import.not_mapped", "name")


def test_rejects_go_back_in_the_files_own_encoding(tmp_path: Path) -> None:
    data = HEADER + "M001,甲,,,,\nM1,乙,1.005,,,\n".encode("gbk") + b"M003,\xb1\xff,,,,\n"
    read = Read(tmp_path, data, encoding="gbk")
    path, _ = rejects_file.write(read.mapping, read.reader.rejects, tmp_path / "out")
    lines = path.read_bytes().split(b"\r\n")
    assert len(lines) == 5
    assert b'3","code","M1","pattern"' in lines[1]
    assert b'"price","1.005"' in lines[2]
    assert b"M003,\xb1\xff,,,," in lines[3]
    assert "行号".encode("gbk") in lines[0]


@given(greatest=st.integers(0, 10**19), value=st.integers(0, 10**19))
def test_the_expression_for_numbers_is_exact(greatest: int, value: int) -> None:
    assert bool(re.fullmatch(up_to(greatest), str(value))) == (value <= greatest)
    assert re.fullmatch(up_to(greatest), f"0{value}") is None


@settings(max_examples=400)
@given(st.from_regex(r"(18|19|20|21)[0-9]{2}-[0-3][0-9]-[0-3][0-9]", fullmatch=True))
def test_dates_agree_with_the_calendar(text: str) -> None:
    from implops.baseload.rules import _DAY

    try:
        real = date.fromisoformat(text).year in range(1900, 2100) and text.isascii()
    except ValueError:
        real = False
    assert bool(re.fullmatch(_DAY, text)) == real


@cache
def _alphabet(codec: str) -> str:
    """Every character that the codec writes and reads back, and that a customer's file may hold."""
    found = []
    for code in (*range(0x20, 0xD800), *range(0xF900, 0x10000), *range(0x20000, 0x20100)):
        one = chr(code)
        if unicodedata.category(one) in ("Cc", "Cn", "Zl", "Zp") or one in "\ufeff\ufffd\xa0":
            continue
        try:
            if one.encode(codec).decode(codec) == one:
                found.append(one)
        except UnicodeError:
            continue
    return "".join(found)


@cache  # hypothesis looks at every letter of a strategy that it has not seen yet
def _text(codec: str) -> st.SearchStrategy[str]:
    letters = _alphabet(codec)
    # What breaks readers: quotes, separators, a backslash, and characters whose second byte is one of these.
    common = "".join(one for one in "北京臺灣東誠上銹裏①～𠮷€" if one in letters) + ";,\"'|\\."
    return st.text(st.one_of(st.sampled_from(letters), st.sampled_from(common)), max_size=12)


@pytest.mark.parametrize("encoding", sorted(CODECS))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_in_any_encoding_comes_out_as_it_went_in(tmp_path: Path, encoding: str, data: st.DataObject) -> None:
    codec = CODECS[encoding][0]
    names = data.draw(st.lists(_text(codec), min_size=1, max_size=6))
    memos = data.draw(st.lists(_text(codec), min_size=len(names), max_size=len(names)))
    buffer = io.StringIO(newline="")
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(buffer, lineterminator=ending, quoting=quoting)
    rows = [[f"{number}", name, memo] for number, (name, memo) in enumerate(zip(names, memos, strict=True))]
    writer.writerows([["code", "name", "memo"], *rows])
    columns = {"code": {"from": "code"}, "name": {"from": "name", "required": False}, "memo": {"from": "memo"}}
    read = Read(tmp_path, buffer.getvalue().encode(codec), columns, encoding=encoding, prove_first=False)
    # The table wants a name: rows without one are rejected in their own line, all others arrive unchanged.
    assert read.rows == [row for row in rows if row[1]]
    assert read.reasons == [(number, "name", "required") for number, row in enumerate(rows, start=2) if not row[1]]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.lists(st.binary(max_size=30).map(lambda one: one.replace(b"\n", b"")), max_size=8))
def test_any_bytes_are_good_rejected_or_blank(tmp_path: Path, raw: list[bytes]) -> None:
    read = Read(tmp_path, HEADER + b"\n".join([GOOD.encode(), *raw]) + b"\n", prove_first=False)
    tally = read.reader.tally
    assert tally.good + tally.rejected + tally.blank == len(raw) + 1
    assert len(read.rows) == tally.good
    for reject in read.reader.rejects:
        assert ([GOOD.encode(), *raw])[reject.line - 2] == reject.raw


def test_the_workbook_of_rejects_runs_nothing(tmp_path: Path) -> None:
    import openpyxl

    data = mat("M001,甲,,,,", "M1,=cmd(),,,,", "M2,坏\x07,,,,") + b"M003,\xff,,,,\n"
    read = Read(tmp_path, data, prove_first=False)
    path, _ = rejects_file.write(read.mapping, read.reader.rejects, tmp_path / "out")
    sheet = openpyxl.load_workbook(path.with_suffix(".xlsx")).worksheets[0]
    rows = list(sheet.iter_rows(min_row=2))
    assert [row[0].value for row in rows] == [3, 4, 4, 5]
    assert rows[0][5].value == "M1,=cmd(),,,,"
    assert {cell.data_type for row in rows for cell in row[1:]} <= {"s", "inlineStr"}
    assert rows[3][5].value == "M003,\\xff,,,,"
    rejects_file.clear(read.mapping, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("order", ["utf-16le", "utf-16be"])
def test_rejects_of_sixteen_bits_go_back_as_such(tmp_path: Path, order: str) -> None:
    data = "\ufeff" + mat("M001,甲,,,,", 'M1,"上"",",,,,').decode()
    read = Read(tmp_path, data.encode(order), encoding="utf-16")
    path, _ = rejects_file.write(read.mapping, read.reader.rejects, tmp_path / "out")
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-16"), newline="")))
    assert rows[1][:3] == ["3", "code", "M1"]
    assert rows[1][5] == 'M1,"上"",",,,,'
