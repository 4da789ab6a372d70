"""Loading into both engines: every mode, proved; whatever dies on the way, the table is as it was, or is the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import pytest
from databases import Database
from importer import bring, checked, load_checked
from loading import children, command, committed, copying, many, printed, release, settle, start, state, wait

from implops.errors import DataError, HostError, InputError, LockError

pytestmark = pytest.mark.lab

# (line of the file, row of the table as the server prints it)
NASTY = [
    ("M001,注射用水,1.50,100,2024-02-29,", "M001|注射用水|1.50|100|2024-02-29|"),
    ("M002,𠮷野家专用针,0.05,-3,,四字节 𡌶𣒍", "M002|𠮷野家专用针|0.05|-3||四字节 𡌶𣒍"),
    ('M003,"引号 "" 与, 逗号",,,,"\\."', 'M003|引号 " 与, 逗号||||\\.'),
    ("M004,NULL,0.00,0,1999-12-31,NULL", "M004|NULL|0.00|0|1999-12-31|NULL"),
    (
        "M005,\\N,-0.50,2147483647,,\\N \\n \\t '; drop table mat",
        "M005|\\N|-0.50|2147483647||\\N \\n \\t '; drop table mat",
    ),
    ("M006, 两侧空白 ,12,,, ", "M006| 两侧空白 |12.00||| "),
    ('M007,=cmd(),1.5,,,"a""b"', 'M007|=cmd()|1.50|||a"b'),
]


def test_the_table_holds_what_the_file_held(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver("\n".join(line for line, _ in NASTY) + "\n", encoding="gb18030")
    _, loaded = bring(database.server, path)
    assert loaded
    assert (loaded.inserted, loaded.updated, loaded.unchanged, loaded.after) == (7, 0, 0, 7)
    assert state(database) == [row for _, row in NASTY]
    assert database.sql("select count(*) from mat where memo = 'NULL' and name = 'NULL'") == "1"
    assert database.sql("select count(*) from mat where memo is null") == "1"
    assert database.sql(loaded.sql).split("|") == ["7", loaded.row_hash]
    assert {spot["line"] for spot in loaded.spots} >= {2, 3, 8}  # first, four-byte and longest, last
    again, nothing = bring(database.server, path)
    assert again.loaded
    assert nothing is None


def test_a_table_that_is_not_empty_keeps_its_rows(database: Database, deliver: Callable[..., Path]) -> None:
    bring(database.server, deliver(many(100000, 50)))
    _, loaded = bring(database.server, deliver(many(200000, 70)))
    assert loaded
    assert (loaded.before, loaded.after, loaded.inserted) == (50, 120, 70)
    assert loaded.tally.good == loaded.state.rows == 70
    assert state(database) == [*printed(100000, 50), *printed(200000, 70)]


def test_upsert_counts_what_it_did_and_leaves_equal_rows_alone(
    database: Database, deliver: Callable[..., Path]
) -> None:
    bring(database.server, deliver(many(100000, 10)))
    # Case and trailing blanks are changes too, whatever the collation says of them.
    rows = many(100000, 4) + many(100004, 3, "换名") + many(100010, 5)
    _, loaded = bring(database.server, deliver(rows, mode="upsert"))
    assert loaded
    assert (loaded.inserted, loaded.updated, loaded.unchanged) == (5, 3, 4)
    assert state(database) == [
        *printed(100000, 4), *printed(100004, 3, "换名"), *printed(100007, 3), *printed(100010, 5)
    ]  # fmt: skip


def test_upsert_of_some_columns_leaves_the_others(database: Database, deliver: Callable[..., Path]) -> None:
    bring(database.server, deliver(many(100000, 3)))
    rows = "M100001,换名,9.99,1,,新备注\nM100009,新物料,1.00,1,,\n"
    _, loaded = bring(database.server, deliver(rows, mode="upsert", more="update: [price]\n"))
    assert loaded
    assert (loaded.inserted, loaded.updated, loaded.unchanged) == (1, 1, 0)
    assert state(database)[1] == "M100001|物料100001|9.99|100001|2024-01-01|备注"
    assert state(database)[3] == "M100009|新物料|1.00|1||"


def test_replace_deletes_what_was_named_and_nothing_else(database: Database, deliver: Callable[..., Path]) -> None:
    bring(database.server, deliver(many(100000, 3) + many(100003, 2, "旧")))
    where = ", replace_where: {since: '2024-01-01', name: 旧100003}"
    _, loaded = bring(database.server, deliver(many(100003, 1, "新"), mode="replace", where=where))
    assert loaded
    assert (loaded.deleted, loaded.inserted, loaded.after) == (1, 1, 5)
    assert state(database) == [*printed(100000, 3), *printed(100003, 1, "新"), *printed(100004, 1, "旧")]
    _, whole = bring(database.server, deliver(many(5000, 2), mode="replace"))
    assert whole
    assert (whole.deleted, whole.after) == (5, 2)


def test_a_dry_run_leaves_nothing(database: Database, deliver: Callable[..., Path]) -> None:
    for mode in ("insert", "upsert", "replace"):
        _, loaded = bring(database.server, deliver(many(100000, 20), mode=mode), keep=False)
        assert loaded
        assert loaded.inserted == 20
        assert (database.count("mat"), database.count("implops_import_log")) == (0, 0)


def test_batches_carry_their_log_rows_and_are_resumed(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 30_000), more="batch: 10000\n")
    process = start(database, path, hold=25_000)
    wait(lambda: database.count("implops_import_log") >= 1, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    settle(database)
    there, batches = database.count("mat"), database.count("implops_import_log")
    assert 30_000 > there == committed(database) > 0
    _, loaded = bring(database.server, path)
    assert loaded
    assert loaded.resumed == there
    assert loaded.batches + batches == database.count("implops_import_log")
    assert state(database) == printed(100000, 30_000)
    assert bring(database.server, path)[1] is None


SLOW = {
    # Between the proof and the commit: the log row waits for a lock that the test holds.
    "postgresql": "create or replace function slow() returns trigger language plpgsql set lock_timeout = 0 as "
    "$$ begin perform pg_advisory_lock(99); perform pg_advisory_unlock(99); return new; end $$; "
    "create or replace trigger slow before insert on implops_import_log for each row execute function slow()",
    "mariadb": "create or replace trigger slow before insert on implops_import_log for each row "
    "set new.tool_version = if(get_lock('slow', 300) = 1 and release_lock('slow') = 1, new.tool_version, 'cut')",
}
FAST = {"postgresql": "drop trigger if exists slow on implops_import_log", "mariadb": "drop trigger if exists slow"}
LOCK = {"postgresql": "select pg_advisory_lock(99)", "mariadb": "select get_lock('slow', 300)"}
WAITING = {
    "postgresql": "select pid from pg_stat_activity where wait_event = 'advisory'",
    "mariadb": "select id from information_schema.processlist where state = 'User lock'",
}


@contextmanager
def proved(database: Database) -> Iterator[Callable[[], None]]:
    """Imports stop between their proof and their commit; the function lets them go on."""
    database.sql(SLOW[database.engine])
    try:
        with database.talking(LOCK[database.engine]) as hang_up:
            yield hang_up
    finally:
        with suppress(AssertionError):  # a server that was killed drops its trigger when it is back
            database.sql(FAST[database.engine])


def waiting(database: Database) -> list[str]:
    """Connections that have come to that point."""
    return database.sql(WAITING[database.engine]).split()


SLEEPERS = {
    "postgresql": "select pid from pg_stat_activity where wait_event = 'PgSleep'",
    "mariadb": "select id from information_schema.processlist where state = 'User sleep'",
}


def kill(database: Database, process: subprocess.Popen[bytes], victim: str) -> None:
    if victim == "importer":
        process.kill()
    elif victim == "interrupt":
        process.send_signal(signal.SIGINT)
    elif victim == "server":
        database.crash()
    elif victim == "connection":
        (one,) = waiting(database) or copying(database)
        database.sql(f"select pg_terminate_backend({one})" if database.engine == "postgresql" else f"kill {one}")
    else:
        client = {"postgresql": "psql", "mariadb": "mariadb"}[database.engine]
        os.kill(next(child for child in children(process.pid) if command(child) == client), signal.SIGKILL)


def broken(database: Database, deliver: Callable[..., Path], mode: str, victim: str, *, late: bool, rows: int) -> None:
    """Something dies while the file is loaded; the table is as before; the next run makes it equal to the file."""
    bring(database.server, deliver(many(100000, 100, "旧")))
    before = state(database)
    path = deliver(many(100000, rows), mode=mode) if mode != "insert" else deliver(many(200000, rows))
    with proved(database) if late else nullcontext(partial(release, path)) as go_on:
        process = start(database, path, hold=0 if late else 1)
        try:
            wait(lambda: bool((waiting if late else copying)(database)), process)
            kill(database, process, victim)
            # What still lives finds out only now that something has died.
            go_on()
            said = process.communicate(timeout=60)[1].decode()
        finally:
            process.kill()
    assert process.returncode != 0
    if victim in ("connection", "server", "client"):
        assert "无法连接数据库或连接中断" in said
    if victim == "server":
        database.start()
    settle(database)
    database.sql(FAST[database.engine])
    assert state(database) == before
    assert database.count("implops_import_log") == 1
    _, loaded = bring(database.server, path)
    assert loaded
    expected = {"insert": before + printed(200000, rows), "upsert": printed(100000, rows),
                "replace": printed(100000, rows)}  # fmt: skip
    assert state(database) == expected[mode]


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_killed_between_the_proof_and_the_commit_nothing_is_in(
    database: Database, deliver: Callable[..., Path], mode: str
) -> None:
    broken(database, deliver, mode, "importer", late=True, rows=500)


def test_killed_while_it_loads_nothing_is_in(database: Database, deliver: Callable[..., Path]) -> None:
    broken(database, deliver, "insert", "importer", late=False, rows=60_000)


@pytest.mark.full
@pytest.mark.parametrize("late", [False, True], ids=["loading", "proved"])
@pytest.mark.parametrize("victim", ["importer", "connection", "server", "client", "interrupt"])
@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_whatever_dies_the_table_is_as_it_was(
    database: Database, deliver: Callable[..., Path], mode: str, victim: str, late: bool
) -> None:
    broken(database, deliver, mode, victim, late=late, rows=500 if late else 60_000)


ALONE = """
import sys
from pathlib import Path
from databases import Database
from implops.baseload.session import Session
session = Session(Database(sys.argv[1], Path(sys.argv[2])).server)
session.ask("select 1;")
session.say("select pg_sleep(60);" if sys.argv[1] == "postgresql" else "select sleep(60);")
print(session.process.pid, flush=True)
session.answers()
"""


def test_the_client_ends_with_its_importer(database: Database) -> None:
    command = [sys.executable, "-c", ALONE, database.engine, str(database.folder)]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=here)
    assert process.stdout
    client = Path("/proc") / process.stdout.readline().decode().strip()
    assert client.exists()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while client.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # The server does not see that nobody waits any more; whoever comes next must not take this sleeper for another.
    for id in database.sql(SLEEPERS[database.engine]).split():
        database.sql(f"select pg_terminate_backend({id})" if database.engine == "postgresql" else f"kill {id}")
    while database.sql(SLEEPERS[database.engine]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_import_is_told_who_is_at_it(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 50))
    found = checked(database.server, path)
    with proved(database) as go_on:
        process = start(database, path)
        try:
            wait(lambda: bool(waiting(database)), process)
            with pytest.raises(LockError) as error:
                load_checked(database.server, found)
            if database.engine == "postgresql":
                assert "his_import" in str(error.value)
            go_on()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert state(database) == printed(100000, 50)


BEND = {
    "postgresql": "create or replace function bend() returns trigger language plpgsql as "
    "$$ begin new.name := upper(new.name); return new; end $$; "
    "create trigger bend before insert on mat for each row execute function bend()",
    "mariadb": "create trigger bend before insert on mat for each row set new.name = upper(new.name)",
}


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_what_a_trigger_changes_is_seen_and_rolled_back(
    database: Database, deliver: Callable[..., Path], mode: str
) -> None:
    bring(database.server, deliver(many(100000, 5)))
    database.sql(BEND[database.engine])
    with pytest.raises(DataError) as error:
        bring(database.server, deliver(many(200000, 5, "ab"), mode=mode))
    assert error.value.key == "import.not_equal"
    assert state(database) == printed(100000, 5)


def test_tables_that_cannot_be_filled_safely_are_refused(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 1))
    database.sql("alter table mat add column twice integer generated always as (amount * 2) stored")
    mapped = path.read_text(encoding="utf-8").replace("verify:", "  twice: {from: 二倍, type: int}\nverify:")
    path.write_text(mapped, encoding="utf-8")
    with pytest.raises(InputError) as error:
        checked(database.server, path)
    assert error.value.key == "import.generated"
    if database.engine == "mariadb":
        database.sql("alter table mat drop column twice; alter table mat engine = MyISAM")
        with pytest.raises(InputError) as error:
            checked(database.server, deliver(many(100000, 1)))
        assert error.value.key == "import.no_transactions"
    with pytest.raises(InputError) as error:
        database.sql("drop table mat")
        checked(database.server, path)
    assert error.value.key == "import.no_table"


@pytest.mark.full
def test_a_locked_table_is_waited_for_and_the_locker_is_shown(database: Database, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 5))
    hold = {
        "postgresql": "begin; lock table mat in access exclusive mode; select pg_sleep(14)",
        "mariadb": "lock tables mat write; select sleep(14)",
    }[database.engine]
    found = checked(database.server, path)  # it reads the table, so it comes before the lock
    holding = threading.Thread(target=database.sql, args=(hold,))
    holding.start()
    try:
        time.sleep(1.5)
        with pytest.raises(HostError) as error:
            load_checked(database.server, found)
        assert error.value.key == "import.table_locked"
        if database.engine == "postgresql":
            assert "pid " in str(error.value)
    finally:
        holding.join(60)
    assert database.count("mat") == 0
