"""MariaDB put back in its place on a real server: killed at any statement, failed at the end, nothing is ever lost."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Database, running

pytestmark = pytest.mark.lab

PUTTING_BACK = Path(__file__).with_name("putting_back.py")
# Tables that hang together, a sequence, and everything that is no table.
SCHEMA = """
create table wards (id int primary key, name varchar(60) not null) engine = InnoDB;
create table beds (id int auto_increment primary key, ward int not null, seen int default 0,
  constraint of_ward foreign key (ward) references wards (id)) engine = InnoDB;
create sequence numbers start with 100;
create view full_beds as select b.id, w.name from beds b join wards w on w.id = b.ward;
create trigger counted before insert on beds for each row set new.seen = 1;
create procedure tidy() delete from beds where seen = 9;
create function twice(a int) returns int deterministic return a * 2;
create event nightly on schedule every 1 day do call tidy();
insert into wards values (1, '内科'), (2, '外科');
insert into beds (ward) values (1), (1), (2);
create database implops; create table implops.schema_log (position int primary key, name text);
insert into implops.schema_log values (1, '001.sql')
"""
# What happened since the backup: data, a migration, a view and a trigger that the backup does not know.
SINCE = """
insert into beds (ward) values (2); update wards set name = '急诊' where id = 1;
alter table wards add column floor int; create table extra (a int primary key); insert into extra values (7);
create view more as select a from extra; create trigger more_counted before insert on extra for each row set new.a = 8;
drop procedure tidy; do nextval(numbers);
insert into implops.schema_log values (2, '002.sql')
"""
STATE = """
select group_concat(ward, ':', seen order by id) from his.beds; select group_concat(name order by id) from his.wards;
select group_concat(name order by position) from implops.schema_log;
select group_concat(table_name, ' ', table_type order by table_name) from information_schema.tables
  where table_schema = 'his';
select group_concat(routine_name order by routine_name) from information_schema.routines where routine_schema = 'his';
select group_concat(trigger_name order by trigger_name) from information_schema.triggers where trigger_schema = 'his';
select group_concat(event_name) from information_schema.events where event_schema = 'his';
select group_concat(constraint_name, unique_constraint_schema) from information_schema.referential_constraints
  where constraint_schema = 'his'; select count(*) from his.full_beds
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    with running(Database, "mariadb") as database:
        yield database


class Case:
    """A system with a backup of before and things done since; ``put_back`` is one attempt in a process of its own."""

    def __init__(self, server: Database, folder: Path) -> None:
        self.server, self.folder = server, folder
        for name in self.names():
            server.sql(f"drop database `{name}`", database="mysql")
        server.sql("create database his character set utf8mb4 collate utf8mb4_nopad_bin", database="mysql")
        server.sql(SCHEMA)
        self.before = self.state()
        dump = ["mariadb-dump", "--no-defaults", f"--socket={server.folder / 'mysqld.sock'}", "--single-transaction",
                "--routines", "--events", "--triggers", "--databases", "his", "implops"]  # fmt: skip
        self.body = subprocess.run(dump, check=True, capture_output=True).stdout
        (folder / "dump").write_bytes(self.body)
        self.fingerprint = self._fingerprint()
        server.sql(SINCE)
        self.since = self.state()

    def names(self) -> list[str]:
        listed = self.server.sql("show databases", database="mysql").splitlines()
        return [one for one in listed if one.startswith(("his", "implops"))]

    def state(self) -> str:
        return self.server.sql(STATE)

    def _fingerprint(self) -> dict[str, Any]:
        sys.path.insert(0, str(PUTTING_BACK.parents[2] / "backups"))
        try:
            import mariadb
        finally:
            sys.path.pop(0)
        lines = self.server.sql(mariadb._sums({"database": "his"}))
        return mariadb._fingerprint(lines.splitlines())

    def put_back(self, die_at: int = 0, **changed: Any) -> dict[str, Any] | None:
        """The program's answer; None: it died where it was told to."""
        dump = {
            "snapshot": str(self.folder / "dump"), "name": "his.sql", "bytes": len(self.body),
            "sha256": hashlib.sha256(self.body).hexdigest(), "fingerprint": self.fingerprint, **changed,
        }  # fmt: skip
        given = {"socket": str(self.server.folder / "mysqld.sock"), "place": str(self.folder / "kept"), "dump": dump,
                 "kept": "his_before_x", "die_at": die_at}  # fmt: skip
        done = subprocess.run([sys.executable, PUTTING_BACK], input=json.dumps(given), capture_output=True, text=True)
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def test_1_the_backup_is_back_and_what_was_there_is_kept(server: Database, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    answer = case.put_back()
    assert answer
    assert answer.get("error") is None
    assert answer["verdict"] == "equal"
    assert case.state() == case.before
    kept = "select group_concat(ward order by id) from beds; select group_concat(name order by id) from wards; "
    assert server.sql(f"{kept} select a from extra", database="his_before_x") == "1,1,2,2\n急诊,外科\n7"
    assert server.sql("select count(*) from schema_log", database="implops_before_x") == "2"
    # What is no table lies beside it, as statements.
    assert "more_counted" in (tmp_path / "kept" / "his_before_x.sql").read_text(encoding="utf-8")


@pytest.mark.full
def test_2_killed_at_every_statement_it_goes_on(server: Database, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    answer = case.put_back()
    assert answer
    for number in range(2, answer["statements"] + 1, 3):
        for die_at in (number, -number):
            folder = tmp_path / f"k{die_at}"
            folder.mkdir()
            case = Case(server, folder)
            assert case.put_back(die_at) is None
            again = case.put_back()
            assert again
            assert again.get("error") is None, die_at
            assert case.state() == case.before, die_at
            assert server.sql("select a from extra", database="his_before_x") == "7"


@pytest.mark.full
def test_3_a_backup_that_is_not_what_it_was_leaves_everything_as_it_is(server: Database, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    wrong = {**case.fingerprint, "his.beds": ["9", "1", "1"]}
    answer = case.put_back(fingerprint=wrong)
    assert answer
    assert answer["error"][0] == "different"
    assert case.state() == case.since
    assert case.names() == ["his", "implops"]
    # A stream that is not the one that was stored: the same.
    answer = case.put_back(sha256="0" * 64)
    assert answer
    assert answer["error"][0] == "read_back"
    assert case.state() == case.since
    # Killed on the way back: the next attempt finishes the way back before it begins anew.
    for number in range(answer["statements"], 12, -4):
        folder = tmp_path / f"r{number}"
        folder.mkdir()
        case = Case(server, folder)
        assert case.put_back(number, sha256="0" * 64) is None
        answer = case.put_back(sha256="0" * 64)
        assert answer
        assert case.state() == case.since, number
        assert case.names() == ["his", "implops"]
