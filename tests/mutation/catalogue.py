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


def of_trixie(text: str) -> str:
    """The site file for Debian 13: the versions that it has."""
    for old, new in (("release: bookworm", "release: trixie"), ("jdk: {major: 17}", "jdk: {major: 21}"),
                     ("major: 15", "major: 17")):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    return text
