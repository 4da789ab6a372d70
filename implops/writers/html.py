"""HTML: one file that opens from disk, without network, and reads without JavaScript; JavaScript only filters rows.

Printing gives the form with its sign-off. The document stands in the file a second time as JSON, for programs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from implops import texts
from implops.documents.common import ORDER, result_word
from implops.documents.model import Cell, Column, Document, Fields, Paragraph, SignOff, Table
from implops.writers import printable

_FONTS = {
    "zh-Hans": '"Microsoft YaHei","PingFang SC","Noto Sans CJK SC",sans-serif',
    "zh-Hant": '"Microsoft JhengHei","PingFang TC","Noto Sans CJK TC",sans-serif',
    "en": '"Segoe UI","Helvetica Neue",Arial,"Noto Sans CJK SC",sans-serif',
}


def write(document: Document, path: Path) -> None:
    """Write ``document`` as one HTML file; the same document gives the same bytes."""
    clean: Document = _printable(document)
    lang = clean.language
    words = {name: texts.say(f"form.{name}", lang=lang) for name in ("none", "stamp_note")}
    words |= {name: texts.say(f"form.html.{name}", lang=lang) for name in ("filter", "all", "search")}
    words["conclusion"] = texts.say("form.header.conclusion", lang=lang)
    before, middle, after = texts.say("form.page", lang=lang, page="\0", pages="\0").split("\0")
    page = f"{_css(before)} counter(page) {_css(middle)} counter(pages) {_css(after)}"
    parts = [_part(part) for part in clean.parts]
    states = {row["state"] for part in parts for row in part.get("rows", ()) if row["state"]}
    text = _template().render(
        d={**{name: getattr(clean, name) for name in clean.__dataclass_fields__}, "parts": parts},
        lang=lang,
        words=words,
        states=[(code, result_word(code, lang)) for code in ORDER if code in states],
        fonts=Markup(_FONTS[lang]),  # noqa: S704 - our own constant
        foot=Markup(_css(clean.footer)),  # noqa: S704 - escaped by _css
        stamp_css=Markup(_css(f"{clean.stamp}  {words['stamp_note']}")),  # noqa: S704 - escaped by _css
        page_css=Markup(page),  # noqa: S704 - escaped by _css
        data=Markup(_json(asdict(clean))),  # noqa: S704 - escaped by _json
        shown_js=Markup(_json(texts.say("form.html.shown", lang=lang, shown="{shown}", all="{all}"))),  # noqa: S704 - escaped by _json
    )
    path.write_text(text, encoding="utf-8", newline="\n")


@cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=folder, autoescape=True, undefined=StrictUndefined).get_template("page.html.j2")


def _part(part: Table | Fields | Paragraph | SignOff) -> dict[str, Any]:
    plain = {name: getattr(part, name) for name in part.__dataclass_fields__}
    if isinstance(part, Table):
        total = sum(column.width for column in part.columns)
        plain["shares"] = [f"{column.width / total * 100:.2f}" for column in part.columns]
        plain["rows"] = [_row(cells, part.columns) for cells in part.rows]
    return {"kind": type(part).__name__.lower(), **plain}


def _row(cells: tuple[Cell | str, ...], columns: tuple[Column, ...]) -> dict[str, Any]:
    states = [value.state for value in cells if isinstance(value, Cell) and value.state]
    worst = min(states, key=ORDER.index) if states else ""
    return {"state": worst, "cells": list(zip(cells, columns, strict=True))}


def _printable(value: Any) -> Any:
    """The same frozen tree with every text cleaned."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple | list):
        return type(value)(_printable(one) for one in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(one) for key, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{name: _printable(getattr(value, name)) for name in value.__dataclass_fields__})
    return value


def _json(value: Any) -> str:
    """JSON that can stand inside a script element: no ``</``, no ``<!--``, no line separators of JavaScript."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _css(text: str) -> str:
    """A CSS string; ``<`` is written as its number so that no text can end the style element."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("<", "\\3c ").replace("\n", " ")
    return f'"{escaped}"'
