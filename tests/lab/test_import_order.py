"""Several files in one run, into both engines: the database's own foreign keys say which comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Database

from implops import kit
from implops.baseload import mapping
from implops.baseload.batch import Batch
from implops.cli.import_check import check_all
from implops.cli.import_run import _load
from implops.cli.output import Session

pytestmark = pytest.mark.lab

ROWS = {"area": "A1,a,C1\nA2,b,C2\n", "city": "C1,c,P1\nC2,d,P1\n", "province": "P1,e,\n"}
PARENT = {"area": "city", "city": "province"}


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    drop = "drop table if exists area; drop table if exists city; drop table if exists province"
    server.sql(f"{drop}; delete from implops_import_log")
    for table in reversed(ROWS):
        up = PARENT.get(table)
        key = f", foreign key (up) references {up} (code)" if up else ""
        server.sql(f"create table {table} (code varchar(9) primary key, name varchar(9), up varchar(9){key})")
    yield server
    server.sql(f"{drop}; delete from implops_import_log")


class Desk:
    """Files and mappings beside a site file; what an import has told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told = folder, list[str]()
        path = folder / "site.yml"
        text = kit.annotated_site().read_text(encoding="utf-8")
        listed = ", ".join(f"{name}.yml" for name in ROWS)
        lines = [f"data: [{listed}]" if line.startswith("data:") else line for line in text.splitlines()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.session = Session(path, as_json=False, quiet=False, verbose=False, operator="x/1")
        self.session.story = self.told.append  # type: ignore[method-assign]

    def deliver(self, *names: str, ref: bool = False) -> list[mapping.Mapping]:
        for name in ROWS:
            (self.folder / f"{name}.csv").write_text(f"code,name,up\n{ROWS[name]}", encoding="utf-8")
            up = f", ref: {{table: {PARENT[name]}, match: code}}" if ref and name in PARENT else ""
            (self.folder / f"{name}.yml").write_text(
                f"import: {name}\nsource: {{file: {name}.csv, encoding: utf-8}}\n"
                f"target: {{database: his, table: {name}}}\ncolumns:\n  code: {{from: code, required: true}}\n"
                f"  name: {{from: name}}\n  up: {{from: up{up}}}\n",
                encoding="utf-8",
            )
        return [mapping.load(self.folder / f"{name}.yml") for name in names]

    def load(self, database: Database, files: list[mapping.Mapping], *, keep: bool = True) -> list[Batch]:
        batches = check_all(self.session, database.server, files)
        for number, batch in enumerate(batches, start=1):
            _load(self.session, database.server, batch, number, "run", keep=keep)
        return batches


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("ref", [False, True], ids=["foreign keys", "references too"])
def test_children_named_first_are_loaded_last(database: Database, desk: Desk, ref: bool) -> None:
    batches = desk.load(database, desk.deliver("area", "city", "province", ref=ref))
    assert [(one.mapping.name, one.outcome) for one in batches] == [
        ("province", "loaded"), ("city", "loaded"), ("area", "loaded"),
    ]  # fmt: skip
    assert [database.count(table) for table in ROWS] == [2, 2, 1]
    assert any("province → city → area" in line for line in desk.told)


def test_an_order_that_is_right_is_kept_in_silence(database: Database, desk: Desk) -> None:
    check_all(desk.session, database.server, desk.deliver("province", "city", "area"))
    assert not any("→" in line for line in desk.told)


def test_a_circle_is_told_in_one_line_and_left_as_it_stands(database: Database, desk: Desk) -> None:
    database.sql("alter table province add constraint back foreign key (up) references area (code)")
    try:
        batches = check_all(desk.session, database.server, desk.deliver("area", "city", "province"))
        assert [one.mapping.name for one in batches] == ["area", "city", "province"]
        assert sum("互相引用" in line and "area city province" in line for line in desk.told) == 1
    finally:
        word = "constraint" if database.engine == "postgresql" else "foreign key"
        database.sql(f"alter table province drop {word} back")


@pytest.mark.parametrize("ref", [False, True], ids=["foreign keys", "references too"])
def test_a_child_alone_is_told_which_parent_is_missing(database: Database, desk: Desk, ref: bool) -> None:
    files = desk.deliver("city", ref=ref)
    (batch,) = check_all(desk.session, database.server, files)
    assert any("province" in line and "先导入" in line for line in desk.told)
    assert batch.outcome == ("rejected" if ref else "good")
    desk.told.clear()
    desk.load(database, desk.deliver("province"))
    (batch,) = check_all(desk.session, database.server, files)
    assert batch.outcome == "good"
    assert not any("先导入" in line for line in desk.told)


def test_a_child_of_a_refused_parent_is_not_judged(database: Database, desk: Desk) -> None:
    files = desk.deliver("city", "province", ref=True)
    (desk.folder / "province.csv").write_bytes(b"code,name,up\nP1,\xff,\n")
    assert [one.outcome for one in check_all(desk.session, database.server, files)] == ["refused", "skipped"]
