"""The power goes, or the disk is full, while a file is loaded: nothing of it is in, or whole batches are; the message
says so; the next run makes the table equal to the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import ENGINES, OnDisk, running
from importer import bring
from loading import committed, copying, many, printed, release, settle, start, state, wait

from implops.errors import DataError, HostError

pytestmark = pytest.mark.lab

MODES = ("insert", "batches", "upsert", "replace")
BATCH = 20_000


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[OnDisk]:
    with running(OnDisk, request.param) as database:
        yield database


def prepared(database: OnDisk, deliver: Callable[..., Path], mode: str, rows: int) -> tuple[Path, list[str], list[str]]:
    """(the mapping, the table before, the table when the file is in)."""
    if mode == "batches":
        return deliver(many(200000, rows), more=f"batch: {BATCH}\n"), [], printed(200000, rows)
    bring(database.server, deliver(many(100000, 100, "旧")))
    before = state(database)
    if mode == "insert":
        return deliver(many(200000, rows)), before, before + printed(200000, rows)
    return deliver(many(100000, rows), mode=mode), before, printed(100000, rows)


def held(database: OnDisk, mode: str, before: list[str], after: list[str]) -> int:
    """The table is as before, or holds whole batches, each with its row in the log; rows that are in."""
    if mode != "batches":
        assert state(database) == before
        assert database.count("implops_import_log") == 1
        return 0
    logged = committed(database)
    assert state(database) == after[:logged]
    return logged


def cut_while_loading(database: OnDisk, deliver: Callable[..., Path], mode: str) -> None:
    path, before, after = prepared(database, deliver, mode, 60_000)
    process = start(database, path, hold=BATCH * 2 if mode == "batches" else 1)
    try:
        if mode == "batches":
            wait(lambda: database.count("implops_import_log") >= 1, process)
        else:
            wait(lambda: bool(copying(database)), process)
        database.cut_power()
        release(path)
        said = process.communicate(timeout=60)[1].decode()
    finally:
        process.kill()
    assert process.returncode != 0
    # The cut may meet a commit: then nobody can know, and the next run looks into the log.
    unknown = mode == "batches" and "提交时连接中断" in said and "结果未知" in said
    assert unknown or ("无法连接数据库或连接中断" in said and "未提交的数据已全部回滚" in said), said
    database.start()
    there = held(database, mode, before, after)
    assert there or mode != "batches"
    _, loaded = bring(database.server, path)
    assert loaded
    assert loaded.resumed == there
    assert state(database) == after


def filled_while_loading(database: OnDisk, deliver: Callable[..., Path], mode: str, left: int, rows: int) -> None:
    path, before, after = prepared(database, deliver, mode, rows)
    database.fill(left)
    try:
        with pytest.raises((DataError, HostError)) as error:
            bring(database.server, path)
    finally:
        database.make_room()
    # Where the journal found no room the server has ended itself, and the client only sees that it is gone; when that
    # was around a commit, the log table knows.
    assert error.value.key in ("import.disk_full", "import.server_lost", "import.commit_unknown")
    if error.value.key == "import.disk_full":
        assert "数据库磁盘已满" in str(error.value)
        assert ("VACUUM public.mat" if database.engine == "postgresql" else "OPTIMIZE TABLE mat") in str(error.value)
    settle(database)
    if error.value.key == "import.commit_unknown" and state(database) == after:
        assert bring(database.server, path)[1] is None
        return
    there = held(database, mode, before, after)
    _, loaded = bring(database.server, path)
    assert loaded
    assert loaded.resumed == there
    assert state(database) == after


def test_what_is_told_to_be_in_survives_the_power(database: OnDisk, deliver: Callable[..., Path]) -> None:
    path = deliver(many(100000, 5000))
    _, loaded = bring(database.server, path)
    database.cut_power()
    database.start()
    assert loaded
    assert state(database) == printed(100000, 5000)
    assert bring(database.server, path)[1] is None


def test_the_power_goes_between_batches(database: OnDisk, deliver: Callable[..., Path]) -> None:
    cut_while_loading(database, deliver, "batches")


def test_the_disk_is_full(database: OnDisk, deliver: Callable[..., Path]) -> None:
    filled_while_loading(database, deliver, "insert", 6 * 2**20, 150_000)


@pytest.mark.full
@pytest.mark.parametrize("mode", MODES)
def test_the_power_goes_in_every_mode(database: OnDisk, deliver: Callable[..., Path], mode: str) -> None:
    cut_while_loading(database, deliver, mode)


@pytest.mark.full
@pytest.mark.parametrize("left", [6, 12, 24])
@pytest.mark.parametrize("mode", MODES)
def test_the_disk_is_full_in_every_mode(database: OnDisk, deliver: Callable[..., Path], mode: str, left: int) -> None:
    filled_while_loading(database, deliver, mode, left * 2**20, 300_000)
