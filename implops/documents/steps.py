"""The steps of an installation record: what each was to bring about, how the host answered, what was run there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from implops import texts
from implops.documents.common import SIGNS, Frame, answered, clock, duration, error_text, mono
from implops.documents.model import Cell, Column, State, Table
from implops.store import Event

Row = tuple[Cell | str, ...]
_STATES: dict[str, State] = {
    "good": "pass", "kept": "pass", "failed": "fail", "lost": "error", "unknown": "error", "blocked": "skip",
}  # fmt: skip
_OPS: dict[str, State] = {"changed": "pass", "same": "skip", "failed": "fail", "unfinished": "error"}
# Of one kind of question so many objects are named, and so many answers are printed, each so long.
_NAMED, _SAID = 3, 120


def columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    return tuple(
        Column(frame.say(f"form_install.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def named(frame: Frame, recipe: str) -> str:
    return texts.find(f"recipe.{recipe}.title", frame.language) or recipe


@dataclass
class _Carried:
    """One time that a step was carried out: how it ended, what was to hold then, its operations in their order."""

    event: Event
    expected: list[str]
    ops: list[Event]


def _carried(frame: Frame) -> list[_Carried]:
    found, expected, ops = [], dict[str, list[str]](), dict[str, list[Event]]()
    for event in frame.events:
        if event.kind == "step.started":
            step = event.payload["step"]
            # A record of an older version names them only where they were asked.
            expected[step], ops[step] = event.payload.get("expected", []), []
        elif event.kind == "op.finished":
            ops[event.payload["step"]].append(event)
        elif event.kind == "step.finished":
            step = event.payload["step"]
            asked = [one["id"] for one in event.payload["probes"]]
            found.append(_Carried(event, asked or expected.get(step, []), ops.get(step, [])))
    return found


def steps(frame: Frame, title: str) -> Table:
    """Every step as it ended, each time that it was carried out."""
    described = columns(
        frame, ("no", 0.4, "right"), ("time", 0.8, ""), ("host", 0.6, ""), ("step", 1.3, ""), ("done", 2.9, ""),
        ("expected", 2.9, ""), ("actual", 1.6, ""), ("changed", 0.45, "right"), ("took", 0.7, "right"),
        ("result", 0.9, ""), ("evidence", 1.1, ""), ("by", 0.9, ""),
    )  # fmt: skip
    rows: list[Row] = []
    for number, one in enumerate(_carried(frame), start=1):
        event, step = one.event, one.event.payload
        begun = step["state"] != "blocked"
        word = frame.say(f"deploy.state.{step['state']}")
        evidence = [kept for op in one.ops for kept in op.evidence]
        rows.append((
            str(number), clock(event.time), step["host"], named(frame, step["recipe"]), _done(frame, one),
            _expected(frame, one.expected), _actual(frame, one),
            str(step["changed"]) if begun else "—", duration(step["ms"] if begun else None),
            Cell(word, state=_STATES[step["state"]]),
            mono(evidence[-1][:8] + (f" +{len(evidence) - 1}" if len(evidence) > 1 else "") if evidence else None),
            event.operator,
        ))  # fmt: skip
    note = frame.say("form_install.steps_note")
    return Table(title, described, tuple(rows), empty=frame.say("form_install.no_steps"), note=note)


def commands(frame: Frame, title: str) -> Table | None:
    """What the operations that changed something ran on the hosts, and the files that they wrote."""
    described = columns(
        frame, ("no", 0.5, "right"), ("host", 0.6, ""), ("step", 1.2, ""), ("op", 2, ""), ("command", 8.6, ""),
        ("took", 0.8, "right"), ("result", 0.8, ""),
    )  # fmt: skip
    rows: list[Row] = []
    for number, one in enumerate(_carried(frame), start=1):
        step = one.event.payload
        for told in (op.payload for op in one.ops):
            if lines := [*map(_file, told.get("files", [])), *map(_command, told.get("commands", []))]:
                if told.get("more"):
                    lines.append(frame.say("form_install.more", count=told["more"]))
                state = told["status"]
                word = Cell(frame.say(f"form_install.op.{state}"), state=_OPS[state])
                rows.append((str(number), step["host"], named(frame, step["recipe"]), _op_name(frame, told),
                             mono("\n".join(lines)), duration(told["ms"]), word))  # fmt: skip
    return Table(title, described, tuple(rows), note=frame.say("form_install.commands_note")) if rows else None


def _file(file: dict[str, Any]) -> str:
    return f"→ {file['path']} {file['mode']} {file['owner']} {file['sha256'][:16]}".rstrip()


def _command(command: dict[str, Any]) -> str:
    # On one line: what a script is laid out like says nothing here.
    return " ⏎ ".join(line.strip() for line in command["text"].splitlines() if line.strip())


def _op_name(frame: Frame, op: dict[str, Any]) -> str:
    return texts.find(op["op"], frame.language) or str(op["op"])


def _expected(frame: Frame, ids: list[str]) -> str:
    kinds: dict[str, list[str]] = {}
    for one in ids:
        kind, _, what = one.partition(":")
        # A recipe of the site's own has words of its own.
        text = texts.find(f"form_install.probe.{kind}", frame.language)
        kinds.setdefault(text or one, []).append(what)
    lines = []
    for text, whats in kinds.items():
        listed = ", ".join(whats[:_NAMED])
        if len(whats) > _NAMED:
            listed = frame.say("form_install.and_others", listed=listed, count=len(whats))
        lines.append(text.replace("{what}", listed))
    return "\n".join(lines) or "—"


def _actual(frame: Frame, carried: _Carried) -> str:
    probes = carried.event.payload["probes"]
    if not probes:
        return frame.say("form_install.not_asked_yet") if carried.expected else "—"
    bad = [one for one in probes if one["state"] != "ok"]
    if not bad:
        return frame.say("form_install.held" if len(probes) == 1 else "form_install.all_held", count=len(probes))
    lines = [f"{SIGNS['fail']} {line}" for line in _expected(frame, [one["id"] for one in bad]).splitlines()]
    said = list(dict.fromkeys(one["said"] for one in bad if one.get("said")))
    lines += [frame.say("form_install.it_said", said=one[:_SAID]) for one in said[:_NAMED]]
    # A record of before the answers were kept one by one says nothing about them.
    if not said and "said" in bad[0]:
        lines.append(frame.say("form_install.nothing_said"))
    if len(bad) < len(probes):
        lines.append(frame.say("form_install.rest_held", count=len(probes) - len(bad)))
    return "\n".join(lines)


def _done(frame: Frame, carried: _Carried) -> str:
    """What the step changed: the names of its operations, repeated ones counted."""
    names: dict[str, int] = {}
    for one in carried.ops:
        if one.payload["status"] in ("changed", "failed"):
            name = _op_name(frame, one.payload)
            name = f"✘ {name}" if one.payload["status"] == "failed" else name
            names[name] = names.get(name, 0) + 1
    if not names:
        return frame.say("form_install.unchanged") if carried.event.payload["state"] in ("good", "kept") else "—"
    return frame.say("form_import.and").join(f"{name} ×{count}" if count > 1 else name for name, count in names.items())


def counted(frame: Frame) -> dict[str, int]:
    steps = last_steps(frame)
    good = sum(one["state"] in ("good", "kept") for one in steps)
    return {"steps": len(steps), "good": good, "changed": sum(one["changed"] for one in steps)}


def last_steps(frame: Frame) -> list[dict[str, Any]]:
    return list({one.payload["step"]: one.payload for one in frame.of_kind("step.finished")}.values())


def asked(frame: Frame) -> list[dict[str, Any]]:
    return list(
        {(one.payload["host"], one.payload["module"]): one.payload for one in frame.of_kind("module.finished")}.values()
    )


def modules(frame: Frame) -> Table:
    described = columns(
        frame, ("module", 1.2, ""), ("requirement", 0.9, ""), ("host", 0.7, ""), ("url", 3.2, ""), ("answer", 2.6, ""),
        ("took", 0.8, "right"), ("result", 0.9, ""),
    )  # fmt: skip
    rows: list[Row] = []
    for one in asked(frame):
        told = error_text(one["error"], frame.language) if one["error"] else answered(frame, one)
        rows.append((one["name"], one["requirement"], one["host"], mono(one["url"]), told, duration(one["ms"]),
                     frame.result(one["state"])))  # fmt: skip
    ends = frame.of_kind("rollback.finished")
    left_out = " ".join(ends[-1].payload.get("not_asked", ())) if ends else ""
    note = frame.say("form_install.modules_left", modules=left_out) if left_out else ""
    empty = frame.say("form_install.no_modules")
    return Table(frame.say("form_install.modules"), described, tuple(rows), empty=empty, note=note)


def faults(frame: Frame) -> Table | None:
    described = columns(frame, ("host", 0.7, ""), ("step", 1.6, ""), ("fault", 4, ""), ("handling", 1.6, ""))
    rows: list[Row] = []
    ended = {one.payload["step"]: one for one in frame.of_kind("step.finished")}
    for event in frame.of_kind("step.finished"):
        error = event.payload["error"]
        if error and error["code"] != "needs":
            last = ended[event.payload["step"]]
            mended = last.sequence > event.sequence and last.payload["state"] in ("good", "kept")
            handling = "mended" if mended else "rolled_back" if frame.of_kind("deploy.rolled_back") else "open"
            rows.append((event.payload["host"], named(frame, event.payload["recipe"]), _fault(frame, error),
                         frame.say(f"form_install.handling.{handling}")))  # fmt: skip
    for one in asked(frame):
        if one["state"] == "fail":
            handling = "rolled_back" if frame.of_kind("deploy.rolled_back") else "open"
            rows.append((one["host"], one["name"], error_text(one["error"], frame.language),
                         frame.say(f"form_install.handling.{handling}")))  # fmt: skip
    return Table(frame.say("form_install.faults"), described, tuple(rows)) if rows else None


def _fault(frame: Frame, error: dict[str, Any]) -> str:
    if error["code"] == "host":
        return error_text(error, frame.language)
    lines = [line.strip() for line in str(error.get("detail", "")).splitlines() if line.strip()]
    said = " / ".join(lines[-2:])[:400] or "—"
    what = (
        " ".join(error["probes"])
        if error["code"] == "probe"
        else " ".join(error["modules"])
        if error["code"] == "module"
        else texts.find(error.get("op", ""), frame.language) or "—"
    )
    return frame.say(f"form_install.fault.{error['code']}", what=what, said=said)
