"""The same file once more: untouched while its rows are there, loaded anew when they are not; into both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Database
from importer import bring, checked
from loading import TABLE, committed, many, printed, state

from implops.baseload import judge, target
from implops.errors import DataError

pytestmark = pytest.mark.lab

GONE = {
    "dropped": f"drop table mat; {TABLE}",
    "truncated": "truncate table mat",
    "emptied": "delete from mat",
}


@pytest.fixture(params=["insert", "upsert", "replace"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("how", GONE)
def test_rows_that_are_gone_are_loaded_again(
    database: Database, deliver: Callable[..., Path], mode: str, how: str
) -> None:
    path = deliver(many(100000, 30), mode=mode)
    for round_ in (1, 2, 3):
        found, loaded = bring(database.server, path)
        assert loaded
        assert (loaded.inserted, found.past.round) == (30, round_)
        assert state(database) == printed(100000, 30)
        assert bring(database.server, path)[1] is None
        database.sql(GONE[how])
    assert database.count("implops_import_log") == 3


def test_other_rows_are_not_taken_for_those_of_the_file(database: Database, deliver: Callable[..., Path]) -> None:
    bring(database.server, deliver(many(100000, 30)))
    database.sql(GONE["dropped"])
    bring(database.server, deliver(many(500000, 90)))
    _, loaded = bring(database.server, deliver(many(100000, 30)))
    assert loaded
    assert state(database) == printed(100000, 30) + printed(500000, 90)


def test_what_the_application_does_to_the_rows_is_left_alone(
    database: Database, deliver: Callable[..., Path], mode: str
) -> None:
    path = deliver(many(100000, 30), mode=mode)
    bring(database.server, path)
    database.sql("update mat set price = 7, memo = null where amount < 100010")
    database.sql("insert into mat (code, name) values ('X1', 'x')")
    before = state(database)
    found, loaded = bring(database.server, path)
    assert found.loaded
    assert loaded is None
    assert state(database) == before


def test_so_are_the_rows_of_other_files(database: Database, deliver: Callable[..., Path]) -> None:
    for start in (100000, 200000, 300000):
        assert bring(database.server, deliver(many(start, 20)))[1]
    for start in (100000, 200000, 300000):
        assert checked(database.server, deliver(many(start, 20))).loaded


def test_a_part_that_is_gone_is_told_or_brought_back_as_the_mode_says(
    database: Database, deliver: Callable[..., Path], mode: str
) -> None:
    path = deliver(many(100000, 30), mode=mode)
    bring(database.server, path)
    database.sql("delete from mat where amount < 100004")
    if mode == "insert":
        with pytest.raises(DataError) as error:
            bring(database.server, path)
        assert error.value.key == "import.partly_gone"
        assert (error.value.params["rows"], error.value.params["found"]) == (30, 26)
        assert state(database) == printed(100004, 26)
    else:
        assert bring(database.server, path)[1]
        assert state(database) == printed(100000, 30)


def test_keys_too_many_for_memory_tell_it_too(
    database: Database, deliver: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (judge, target):
        monkeypatch.setattr(module, "KEPT_KEYS", 50)
    path = deliver(many(100000, 300))
    bring(database.server, path)
    database.sql("update mat set price = 7")
    assert checked(database.server, path).loaded
    database.sql("delete from mat where amount = 100299")
    with pytest.raises(DataError) as error:
        checked(database.server, path)
    assert error.value.params["found"] == 299


@pytest.fixture
def keyless(database: Database, deliver: Callable[..., Path]) -> Iterator[Callable[..., Path]]:
    database.sql(f"drop table mat; {TABLE.replace(' primary key', '')}")

    def write(rows: str, more: str = "") -> Path:
        path = deliver(rows, more=more)
        path.write_text(path.read_text(encoding="utf-8").replace("key: [code]\n", ""), encoding="utf-8")
        return path

    yield write


def test_rows_without_a_key_are_never_loaded_twice(database: Database, keyless: Callable[..., Path]) -> None:
    path = keyless(many(100000, 30))
    assert bring(database.server, path)[1]
    assert checked(database.server, path).loaded
    database.sql("update mat set price = 7 where amount = 100000")
    with pytest.raises(DataError) as error:
        bring(database.server, path)
    assert error.value.key == "import.cannot_tell"
    database.sql("delete from mat where amount = 100000")
    with pytest.raises(DataError) as error:
        bring(database.server, path)
    assert error.value.key == "import.partly_gone"
    database.sql("delete from mat")
    assert bring(database.server, path)[1]
    assert state(database) == printed(100000, 30)


def half(database: Database, path: Path) -> None:
    """The log and the table as a kill after the first batch leaves them."""
    bring(database.server, path)
    database.sql("delete from implops_import_log where batch_no > 1; update implops_import_log set last_byte = 0")
    database.sql(f"delete from mat where amount >= {100000 + committed(database)}")
    assert 0 < database.count("mat") < 3000


def test_a_half_whose_rows_are_gone_begins_again(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 3000), more="batch: 1000\n")
    # Batches end where blocks end.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("implops.baseload.source.BLOCK", 16 * 1024)
        half(database, path)
        database.sql("delete from mat where amount < 100400")
        with pytest.raises(DataError) as error:
            bring(database.server, path)
        assert error.value.key == "import.partly_gone"
        database.sql("delete from mat")
        _, loaded = bring(database.server, path)
    assert loaded
    assert (loaded.resumed, loaded.inserted) == (0, 3000)
    assert state(database) == printed(100000, 3000)


def test_a_half_is_not_loaded_whole_because_the_mapping_forgot_its_batches(
    database: Database, keyless: Callable[..., Path]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("implops.baseload.source.BLOCK", 16 * 1024)
        half(database, keyless(many(100000, 3000), more="batch: 1000\n"))
        there = database.count("mat")
        with pytest.raises(DataError) as error:
            bring(database.server, keyless(many(100000, 3000)))
        assert error.value.key == "import.batch_missing"
        assert database.count("mat") == there
        _, loaded = bring(database.server, keyless(many(100000, 3000), more="batch: 1000\n"))
    assert loaded
    assert loaded.resumed == there
    assert state(database) == printed(100000, 3000)
