"""known_hosts is changed line by line, whole or not at all, and other people's lines stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

from implops import trust

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOUg4I01bOF6meqsoB9B21YpQ+TtHT9wLbsIkg7wpLwQ"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPLRqTpVLTu8BkEDdKFJkRW0gOib86QH/aFiLIL1dZIY"


def test_a_pin_replaces_the_old_line_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"# by hand\n10.0.0.1,db1 {OTHER} note\n10.0.0.9 {OTHER}\n", encoding="utf-8")
    trust.pin(path, {"10.0.0.1": KEY, "[10.0.0.2]:2222": KEY})
    assert path.read_text(encoding="utf-8").splitlines() == [
        "# by hand",
        f"db1 {OTHER} note",
        f"10.0.0.9 {OTHER}",
        f"10.0.0.1 {KEY}",
        f"[10.0.0.2]:2222 {KEY}",
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert trust.read(path)["[10.0.0.2]:2222"] == KEY
    assert list(tmp_path.iterdir()) == [path]


def test_taking_the_last_pin_away_takes_the_file_away(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    trust.pin(path, {"10.0.0.1": KEY})
    trust.unpin(path, ["10.0.0.2"])
    assert path.exists()
    trust.unpin(path, ["10.0.0.1"])
    assert not path.exists()


def test_the_first_line_of_a_name_counts_as_for_ssh(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"10.0.0.1 {KEY}\n10.0.0.1 {OTHER}\n@revoked 10.0.0.3 {KEY}\n", encoding="utf-8")
    assert trust.read(path) == {"10.0.0.1": KEY}


def test_a_fingerprint_reads_as_ssh_keygen_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    path.write_text(KEY + "\n", encoding="ascii")
    printed = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
    assert trust.fingerprint(KEY) == printed.split()[1]
