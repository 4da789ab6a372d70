"""恢复演练记录 (F7): the newest backup restored into a scratch place and compared, with the measured RTO and RPO."""

from __future__ import annotations

import json
from typing import Any

from implops.documents.common import Frame, duration, mono
from implops.documents.jobs import columns, fault, local
from implops.documents.model import Cell, Document, Language, Table
from implops.store import Store
from implops.units import format_seconds

KIND = "DRILL"
VERBS = ("drill",)


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The record of one drill. Raises InputError when the store has no such run."""
    frame = Frame.of(store, run, VERBS, number, language)
    answers = [one.payload for one in frame.of_kind("drill.member")]
    good = sum(one.get("verdict") == "equal" for one in answers)
    totals = frame.say("form_backup.drill_totals", jobs=len(answers), good=good, bad=len(answers) - good)
    parts = (_drills(frame, answers), _tables(frame))
    return frame.document(KIND, frame.say("form_backup.drill_title"), parts, totals=totals, landscape=True)


def _drills(frame: Frame, answers: list[dict[str, Any]]) -> Table:
    described = (
        ("no", 0.4, "right"), ("host", 0.7, ""), ("object", 0.8, ""), ("backup", 2.6, ""), ("target", 1.6, ""),
        ("started", 0.8, ""), ("finished", 0.8, ""), ("rto", 0.9, "right"), ("rpo", 0.9, "right"),
        ("compared", 2.2, ""), ("result", 1.6, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for number, one in enumerate(answers, start=1):
        equal = one.get("verdict") == "equal"
        result = (
            frame.result("pass")
            if equal
            else Cell(fault(frame, one), state="error" if one["state"] == "unsure" else "fail")
        )
        backup = one.get("backup")
        rows.append((
            str(number), one["host"], frame.say(f"backup.object.{one['job']}"), mono(backup["run"] if backup else None),
            frame.say(f"form_backup.target.{one['job']}"), local(frame, one.get("started")),
            local(frame, one.get("finished")),
            duration(one.get("restore_ms")), format_seconds(backup["age_s"]) if backup else "—", _compared(frame, one),
            result,
        ))  # fmt: skip
    return Table(frame.say("form_backup.drills"), columns(frame, *described), tuple(rows),
                 note=frame.say("form_backup.drill_note"), empty=frame.say("form_backup.none"))  # fmt: skip


def _compared(frame: Frame, one: dict[str, Any]) -> str:
    if "tables" in one:
        return frame.say("form_backup.compared.tables", rows=one["rows"], **one["tables"])
    return frame.say("form_backup.compared.files", **one["files"]) if "files" in one else "—"


def _tables(frame: Frame) -> Table:
    """Every table of the drilled database backup: rows and both sums of its row hashes, equal after restore."""
    described = (("table", 2, ""), ("rows", 1, "right"), ("hashes", 4, ""), ("same", 1, ""))
    rows: list[tuple[Cell | str, ...]] = []
    for one in (event.payload for event in frame.of_kind("drill.member")):
        if one["job"] != "database" or "verdict" not in one:
            continue
        wrong = one.get("first_difference")
        for name, (count, first, second) in sorted(_fingerprint(frame, one["backup"]["run"]).items()):
            if "." in name:
                same = not (wrong and wrong["name"] == name)
                word = frame.say("form_import.equal" if same else "form_import.unequal")
                rows.append(
                    (mono(name), str(count), mono(f"{first} {second}"), Cell(word, state="pass" if same else "fail"))
                )
    return Table(frame.say("form_backup.tables"), columns(frame, *described), tuple(rows),
                 empty=frame.say("form_backup.no_tables"), note=frame.say("form_backup.tables_note"))  # fmt: skip


def _fingerprint(frame: Frame, run: str) -> dict[str, list[Any]]:
    """From the evidence of the backup's own answer."""
    for kind in ("backup.member", "backup.collected"):
        for event in frame.store.events(kind=kind):
            if event.payload["run"] == run:
                answer = json.loads(frame.store.evidence(event.evidence[0]))
                found: dict[str, list[Any]] = next(
                    (m["fingerprint"] for m in answer["members"] if "fingerprint" in m), {}
                )
                return found
    return {}
