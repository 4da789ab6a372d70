"""Package sources are this machine's own Debian mirrors, for another release; nobody else's archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.bundle import sources
from implops.errors import MachineError

DEB822 = """# our mirror
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# http://old.example/debian-security
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: https://vendor.example/repo
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFzZcfEBEAC
 -----END PGP PUBLIC KEY BLOCK-----
"""
ONE_LINE = """
deb http://mirror.example/debian bookworm main non-free  # the usual
deb [arch=amd64 signed-by=/etc/apt/keyrings/vendor.gpg] https://vendor.example/repo bookworm main
deb https://docker.example/linux/debian bookworm stable
# deb http://off.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
"""


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    keyring = tmp_path / "debian-archive-keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(sources, "KEYRING", keyring)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n', encoding="utf-8")
    return tmp_path


def lines(etc: Path, release: str) -> list[str]:
    found = sources.configured(etc, etc / "os-release")
    return [one.line(release).replace(f"[signed-by={sources.KEYRING}] ", "") for one in found]


def test_both_forms_give_the_debian_archives_for_the_targets_release(etc: Path) -> None:
    (etc / "sources.list.d" / "debian.sources").write_text(DEB822, encoding="utf-8")
    assert lines(etc, "trixie") == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]
    (etc / "sources.list.d" / "debian.sources").unlink()
    (etc / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    assert lines(etc, "bookworm") == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]


def test_every_line_demands_debians_own_keys(etc: Path) -> None:
    (etc / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    for source in sources.configured(etc, etc / "os-release"):
        assert f"[signed-by={sources.KEYRING}]" in source.line("bookworm")
    sources.KEYRING.unlink()
    with pytest.raises(MachineError) as raised:
        sources.configured(etc, etc / "os-release")
    assert raised.value.key == "bundle.no_keyring"


@pytest.mark.parametrize("system", ["ID=debian\nVERSION_CODENAME=trixie\n", 'ID="openEuler"\nVERSION_ID="22.03"\n'])
def test_a_machine_without_an_archive_of_its_own_release_is_told(etc: Path, system: str) -> None:
    (etc / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    (etc / "os-release").write_text(system, encoding="utf-8")
    with pytest.raises(MachineError) as raised:
        sources.configured(etc, etc / "os-release")
    assert raised.value.key == "bundle.no_sources"
