"""实施环境检查表 (F1): A hosts, B every check with required and found values, C what has to be done by whom and until
when, the request to the network group, D waivers, E the evidence that the numbers of B point to.

From the store only: a sheet printed later shows the hosts and thresholds of that day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from implops import texts
from implops.documents.common import ORDER, Frame, error_text, mono
from implops.documents.model import Cell, Column, Document, Language, Part, Table
from implops.store import Event, Store
from implops.units import format_size

KIND = "ENV"
VERBS = ("check",)

# The letters of an id -> the category of the form.
_CATEGORIES = {
    "CPU": "hardware", "MEM": "hardware", "OS": "system", "LIM": "system", "LOC": "system", "NET": "network",
    "DNS": "names", "TIM": "time", "DSK": "storage", "APP": "middleware", "ACC": "access", "SEC": "security",
    "DB": "database", "STO": "storage", "M": "manual",
}  # fmt: skip
_TO_DO = ("fail", "absent", "error", "warn")
_SITE = "*"


@dataclass(frozen=True)
class _Line:
    """One row of B: a verdict with its host and evidence number; of a host that is away the first stands for all."""

    host: str
    verdict: dict[str, Any]
    evidence: str
    alike: int = 1

    @property
    def state(self) -> str:
        return str(self.verdict["state"])


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The sheet of one check. Raises InputError when the store has no such run."""
    frame = Frame.of(store, run, VERBS, number, language)
    events = list(frame.of_kind("host.checked"))
    lines = sorted(_lines(frame, events), key=lambda one: ORDER.index(one.state))
    totals: dict[str, int] = {
        state: count for state in ORDER if (count := sum(one.alike for one in lines if one.state == state))
    }
    to_do = _together(one for one in lines if one.state in _TO_DO)
    parts: list[Part] = [
        _hosts(frame, [event.payload for event in events]), _checks(frame, lines, to_do), _to_do(frame, to_do)
    ]  # fmt: skip
    if asked := [one for alike in to_do for one in alike if one.verdict.get("request")]:
        parts.append(_requests(frame, asked))
    if waived := [one for one in lines if one.state == "waived"]:
        parts.append(_waivers(frame, waived))
    parts.append(_evidence(frame, events))
    return frame.document(KIND, frame.say("form_environment.title"), tuple(parts), totals=totals, landscape=True)


def _lines(frame: Frame, events: list[Event]) -> Iterator[_Line]:
    for number, event in enumerate(events, start=1):
        evidence = f"E{number}" if event.evidence else "—"
        away = [one for one in event.payload["verdicts"] if one["state"] == "absent"]
        if away:
            yield _Line(event.payload["host"], away[0], evidence, len(away))
        for verdict in event.payload["verdicts"]:
            if verdict["state"] != "absent":
                yield _Line(event.payload["host"], verdict, evidence)
    for event in frame.of_kind("site.checked"):
        for verdict in event.payload["verdicts"]:
            yield _Line(verdict["host"], verdict, "—")


def _together(lines: Iterable[_Line]) -> list[list[_Line]]:
    """One thing to do a group: what could not be measured of a host for one and the same reason is one."""
    found: dict[tuple[object, ...], list[_Line]] = {}
    for number, line in enumerate(lines):
        one = line.verdict
        elsewhere = line.state == "error" and one["note"].startswith("reason.") and not one["target"]
        key = (line.host, one["note"], *one["params"].items()) if elsewhere else (number,)
        found.setdefault(key, []).append(line)
    return list(found.values())


def _columns(frame: Frame, *described: tuple[str, float]) -> tuple[Column, ...]:
    return tuple(Column(frame.say(f"form_environment.column.{name}"), width) for name, width in described)


