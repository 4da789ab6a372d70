"""The declared encoding is proved on every byte; a wrong but decodable one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.baseload.mapping import Mapping
from implops.baseload.proof import Proof, prove
from implops.baseload.source import BLOCK
from implops.errors import InputError

SIMPLIFIED = [
    "北京市",
    "石家庄市",
    "呼和浩特市",
    "东城区",
    "景山街道",
    "建国门街道",
    "朝阳区",
    "和平里街道",
    "积石山县",
    "龙华镇",
]
TRADITIONAL = [
    "臺北市中正區",
    "高雄市左營區",
    "新竹縣竹北市",
    "嘉義縣水上鄉",
    "臺中市西屯區",
    "屏東縣東港鎮",
    "花蓮縣壽豐鄉",
    "桃園市龍潭區",
]
JAPANESE = [
    "東京都千代田区",
    "さいたま市大宮区",
    "神奈川県横浜市",
    "株式会社カルテ",
    "消毒用エタノール",
    "注射用水(大塚)",
]


def declared(folder: Path, encoding: str, data: bytes, **source: object) -> Mapping:
    (folder / "f.csv").write_bytes(data)
    found = Mapping.model_validate(
        {
            "import": "x",
            "source": {"file": "f.csv", "encoding": encoding, **source},
            "target": {"database": "his", "table": "t"},
            "columns": {"name": {"from": "name"}},
        }
    )
    found._path = folder / "m.yml"
    return found


def lines(*names: str) -> str:
    return "code,name\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names, start=1))


def proved(folder: Path, encoding: str, data: bytes, **source: object) -> Proof:
    return prove(declared(folder, encoding, data, **source))


def refused(folder: Path, encoding: str, data: bytes) -> InputError:
    with pytest.raises(InputError) as error:
        proved(folder, encoding, data)
    assert error.value.code == 2
    assert "\n" not in str(error.value)
    return error.value


TRUTHS = {
    "gb18030": (SIMPLIFIED, "gb18030"),
    "gbk": (SIMPLIFIED, "gbk"),
    "gb2312": (SIMPLIFIED, "gb2312"),
    "utf-8": (SIMPLIFIED, "utf-8"),
    "big5": (TRADITIONAL, "cp950"),
    "shift-jis": (JAPANESE, "cp932"),
    "euc-jp": (JAPANESE, "euc_jp"),
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_a_right_declaration_passes(tmp_path: Path, truth: str) -> None:
    names, codec = TRUTHS[truth]
    proof = proved(tmp_path, truth, lines(*names).encode(codec))
    assert (proof.bad, proof.strangers, proof.nonascii) == (0, 0, len(names))


@pytest.mark.parametrize("other", ["big5", "cp950", "utf-8", "shift-jis", "cp1252", "big5-hkscs"])
def test_gb18030_under_another_name_is_refused(tmp_path: Path, other: str) -> None:
    error = refused(tmp_path, other, lines(*SIMPLIFIED).encode("gb18030"))
    assert error.params["likely"] == "gb18030"
    assert error.params["as_likely"].split(",")[1] in SIMPLIFIED


@pytest.mark.parametrize("other", ["gb18030", "gbk", "utf-8", "shift-jis", "cp1252"])
def test_big5_under_another_name_is_refused(tmp_path: Path, other: str) -> None:
    error = refused(tmp_path, other, lines(*TRADITIONAL).encode("cp950"))
    assert error.params["likely"] in ("big5", "big5-hkscs")


@pytest.mark.parametrize("other", ["gb18030", "gbk", "big5", "shift-jis", "cp1252"])
def test_utf8_under_another_name_is_refused(tmp_path: Path, other: str) -> None:
    assert refused(tmp_path, other, lines(*SIMPLIFIED).encode()).params["likely"] == "utf-8"


@pytest.mark.parametrize("other", ["gb18030", "gbk"])
def test_shift_jis_under_another_name_is_refused(tmp_path: Path, other: str) -> None:
    assert refused(tmp_path, other, lines(*JAPANESE).encode("cp932")).params["likely"] == "shift-jis"


def test_the_objection_can_be_overruled(tmp_path: Path) -> None:
    data = lines(*TRADITIONAL).encode("cp950")
    assert proved(tmp_path, "gb18030", data, encoding_confirmed=True).lead is not None


def test_a_short_gbk_word_that_is_valid_utf8_is_no_stranger(tmp_path: Path) -> None:
    data = "code,name\n1,男\n2,女\n".encode("gbk")
    assert b"\xc4\xd0" in data
    assert proved(tmp_path, "gbk", data).strangers == 0


def test_one_bad_byte_is_found_with_line_and_offset(tmp_path: Path) -> None:
    good = lines(*SIMPLIFIED * 30).encode()
    at = good.index("景山".encode(), len(good) // 2)
    proof = proved(tmp_path, "utf-8", good[:at] + b"\xff" + good[at + 1 :])
    assert proof.bad == 1
    assert proof.first_bad == (good.count(b"\n", 0, at) + 1, at, "ff")


def test_a_mixed_file_is_refused_with_its_lines(tmp_path: Path) -> None:
    data = lines(*SIMPLIFIED * 5).encode("gbk") + "60,铁岭市\n61,大连市\n62,锦州市\n".encode()
    error = refused(tmp_path, "gbk", data)
    assert error.key == "import.mixed"
    assert error.params["lines"] == "52 53 54"


def test_gbk_lines_in_utf8_are_refused_as_mixed(tmp_path: Path) -> None:
    data = lines(*SIMPLIFIED * 5).encode() + "60,铁岭市\n61,大连市\n62,锦州市\n63,沈阳市\n".encode("gbk")
    error = refused(tmp_path, "utf-8", data)
    assert (error.key, error.params["count"]) == ("import.mixed", 4)


def test_ascii_for_400_kb_and_then_gbk_is_seen(tmp_path: Path) -> None:
    data = b"code,name\n" + b"1,plain ascii text\n" * 22_000 + lines(*SIMPLIFIED).encode("gb18030")
    assert refused(tmp_path, "utf-8", data).params["likely"] == "gb18030"


@pytest.mark.parametrize(
    ("encoding", "data", "key"),
    [
        ("gbk", b"\xef\xbb\xbf" + lines("北京").encode(), "import.mark"),
        ("gbk", lines("北京").encode("utf-16"), "import.mark"),
        ("gb18030", lines("上海").encode("utf-16-le"), "import.sixteen_bits"),
        ("gb18030", lines("上海").encode("utf-16-be"), "import.sixteen_bits"),
        ("utf-8", lines("北京").encode() + b"\xef\xbb\xbf" + lines("上海").encode(), "import.bom_inside"),
        ("utf-8", b"", "import.empty_file"),
        ("utf-8", b"\xef\xbb\xbf", "import.empty_file"),
        ("utf-8", b"a,b\r" * (BLOCK // 4 + 1), "import.no_line_feed"),
    ],
)
def test_marks_and_shapes_that_stop(tmp_path: Path, encoding: str, data: bytes, key: str) -> None:
    assert refused(tmp_path, encoding, data).key == key


def test_a_bom_of_utf8_is_taken_off(tmp_path: Path) -> None:
    assert proved(tmp_path, "utf-8", b"\xef\xbb\xbf" + lines("北京").encode()).bom


def test_a_file_other_than_the_declared_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        proved(tmp_path, "utf-8", lines("北京").encode(), sha256="0" * 64)
    assert error.value.key == "import.other_sha256"


@pytest.mark.parametrize("bad", [b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xed\xa0\xbd\xed\xb8\x80"])
def test_forms_that_are_not_utf8_are_bad_lines(tmp_path: Path, bad: bytes) -> None:
    proof = proved(tmp_path, "utf-8", lines(*SIMPLIFIED * 2).encode() + b"99," + bad + b"\n")
    assert proof.bad == 1


def test_lines_are_counted_in_both_forms(tmp_path: Path) -> None:
    proof = proved(tmp_path, "utf-8", b"code,name\r\n1,a\n2,b\r\n3,c")
    assert (proof.lines, proof.crlf) == (4, 2)
