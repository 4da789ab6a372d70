"""备份记录 (F6): what was backed up, where it lies, how it was proved. From the store only."""

from __future__ import annotations

from implops.documents.common import Frame, duration, mono
from implops.documents.jobs import columns, fault, local
from implops.documents.model import Cell, Document, Language, Table
from implops.store import Store
from implops.units import format_size

KIND = "BAK"
VERBS = ("backup",)


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The record of one run. Raises InputError when the store has no such backup."""
    frame = Frame.of(store, run, VERBS, number, language)
    answers = [one.payload for one in frame.of_kind("backup.member")]
    good = sum(one["state"] == "complete" and not one["error"] for one in answers)
    size = sum(member["bytes"] for one in answers for member in one["members"])
    totals = frame.say(
        "form_backup.totals", jobs=len(answers), good=good, bad=len(answers) - good, size=format_size(size)
    )
    parts = (_policy(frame), _members(frame))
    return frame.document(KIND, frame.say("form_backup.title"), parts, totals=totals, landscape=True)


def _policy(frame: Frame) -> Table:
    about = frame.started.payload
    rows = []
    for name in ("database", "program"):
        policy = about["policy"][name]
        kept = frame.say("form_import.and").join(
            frame.say(f"form_backup.keep.{unit}", count=policy["keep"][unit])
            for unit in ("daily", "weekly", "monthly")
            if policy["keep"][unit]
        )
        rows.append((
            frame.say(f"backup.object.{name}"), _every(frame, policy["every"]), kept,
            frame.say(f"form_backup.drills_every.{policy['drill']}"),
            mono(f"{about['repository']['host']}:{about['repository']['path']}"),
        ))  # fmt: skip
    described = (("object", 0.8, ""), ("every", 1.2, ""), ("kept", 2, ""), ("drill", 0.8, ""), ("place", 2.2, ""))
    return Table(frame.say("form_backup.policy"), columns(frame, *described), tuple(rows))


def _every(frame: Frame, every: str) -> str:
    """``weekly mon 02:00`` in words."""
    unit, *rest = every.split()
    day = frame.say(f"form_backup.weekday.{rest[0]}") if unit == "weekly" else rest[0].lstrip("0")
    return frame.say(f"form_backup.every.{unit}", day=day, clock=rest[-1])


def _members(frame: Frame) -> Table:
    described = (
        ("no", 0.5, "right"), ("host", 0.7, ""), ("object", 0.8, ""), ("content", 2.2, ""), ("trigger", 0.8, ""),
        ("started", 1, ""), ("finished", 1, ""), ("took", 0.7, "right"), ("size", 0.9, "right"),
        ("growth", 0.9, "right"), ("snapshot", 1, ""), ("sha256", 1.8, ""), ("verify", 1.7, ""), ("result", 1.2, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for event in frame.of_kind("backup.member"):
        one = event.payload
        good = one["state"] == "complete" and not one["error"]
        result = frame.result("pass") if good else Cell(fault(frame, one), state="fail")
        about = (one["host"], frame.say(f"backup.object.{one['job']}"))
        trigger = frame.say(f"backup.trigger.{frame.started.payload['trigger']}")
        times = (local(frame, one.get("started")), local(frame, one.get("finished")), duration(one["ms"]))
        for member in one["members"]:
            verify = "form_backup.verify.files" if member["role"] == "files" else "form_backup.verify.stream"
            if member["tables"]:
                verify = "form_backup.verify.tables"
            rows.append((
                str(len(rows) + 1), *about, _content(frame, member), trigger, *times, format_size(member["bytes"]),
                format_size(member["growth"]), mono(member["snapshot"][:8]), mono(member["sha256"][:16]),
                frame.say(verify, tables=member["tables"], files=member.get("files", 0)), result,
            ))  # fmt: skip
        if not one["members"]:
            rows.append((str(len(rows) + 1), *about, "—", trigger, *times, "—", "—", "—", "—", "—", result))
    note = frame.say("form_backup.note")
    return Table(frame.say("form_backup.members"), columns(frame, *described), tuple(rows), note=note,
                 empty=frame.say("form_backup.none"))  # fmt: skip


def _content(frame: Frame, member: dict[str, str]) -> str:
    return frame.say(f"form_backup.role.{member['role']}", name=member["name"])
