"""Jobs that the host owns, in a real shell: they outlive who started them, and who comes next waits for their end."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from implops.deploy import probes, shell


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shell, "JOBS", str(tmp_path / "jobs"))
    monkeypatch.setattr(shell, "GUARD", str(tmp_path / "running"))
    return tmp_path


def sh(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)


def test_a_job_outlives_who_started_it_and_runs_once(place: Path) -> None:
    log, go = place / "log", place / "go"
    command = shell.job(f"echo began >> {log}; while [ ! -e {go} ]; do sleep 0.05; done; echo said; exit 7", 60)
    first = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE)
    while not log.exists():
        time.sleep(0.02)
    first.kill()
    first.wait()
    second = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    go.touch()
    out, _ = second.communicate(timeout=30)
    assert (second.returncode, out) == (7, "said\n")
    assert log.read_text(encoding="utf-8") == "began\n"
    # An old result is never told again: asked once more, it runs once more.
    assert sh(command).returncode == 7
    assert log.read_text(encoding="utf-8") == "began\nbegan\n"


def test_a_job_of_before_the_host_was_started_again_is_none(place: Path) -> None:
    command = shell.job(f"echo ran >> {place}/log", 60)
    folder = place / "jobs" / command.partition("\n")[0].rpartition("/")[2]
    folder.mkdir(parents=True)
    (folder / "boot").write_text("another boot\n", encoding="utf-8")
    (folder / "pid").write_text("1\n", encoding="utf-8")
    assert sh(command).returncode == 0
    assert (place / "log").read_text(encoding="utf-8") == "ran\n"


def test_only_one_at_a_time_changes_a_host(place: Path) -> None:
    slow = shell.job(f"sleep 0.5; echo slow >> {place}/log", 60)
    one = subprocess.Popen(["sh", "-c", slow])
    time.sleep(0.2)
    assert sh(shell.guarded(f"echo quick >> {place}/log", 10)).returncode == 0
    one.wait(30)
    assert (place / "log").read_text(encoding="utf-8") == "slow\nquick\n"


def test_what_takes_too_long_is_ended_by_the_host(place: Path) -> None:
    assert sh(shell.job("sleep 20", 1)).returncode == 124


def test_what_was_changed_is_flushed_when_it_holds_and_only_then(tmp_path: Path) -> None:
    noted = tmp_path / "synced"
    (tmp_path / "sync").write_text(f"#!/bin/sh\ntouch {noted}\n", encoding="ascii")
    (tmp_path / "sync").chmod(0o755)

    def asked(command: str, flush: bool) -> int:
        one = probes.shell("x", command, deadline_s=0).plain()
        return sh(f"PATH={tmp_path}:$PATH\n{probes.script([one], patient=True, flush=flush)}").returncode

    assert asked("false", flush=True) == 1
    assert asked("true", flush=False) == 0
    assert not noted.exists()
    assert asked("true", flush=True) == 0
    assert noted.exists()


def test_what_a_bad_probe_says_is_known_as_its_own(tmp_path: Path) -> None:
    wanted = [
        probes.shell("good", "echo fine", deadline_s=0),
        probes.shell("bad", "echo '1> not a mark'; echo gone >&2; false", deadline_s=0),
        probes.shell("silent", "false", deadline_s=0),
    ]
    done = sh(probes.script([one.plain() for one in wanted], patient=True))
    found, text = probes.said(f"sudo: something else\n{done.stderr}")
    assert found == {1: "1> not a mark / gone"}
    assert text.splitlines()[:3] == ["sudo: something else", "1> not a mark", "gone"]


def answered(tmp_path: Path, *wanted: probes.Probe) -> list[list[str]]:
    done = sh(f"cd {tmp_path}\n" + probes.script([one.plain() for one in wanted], patient=True))
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == int(any(state == "bad" for _, state, _ in lines))
    return lines


def test_what_has_to_stay_good_waits_while_others_wait(tmp_path: Path) -> None:
    seen = "date +%s%N >> asked"
    late = probes.shell("late", "[ -e there ] || { [ -e begun ] && touch there; touch begun; false; }", deadline_s=20)
    stays = probes.shell("stays", seen, deadline_s=20, stable_s=1)
    assert sorted((number, state) for number, state, _ in answered(tmp_path, stays, late)) == [("0", "ok"), ("1", "ok")]
    first, second = map(int, (tmp_path / "asked").read_text(encoding="ascii").split())
    assert second - first >= 10**9


def test_what_dies_at_once_is_bad_and_what_comes_back_to_stay_is_good(tmp_path: Path) -> None:
    # Good when asked first, then never again.
    once = probes.shell("once", "[ ! -e died ] && touch died", deadline_s=0, stable_s=1)
    assert [line[:2] for line in answered(tmp_path, once)] == [["0", "bad"]]
    # Good whenever it is asked, and each time another one.
    again = probes.shell("again", "date +%s%N", deadline_s=0, stable_s=1)
    assert [line[:2] for line in answered(tmp_path, again)] == [["0", "bad"]]
    # Good, gone a second later, then good for ever.
    script = 'echo x >> asks; [ "$(wc -l < asks)" != 2 ]'
    back = probes.shell("back", script, deadline_s=20, stable_s=1)
    assert [line[:2] for line in answered(tmp_path, back)] == [["0", "ok"]]
