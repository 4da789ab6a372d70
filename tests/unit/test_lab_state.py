"""The state file knows our own processes only, and survives whatever happens between two writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from implops.errors import MachineError
from implops.lab import network, tools
from implops.lab.state import State, start_time, uptime_seconds


def test_what_was_written_is_read_by_the_next_run(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.bridge = "il0"
    state.plan_host("db1", "l1", "10.1.1.1:22")
    state.started("db1", os.getpid())
    again = State(tmp_path)
    assert (again.bridge, again.hosts, again.machine("db1")) == ("il0", ["db1"], "l1")
    assert again.pid("db1") == os.getpid()
    assert again.shape("db1") == "10.1.1.1:22" and again.shape("app1") is None
    assert again.path.stat().st_mode & 0o777 == 0o600


def test_another_process_with_the_same_id_is_not_ours(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.plan_host("db1", "l1", "")
    state.started("db1", os.getpid())
    data = json.loads(state.path.read_text(encoding="utf-8"))
    boot, _, ticks = data["hosts"]["db1"]["start"].partition("/")
    for other in (f"{boot}/{int(ticks) - 1}", f"another-boot/{ticks}"):
        data["hosts"]["db1"]["start"] = other
        state.path.write_text(json.dumps(data), encoding="utf-8")
        assert State(tmp_path).pid("db1") is None


def test_a_dead_process_is_not_ours(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.plan_host("db1", "l1", "")
    with subprocess.Popen(["sleep", "60"]) as process:
        state.started("db1", process.pid)
        assert state.pid("db1") == process.pid
        process.kill()
        while start_time(process.pid) is not None:
            pass
        assert state.pid("db1") is None  # a zombie is dead


def test_uptime_counts_from_the_start_of_the_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert uptime_seconds(process.pid) < 5
        process.kill()


def test_a_broken_state_file_is_named_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(MachineError, match=r"state\.json"):
        State(tmp_path)


def test_what_is_missing_is_named_as_debian_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tools, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(MachineError) as caught:
        tools.require({"sh": "dash", "no-such-program": "systemd-container", "nor-this": "xfsprogs"})
    assert str(caught.value).endswith("apt-get install debian-archive-keyring systemd-container xfsprogs")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="root"):
        tools.require()


def test_the_kernel_setting_goes_back_when_the_last_lab_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = tmp_path / "max_user_instances"
    setting.write_text("128\n", encoding="ascii")
    monkeypatch.setattr(network, "INOTIFY", setting)
    monkeypatch.setattr(network, "LEDGER", tmp_path / "ledger.json")
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for state in (one, two):
        state.touch()
        network.raise_inotify(state, 4)
        assert setting.read_text(encoding="ascii") == "8192"
    network.lower_inotify(one)
    assert setting.read_text(encoding="ascii") == "8192"
    network.lower_inotify(two)
    assert setting.read_text(encoding="ascii") == "128"
    assert not network.LEDGER.exists()

    # A lab that vanished without `down` does not hold the setting for ever.
    network.raise_inotify(one, 4)
    one.unlink()
    network.raise_inotify(two, 4)
    network.lower_inotify(two)
    assert setting.read_text(encoding="ascii") == "128"


def test_a_setting_that_is_high_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setting = tmp_path / "max_user_instances"
    setting.write_text("1024", encoding="ascii")
    monkeypatch.setattr(network, "INOTIFY", setting)
    monkeypatch.setattr(network, "LEDGER", tmp_path / "ledger.json")
    state = tmp_path / "state.json"
    state.touch()
    network.raise_inotify(state, 20)
    network.lower_inotify(state)
    assert setting.read_text(encoding="ascii") == "1024"
