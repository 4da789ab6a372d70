"""The fast way and the reader agree: what is sent, what is reckoned for the proof, what is no longer good."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implops.baseload.engines.mariadb import MariaDB
from implops.baseload.fingerprint import lookup3_sum
from implops.baseload.mapping import Mapping
from implops.baseload.rows import Reader
from implops.baseload.stream import Stream, plain, trie
from implops.baseload.target import Table, TableColumn, fit
from implops.baseload.witness import General, Part, Plain, Witness
from implops.errors import DataError

KEY = ("public", "kind", "code")
KNOWN = {KEY: {"C1", "C12", "D", ""}}
COLUMNS = {
    "code": TableColumn("code", "varchar", 12, None, None, True, False, False),
    "kind": TableColumn("kind", "varchar", 8, None, None, False, False, False),
    "price": TableColumn("price", "numeric", None, 14, 2, False, False, False),
    "memo": TableColumn("memo", "text", None, None, None, False, False, False),
}
TABLE = Table(("public", "mat"), COLUMNS, "UTF8", 150018, 0, ())
GOOD = [
    "M1,C1,1.50,",
    "M2,C12,-0.00,备注",
    'M3,D,12,"引号 "" 与, 逗号"',
    "M4,,,𠮷 四字节",
    "M5,C1,-7.5,NULL",
    "M6,C12,0.05, 空白 ",
]


def mapping(folder: Path, data: bytes, *, encoding: str = "utf-8", batch: int | None = None) -> Mapping:
    (folder / "mat.csv").write_bytes(data)
    one = Mapping.model_validate(
        {
            "import": "物料",
            "source": {"file": "mat.csv", "encoding": encoding},
            "target": {"database": "his", "table": "mat"},
            "key": ["code"],
            "batch": batch,
            "columns": {
                # Not in the order of the file.
                "memo": {"from": "备注"},
                "code": {"from": "编码", "pattern": "M[0-9]{1,6}", "required": True},
                "kind": {"from": "分类", "ref": {"table": "kind", "match": "code"}},
                "price": {"from": "单价", "type": "decimal(14,2)"},
            },
            "verify": {"sum": ["price"]},
        }
    )
    one._path = folder / "mat.yml"
    return one


def fast(one: Mapping, skip: frozenset[int] = frozenset()) -> tuple[Stream, Plain]:
    cells = fit(one, TABLE)
    assert plain(one, cells)
    places = [1, 2, 3, 0]  # of the file's columns in the mapping
    ordered = [cells[place] for place in places]
    order = [places.index(place) for place in range(4)]
    return Stream(one, ordered, KNOWN, skip), Plain(one, ordered, order, skip, frozenset({0}), lookup3_sum)


def reader(one: Mapping) -> Reader:
    return Reader(one, fit(one, TABLE), KNOWN, {}, fingerprint=lookup3_sum, spots=frozenset({0}))


def account(part: Part) -> tuple[object, ...]:
    return part.tally.good, part.tally.row_hash, part.tally.columns, part.sha256


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [False, True])
def test_both_ways_reckon_and_send_the_same(tmp_path: Path, encoding: str, end: str, blank: bool) -> None:
    lines = ["编码,分类,单价,备注", *GOOD[:3], *[""] * blank, *GOOD[3:]]
    one = mapping(tmp_path, end.join(lines).encode(encoding), encoding=encoding)
    stream, reckoning = fast(one)
    sent = b"".join(block.data for block in stream.blocks())
    (mine,), (theirs,) = list(reckoning.parts()), list(General(reader(one)).parts())
    assert account(mine) == account(theirs)
    assert (stream.tally.good, stream.sha256) == (6, mine.sha256)
    assert list(csv.reader(io.StringIO(sent.decode(), newline=""))) == list(csv.reader(GOOD))
    assert [spot for spot in theirs.spotted if spot not in mine.spotted] == []


def test_rejected_lines_are_left_out_and_the_sample_keeps_its_line_numbers(tmp_path: Path) -> None:
    lines = ["编码,分类,单价,备注", "bad,C1,1,", *GOOD, "M9,C9,1,"]
    one = mapping(tmp_path, "\n".join(lines).encode())
    stream, reckoning = fast(one, frozenset({2, 9}))
    assert sum(block.rows for block in stream.blocks()) == 6
    (part,) = reckoning.parts()
    assert part.tally.good == 6
    assert part.spotted[0] == (3, ["", "M1", "C1", "1.50"])
    assert account(part)[1] == account(next(iter(General(reader(one)).parts())))[1]


@pytest.mark.parametrize("line", ["M7,C1,1.005,", "M7,C9,1,", "M7,C1,1", "M7,C1,1,a,b", 'M7,C1,1,"offen'])
def test_a_line_that_the_check_had_not_seen_stops_the_load(tmp_path: Path, line: str) -> None:
    stream, _ = fast(mapping(tmp_path, "\n".join(["编码,分类,单价,备注", *GOOD, line]).encode()))
    with pytest.raises(DataError) as error:
        list(stream.blocks())
    assert error.value.key == "import.rejected_now"


def test_the_witness_answers_from_its_own_process_and_its_error_is_raised_here(tmp_path: Path) -> None:
    good = mapping(tmp_path, "\n".join(["编码,分类,单价,备注", *GOOD]).encode())
    witness = Witness(fast(good)[1])
    assert witness.part().tally.good == 6
    witness.close()
    bad = mapping(tmp_path, b"\n".join("编码,分类,单价,备注\nM1,C1,1".encode().split(b"\n")))
    witness = Witness(fast(bad)[1])
    with pytest.raises(DataError) as error:
        witness.part()
    assert error.value.key == "import.file_changed"
    witness.close()


@given(
    st.sets(st.text(alphabet="aAbB12.|[\\-", min_size=1, max_size=4), min_size=1, max_size=30),
    st.text("aAbB12.|", max_size=5),
)
def test_a_trie_matches_its_codes_and_nothing_else(codes: set[str], other: str) -> None:
    pattern = re.compile(trie(codes))
    assert all(pattern.fullmatch(code) for code in codes)
    assert bool(pattern.fullmatch(other)) == (other in codes)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('M1,NULL,"a ""b",\n', '"M1","NULL","a ""b",NULL\n'),
        ("M1,,,x\n", "M1,NULL,NULL,x\n"),
        (",,,\n,a,,\nb,,,c\n", "NULL,NULL,NULL,NULL\nNULL,a,NULL,NULL\nb,NULL,NULL,c\n"),
        ('"",a\nb,"c\nd"\n', 'NULL,"a"\n"b","c\nd"\n'),
        ('""\n"a"\n', 'NULL\n"a"\n'),
    ],
)
def test_mariadb_gets_null_by_name_and_the_word_in_quotes(given: str, sent: str) -> None:
    assert MariaDB(Path("/nowhere"), 3306, "his", "x", "db1").sent(given.encode(), ",").decode() == sent


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "NULL", '"', "甲,", "NULLx", " "]), min_size=3, max_size=3), min_size=1)
)
def test_what_mariadb_gets_reads_as_what_was_given(rows: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    sent = MariaDB(Path("/nowhere"), 3306, "his", "x", "db1").sent(buffer.getvalue().encode(), ",").decode()
    read = [
        [cell if cell != "NULL" else "" for cell in row]
        for row in csv.reader(sent.replace('"NULL"', "null").split("\n"))
        if row
    ]
    assert read == [[cell if cell != "NULL" else "null" for cell in row] for row in rows]
