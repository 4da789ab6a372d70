"""The catalogue of every text a user sees: ``say("remote.refused", host="db1")``.

A key is ``area.name``; the text stands in ``implops/locale/LANG/AREA.toml``. A kit folder may carry its own
``locale/LANG.toml`` (the texts of its checks), registered under an area of its own. zh-Hans is complete; another
language falls back to zh-Hans, then en. Values in records are codes and parameters, so a record prints in any language.
"""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("zh-Hans", "zh-Hant", "en")
_HERE = Path(__file__).parent / "locale"
_language = "zh-Hans"
_kits: dict[str, list[Path]] = {}


def set_language(language: str) -> None:
    """Choose the language of this process; one of LANGUAGES."""
    global _language
    if language not in LANGUAGES:
        raise ValueError(language)
    _language = language


def language() -> str:
    return _language


def from_environment(environ: dict[str, str] | None = None) -> str:
    """The language that IMPLOPS_LANG or the locale variables ask for. C and POSIX mean zh-Hans: our users' tongue."""
    env = dict(os.environ) if environ is None else environ
    wanted = env.get("IMPLOPS_LANG") or env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    tag = wanted.split(".")[0].replace("_", "-").lower()
    if tag in ("zh-tw", "zh-hk", "zh-mo", "zh-hant"):
        return "zh-Hant"
    if tag == "en" or tag.startswith("en-"):
        return "en"
    return "zh-Hans"


def register(area: str, folder: Path) -> None:
    """Add a kit's ``folder/LANG.toml`` to ``area``; the folder registered first wins."""
    folders = _kits.setdefault(area, [])
    if folder not in folders:
        folders.append(folder)
        _load.cache_clear()


@cache
def _load(area: str, lang: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in [_HERE / lang / f"{area}.toml", *(folder / f"{lang}.toml" for folder in _kits.get(area, []))]:
        if path.is_file():
            found = {**tomllib.loads(path.read_text(encoding="utf-8")), **found}
    return found


def find(key: str, lang: str | None = None) -> str | None:
    """The raw text of ``area.name[.more]``, or None when no language has it."""
    area, _, name = key.partition(".")
    for one in dict.fromkeys((lang or _language, "zh-Hans", "en")):
        table: Any = _load(area, one)
        if isinstance(table.get(name), str):
            return str(table[name])
        for part in name.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, str):
            return table
    return None


def say(key: str, /, *, lang: str | None = None, **params: Any) -> str:
    """The text of ``key`` with ``{name}`` places filled. A key without a text is a bug and raises KeyError."""
    text = find(key, lang)
    if text is None:
        raise KeyError(key)
    return text.format_map(params) if params else text
