"""安装部署记录单 (F3): what was installed on what grounds, every step with its changes, every module's answer.

Also for runs that failed, were interrupted, resumed or rolled back, for rollbacks, and for what was undone. From the
store only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from implops import texts
from implops.documents.changed import changes
from implops.documents.common import Frame, answered, clock, duration, error_text, mono, short_hash
from implops.documents.model import Cell, Column, Document, Language, Part, State, Table
from implops.store import Event, Store
from implops.units import format_size

KIND = "INST"
VERBS = ("deploy", "rollback", "undo")

Row = tuple[Cell | str, ...]
_STATES: dict[str, State] = {
    "good": "pass", "kept": "pass", "failed": "fail", "lost": "error", "unknown": "error", "blocked": "skip",
}  # fmt: skip
_GATES: dict[str, State] = {"pass": "pass", "skip": "skip", "override": "warn"}


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The record of one run. Raises InputError when the store has no such deployment or rollback."""
    frame = Frame.of(store, run, VERBS, number, language)
    if frame.verb == "undo":
        return _undo(frame)
    back = frame.verb == "rollback"
    parts: list[Part] = [_release(frame)]
    if not back:
        parts.append(_gates(frame))
    parts += [_backups(frame), _steps(frame), _modules(frame)]
    if parameters := _parameters(frame):
        parts.append(parameters)
    if faults := _faults(frame):
        parts.append(faults)
    parts.append(_rollback(frame))
    if access := _access(frame):
        parts.append(access)
    if not back:
        parts.append(_packages(frame))
    modules = len(_asked(frame))
    passed = sum(one["state"] != "fail" for one in _asked(frame))
    totals = frame.say("form_install.totals", **_counted(frame), modules=modules, passed=passed)
    title = frame.say("form_install.title_rollback" if back else "form_install.title")
    return frame.document(KIND, title, tuple(parts), totals=totals, landscape=True)


def _counted(frame: Frame) -> dict[str, int]:
    steps = _last_steps(frame)
    good = sum(one["state"] in ("good", "kept") for one in steps)
    return {"steps": len(steps), "good": good, "changed": sum(one["changed"] for one in steps)}


def _undo(frame: Frame) -> Document:
    """What was taken away, and what stays where it was."""
    columns = _columns(frame, ("host", 0.7, ""), ("step", 1.6, ""), ("left", 5, ""))
    rows = [
        (one["host"], _named({"recipe": one["step"].partition("@")[0]}, frame), mono(one["path"]))
        for one in frame.started.payload["leaves"]
    ]
    reason = frame.say("form_install.undo_reason", reason=frame.started.payload["reason"])
    steps = replace(_steps(frame), title=frame.say("form_install.undo_steps"), note="")
    parts: list[Part] = [steps, Table(frame.say("form_install.left"), columns, tuple(rows), note=reason)]
    if faults := _faults(frame):
        parts.append(faults)
    totals = frame.say("form_install.totals_undo", **_counted(frame))
    return frame.document(KIND, frame.say("form_install.title_undo"), tuple(parts), totals=totals, landscape=True)


