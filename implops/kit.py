"""The kit: content that users read, copy and change. Found by folder and file name; the nearer one wins.

Lookup for ``checks/disks.py``: the folder beside the site file first, then the shipped kit (in a checkout the
repository root, in an installation ``implops/shipped``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import tomllib
from pathlib import Path
from types import ModuleType

from implops import texts
from implops.errors import KitError

FOLDERS = ("checks", "deploy_recipes", "backups", "inventories")


def shipped() -> Path:
    """The folder that holds the shipped kit."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parent.parent


def annotated_site() -> Path:
    """docs/site.yml: reference, ``init`` template and test fixture at once."""
    return next(p for p in (shipped() / "site.yml", shipped() / "docs" / "site.yml") if p.is_file())


def places(folder: str, base: Path | None) -> list[Path]:
    """Existing folders of that name, nearest first."""
    own = [base / folder] if base is not None and (base / folder).resolve() != (shipped() / folder).resolve() else []
    return [path for path in [*own, shipped() / folder] if path.is_dir()]


def files(folder: str, base: Path | None, pattern: str = "*.py") -> dict[str, Path]:
    """File name -> path, nearest wins, in the order of names. Raises KitError when others may write to a folder."""
    found: dict[str, Path] = {}
    for place in places(folder, base):
        # Who may write to the site's own folder may put another folder in the place of this one.
        if base is not None and place.is_relative_to(base) and not base.stat().st_mode & stat.S_ISVTX:
            _refuse_writable(base)
        _refuse_writable(place)
        for path in sorted(place.glob(pattern)):
            if path.name not in found and not path.name.startswith(("_", ".")):
                _refuse_writable(path)
                found[path.name] = path
    return dict(sorted(found.items()))


def load(path: Path, package: str) -> ModuleType:
    """Import a kit file as ``implops_kit.PACKAGE.NAME``. Raises KitError("kit.load") when it cannot be imported."""
    name = f"implops_kit.{package}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = line_in(error, path)
        why = f"{type(error).__name__}: {error}"
        raise KitError("kit.load", place=f"{path}:{line}" if line else str(path), why=why) from error
    return module


def register(area: str, folder: str, base: Path | None) -> None:
    """Add the texts of a kit folder (``FOLDER/locale/LANG.toml``) to an area. Raises KitError for a broken file."""
    for place in places(folder, base):
        for path in (place / "locale").glob("*.toml"):
            try:
                tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
                raise KitError("kit.load", place=path, why=f"{type(error).__name__}: {error}") from error
        texts.register(area, place / "locale")


def digest(base: Path | None, *folders: str) -> str:
    """SHA-256 over names and contents of the kit files that would be used."""
    total = hashlib.sha256()
    for folder in folders:
        for pattern in (
            "*.py",
            "*.yml",
            "*.sh",
            "probes/*",
            "profiles/*.yml",
            "fixes/*.py",
            "testinfra/*.py",
            "templates/*",
        ):
            for name, path in files(folder, base, pattern).items():
                total.update(f"{folder}/{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _refuse_writable(path: Path) -> None:
    status = path.stat()
    others = stat.S_IMODE(status.st_mode) & 0o002
    if others or status.st_uid not in (0, os.getuid()):
        raise KitError("kit.writable", path=path)


def line_in(error: BaseException, path: Path) -> int | None:
    if isinstance(error, SyntaxError):
        return error.lineno
    trace, line = error.__traceback__, None
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
