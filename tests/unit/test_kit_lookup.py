"""Kit files: the nearer one wins; what others may write to is not loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops import kit
from implops.errors import KitError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    (folder / "checks").mkdir(parents=True)
    (folder / "checks" / "disks.py").write_text("WHERE = 'shipped'\n", encoding="utf-8")
    (folder / "checks" / "time.py").write_text("WHERE = 'shipped'\n", encoding="utf-8")
    (folder / "checks" / "_hidden.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(kit, "shipped", lambda: folder)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "site" / "checks").mkdir(parents=True)
    return tmp_path / "site"


def test_the_nearer_file_wins(shipped: Path, base: Path) -> None:
    (base / "checks" / "disks.py").write_text("WHERE = 'site'\n", encoding="utf-8")
    found = kit.files("checks", base)
    assert list(found) == ["disks.py", "time.py"]
    assert found["disks.py"] == base / "checks" / "disks.py"
    assert found["time.py"] == shipped / "checks" / "time.py"
    assert kit.load(found["disks.py"], "checks").WHERE == "site"


def test_the_digest_knows_a_nearer_file(shipped: Path, base: Path) -> None:
    before = kit.digest(base, "checks")
    (base / "checks" / "disks.py").write_text("WHERE = 'site'\n", encoding="utf-8")
    assert kit.digest(base, "checks") != before
    (base / "checks" / "disks.py").write_text("WHERE = 'shipped'\n", encoding="utf-8")
    assert kit.digest(base, "checks") == before


@pytest.mark.parametrize("what", [".", "checks", "checks/disks.py"])
def test_what_others_may_write_to_is_refused(shipped: Path, base: Path, what: str) -> None:
    (base / "checks" / "disks.py").write_text("", encoding="utf-8")
    (base / what).chmod(0o777)
    with pytest.raises(KitError) as caught:
        kit.files("checks", base)
    assert caught.value.key == "kit.writable"
    assert str(base / what) in str(caught.value)


@pytest.mark.parametrize(("code", "line"), [("a = 1\nb = (\n", 2), ("a = 1\n\nraise RuntimeError('x')\n", 3)])
def test_a_file_that_cannot_be_loaded_names_its_line(base: Path, code: str, line: int) -> None:
    path = base / "checks" / "broken.py"
    path.write_text(code, encoding="utf-8")
    with pytest.raises(KitError) as caught:
        kit.load(path, "checks")
    assert f"broken.py:{line}" in str(caught.value)


def test_broken_texts_are_refused_by_name(base: Path) -> None:
    path = base / "checks" / "locale" / "zh-Hans.toml"
    path.parent.mkdir()
    for broken in (b"[X01", 'title = "磁盘"'.encode("gbk")):
        path.write_bytes(broken)
        with pytest.raises(KitError) as caught:
            kit.register("check", "checks", base)
        assert caught.value.key == "kit.load"
        assert str(path) in str(caught.value)


def test_the_annotated_site_is_found() -> None:
    assert "project:" in kit.annotated_site().read_text(encoding="utf-8")
