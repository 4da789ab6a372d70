"""The lock of a host, as a real shell keeps it: one holder, named whenever the lock is there."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from implops.deploy import hostlock
from implops.errors import LockError


class Here:
    """This machine in the place of a host: the same scripts in the same shell."""

    name = "here"

    def run(self, script: str, *, timeout: float, sudo: bool) -> Any:
        done = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, timeout=timeout)
        return SimpleNamespace(rc=done.returncode, text=done.stdout.decode(), err=done.stderr)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hostlock, "PLACE", str(tmp_path / "implops"))
    monkeypatch.setattr(hostlock, "_LOCK", str(tmp_path / "implops" / "lock"))
    return tmp_path / "implops"


def take(run: str, **options: str) -> dict[str, str] | None:
    return hostlock.take(Here(), hostlock.note(run, f"operator of {run}", "deploy", "HIS 1.0"), **options)  # type: ignore[arg-type]


def holder(place: Path) -> str:
    found: dict[str, str] = json.loads((place / "lock" / "holder.json").read_text(encoding="utf-8"))
    return found["run"]


def test_of_thirty_one_holds_it_and_the_others_are_told_who_and_why(place: Path) -> None:
    def contend(number: int) -> str:
        try:
            take(f"R{number:02}")
        except LockError as error:
            return f"refused by {error.params['run']}: {error.params['why']}"
        return f"R{number:02}"

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(contend, range(30)))
    (winner,) = [one for one in answers if not one.startswith("refused")]
    assert holder(place) == winner
    assert set(answers) - {winner} == {f"refused by {winner}: HIS 1.0"}
    # The losers leave nothing behind.
    assert [one.name for one in place.iterdir()] == ["lock"]


def test_its_own_run_takes_it_over_and_another_only_with_a_reason(place: Path) -> None:
    assert take("A") is None
    assert take("A") is None
    with pytest.raises(LockError):
        take("B")
    pushed = take("B", break_reason="A is gone")
    assert pushed is not None
    assert pushed["run"] == "A"
    assert holder(place) == "B"
    hostlock.give_back(Here(), "A")  # type: ignore[arg-type]
    assert holder(place) == "B"
    hostlock.give_back(Here(), "B")  # type: ignore[arg-type]
    assert list(place.iterdir()) == []


def test_a_lock_whose_holder_was_killed_while_giving_it_back_is_nobodys(place: Path) -> None:
    (place / "lock").mkdir(parents=True)
    assert take("A") is None
    assert holder(place) == "A"
