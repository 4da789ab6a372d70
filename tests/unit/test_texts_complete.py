"""Every text that code asks for exists in zh-Hans, and every place in it is given a value."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

import implops
from implops import texts
from implops.cli.main import _NOT_VERBS
from implops.errors import ImplopsError

ROOT = Path(implops.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
LOCALES = sorted((ROOT / "locale" / "zh-Hans").glob("*.toml"))


@cache
def _error_names() -> frozenset[str]:
    """Names of ImplopsError and of every class that any module derives from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    names = {ImplopsError.__name__}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return frozenset(names)


def _asked(path: Path) -> list[tuple[int, str, bool, set[str] | None]]:
    """(line, key or beginning of one, is it whole, names given or None when they cannot be read off)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function not in ("say", "verb") and function not in _error_names():
            continue
        given = {word.arg for word in node.keywords if word.arg}
        names = None if any(word.arg is None for word in node.keywords) else given
        for key, whole in _keys(node.args[0]):
            if function == "verb":
                found.append((node.lineno, f"{key}.help", whole, names))
            elif "." in key:
                found.append((node.lineno, key, whole, names))
    return found


def _keys(node: ast.expr) -> list[tuple[str, bool]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [(node.value, True)]
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        return [(str(node.values[0].value), False)]
    if isinstance(node, ast.IfExp):
        return _keys(node.body) + _keys(node.orelse)
    if isinstance(node, ast.BinOp):
        return [(key, False) for key, _ in _keys(node.left)]
    return []


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def _flat(table: dict[str, object], before: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in table.items():
        found |= _flat(value, f"{before}.{name}") if isinstance(value, dict) else {f"{before}.{name}": str(value)}
    return found


def test_the_scan_sees_the_sources() -> None:
    assert sum(len(_asked(path)) for path in SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_every_key_in_code_has_a_text(path: Path) -> None:
    missing = []
    for line, key, whole, _ in _asked(path):
        area, _, rest = key.partition(".")
        known = _flat(texts._load(area, "zh-Hans"), area)
        if (key not in known) if whole else not any(one.startswith(f"{area}.{rest}") for one in known):
            missing.append(f"{path.name}:{line} {key}")
    assert not missing


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_every_place_in_a_text_is_given(path: Path) -> None:
    faults = []
    for line, key, whole, names in _asked(path):
        text = texts.find(key, "zh-Hans") if whole else None
        if text is None or names is None or key.endswith(".help"):
            continue
        lacking = _places(text) - names
        if lacking:
            faults.append(f"{path.name}:{line} {key} lacks {sorted(lacking)}")
    assert not faults


@pytest.mark.parametrize("path", LOCALES, ids=[path.name for path in LOCALES])
def test_a_text_is_simplified_chinese_in_one_form(path: Path) -> None:
    for key, text in _flat(texts._load(path.stem, "zh-Hans"), path.stem).items():
        assert text.strip(), key
        _places(text)  # raises ValueError for a lone brace


def test_every_verb_has_its_help() -> None:
    for path in (ROOT / "cli").glob("*.py"):
        if path.stem not in _NOT_VERBS:
            assert texts.find(f"{path.stem.rstrip('_')}.help"), path.name


def test_a_missing_key_is_a_bug() -> None:
    with pytest.raises(KeyError):
        texts.say("cli.no_such_text")


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh-Hans"),
        ({"LANG": "zh_TW.UTF-8"}, "zh-Hant"),
        ({"LANG": "zh_HK"}, "zh-Hant"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C"}, "zh-Hans"),
        ({}, "zh-Hans"),
        ({"LC_ALL": "en_GB", "LANG": "zh_CN"}, "en"),
        ({"IMPLOPS_LANG": "zh-Hant", "LC_ALL": "en_GB"}, "zh-Hant"),
    ],
)
def test_language_follows_the_environment(environment: dict[str, str], language: str) -> None:
    assert texts.from_environment(environment) == language


def test_another_language_falls_back_to_simplified_chinese() -> None:
    assert texts.say("form.header.project", lang="zh-Hant") == "项目名称"


def test_a_kits_texts_join_their_area_and_the_first_folder_wins(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder, text in ((near, "近"), (far, "远")):
        folder.mkdir()
        (folder / "zh-Hans.toml").write_text(f'word = "{text}"\nonly_{folder.name} = "x"\n', encoding="utf-8")
    texts.register("test_kit", near)
    texts.register("test_kit", far)
    assert texts.say("test_kit.word") == "近"
    assert texts.say("test_kit.only_far") == "x"