def _hosts(frame: Frame, hosts: list[dict[str, Any]]) -> Table:
    columns = _columns(
        frame, ("name", 0.8), ("address", 1.1), ("role", 0.8), ("rack", 1), ("virt", 1.3), ("os", 2), ("cpus", 0.5),
        ("memory", 0.8), ("disks", 1.8), ("owner", 1), ("place", 0.9),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for one in hosts:
        about = one["about"]
        declared = frame.started.payload["hosts"][one["host"]]
        memory, disks = about["memory"], about.get("disks") or {}
        rows.append((
            one["host"], about["address"], " ".join(about["roles"]), _or_dash(declared.get("place")),
            str(about["virt"]), f"{about['os']}\n{about['kernel']}" if not about["error"] else "—", str(about["cpus"]),
            format_size(memory) if isinstance(memory, int) else "—",
            "\n".join(f"{path} {format_size(size)}" for path, size in disks.items()) or "—",
            declared["owner"], _in_place(frame, away=bool(about["error"])),
        ))  # fmt: skip
    return Table(frame.say("form_environment.hosts"), columns, tuple(rows), empty=frame.say("form_environment.none"))


def _or_dash(given: str | None) -> str:
    """What the site file leaves open ("-") prints as a dash."""
    return "—" if given in (None, "", "-") else str(given)


def _in_place(frame: Frame, *, away: bool) -> Cell:
    if away:
        return frame.result("absent")
    return Cell(frame.say("form_environment.in_place"), state="pass")


def _target(frame: Frame, line: _Line) -> str:
    return frame.say("form_environment.whole_site") if line.host == _SITE else line.host


def _title(frame: Frame, line: _Line) -> str:
    """The id, the item, and what of the host was looked at; users' own checks carry their title themselves."""
    if line.state == "absent":
        return frame.say("form_environment.host_away", count=line.alike)
    one = line.verdict
    title = texts.find(f"check.{one['id']}.title", frame.language) or one["params"].get("title", "")
    return f"{one['id']} {title} {one['target']}".strip()


def _category(frame: Frame, line: _Line) -> str:
    if line.state == "absent":
        return frame.say("form_environment.category.access")
    topic = line.verdict["id"].rstrip("0123456789")
    return frame.say(f"form_environment.category.{_CATEGORIES.get(topic, 'other')}")


def _actual(frame: Frame, verdict: dict[str, Any]) -> str:
    """The value and what the note says about it."""
    note, params = verdict["note"], {"detail": "—", **verdict["params"]}
    told = ""
    if note:
        whole = "." in note and not note.startswith(("reason.", "baseline."))
        told = error_text({"key": note if whole else f"check.note.{note}", "params": params}, frame.language)
    if "lapsed" in params:
        lapsed = frame.say(f"check.lapsed.{params['lapsed']}", **params)
        told = f"{told};{lapsed}" if told else lapsed
    if verdict.get("configured", verdict["actual"]) not in ("", verdict["actual"]):
        kept = frame.say("check.kept", value=verdict["configured"])
        told = f"{told};{kept}" if told else kept
    if not told:
        return str(verdict["actual"])
    return told if verdict["actual"] == "—" else f"{verdict['actual']}({told})"


def _required(frame: Frame, verdict: dict[str, Any]) -> str:
    """With the layer that demands it, where that is not the tool itself."""
    if verdict["source"] in ("", "default") or verdict["required"] == "—":
        return str(verdict["required"])
    return f"{verdict['required']}({frame.say('check.source.' + verdict['source'])})"


def _owner(frame: Frame, line: _Line) -> str:
    """Who acts; records from before it was kept name the owner of the host."""
    declared = frame.started.payload["hosts"].get(line.host, {})
    return _or_dash(line.verdict.get("owner") or declared.get("owner"))


def _checks(frame: Frame, lines: list[_Line], to_do: list[list[_Line]]) -> Table:
    """Sorted as results are on every sheet; within a result as they were measured."""
    columns = _columns(
        frame, ("no", 0.45), ("category", 1.05), ("host", 0.75), ("item", 2.5), ("required", 1.7), ("actual", 2.6),
        ("result", 0.85), ("evidence", 0.5), ("action", 1.3), ("due", 0.9),
    )  # fmt: skip
    places = {id(line): number for number, alike in enumerate(to_do, start=1) for line in alike}
    rows = tuple(
        (
            str(number), _category(frame, line), _target(frame, line), _title(frame, line),
            _required(frame, line.verdict), _actual(frame, line.verdict), frame.result(line.state), line.evidence,
            frame.say("form_environment.see", owner=_owner(frame, line), number=places[id(line)])
            if id(line) in places else "—",
            line.verdict.get("due") or "—",
        )
        for number, line in enumerate(lines, start=1)
    )  # fmt: skip
    return Table(frame.say("form_environment.checks"), columns, rows, empty=frame.say("form_environment.none"),
                 note=frame.say("form_environment.checks_note"))  # fmt: skip


def _to_do(frame: Frame, to_do: list[list[_Line]]) -> Table:
    """What failed or is absent, by whom and until when it is mended; the last column is for the pen."""
    columns = _columns(
        frame, ("no", 0.45), ("matter", 2.4), ("host", 0.75), ("actual", 2.3), ("fix", 3.2), ("person", 1.1),
        ("term", 0.9), ("again", 0.9),
    )  # fmt: skip
    rows = tuple(
        (
            str(number), _matter(frame, alike), _target(frame, line), _actual(frame, line.verdict),
            _fix(frame, line) if len(alike) == 1 else _actual(frame, line.verdict), _owner(frame, line),
            line.verdict.get("due") or "", "",
        )
        for number, alike in enumerate(to_do, start=1) for line in alike[:1]
    )  # fmt: skip
    return Table(frame.say("form_environment.to_do"), columns, rows, empty=frame.say("form_environment.nothing_to_do"))


def _matter(frame: Frame, alike: list[_Line]) -> str:
    if len(alike) == 1:
        return _title(frame, alike[0])
    ids = dict.fromkeys(line.verdict["id"] for line in alike)
    return f"{' '.join(ids)} {frame.say('check.alike', count=len(ids))}"


def _fix(frame: Frame, line: _Line) -> str:
    if line.state == "absent":
        return frame.say("form_environment.bring_host")
    if line.verdict["note"].startswith("attest"):
        return frame.say("form_environment.answer", id=line.verdict["id"])
    return texts.find(f"check.{line.verdict['id']}.fix", frame.language) or frame.say("form_environment.own_check")


def _requests(frame: Frame, asked: list[_Line]) -> Table:
    """What the network group needs, ready to be sent."""
    columns = _columns(
        frame, ("no", 0.45), ("source_host", 0.9), ("source_address", 1.1), ("target_host", 0.9),
        ("target_address", 1.1), ("port", 0.6), ("protocol", 0.6), ("why", 1.6), ("tested", 1.7), ("seen", 2),
        ("evidence", 0.5),
    )  # fmt: skip
    rows = []
    for number, line in enumerate(asked, start=1):
        one = line.verdict["request"]
        rows.append((
            str(number), one["source"], one["source_address"], one["target"], one["address"], one["port"],
            one["protocol"].upper(), _or_dash(one["why"]),
            frame.when(frame.started.time), _actual(frame, line.verdict), line.evidence,
        ))  # fmt: skip
    return Table(frame.say("form_environment.requests"), columns, tuple(rows))


def _waivers(frame: Frame, waived: list[_Line]) -> Table:
    columns = _columns(
        frame, ("host", 0.7), ("item", 2.4), ("actual", 1.8), ("reason", 3), ("approver", 1.2), ("until", 1)
    )
    rows = tuple(
        (
            line.host, _title(frame, line), line.verdict["actual"],
            *(line.verdict["params"][name] for name in ("reason", "approver", "until")),
        )
        for line in waived
    )  # fmt: skip
    return Table(frame.say("form_environment.waivers"), columns, rows)


def _evidence(frame: Frame, events: list[Event]) -> Table:
    """The raw answers are in the store by these hashes: ``implops record show``."""
    columns = _columns(frame, ("evidence", 0.7), ("host", 1), ("collected", 2), ("trips", 0.8), ("sha256", 6))
    rows = []
    for number, event in enumerate(events, start=1):
        for trip, sha256 in enumerate(event.evidence, start=1):
            rows.append((f"E{number}", event.payload["host"], frame.when(event.time), str(trip), mono(sha256)))
    return Table(frame.say("form_environment.evidence"), columns, tuple(rows))
