"""Records are append-only and chained; an alteration is found, a secret never gets in."""

from __future__ import annotations

import itertools
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy.event
from hypothesis import given
from hypothesis import strategies as st

from implops.errors import HostError, StoreError
from implops.secrets import redactor
from implops.site import Site
from implops.store import Store, record
from implops.store.events import START, canonical, new_run


def _fill(store: Store, count: int = 4) -> None:
    for number in range(count):
        store.append("step.finished", {"number": number, "text": "行政区划"}, run="R1", operator="张工/1042")


def _raw(site: Site) -> sqlite3.Connection:
    """The file opened by another program, without our pragmas."""
    return sqlite3.connect(site.state / "records.db")


def test_events_are_chained_from_the_start(store: Store) -> None:
    _fill(store)
    events = store.events()
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert events[0].previous == START
    assert all(after.previous == before.sha256 for before, after in itertools.pairwise(events))
    assert not list(store.broken())


def test_what_append_returns_is_what_is_read(store: Store) -> None:
    given = {"a": ["1", None, True], "b": (1, {"c": ()})}
    written = store.append("check.started", given, run="R1", operator="x", evidence=("ab" * 32,))
    assert store.events() == [written]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event SET operator = 'other' WHERE sequence = 2",
        "DELETE FROM event WHERE sequence = 4",
        "DELETE FROM evidence",
        "UPDATE evidence SET size = 0",
    ],
)
def test_the_database_refuses_to_alter(store: Store, site: Site, sql: str) -> None:
    _fill(store)
    store.keep(b"raw output")
    with _raw(site) as other, pytest.raises(sqlite3.DatabaseError, match="append-only"):
        other.execute(sql)


def test_our_own_connections_refuse_to_replace(store: Store) -> None:
    _fill(store)
    from sqlalchemy.exc import SQLAlchemyError

    with pytest.raises(SQLAlchemyError, match="append-only"), store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT OR REPLACE INTO event SELECT * FROM event WHERE sequence = 2")
    assert len(store.events()) == 4


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("UPDATE event SET payload = replace(payload, '行政', '邢政') WHERE sequence = 2", [2]),
        ("UPDATE event SET time = '2020-01-01T00:00:00+08:00' WHERE sequence = 4", [4]),
        ("UPDATE event SET operator = 'other' WHERE sequence IN (1, 3)", [1, 3]),
        ("DELETE FROM event WHERE sequence = 2", [3]),
        ("DELETE FROM event WHERE sequence = 1", [2]),
        ("UPDATE event SET evidence = '[\"00\"]' WHERE sequence = 3", [3]),
    ],
)
def test_an_alteration_past_the_triggers_is_found(store: Store, site: Site, sql: str, broken: list[int]) -> None:
    _fill(store)
    with _raw(site) as other:
        for word in ("UPDATE", "DELETE"):
            other.execute(f"DROP TRIGGER event_no_{word}")
        other.execute(sql)
    assert list(store.broken()) == broken


def test_a_known_secret_never_reaches_the_file(store: Store, site: Site) -> None:
    redactor.add("hunter2-long")
    store.append("step.started", {"argv": ["psql", "hunter2-long"]}, run="R1", operator="x")
    sha256 = store.keep(b"password is hunter2-long\n")
    assert store.events()[0].payload == {"argv": ["psql", "***"]}
    assert store.evidence(sha256) == b"password is ***\n"
    store.engine.dispose()
    for path in site.state.glob("records.db*"):
        assert b"hunter2-long" not in path.read_bytes()


def test_evidence_is_kept_once_and_missing_evidence_is_named(store: Store, site: Site) -> None:
    assert store.keep(b"same") == store.keep(b"same")
    assert _raw(site).execute("SELECT count(*) FROM evidence").fetchone() == (1,)
    with pytest.raises(StoreError) as caught:
        store.evidence("00" * 32)
    assert caught.value.key == "store.no_evidence"


@pytest.mark.parametrize("value", [1.5, {"a": [0.0]}, 2**53, {"a": -(2**53)}, {1: "x"}, {"a": {"b": float("nan")}}])
def test_what_prints_differently_elsewhere_is_refused(store: Store, value: object) -> None:
    with pytest.raises(TypeError):
        store.append("check.finished", {"value": value}, run="R1", operator="x")
    assert not store.events()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_canonical_json_does_not_depend_on_how_it_was_built(value: object) -> None:
    import json

    once = canonical(value)
    assert canonical(json.loads(once)) == once


def test_a_family_of_kinds_and_a_run_can_be_asked_for(store: Store) -> None:
    for run, kind in (("R1", "step.started"), ("R1", "step.finished"), ("R2", "step.started"), ("R1", "stepping")):
        store.append(kind, {}, run=run, operator="x")
    assert [event.kind for event in store.events(kind="step.", run="R1")] == ["step.started", "step.finished"]
    assert len(store.events(kind="step.started")) == 2
    last = store.last("step.started")
    assert last is not None
    assert last.run == "R2"
    assert store.last("nothing") is None


def test_many_writers_make_one_chain(site: Site) -> None:
    stores = [Store.of(site.state) for _ in range(4)]
    threads = [threading.Thread(target=_fill, args=(one, 15)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].events()) == 60
    assert not list(stores[0].broken())


