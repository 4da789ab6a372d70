"""The adversarial cases of the import design by their numbers: bytes in, and what the run must say, to the line.

Cases of workbooks, zips and SQL files stand in test_import_sources.py, those of the server in tests/lab.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from import_reading import Read, texts

from implops.baseload.mojibake import meant
from implops.errors import DataError, InputError

TABLE = texts("code", "name")
HEAD = b"code,name\n"
# (case, encoding, bytes, what is refused as (line, column, code), what arrives as names)
ROWS: list[tuple[str, str, bytes, list[tuple[int, str, str]], list[str]]] = [
    ("5 cell", "utf-8", HEAD + b"1,a\rb\n2,c\n", [(2, "", "carriage_return")], ["c"]),
    ("6", "utf-8", HEAD + b"1,a\r\n2,b\n3,c\r\n", [], ["a", "b", "c"]),
    ("7", "utf-8", HEAD + b"1,a\x00b\n2,c\n", [(2, "name", "nul")], ["c"]),
    ("8 no end", "utf-8", HEAD + b"1,a", [], ["a"]),
    ("8 cut", "utf-8", HEAD + b"1,a\n2,\xe7\x94", [(3, "", "encoding")], ["a"]),
    ("9 C0 80", "utf-8", HEAD + b"1,\xc0\x80\n2,c\n", [(2, "", "encoding")], ["c"]),
    ("9 surrogate", "utf-8", HEAD + b"1,\xed\xa0\x80\n2,c\n", [(2, "", "encoding")], ["c"]),
    ("9 beyond", "utf-8", HEAD + b"1,\xf4\x90\x80\x80\n2,c\n", [(2, "", "encoding")], ["c"]),
    ("9 CESU", "utf-8", HEAD + b"1,\xed\xa0\xbd\xed\xb8\x80\n2,c\n", [(2, "", "encoding")], ["c"]),
    ("15", "gbk", HEAD + "1,男\n2,女\n".encode("gbk"), [], ["男", "女"]),
    ("16 euro", "gbk", HEAD + b"1,\x80\n", [], ["€"]),
    ("16 wider", "gbk", HEAD + "1,中\n2,".encode("gbk") + b"\xfe\x9f\n", [(3, "", "encoding")], ["中"]),
    ("17 C1", "gb18030", HEAD + "1,中国\n2,".encode("gbk") + b"\x81\x30\x81\x30\n", [(3, "name", "control")], ["中国"]),
    ("17 U+FFFD", "gb18030", HEAD + "1,中国\n2,".encode("gbk") + b"\x84\x31\xa4\x37\n", [(3, "name", "replacement")],
     ["中国"]),
    ("18", "gb18030", HEAD + "1,中国\n2,".encode("gbk") + b"\xa6\xd9\n", [(3, "name", "private_use")], ["中国"]),
    ("19", "big5", HEAD + b"1,\xa1\xfe\xa1\x45\xa3\xe1\xf9\xd6\n", [], ["／‧€碁"]),
    ("19 HKSCS", "big5-hkscs", HEAD + b"1,\xfa\x40\xf9\xd6\n", [], ["𠕇碁"]),
    ("20", "shift-jis", HEAD + b"1,\x81\x60\x87\x40\x5c\n", [], ["～①\\"]),
    ("20 A0", "shift-jis", HEAD + b"1,\x82\xa0\n2,\xa0\n", [(3, "name", "private_use")], ["あ"]),
    ("21", "gbk", HEAD + b"1,\xd5\x5c\n", [], ["誠"]),
    ("22 damaged", "utf-8", HEAD + "1,中国\n2,锟斤拷\n".encode(), [(3, "name", "damaged")], ["中国"]),
    ("23", "utf-8", HEAD + b'1,"a\nb"\n2,c\n', [(2, "", "quote"), (3, "", "quote")], ["c"]),
    ("24", "utf-8", HEAD + b'1,"a\n2,c\n', [(2, "", "quote")], ["c"]),
    ("25", "utf-8", HEAD + "1,上海,浦东\n2,c\n".encode(), [(2, "", "columns")], ["c"]),
    ("28 some", "utf-8", HEAD + b"1,a,\n2,c\n", [(2, "", "columns")], ["c"]),
    ("32", "utf-8", HEAD + "1,a\n合计\n".encode(), [(3, "", "columns")], ["a"]),
    ("47", "utf-8", HEAD + b"1,\\.\n2,NULL\n3,\\N\n4,=cmd()\n5,'; drop table\n", [],
     ["\\.", "NULL", "\\N", "=cmd()", "'; drop table"]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "encoding", "data", "refused", "names"), ROWS, ids=[row[0] for row in ROWS])
def test_rows(
    tmp_path: Path, case: str, encoding: str, data: bytes, refused: list[tuple[int, str, str]], names: list[str]
) -> None:
    columns = {"code": {"from": "code", "required": True}, "name": {"from": "name"}}
    read = Read(tmp_path, data, columns, table=TABLE, encoding=encoding, source={"encoding_confirmed": True})
    assert read.reasons == refused
    assert [row[1] for row in read.rows] == names
    lines = data.split(b"\n")
    assert all(reject.raw == lines[reject.line - 1].rstrip(b"\r") for reject in read.reader.rejects)


NAMES = "".join(f"{number},第{number}人民医院门诊部\n" for number in range(40))
KANA = "".join(f"{number},第{number}東京都カタカナひらがな\n" for number in range(40))
HAN = "".join(f"{number},第{number}臺灣醫院門診藥局\n" for number in range(40))
HANGUL = "".join(f"{number},서울특별시 종로구 병원 응급실\n" for number in range(20))
# (case, encoding, bytes, key of the refusal)
STOPS: list[tuple[str, str, bytes, str]] = [
    ("1", "utf-8", HEAD + b"1,a\n" * 159 + b"\xef\xbb\xbfcode,name\n2,b\n", "import.bom_inside"),
    ("2", "gbk", b"\xef\xbb\xbf" + HEAD + b"1,a\n", "import.mark"),
    ("3", "utf-16", b"\xff\xfe" + (HEAD + b"1,a\n").decode().encode("utf-16le") + b"\x41", "import.odd_bytes"),
    ("4", "utf-8", (HEAD.decode() + "1,上\n").encode("utf-16le"), "import.sixteen_bits"),
    ("5 file", "utf-8", b"code,name\r1,a\r2,b\r", "import.cr_only"),
    ("11", "gbk", HEAD + NAMES.encode("gbk") * 9 + "1,中华人民\n".encode() * 9, "import.mixed"),
    ("13", "gb18030", HEAD + HAN.encode("big5"), "import.wrong_encoding"),
    ("14", "gbk", HEAD + KANA.encode("cp932"), "import.wrong_encoding"),
    ("22 Latin", "utf-8", HEAD + "".join(f"{n},ä¸\u00adå›½\n" for n in range(5)).encode(), "import.mojibake"),
    ("22 lost", "utf-8", HEAD + b"1,????\n2,???\n3,?????\n", "import.mojibake_lost"),
    ("26", "utf-8", b"code,name,name\n1,a,b\n", "import.header_twice"),
    ("27", "utf-8", "code,name\u200b\n1,a\n".encode(), "import.header_missing"),
    ("28 all", "utf-8", b"code,name,\n1,a,\n", "import.header_trailing"),
    ("29 empty", "utf-8", b"", "import.empty_file"),
    ("29 BOM", "utf-8", b"\xef\xbb\xbf", "import.empty_file"),
    ("30", "utf-8", HEAD, "import.no_rows"),
    ("Korean read as Chinese", "gbk", HEAD + HANGUL.encode("cp949"), "import.wrong_encoding"),
    ("Chinese read as Korean", "euc-kr", HEAD + NAMES.encode("gb2312"), "import.wrong_encoding"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "encoding", "data", "key"), STOPS, ids=[row[0] for row in STOPS])
def test_stops(tmp_path: Path, case: str, encoding: str, data: bytes, key: str) -> None:
    columns = {"code": {"from": "code", "required": True}, "name": {"from": "name", "allow": ["private_use"]}}
    with pytest.raises((InputError, DataError)) as error:
        Read(tmp_path, data, columns, table=TABLE, encoding=encoding, suspicious=True).reader.finish()
    assert error.value.key == key
    assert "\n" not in str(error.value)
    if case == "1":
        assert error.value.params["line"] == 161


@pytest.mark.parametrize("wrong", ["gb18030", "latin-1", "cp1252"])
def test_a_ruined_value_says_what_it_was(wrong: str) -> None:
    text = "中国" if wrong == "cp1252" else "中华人民医院"
    assert meant(text.encode().decode(wrong)) == text


@pytest.mark.parametrize(
    "sound",
    [
        "目录",
        "艾大",
        "门诊部",
        "Müller",
        "Señor Peña",
        "東京都",
        "カタカナ",
        "甲",
        "http://a?b=1",
        "what?",
        "①～",
        "𠮷野家",
    ],
)
def test_sound_values_are_left_alone(sound: str) -> None:
    assert meant(sound) is None


def test_few_hits_in_many_values_are_no_verdict(tmp_path: Path) -> None:
    """One value of forty that looks ruined may well be a name."""
    columns: dict[str, Any] = {"code": {"from": "code"}, "name": {"from": "name"}}
    data = HEAD + (NAMES + "99,ä¸\u00adå›½\n").encode()
    assert Read(tmp_path, data, columns, table=TABLE, suspicious=True).reader.tally.good == 41
