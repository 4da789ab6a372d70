"""``empty: keep``: an empty cell of a text column stays an empty text, and NULL stays another thing than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from import_reading import TABLE, Read, texts

from implops.baseload.engines.mariadb import MariaDB
from implops.baseload.engines.postgresql import PostgreSQL
from implops.baseload.mapping import Mapping
from implops.baseload.target import existing
from implops.baseload.template import must

KEPT = {"code": {"from": "code"}, "a": {"from": "a", "empty": "keep"}, "b": {"from": "b"}}
TEXTS = texts("code", "a", "b")


def sent(read: Read, engine: type[PostgreSQL] | type[MariaDB]) -> list[str]:
    server = engine(Path("/nowhere"), 1, "his", "x", "db1")
    return server.sent(read.sent, read.reader.delimiter).decode().splitlines()


def keep(folder: Path, rows: str, columns: dict[str, Any] | None = None, **more: Any) -> Read:
    more.setdefault("table", TEXTS)
    return Read(folder, rows.encode(), columns or KEPT, **more)


def test_bare_and_quoted_empty_cells_are_sent_as_empty_texts_and_others_as_null(tmp_path: Path) -> None:
    read = keep(tmp_path, 'code,a,b\nM1,,\nM2,"",""\nM3,甲,乙\n')
    assert sent(read, PostgreSQL) == ['"M1","",', '"M2","",', '"M3","甲","乙"']
    assert sent(read, MariaDB) == ['"M1","",NULL', '"M2","",NULL', '"M3","甲","乙"']
    columns = read.reader.tally.columns
    assert [(columns[name].count, columns[name].length) for name in ("a", "b")] == [(3, 1), (1, 1)]
    assert read.reader.changes == {}  # kept is not changed


def test_the_proof_tells_an_empty_text_from_null(tmp_path: Path) -> None:
    kept = keep(tmp_path, "code,a,b\nM1,,\n")
    null = keep(tmp_path, "code,a,b\nM1,-,\n", source={"null": ["-"]})
    bare = keep(tmp_path, "code,a,b\nM1,,\n", {name: {"from": name} for name in KEPT})
    assert len({one.reader.tally.row_hash for one in (kept, null)}) == 2
    assert (null.reader.tally.columns["a"].count, null.reader.tally.columns["a"].length) == (0, 0)
    assert (kept.reader.tally.columns["a"].count, bare.reader.tally.columns["a"].count) == (1, 0)
    assert sent(null, PostgreSQL) == ['"M1",,']
    assert sent(null, MariaDB) == ['"M1",NULL,NULL']


def test_required_means_not_null(tmp_path: Path) -> None:
    columns = {**KEPT, "a": {"from": "a", "empty": "keep", "required": True}}
    read = keep(tmp_path, "code,a,b\nM1,,x\nM2,-,y\nM3,z,\n", columns, source={"null": ["-"]})
    assert read.reasons == [(3, "a", "required")]
    assert sent(read, PostgreSQL) == ['"M1","","x"', '"M3","z",']


def test_cleaned_to_nothing_is_kept_and_counted(tmp_path: Path) -> None:
    columns = {**KEPT, "a": {"from": "a", "empty": "keep", "clean": ["trim"], "map": {"无": ""}}}
    read = keep(tmp_path, "code,a,b\nM1,  ,x\nM2,无,x\n", columns)
    assert sent(read, PostgreSQL) == ['"M1","","x"', '"M2","","x"']
    assert read.reader.changes["a"]["trim"].samples == [(2, "  ", "")]
    assert read.reader.changes["a"]["map"].samples == [(3, "无", "")]


@pytest.mark.parametrize(
    ("rules", "more"),
    [
        ({"pattern": "[A-Z]{2}"}, {}),
        ({"pattern": "(?:[^x]|y)+"}, {}),
        ({"min": 2, "max": 3}, {}),
        ({"dict": "d"}, {"dictionaries": {"d": {"codes": ["AB"]}}, "known": {("", "", "d"): {"AB", ""}}}),
        ({"multiline": True}, {}),
    ],
)
def test_no_other_rule_refuses_an_empty_text(tmp_path: Path, rules: dict[str, Any], more: dict[str, Any]) -> None:
    read = keep(tmp_path, "code,a,b\nM1,,x\nM2,AB,x\n", {**KEPT, "a": {"from": "a", "empty": "keep", **rules}}, **more)
    assert read.reasons == []
    assert sent(read, PostgreSQL) == ['"M1","","x"', '"M2","AB","x"']


def test_what_a_character_set_stores_is_no_matter_of_an_empty_text(tmp_path: Path) -> None:
    from dataclasses import replace

    columns = {name: replace(one, charset="gbk") for name, one in TEXTS.columns.items()}
    read = keep(tmp_path, "code,a,b\nM1,,x\nM2,𠮷,x\n", table=replace(TEXTS, columns=columns))
    assert read.reasons == [(3, "a", "storable")]


def test_empty_keys_are_keys(tmp_path: Path) -> None:
    columns = {**KEPT, "a": {"from": "a", "empty": "keep", "unique": True}}
    read = keep(tmp_path, "code,a,b\nM1,,x\nM2,,x\nM3,-,x\nM4,-,x\n", columns, source={"null": ["-"]})
    assert read.reasons == [(3, "a", "duplicate")]
    assert read.reader.rejects[0].faults[0].value == ""


def test_a_lone_column_of_empty_texts(tmp_path: Path) -> None:
    read = keep(tmp_path, 'a\n""\n\nx\n', {"a": {"from": "a", "empty": "keep"}}, table=texts("a"))
    assert sent(read, PostgreSQL) == ['""', '"x"']
    assert (read.reader.tally.blank, read.reasons) == (1, [])


def test_a_dump_tells_null_from_an_empty_text(tmp_path: Path) -> None:
    dump = "insert into t (code, a, b) values ('M1', '', ''), ('M2', NULL, NULL), ('M3', '\x1e', 'x');\n"
    read = keep(tmp_path, dump, source={"format": "sql"}, name="f.sql")
    assert sent(read, PostgreSQL) == ['"M1","",', '"M2",,']
    assert read.reasons == [(1, "a", "control")]
    assert read.reader.tally.columns["a"].count == 1


def test_fixed_widths_keep_them_too(tmp_path: Path) -> None:
    rows = "codea b \nM1    x \n"
    read = keep(tmp_path, rows, source={"format": "fixed", "widths": [4, 2, 2]}, name="f.txt")
    assert sent(read, MariaDB) == ['"M1","","x"']


@pytest.mark.parametrize("engine", [PostgreSQL, MariaDB])
def test_a_mark_that_stands_in_the_file_itself_is_refused(tmp_path: Path, engine: type[PostgreSQL]) -> None:
    read = keep(tmp_path, "code,a,b\nM1,\x1e,x\nM2,,x\n")
    assert read.reasons == [(2, "a", "control")]
    assert sent(read, engine) == ['"M2","","x"']


def test_keys_of_the_table_tell_empty_texts_from_null(tmp_path: Path) -> None:
    class Told(PostgreSQL):
        def stream(self, columns: Any, tail: str) -> Any:
            assert "char_length" in columns[0] and "char_length" not in columns[1]
            return iter([["\x1e", ""], ["", ""]])

    from dataclasses import replace

    read = keep(tmp_path, "code,a,b\nM1,,x\n")
    taken = existing(Told(tmp_path, 1, "his", "x", "db1"), read.mapping, replace(TEXTS, rows=2), ("a", "b"))
    assert isinstance(taken, set)
    assert {len(row) for row in taken} == {2} and {row[0] == "" for row in taken} == {True, False}


def test_the_hash_of_a_mapping_counts_it_only_where_it_is_used(tmp_path: Path) -> None:
    def sha256(**rules: Any) -> str:
        columns = {**KEPT, "a": {"from": "a", **rules}}
        return Mapping.model_validate({**keep(tmp_path, "code,a,b\nM1,,\n").mapping.model_dump(by_alias=True),
                                       "columns": columns}).sha256  # fmt: skip

    assert sha256() == sha256(empty=None) != sha256(empty="keep")


def test_the_customer_need_not_fill_it(tmp_path: Path) -> None:
    columns = {"code": {"from": "code", "required": True}, "a": {"from": "a", "empty": "keep", "required": True}}
    read = keep(tmp_path, "code,a\nM1,\n", columns)
    assert [must(one) for one in read.mapping.columns.values()] == [True, False]
    assert TABLE.columns["code"].not_null