def test_a_store_that_cannot_be_opened_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store.of(tmp_path / "no" / "such" / "folder")
    assert "no/such/folder" in str(caught.value)


def _limited(store: Store, pragma: str) -> None:
    """Connections that the store makes from now on have this pragma too."""
    sqlalchemy.event.listen(store.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}"))
    store.engine.dispose()


_WRITES: dict[str, Callable[[Store], object]] = {
    "event": lambda store: store.append(
        "step.started", {"text": random.randbytes(40_000).hex()}, run="R1", operator="x"
    ),
    "evidence": lambda store: store.keep(random.randbytes(80_000)),
    "together": lambda store: _together(store),
}


def _together(store: Store) -> None:
    with store.together():
        _fill(store)
        store.keep(random.randbytes(80_000))


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES)
def test_a_full_disk_is_told_and_what_was_recorded_stays(store: Store, write: Callable[[Store], object]) -> None:
    _fill(store)
    _limited(store, "max_page_count=14")
    with pytest.raises(StoreError, match="disk is full") as caught:
        for _ in range(9):
            write(store)
    assert caught.value.key == "store.write"
    assert "records.db" in str(caught.value)
    assert not list(store.broken())
    assert [event.payload["number"] for event in store.events()[:4]] == [0, 1, 2, 3]


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES)
def test_a_file_that_another_program_holds_is_told(store: Store, site: Site, write: Callable[[Store], object]) -> None:
    _fill(store)
    _limited(store, "busy_timeout=50")
    other = _raw(site)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as caught:
        write(store)
    assert caught.value.key == "store.locked"
    other.rollback()
    write(store)
    assert not list(store.broken())


def test_a_damaged_file_is_told_not_read(store: Store, site: Site) -> None:
    _fill(store)
    store.engine.dispose()
    with (site.state / "records.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 60_000)
    with pytest.raises(StoreError) as caught:
        store.events()
    assert caught.value.key == "store.read"
    with pytest.raises(StoreError):
        Store.of(site.state)


def test_where_nothing_can_be_recorded_any_more_the_first_error_is_told(store: Store, site: Site) -> None:
    with pytest.raises(HostError), record(store, site, "deploy", "张工", {}) as run:
        _limited(store, "query_only=ON")
        raise HostError("remote.lost", host="db1")
    assert [event.kind for event in Store.of(site.state).events(run=run.id)] == ["deploy.started"]


def test_the_file_is_private(store: Store, site: Site) -> None:
    _fill(store, 1)
    assert (site.state / "records.db").stat().st_mode & 0o077 == 0


def test_run_ids_sort_by_time() -> None:
    import time

    ids = []
    for _ in range(3):
        ids.append(new_run())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {26}


def test_a_run_that_fails_says_why(store: Store, site: Site) -> None:
    with pytest.raises(HostError), record(store, site, "deploy", "张工", {"extra": 1}) as run:
        raise HostError("remote.lost", host="db1")
    started, finished = store.events(run=run.id)
    assert started.payload["extra"] == 1
    assert started.payload["project"]["code"] == "HIS"
    assert started.payload["hosts"]["db1"]["roles"] == ["db"]
    assert finished.payload == {"conclusion": "fail", "error": {"key": "remote.lost", "params": {"host": "db1"}}}


def test_a_run_that_is_stopped_says_so(store: Store, site: Site) -> None:
    with pytest.raises(KeyboardInterrupt), record(store, site, "check", "张工", {}):
        raise KeyboardInterrupt
    assert store.events()[-1].payload["conclusion"] == "interrupted"


def test_a_bug_is_recorded_by_its_type_only(store: Store, site: Site) -> None:
    with pytest.raises(ZeroDivisionError), record(store, site, "check", "张工", {}):
        raise ZeroDivisionError("s3cret detail")
    assert store.events()[-1].payload["error"] == {"key": "bug", "params": {"type": "ZeroDivisionError"}}


def test_a_run_that_forgets_to_finish_is_a_bug(store: Store, site: Site) -> None:
    with pytest.raises(AssertionError), record(store, site, "check", "张工", {}):
        pass


def test_how_a_run_ended_stays_when_something_breaks_afterwards(store: Store, site: Site) -> None:
    with pytest.raises(HostError), record(store, site, "check", "张工", {}) as run:
        run.finish("pass", {})
        raise HostError("remote.lost", host="db1")
    assert [event.kind for event in store.events()] == ["check.started", "check.finished"]
    assert store.events()[-1].payload["conclusion"] == "pass"


def test_what_is_written_together_is_there_as_a_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.together():
        _fill(store)
        store.keep(b"said by a host")
        raise ZeroDivisionError
    assert store.events() == []
    with store.together():
        _fill(store)
        sha256 = store.keep(b"said by a host")
    assert [event.sequence for event in store.events()] == [1, 2, 3, 4]
    assert store.evidence(sha256) == b"said by a host"
    assert not list(store.broken())


@pytest.mark.parametrize("secret", ['pass"word', "pass\\word", "密码-123456", "tab\tinside"])
def test_a_secret_that_json_writes_otherwise_is_found_all_the_same(store: Store, secret: str) -> None:
    redactor.add(secret)
    written = store.append("check.started", {"deep": [{"inside": f"x{secret}y"}]}, run="R1", operator="x")
    assert written.payload == {"deep": [{"inside": "x***y"}]}
    assert store.events() == [written]
