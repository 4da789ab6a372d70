"""Questions known beforehand: asked in one trip, and never an answer that may be over."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from implops.deploy import foreseen
from implops.deploy.foreseen import Answer, Foreseen


def told(commands: list[str]) -> bytes:
    script = foreseen.script(commands, "f00d").encode()
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, check=True).stdout


def asked(commands: list[str]) -> dict[str, Answer]:
    return foreseen.read(told(commands), commands, "f00d")


def test_what_a_command_prints_is_given_as_it_is() -> None:
    said = {
        "true": "",
        "echo one": "one\n",
        "printf 'no end'": "no end",
        "printf 'a\\n\\n'": "a\n\n",
        "printf '%s\\n' \"it's $((40 + 2))\" '中文'": "it's 42\n中文\n",
        "cat": "",  # what follows in the script is not its input
        "echo good; echo bad >&2": "good\n",
    }
    found = asked(list(said))
    assert {command: answer.text for command, answer in found.items()} == said


def test_what_did_not_succeed_is_not_known() -> None:
    assert set(asked(["false", "echo half; exit 3", "kill -9 $$", "no-such-program", "echo after"])) == {"echo after"}


def test_an_answer_that_was_cut_off_is_not_known() -> None:
    commands = ["echo one", "echo two"]
    whole = told(commands)
    for end in range(len(whole)):
        cut = foreseen.read(whole[:end], commands, "f00d")
        assert all(cut[one].text == f"{one.removeprefix('echo ')}\n" for one in cut)
    assert foreseen.read(whole, commands, "beef") == {}


def test_a_question_is_answered_as_often_as_it_was_foreseen() -> None:
    known = Foreseen({"db1": ["date", "date", "uptime"], "app1": ["date"]})
    assert known.wanted("db1") == ["date", "uptime"]
    assert known.wanted("dns1") == []
    known.add("db1", {"date": Answer("today", 0)})
    assert [known.take("db1", "date") is None for _ in range(3)] == [False, False, True]
    assert known.take("db1", "uptime") is None  # it failed, or took too long
    assert known.take("app1", "date") is None  # nobody asked there yet
    assert known.wanted("db1") == []


def test_nothing_is_known_once_something_may_have_changed() -> None:
    known = Foreseen({"db1": ["date"], "app1": ["date"]})
    known.add("db1", {"date": Answer("today", 0)})
    known.drop()
    assert known.take("db1", "date") is None
    # Another host was being asked meanwhile: its answers may be from before.
    known.add("app1", {"date": Answer("today", 0)})
    assert known.take("app1", "date") is None
    assert known.wanted("app1") == []


def test_what_was_asked_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    assert foreseen.kept(tmp_path) == {}
    steps = {"nginx@app1": ["nginx -t", "echo '中文'"]}
    foreseen.keep(tmp_path, steps)
    foreseen.keep(tmp_path, steps)
    assert foreseen.kept(tmp_path) == steps
    path = tmp_path / foreseen.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    # Its commands run as root on the hosts: what others may have written is not believed.
    path.chmod(0o620)
    assert foreseen.kept(tmp_path) == {}


def test_a_run_that_went_well_does_not_fail_for_it(tmp_path: Path) -> None:
    foreseen.keep(tmp_path, {"a@b": ["date"]})
    (tmp_path / "asked.part").mkdir()
    foreseen.keep(tmp_path, {"a@b": ["uptime"]})
    assert foreseen.kept(tmp_path) == {"a@b": ["date"]}
    foreseen.keep(tmp_path / "gone", {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "b"}', '{"a": [1]}', "\xff"])
def test_a_file_that_is_none_of_ours_is_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / foreseen.FILE
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    assert foreseen.kept(tmp_path) == {}