def _columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    return tuple(
        Column(frame.say(f"form_install.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def _release(frame: Frame) -> Table:
    columns = _columns(
        frame, ("system", 0.7, ""), ("before", 1.9, ""), ("after", 1.9, ""), ("bundle_name", 1.9, ""),
        ("bundle", 1.8, ""), ("digest", 1.8, ""), ("recipes", 1.8, ""), ("window", 0.9, ""), ("type", 0.7, ""),
    )  # fmt: skip
    back = frame.verb == "rollback"
    release = frame.started.payload.get("release") if back else frame.payload("release")
    before = _before(frame)
    name = str(release.get("name") or _system_name(frame)) if release else "—"
    # A run that was taken up again with something else tells both; what came last is what is installed.
    media = {(one.get("bundle_sha256"), one.get("release_sha256")): one for one in _starts(frame)}
    rows = tuple(
        (
            name,
            mono(before),
            mono(release["id"] if release and one is _last(frame) else None),
            mono(one.get("bundle")),
            short_hash(one.get("bundle_sha256")),
            short_hash(one.get("release_sha256")),
            short_hash(_recipes(one)),
            one.get("window") or "—",
            frame.say(f"form_install.type.{_type(frame, before, release)}"),
        )
        for one in media.values()
    )
    return Table(frame.say("form_install.release"), columns, rows)


def _starts(frame: Frame) -> list[dict[str, Any]]:
    """What the run recorded each time that it was begun or taken up again."""
    return [one.payload for one in frame.of_kind(f"{frame.verb}.started")]


def _last(frame: Frame) -> dict[str, Any]:
    return _starts(frame)[-1]


def _recipes(started: dict[str, Any]) -> str | None:
    """One digest of all recipes of the run."""
    found = started.get("recipes")
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest() if found else None


def _system_name(frame: Frame) -> str:
    found = [one.payload["release"] for one in frame.store.events(kind="deploy.finished") if one.payload.get("release")]
    return str(found[-1]["name"]) if found else "—"


def _type(frame: Frame, before: str | None, release: dict[str, Any] | None) -> str:
    if frame.verb == "rollback":
        return "rollback"
    if before is None:
        return "first"
    version = str(release["version"]) if release else ""
    return "again" if before.startswith(f"{version}-") else "upgrade"


def _before(frame: Frame) -> str | None:
    """The release that the hosts ran before this run, as they said themselves."""
    seen = frame.started.payload.get("leaving" if frame.verb == "rollback" else "before")
    if seen is not None:
        return " ".join(sorted({one for one in seen.values() if one})) or None
    found = [
        one.payload["release"]["id"]
        for one in frame.store.events(kind="deploy.finished")
        if one.sequence < frame.started.sequence
        and one.payload.get("conclusion") == "pass"
        and one.payload.get("release")
    ]
    return found[-1] if found else None


def _gates(frame: Frame) -> Table:
    columns = _columns(frame, ("gate", 1.4, ""), ("state", 0.8, ""), ("ground", 2.6, ""), ("remark", 3, ""))
    started = frame.started.payload
    check = [one for one in frame.store.events(kind="check.finished") if one.run == started["check_run"]]
    at = frame.when(check[-1].payload["collected"]) if check else "—"
    environment = mono(_number(frame, check[-1].run) if check else None)
    rows: list[Row] = [(frame.say("form_install.gate.environment"), frame.result("pass"), environment, at)]
    # Asked again when the run was taken up with something else: the newest answer of each gate counts.
    passed = {gate["gate"]: gate for one in _starts(frame) for gate in one.get("gates", [])}
    for gate in passed.values():
        ground = gate["ground"]
        if gate["gate"] == "promotion" and gate["state"] == "pass":
            ground = mono(ground)
        elif gate["state"] == "override":
            # What was refused, by its rule; the reason stands beside it.
            code = ground.removeprefix("gate.")
            ground = texts.find(f"form_install.rule.{code}", frame.language) or code
        elif gate["state"] == "skip":
            ground = frame.say(f"form_install.not_asked.{gate['gate']}")
        elif gate["gate"] == "change":
            ground = frame.say("form_install.approved", change=started["change"], approver=ground)
        rows.append((
            frame.say(f"form_install.gate.{gate['gate']}"),
            Cell(frame.say(f"form_install.passed.{gate['state']}"), state=_GATES[gate["state"]]),
            ground or "—", gate["reason"] or "—",
        ))  # fmt: skip
    for event in frame.of_kind("lock.broken"):
        remark = f"{event.payload['host']}: {event.payload['reason']}"
        rows.append((frame.say("form_install.gate.lock"), frame.result("warn"), event.payload["held_by"], remark))
    return Table(frame.say("form_install.grounds"), columns, tuple(rows))


def _backups(frame: Frame) -> Table:
    """The backups that this run made or used: before, after, and the one that was restored."""
    columns = _columns(
        frame, ("backup", 2.6, ""), ("trigger", 1, ""), ("object", 1, ""), ("place", 1.8, ""), ("size", 0.9, "right"),
        ("verify", 1.4, ""), ("result", 0.9, ""),
    )  # fmt: skip
    started = frame.started.payload
    saved = frame.of_kind("database.saved")
    runs = [saved[0].payload["run"]] if saved else []
    runs += [one for one in (frame.payload("backup_run"), _used(started)) if one and one not in runs]
    rows: list[Row] = []
    for run in runs:
        begun = frame.store.events(kind="backup.started", run=run)
        where = begun[0].payload["repository"] if begun else {}
        place = f"{where['host']}:{where['path']}" if where else "—"
        for event in frame.store.events(kind="backup.member", run=run):
            one = event.payload
            size = sum(member.get("bytes", 0) for member in one["members"])
            good = one["state"] == "complete" and not one["error"]
            rows.append((
                mono(_number(frame, run)), frame.say(f"backup.trigger.{begun[0].payload['trigger']}") if begun else "—",
                f"{one['host']} {frame.say('backup.object.' + one['job'])}", mono(place), format_size(size),
                frame.say("form_install.read_back") if good else "—", frame.result("pass" if good else "fail"),
            ))  # fmt: skip
    return Table(frame.say("form_install.backups"), columns, tuple(rows), empty=frame.say("form_install.no_backup"))


def _used(started: dict[str, Any]) -> str | None:
    """The records' run of the backup that a rollback restored (the host's name of it is ``RUN-HOST-JOB``)."""
    used = started["backup"]["run"] if isinstance(started.get("backup"), dict) else None
    return str(used).partition("-")[0] if used else None


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
        frame, ("no", 0.4, "right"), ("time", 0.8, ""), ("host", 0.7, ""), ("step", 1.6, ""), ("done", 3.6, ""),
        ("verified", 0.8, ""), ("took", 0.7, "right"), ("result", 1.1, ""), ("evidence", 0.9, ""), ("by", 1, ""),
    )  # fmt: skip
    rows: list[Row] = []
    for number, event in enumerate(frame.of_kind("step.finished"), start=1):
        step = event.payload
        probes = step["probes"]
        held = f"{sum(one['state'] == 'ok' for one in probes)}/{len(probes)}" if probes else "—"
        word = frame.say(f"deploy.state.{step['state']}")
        evidence = [one for op in _ops(frame, event) for one in op.evidence]
        rows.append((
            str(number), clock(event.time), step["host"], _named(step, frame), _done(frame, event), held,
            duration(step["ms"]), Cell(word, state=_STATES[step["state"]]),
            mono(evidence[-1][:8] + (f" +{len(evidence) - 1}" if len(evidence) > 1 else "") if evidence else None),
            event.operator,
        ))  # fmt: skip
    return Table(frame.say("form_install.steps"), columns, tuple(rows), empty=frame.say("form_install.no_steps"),
                 note=frame.say("form_install.steps_note"))  # fmt: skip


def _ops(frame: Frame, event: Event) -> list[Event]:
    """The operations between a step's start and its end."""
    mine = event.payload["step"]
    starts = [one.sequence for one in frame.of_kind("step.started") if one.payload["step"] == mine]
    began = max((one for one in starts if one < event.sequence), default=event.sequence)
    return [
        one
        for one in frame.of_kind("op.finished")
        if one.payload["step"] == mine and began < one.sequence < event.sequence
    ]


def _done(frame: Frame, event: Event) -> str:
    """What the step changed: the names of its operations, repeated ones counted."""
    names: dict[str, int] = {}
    for one in _ops(frame, event):
        if one.payload["status"] in ("changed", "failed"):
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
    rows: list[Row] = []
    for one in _asked(frame):
        told = error_text(one["error"], frame.language) if one["error"] else answered(frame, one)
        rows.append((one["name"], one["requirement"], one["host"], mono(one["url"]), told, duration(one["ms"]),
                     frame.result(one["state"])))  # fmt: skip
    return Table(frame.say("form_install.modules"), columns, tuple(rows), empty=frame.say("form_install.no_modules"))


def _parameters(frame: Frame) -> Table | None:
    """What the steps were given where it differs from the deployment before; all of it on a first installation."""
    now = _last(frame).get("parameters")
    if not now:
        return None
    columns = _columns(frame, ("parameter", 2.2, ""), ("old", 3, ""), ("new", 3, ""), ("step_host", 2.4, ""))
    rows: list[Row] = []
    for step, name, old, new in changes(frame, now):
        recipe, _, host = step.partition("@")
        rows.append((mono(name), mono(old), mono(new), f"{host} {_named({'recipe': recipe}, frame)}"))
    note = frame.say("form_install.parameters_note")
    empty = frame.say("form_install.same_parameters")
    return Table(frame.say("form_install.parameters"), columns, tuple(rows), empty=empty, note=note)


def _faults(frame: Frame) -> Table | None:
    columns = _columns(frame, ("host", 0.7, ""), ("step", 1.6, ""), ("fault", 4, ""), ("handling", 1.6, ""))
    rows: list[Row] = []
    ended = {one.payload["step"]: one for one in frame.of_kind("step.finished")}
    for event in frame.of_kind("step.finished"):
        error = event.payload["error"]
        if error and error["code"] != "needs":
            last = ended[event.payload["step"]]
            mended = last.sequence > event.sequence and last.payload["state"] in ("good", "kept")
            handling = "mended" if mended else "rolled_back" if frame.of_kind("deploy.rolled_back") else "open"
            rows.append((event.payload["host"], _named(event.payload, frame), _fault(frame, error),
                         frame.say(f"form_install.handling.{handling}")))  # fmt: skip
    for one in _asked(frame):
        if one["state"] == "fail":
            handling = "rolled_back" if frame.of_kind("deploy.rolled_back") else "open"
            rows.append((one["host"], one["name"], error_text(one["error"], frame.language),
                         frame.say(f"form_install.handling.{handling}")))  # fmt: skip
    return Table(frame.say("form_install.faults"), columns, tuple(rows)) if rows else None


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


def _rollback(frame: Frame) -> Table:
    """A rollback's own limits, the one that followed a failed deployment, or the way back if one is needed."""
    columns = _columns(
        frame, ("trigger_of", 2, ""), ("method", 3.4, ""), ("executed", 0.9, ""), ("outcome", 2.6, "")
    )  # fmt: skip
    started = frame.started.payload
    if frame.verb == "rollback":
        rows = [_went_back(frame, started, frame.conclusion)]
    elif events := frame.of_kind("deploy.rolled_back"):
        back = frame.payload("rollback_run")
        ends = frame.store.events(kind="rollback.finished", run=back) if back else []
        rows = [_went_back(frame, events[-1].payload, str(ends[-1].payload["conclusion"]) if ends else "unfinished")]
    else:
        saved = frame.of_kind("database.saved")
        before = _before(frame)
        method = frame.say("form_install.way_back", release=before) if before else frame.say("form_install.no_way_back")
        if saved:
            method += frame.say("form_install.way_back_database", backup=saved[0].payload["run"])
        rows = [(frame.say("form_install.on_failure"), method, frame.say("form_install.not_executed"), "—")]
    return Table(frame.say("form_install.rollback"), columns, tuple(rows), note=frame.say("form_install.limits"))


def _went_back(frame: Frame, about: dict[str, Any], conclusion: str) -> Row:
    trigger = frame.say("form_install.automatic" if about["automatic"] else "form_install.by_hand")
    if about["reason"]:
        trigger += f":{about['reason']}"
    method = frame.say("form_install.switched", release=about["release"]["id"])
    if about["backup"]:
        method += frame.say("form_install.restored", backup=about["backup"]["run"])
        for event in frame.store.events(kind="database.restored"):
            if event.payload.get("kept") and event.sequence > frame.started.sequence:
                method += frame.say("form_install.kept", kept=event.payload["kept"])
                break
    elif about["migrated"]:
        method += frame.say("form_install.not_restored", files=", ".join(about["migrated"]))
    return (trigger, method, frame.say("form_install.executed"), frame.say(f"form.conclusion.{conclusion}"))


def _access(frame: Frame) -> Table | None:
    rows: list[Row] = [
        (mono(one["url"]), one["host"], frame.say("form_install.browser"))
        for one in frame.started.payload.get("access", [])
    ]
    columns = _columns(frame, ("url", 3, ""), ("host", 1, ""), ("browser", 3, ""))
    return Table(frame.say("form_install.access"), columns, tuple(rows)) if rows else None


def _packages(frame: Frame) -> Table:
    columns = _columns(frame, ("host", 0.7, ""), ("sent", 1, "right"), ("package", 6, ""))
    rows: list[Row] = []
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
