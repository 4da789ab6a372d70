"""The program on the host: what it may commit, what it keeps, how it names a fault. Real processes, no restic."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "backups"


@pytest.fixture(scope="module")
def repository() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        import repository as module
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def postgresql(repository: ModuleType) -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        import postgresql as module
    finally:
        sys.path.remove(str(FOLDER))
    return module


# Stands where restic stands: keeps what it was given when its input ends, and nothing when it is interrupted.
SINK = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
data = sys.stdin.buffer.read()
open(sys.argv[1], "wb").write(data)
"""


def sink(kept: Path) -> list[str]:
    return [sys.executable, "-c", SINK, str(kept)]


def test_a_whole_stream_is_committed(repository: ModuleType, tmp_path: Path) -> None:
    sent = repository.pump(["sh", "-c", "yes | head -c 3000000"], sink(tmp_path / "kept"))
    assert sent["ok"]
    assert (tmp_path / "kept").stat().st_size == sent["bytes"] == 3000000


@pytest.mark.parametrize(
    "source",
    ["yes | head -c 3000000; exit 1", "exit 0", "head -c 500000 /dev/zero; kill -9 $$"],
    ids=["fails at the end", "says nothing", "is killed half-way"],
)
def test_a_source_that_did_not_end_well_commits_nothing(repository: ModuleType, tmp_path: Path, source: str) -> None:
    sent = repository.pump(["sh", "-c", source], sink(tmp_path / "kept"))
    assert not sent["ok"]
    assert not (tmp_path / "kept").exists()


def test_when_the_runner_is_killed_nothing_is_committed(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import repository, threading, os\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), 9)).start()\n"
        f"repository.pump(['sh', '-c', 'yes | head -c 1000000; sleep 30'], {sink(tmp_path / 'kept')!r})"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not (tmp_path / "kept").exists()


def test_a_sink_that_leaves_early_is_reported_with_its_words(repository: ModuleType) -> None:
    sent = repository.pump(["sh", "-c", "yes | head -c 9000000"], ["sh", "-c", "echo 'No space left' >&2; exit 1"])
    assert not sent["ok"]
    assert repository.reason(sent["restic"].encode()) == "repository_full"


def runs(*days_ago: float) -> list[tuple[str, datetime]]:
    end = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    return [(f"{days}", end - timedelta(days=days)) for days in days_ago]


def test_retention_keeps_the_newest_of_each_day_week_and_month(repository: ModuleType) -> None:
    listed = runs(0, 0.01, 1, 2, 3, 8, 15, 40, 75)
    assert repository.chosen(listed, {"daily": 3, "weekly": 0, "monthly": 0}) == {"0", "1", "2"}
    assert repository.chosen(listed, {"daily": 1, "weekly": 3, "monthly": 2}) == {"0", "8", "15", "40"}
    assert repository.chosen(listed, {}) == set()


def test_times_of_restic_are_read_with_their_zone(repository: ModuleType) -> None:
    for text in ("2026-11-20T01:33:07.123456789+08:00", "2026-11-19T17:33:07Z", "2026-11-19T17:33:07.5Z"):
        assert repository.moment(text).timestamp() == datetime(2026, 11, 19, 17, 33, 7, tzinfo=UTC).timestamp()


def test_one_changed_table_is_different_and_named(postgresql: ModuleType) -> None:
    status: dict[str, object] = {}
    good = {"public.a": [2, "1", "2"], "public.b": [0, "0", "0"]}
    postgresql.compare(good, dict(good), status)
    assert status["verdict"] == "equal"
    postgresql.compare(good, {**good, "public.b": [1, "0", "0"]}, status)
    assert (status["verdict"], status["first_difference"]["name"]) == ("different", "public.b")  # type: ignore[index]
    postgresql.compare(good, {"public.a": [2, "1", "2"]}, status)
    assert status["verdict"] == "different"


def test_the_program_runs_on_python_3_9() -> None:
    """The customer's Python may be old: no syntax of later versions."""
    import ast

    for path in FOLDER.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8")
