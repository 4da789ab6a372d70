"""系统安装部署资料清单 (F2): what the customer had to deliver, what came, and what is missing. From the store only."""

from __future__ import annotations

from typing import Any

from implops.documents.common import Frame, error_text, mono, short_hash
from implops.documents.model import Cell, Column, Document, Language, State, Table
from implops.store import Store

KIND = "LIST"
VERBS = ("collect",)

_STATES: dict[str, State] = {
    "complete": "pass", "missing": "absent", "empty": "fail", "rejected": "fail", "counted": "fail", "refused": "fail",
}  # fmt: skip


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The list of one validation. Raises InputError when the store has no such run."""
    frame = Frame.of(store, run, VERBS, number, language)
    items = [one.payload for one in frame.of_kind("item.finished")]
    states = [one["state"] for one in items]
    totals = frame.say("form_collect.totals", items=len(items), complete=states.count("complete"),
                       rows=sum(one["rows"] for one in items))  # fmt: skip
    return frame.document(KIND, frame.say("form_collect.title"), (_items(frame, items),), totals=totals, landscape=True)


def _items(frame: Frame, items: list[dict[str, Any]]) -> Table:
    columns = tuple(
        Column(frame.say(f"form_collect.column.{name}"), width)
        for name, width in (
            ("no", 0.4), ("name", 1.2), ("purpose", 1.2), ("required", 0.5), ("file", 1.8), ("rows", 0.7),
            ("encoding", 0.8), ("sha256", 1.6), ("result", 0.9), ("missing", 3.4), ("contact", 1), ("handover", 1),
        )
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for number, one in enumerate(items, start=1):
        rows.append((
            str(number), one["import"], mono(one["table"]),
            frame.say("form_collect.yes" if one["required"] else "form_collect.no"), one["file"] or "—",
            str(one["rows"]) if one["file"] else "—", one["encoding"], short_hash(one["sha256"] or None),
            Cell(frame.say(f"form_collect.state.{one['state']}"), state=_STATES[one["state"]]),
            _missing(frame, one), "", "",
        ))  # fmt: skip
    return Table(frame.say("form_collect.items"), columns, tuple(rows), note=frame.say("form_collect.note"))


def _missing(frame: Frame, one: dict[str, Any]) -> str:
    if one["error"]:
        return error_text(one["error"], frame.language)
    if one["state"] == "missing":
        return frame.say("form_collect.missing", file=one["expected_file"])
    if one["state"] == "rejected":
        return frame.say("form_collect.rejected", count=one["rejected"])
    return frame.say("form_collect.unjudged", columns=" ".join(one["unjudged"])) if one["unjudged"] else "—"
