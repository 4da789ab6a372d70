"""实施环境检查表 (F1): hosts, what the customer has to do, every check with required and found values, waivers.

From the store only: a sheet printed later shows the hosts and thresholds of that day.
"""

from __future__ import annotations

from typing import Any

from implops import texts
from implops.documents.common import ORDER, Frame, error_text
from implops.documents.model import Cell, Column, Document, Language, Part, Table
from implops.store import Store
from implops.units import format_size

KIND = "ENV"
VERBS = ("check",)

# The letters of an id -> the category of the form.
_CATEGORIES = {
    "CPU": "hardware", "MEM": "hardware", "OS": "system", "LIM": "system", "LOC": "system", "NET": "network",
    "DNS": "names", "TIM": "time", "DSK": "storage", "APP": "middleware", "ACC": "access", "SEC": "security",
    "DB": "database", "STO": "storage",
}  # fmt: skip
_TO_DO = ("fail", "absent", "error", "warn")


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The sheet of one check. Raises InputError when the store has no such run."""
    frame = Frame.of(store, run, VERBS, number, language)
    hosts = [one.payload for one in frame.of_kind("host.checked")]
    verdicts = [(one["host"], verdict) for one in hosts for verdict in one["verdicts"]]
    states = [verdict["state"] for _, verdict in verdicts]
    totals: dict[str, int] = {state: states.count(state) for state in ORDER if state in states}
    parts: list[Part] = [_hosts(frame, hosts), _to_do(frame, verdicts), _checks(frame, verdicts)]
    if waived := [one for one in verdicts if one[1]["state"] == "waived"]:
        parts.append(_waivers(frame, waived))
    return frame.document(KIND, frame.say("form_environment.title"), tuple(parts), totals=totals, landscape=True)


def _columns(frame: Frame, *described: tuple[str, float]) -> tuple[Column, ...]:
    return tuple(Column(frame.say(f"form_environment.column.{name}"), width) for name, width in described)


def _hosts(frame: Frame, hosts: list[dict[str, Any]]) -> Table:
    columns = _columns(
        frame, ("host", 0.8), ("address", 1.2), ("role", 0.8), ("virt", 1.2), ("os", 2.4), ("kernel", 1.8),
        ("cpus", 0.5), ("memory", 0.9), ("owner", 1.2), ("place", 0.9),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for one in hosts:
        about = one["about"]
        declared = frame.started.payload["hosts"][one["host"]]
        memory = about["memory"]
        rows.append((
            one["host"], about["address"], " ".join(about["roles"]), str(about["virt"]), str(about["os"]),
            str(about["kernel"]), str(about["cpus"]), format_size(memory) if isinstance(memory, int) else "—",
            declared["owner"], frame.result("absent" if about["error"] else "pass"),
        ))  # fmt: skip
    return Table(frame.say("form_environment.hosts"), columns, tuple(rows), empty=frame.say("form_environment.none"))


def _title(frame: Frame, verdict: dict[str, Any]) -> str:
    title = frame.say(f"check.{verdict['id']}.title") if texts.find(f"check.{verdict['id']}.title") else verdict["id"]
    return f"{title} {verdict['target']}".strip()


def _category(frame: Frame, id: str) -> str:
    return frame.say(f"form_environment.category.{_CATEGORIES.get(id.rstrip('0123456789'), 'other')}")


def _actual(frame: Frame, verdict: dict[str, Any]) -> str:
    """The value and what the note says about it."""
    note, params = verdict["note"], {"detail": "—", **verdict["params"]}
    told = ""
    if note:
        whole = "." in note and not note.startswith(("reason.", "baseline."))
        told = error_text({"key": note if whole else f"check.note.{note}", "params": params}, frame.language)
    if not told:
        return str(verdict["actual"])
    return told if verdict["actual"] == "—" else f"{verdict['actual']}({told})"


def _checks(frame: Frame, verdicts: list[tuple[str, dict[str, Any]]]) -> Table:
    columns = _columns(
        frame, ("no", 0.45), ("category", 1.1), ("host", 0.7), ("id", 0.7), ("item", 2.4), ("required", 1.8),
        ("actual", 2.6), ("source", 0.9), ("result", 0.9),
    )  # fmt: skip
    # Sorted as results are on every sheet; within a result as they were measured.
    ordered = sorted(verdicts, key=lambda one: ORDER.index(one[1]["state"]))
    rows = tuple(
        (
            str(number), _category(frame, one["id"]), host, one["id"], _title(frame, one), one["required"],
            _actual(frame, one), frame.say(f"check.source.{one['source']}") if one["source"] else "—",
            frame.result(one["state"]),
        )
        for number, (host, one) in enumerate(ordered, start=1)
    )  # fmt: skip
    return Table(frame.say("form_environment.checks"), columns, rows, empty=frame.say("form_environment.none"),
                 note=frame.say("form_environment.checks_note"))  # fmt: skip


def _to_do(frame: Frame, verdicts: list[tuple[str, dict[str, Any]]]) -> Table:
    """What failed or is absent, by whom it is mended; an absent host is one line."""
    columns = _columns(
        frame, ("owner", 1.2), ("host", 0.7), ("item", 2.6), ("actual", 2.6), ("fix", 3.4), ("due", 0.9), ("again", 0.9)
    )
    rows: list[tuple[Cell | str, ...]] = []
    seen: set[tuple[str, str, str]] = set()
    for host, one in sorted(verdicts, key=lambda one: ORDER.index(one[1]["state"])):
        if one["state"] not in _TO_DO:
            continue
        away = one["state"] == "absent"
        mark = (host, "", "") if away else (host, one["id"], one["target"])
        if mark in seen:
            continue
        seen.add(mark)
        owner = frame.started.payload["hosts"][host]["owner"]
        item = frame.say("form_environment.host_away") if away else _title(frame, one)
        fix = frame.say("form_environment.bring_host") if away else frame.say(f"check.{one['id']}.fix")
        rows.append((owner, host, item, _actual(frame, one), fix, "", ""))
    nothing = frame.say("form_environment.nothing_to_do")
    return Table(frame.say("form_environment.to_do"), columns, tuple(rows), empty=nothing)


def _waivers(frame: Frame, waived: list[tuple[str, dict[str, Any]]]) -> Table:
    columns = _columns(
        frame, ("host", 0.7), ("item", 2.4), ("actual", 1.8), ("reason", 3), ("approver", 1.2), ("until", 1)
    )
    rows = tuple(
        (
            host, f"{one['id']} {_title(frame, one)}", one["actual"], one["params"]["reason"],
            one["params"]["approver"], one["params"]["until"],
        )
        for host, one in waived
    )  # fmt: skip
    return Table(frame.say("form_environment.waivers"), columns, rows)
