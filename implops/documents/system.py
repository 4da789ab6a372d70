"""系统检查表 (F5): every module and every system check with what was expected and what came. From the store only."""

from __future__ import annotations

from typing import Any

from implops.documents.common import ORDER, Frame, answered, duration, error_text, mono
from implops.documents.model import Cell, Column, Document, Language, Table
from implops.store import Store

KIND = "SYS"
VERBS = ("verify",)


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The sheet of one run. Raises InputError when the store has no such verification."""
    frame = Frame.of(store, run, VERBS, number, language)
    modules = [one.payload for one in frame.of_kind("module.finished")]
    checks = [one.payload for one in frame.of_kind("system_check.finished")]
    states = [one["state"] for one in (*modules, *checks)]
    totals: dict[str, int] = {state: states.count(state) for state in ORDER if state in states}
    parts = (_modules(frame, modules), _checks(frame, checks))
    return frame.document(KIND, frame.say("form_system.title"), parts, totals=totals, landscape=True)


def _columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    return tuple(
        Column(frame.say(f"form_system.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def _modules(frame: Frame, modules: list[dict[str, Any]]) -> Table:
    columns = _columns(
        frame, ("no", 0.4, "right"), ("module", 1.1, ""), ("requirement", 0.9, ""), ("host", 0.7, ""),
        ("method", 0.7, ""), ("url", 3, ""), ("expected", 1.8, ""), ("found", 2.2, ""), ("took", 0.8, "right"),
        ("result", 0.9, ""), ("again", 0.9, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for number, one in enumerate(modules, start=1):
        told = error_text(one["error"], frame.language) if one["error"] else answered(frame, one)
        rows.append((
            str(number), one["name"], one["requirement"], one["host"], frame.say("form_system.automatic"),
            mono(one["url"]), _expected(frame, one["expect"]), told, duration(one["ms"]),
            frame.result(one["state"]), "",
        ))  # fmt: skip
    return Table(frame.say("form_system.modules"), columns, tuple(rows), empty=frame.say("form_system.none"))


def _expected(frame: Frame, expect: dict[str, Any]) -> str:
    words = [f"HTTP {expect['status']}"] if "status" in expect else []
    if "value" in expect:
        words.append(f"= {expect['value']}")
    if "text" in expect:
        words.append(frame.say("form_system.expect.text", text=expect["text"]))
    for path, value in expect.get("json", {}).items():
        words.append(f"{path} = {value}")
    if "time" in expect:
        words.append(f"≤ {expect['time']} ms")
    return frame.say("form_import.and").join(words) or frame.say("form_system.holds")


def _checks(frame: Frame, checks: list[dict[str, Any]]) -> Table:
    columns = _columns(
        frame, ("no", 0.4, "right"), ("check", 3.4, ""), ("host", 0.7, ""), ("method", 0.7, ""), ("said", 4, ""),
        ("took", 0.8, "right"), ("result", 0.9, ""), ("again", 0.9, ""),
    )  # fmt: skip
    rows = tuple(
        (
            str(number), mono(one["check"]), one["host"] or "—", frame.say("form_system.automatic"),
            one["said"][:300] or "—", duration(one["ms"]), frame.result(one["state"]), "",
        )
        for number, one in enumerate(checks, start=1)
    )  # fmt: skip
    return Table(frame.say("form_system.checks"), columns, rows, empty=frame.say("form_system.no_checks"))
