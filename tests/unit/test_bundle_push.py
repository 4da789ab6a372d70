"""What lies on a host is summed once, and again when it was touched: the scripts in a real shell."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from implops.bundle.push import moved_command, sums_command


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("bundle/apt", "bundle/files", "incoming", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bundle" / "apt" / "a_1%3a2_all.deb").write_bytes(b"deb")
    (tmp_path / "bundle" / "files" / "his 1.0.war").write_bytes(b"war")
    (tmp_path / "incoming" / "b.deb").write_bytes(b"half")
    return tmp_path


def run(place: Path, script: str, path: str = "") -> str:
    environment = {**os.environ, "PATH": f"{path}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-euc", script], cwd=place, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sums(place: Path) -> tuple[dict[str, str], list[str]]:
    """Path -> SHA-256 as the host tells it, and which sums it made for that."""
    (place / "bin").mkdir(exist_ok=True)
    (place / "bin" / "sha256sum").write_text(f'#!/bin/sh\necho one >>{place}/made\nexec /usr/bin/sha256sum "$@"\n')
    (place / "bin" / "sha256sum").chmod(0o755)
    (place / "made").write_text("")
    told = run(place, sums_command("scratch", "known"), f"{place}/bin:")
    lines = [line.partition("  ") for line in told.splitlines()]
    return {path: sha256 for sha256, _, path in lines}, (place / "made").read_text().split()


def really(place: Path) -> dict[str, str]:
    files = [path for name in ("bundle", "incoming") for path in (place / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_nothing_is_read_twice_and_whatever_was_touched_is(place: Path) -> None:
    assert sums(place) == (really(place), ["one"] * 3)
    assert sums(place) == (really(place), [])
    # The same size and the same date: the time of the change gives it away.
    deb = place / "bundle" / "apt" / "a_1%3a2_all.deb"
    about = deb.stat()
    deb.write_bytes(b"dEb")
    os.utime(deb, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert sums(place) == (really(place), ["one"])
    # Another file of that name in its place.
    war = place / "bundle" / "files" / "his 1.0.war"
    war.unlink()
    war.write_bytes(b"raw")
    (place / "incoming" / "b.deb").unlink()
    assert sums(place) == (really(place), ["one"])
    assert len((place / "known").read_text().splitlines()) == 2


def test_what_was_checked_on_arrival_is_known_where_it_lies(place: Path) -> None:
    (place / "incoming" / "c d.war").write_bytes(b"whole")
    sums(place)
    listed = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in
                     (("b.deb", b"half"), ("c d.war", b"whole")))  # fmt: skip
    (place / "sums").write_text(listed)
    (place / "incoming" / "b.deb").rename(place / "bundle" / "apt" / "b.deb")
    (place / "incoming" / "c d.war").rename(place / "bundle" / "files" / "c d.war")
    run(place, moved_command("sums", "known"))
    assert sums(place) == (really(place), [])
