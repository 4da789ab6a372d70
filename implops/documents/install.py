"""安装部署记录单 (F3): what was installed on what grounds, every step with its changes, every module's answer.

Also for runs that failed, were interrupted or resumed. From the store only.
"""

from __future__ import annotations

from typing import Any

from implops import texts
from implops.documents.common import Frame, answered, clock, duration, error_text, mono
from implops.documents.model import Cell, Column, Document, Language, Part, State, Table
from implops.store import Event, Store

KIND = "INST"
VERBS = ("deploy",)

_STATES: dict[str, State] = {
    "good": "pass", "kept": "pass", "failed": "fail", "lost": "error", "unknown": "error", "blocked": "skip",
}  # fmt: skip


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The record of one run. Raises InputError when the store has no such deployment."""
    frame = Frame.of(store, run, VERBS, number, language)
    parts: list[Part] = [_release(frame), _grounds(frame), _steps(frame), _modules(frame)]
    if faults := _faults(frame):
        parts.append(faults)
    parts.append(_packages(frame))
    steps = _last_steps(frame)
    totals = frame.say(
        "form_install.totals",
        steps=len(steps),
        good=sum(one["state"] in ("good", "kept") for one in steps),
        changed=sum(one["changed"] for one in steps),
        modules=len(_asked(frame)),
        passed=sum(one["state"] != "fail" for one in _asked(frame)),
    )
    return frame.document(KIND, frame.say("form_install.title"), tuple(parts), totals=totals, landscape=True)


def _columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    return tuple(
        Column(frame.say(f"form_install.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def _release(frame: Frame) -> Table:
    columns = _columns(
        frame, ("system", 1, ""), ("before", 2.1, ""), ("after", 2.1, ""), ("bundle", 3.2, ""), ("type", 0.8, "")
    )
    release = frame.payload("release")
    before = _before(frame)
    kind = "first" if before is None else "again" if release and before["version"] == release["version"] else "upgrade"
    row = (
        str(release["name"]) if release else "—",
        mono(before["id"] if before else None),
        mono(release["id"] if release else None),
        mono(str(frame.started.payload["bundle_sha256"])),
        frame.say(f"form_install.type.{kind}"),
    )
    return Table(frame.say("form_install.release"), columns, (row,))


def _before(frame: Frame) -> dict[str, Any] | None:
    """The release of the last good deployment before this run."""
    found = [
        one.payload["release"]
        for one in frame.store.events(kind="deploy.finished")
        if one.sequence < frame.started.sequence
        and one.payload.get("conclusion") == "pass"
        and one.payload.get("release")
    ]
    return found[-1] if found else None


def _grounds(frame: Frame) -> Table:
    columns = _columns(frame, ("gate", 1.4, ""), ("state", 0.8, ""), ("ground", 3, ""), ("remark", 2.4, ""))
    check = [one for one in frame.store.events(kind="check.finished") if one.run == frame.started.payload["check_run"]]
    at = frame.when(check[-1].payload["collected"]) if check else "—"
    rows: list[tuple[Cell | str, ...]] = [
        (
            frame.say("form_install.gate.environment"),
            frame.result("pass"),
            mono(_number(frame, check[-1].run) if check else None),
            at,
        )
    ]
    backup = frame.payload("backup_run")
    done = frame.result("pass") if backup else frame.result("skip")
    rows.append((frame.say("form_install.gate.backup"), done, mono(_number(frame, backup) if backup else None),
                 frame.say("form_install.backup_note") if backup else frame.say("form_install.no_backup")))  # fmt: skip
    for event in frame.of_kind("lock.broken"):
        remark = f"{event.payload['host']}: {event.payload['reason']}"
        rows.append((frame.say("form_install.gate.lock"), frame.result("warn"), event.payload["held_by"], remark))
    return Table(frame.say("form_install.grounds"), columns, tuple(rows))


def _number(frame: Frame, run: str) -> str:
    """The number of the document that was printed of a run, with the run itself."""
    numbers = [
        one.payload["number"] for one in frame.store.events(kind="document.rendered") if one.payload["of_run"] == run
    ]
    return f"{numbers[-1]} ({run})" if numbers else run


def _named(step: dict[str, Any], frame: Frame) -> str:
    return texts.find(f"recipe.{step['recipe']}.title", frame.language) or str(step["recipe"])


def _steps(frame: Frame) -> Table:
    columns = _columns(
        frame, ("no", 0.4, "right"), ("time", 0.8, ""), ("host", 0.7, ""), ("step", 1.7, ""), ("done", 4.2, ""),
        ("verified", 0.9, ""), ("took", 0.7, "right"), ("result", 1.2, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for number, event in enumerate(frame.of_kind("step.finished"), start=1):
        step = event.payload
        probes = step["probes"]
        held = f"{sum(one['state'] == 'ok' for one in probes)}/{len(probes)}" if probes else "—"
        word = frame.say(f"deploy.state.{step['state']}")
        rows.append((
            str(number), clock(event.time), step["host"], _named(step, frame), _done(frame, event), held,
            duration(step["ms"]), Cell(word, state=_STATES[step["state"]]),
        ))  # fmt: skip
    return Table(frame.say("form_install.steps"), columns, tuple(rows), empty=frame.say("form_install.no_steps"),
                 note=frame.say("form_install.steps_note"))  # fmt: skip


def _done(frame: Frame, event: Event) -> str:
    """What the step changed: the names of its operations, repeated ones counted."""
    starts = [one.sequence for one in frame.of_kind("step.started") if one.payload["step"] == event.payload["step"]]
    began = max((one for one in starts if one < event.sequence), default=event.sequence)
    names: dict[str, int] = {}
    for one in frame.of_kind("op.finished"):
        mine = one.payload["step"] == event.payload["step"] and began < one.sequence < event.sequence
        if mine and one.payload["status"] in ("changed", "failed"):
            name = texts.find(one.payload["op"], frame.language) or one.payload["op"]
            name = f"✘ {name}" if one.payload["status"] == "failed" else name
            names[name] = names.get(name, 0) + 1
    if not names:
        return frame.say("form_install.unchanged") if event.payload["state"] in ("good", "kept") else "—"
    return frame.say("form_import.and").join(f"{name} ×{count}" if count > 1 else name for name, count in names.items())


def _last_steps(frame: Frame) -> list[dict[str, Any]]:
    return list({one.payload["step"]: one.payload for one in frame.of_kind("step.finished")}.values())


def _asked(frame: Frame) -> list[dict[str, Any]]:
    return list(
        {(one.payload["host"], one.payload["module"]): one.payload for one in frame.of_kind("module.finished")}.values()
    )


def _modules(frame: Frame) -> Table:
    columns = _columns(
        frame, ("module", 1.2, ""), ("requirement", 0.9, ""), ("host", 0.7, ""), ("url", 3.2, ""), ("answer", 2.6, ""),
        ("took", 0.8, "right"), ("result", 0.9, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    for one in _asked(frame):
        told = error_text(one["error"], frame.language) if one["error"] else answered(frame, one)
        rows.append((one["name"], one["requirement"], one["host"], mono(one["url"]), told, duration(one["ms"]),
                     frame.result(one["state"])))  # fmt: skip
    return Table(frame.say("form_install.modules"), columns, tuple(rows), empty=frame.say("form_install.no_modules"))


def _faults(frame: Frame) -> Table | None:
    columns = _columns(frame, ("host", 0.7, ""), ("step", 1.6, ""), ("fault", 5, ""))
    rows = []
    for event in frame.of_kind("step.finished"):
        error = event.payload["error"]
        if error and error["code"] != "needs":
            rows.append((event.payload["host"], _named(event.payload, frame), _fault(frame, error)))
    return Table(frame.say("form_install.faults"), columns, tuple(rows)) if rows else None


def _fault(frame: Frame, error: dict[str, Any]) -> str:
    if error["code"] == "host":
        return error_text(error, frame.language)
    lines = [line.strip() for line in str(error.get("detail", "")).splitlines() if line.strip()]
    said = " / ".join(lines[-2:])[:400] or "—"
    what = (
        " ".join(error["probes"])
        if error["code"] == "probe"
        else texts.find(error.get("op", ""), frame.language) or "—"
    )
    return frame.say(f"form_install.fault.{error['code']}", what=what, said=said)


def _packages(frame: Frame) -> Table:
    columns = _columns(frame, ("host", 0.7, ""), ("sent", 1, "right"), ("package", 6, ""))
    rows = []
    for event in frame.of_kind("bundle.pushed"):
        changes = [f"{one['package']} {one['new']}" for one in event.payload["changes"]]
        rows.append(
            (
                event.payload["host"],
                str(event.payload["sent"]),
                ", ".join(changes) or frame.say("form_install.nothing_new"),
            )
        )
    return Table(frame.say("form_install.packages"), columns, tuple(rows), empty=frame.say("form_install.none_sent"))
