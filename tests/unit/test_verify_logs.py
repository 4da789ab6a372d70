"""A log is read from where it ended at the last start; turned away, cut or written anew, it is read whole."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from implops.verify import logs


def sh(script: str) -> str:
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "it's a log.txt"


def seen(log: Path, limit: int = 2**20) -> str:
    return sh(logs.since(str(log), limit, str(log.parent / "marks")))


def note(log: Path) -> None:
    sh(logs.note([str(log)], str(log.parent / "marks")))


OLD = "1.0 READY\n" * 900  # longer than what is compared


@pytest.mark.parametrize("old", ["1.0 READY\n", OLD, ""])
def test_only_what_came_since_counts(log: Path, old: str) -> None:
    log.write_text(old, encoding="utf-8")
    assert seen(log) == old  # never started by us: all of it
    note(log)
    assert seen(log) == ""
    with log.open("a", encoding="utf-8") as file:
        file.write("2.0 READY\n")
    assert seen(log) == "2.0 READY\n"
    assert seen(log, 6) == "READY\n"
    # The next start begins anew.
    note(log)
    assert seen(log) == ""


def test_a_log_that_was_turned_away_or_written_anew_is_read_whole(log: Path) -> None:
    log.write_text(OLD, encoding="utf-8")
    note(log)
    log.rename(log.with_name("log.1"))
    log.write_text("2.0 READY\n", encoding="utf-8")
    assert seen(log) == "2.0 READY\n"
    # Cut and filled further than before, in the same file.
    log.write_text(OLD, encoding="utf-8")
    note(log)
    with log.open("r+", encoding="utf-8") as file:
        file.truncate()
        file.write("2.0 READY\n" * 1200)
    assert seen(log) == "2.0 READY\n" * 1200
    # Written anew with the same text.
    note(log)
    before = log.stat().st_mtime_ns
    log.write_text("2.0 READY\n" * 1200, encoding="utf-8")
    os.utime(log, ns=(before + 1, before + 1))
    assert seen(log) == "2.0 READY\n" * 1200


def test_a_log_that_was_not_there_is_read_whole_when_it_comes(log: Path) -> None:
    log.write_text("old\n", encoding="utf-8")
    note(log)
    log.unlink()
    note(log)
    log.write_text("new\n", encoding="utf-8")
    assert seen(log) == "new\n"
