"""Every fault of ``faults/*.py``, a topic a file, in the order of the files and of their lists."""

from __future__ import annotations

import importlib
import pkgutil

from mutation import faults
from mutation.fault import Fault


def load() -> list[Fault]:
    found: list[Fault] = []
    for info in sorted(pkgutil.iter_modules(faults.__path__), key=lambda info: info.name):
        found += importlib.import_module(f"mutation.faults.{info.name}").FAULTS
    return found


def of_mariadb(text: str) -> str:
    """The site file with MariaDB for its database."""
    return _other(text, ("engine: postgresql", "engine: mariadb"), ("major: 15", "major: 10"),
                  ("encoding: UTF8", "encoding: utf8mb4"), ("data: /data/pg", "data: /data/mysql"),
                  ("listens: [5432]", "listens: [3306]"), ("release/schema/", "release/schema-mariadb/"))  # fmt: skip


def of_trixie(text: str) -> str:
    """The site file for Debian 13: the versions that it has."""
    return _other(text, ("release: bookworm", "release: trixie"), ("jdk: {major: 17}", "jdk: {major: 21}"),
                  ("major: 15", "major: 17"))  # fmt: skip


def _other(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text
