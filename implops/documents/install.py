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
from implops.documents.common import Frame, mono, short_hash
from implops.documents.model import Cell, Document, Language, Part, State, Table
from implops.documents.source import sources
from implops.documents.steps import Row, asked, columns, commands, counted, faults, modules, named, steps
from implops.store import Store
from implops.units import format_size

KIND = "INST"
VERBS = ("deploy", "rollback", "undo")

_GATES: dict[str, State] = {"pass": "pass", "skip": "skip", "override": "warn"}


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The record of one run. Raises InputError when the store has no such deployment or rollback."""
    frame = Frame.of(store, run, VERBS, number, language)
    if frame.verb == "undo":
        return _undo(frame)
    back = frame.verb == "rollback"
    parts: list[Part | None] = [_release(frame)]
    if not back:
        parts += [sources(frame, _starts(frame)), _gates(frame)]
    parts += [
        _backups(frame), steps(frame, frame.say("form_install.steps")),
        commands(frame, frame.say("form_install.commands")), modules(frame), _parameters(frame), faults(frame),
    ]  # fmt: skip
    parts += [_rollback(frame), _access(frame)]
    if not back:
        parts.append(_packages(frame))
    answers = asked(frame)
    passed = sum(one["state"] != "fail" for one in answers)
    totals = frame.say("form_install.totals", **counted(frame), modules=len(answers), passed=passed)
    title = frame.say("form_install.title_rollback" if back else "form_install.title")
    return frame.document(KIND, title, tuple(one for one in parts if one), totals=totals, landscape=True)


def _undo(frame: Frame) -> Document:
    """What was taken away, and what stays where it was."""
    described = columns(frame, ("host", 0.7, ""), ("step", 1.6, ""), ("left", 5, ""))
    rows = [
        (one["host"], named(frame, one["step"].partition("@")[0]), mono(one["path"]))
        for one in frame.started.payload["leaves"]
    ]
    reason = frame.say("form_install.undo_reason", reason=frame.started.payload["reason"])
    parts = [
        replace(steps(frame, frame.say("form_install.undo_steps")), note=""),
        commands(frame, frame.say("form_install.undo_commands")),
        Table(frame.say("form_install.left"), described, tuple(rows), note=reason),
        faults(frame),
    ]
    totals = frame.say("form_install.totals_undo", **counted(frame))
    return frame.document(
        KIND, frame.say("form_install.title_undo"), tuple(one for one in parts if one), totals=totals, landscape=True
    )


def _release(frame: Frame) -> Table:
    described = columns(
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
    return Table(frame.say("form_install.release"), described, rows)


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
    described = columns(frame, ("gate", 1.4, ""), ("state", 0.8, ""), ("ground", 2.6, ""), ("remark", 3, ""))
    started = frame.started.payload
    check = [one for one in frame.store.events(kind="check.finished") if one.run == started["check_run"]]
    at = frame.when(check[-1].payload["collected"]) if check else "—"
    environment = mono(_number(frame, check[-1].run) if check else None)
    rows: list[Row] = [(frame.say("form_install.gate.environment"), frame.result("pass"), environment, at)]
    # Asked again when the run was taken up with something else: the newest answer of each gate counts.
    passed = {gate["gate"]: gate for one in _starts(frame) for gate in one.get("gates", [])}
    # One that showed itself only when the hosts had said what an installation would change.
    passed |= {one.payload["gate"]: one.payload for one in frame.of_kind("gate.passed")}
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
        elif gate["gate"] == "backup":
            ground = frame.say("form_install.not_asked.backup")
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
    return Table(frame.say("form_install.grounds"), described, tuple(rows))


def _backups(frame: Frame) -> Table:
    """The backups that this run made or used: before, after, and the one that was restored."""
    described = columns(
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
    return Table(frame.say("form_install.backups"), described, tuple(rows), empty=frame.say("form_install.no_backup"))


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


def _parameters(frame: Frame) -> Table | None:
    """What the steps were given where it differs from the deployment before; all of it on a first installation."""
    now = _last(frame).get("parameters")
    if not now:
        return None
    found = changes(frame, now)
    # On a first installation there is nothing old, and the files get the room.
    old_width = 2.2 if any(old for _, _, old, _ in found) else 0.6
    described = columns(
        frame, ("parameter", 2, ""), ("old", old_width, ""), ("new", 2.6, ""), ("step_host", 2, ""), ("file", 3.2, "")
    )
    rows: list[Row] = []
    for step, name, old, new in found:
        recipe, _, host = step.partition("@")
        rows.append(
            (mono(name), mono(old), mono(new), f"{host} {named(frame, recipe)}", mono(_file(frame, step, name)))
        )
    note = frame.say("form_install.parameters_note")
    empty = frame.say("form_install.same_parameters")
    return Table(frame.say("form_install.parameters"), described, tuple(rows), empty=empty, note=note)


def _file(frame: Frame, step: str, parameter: str) -> str | None:
    """The file that holds a parameter, or one of its parts; None where the recipe cannot say.

    Where the host decides among several, it is the one that the step has written.
    """
    declared = _last(frame).get("files", {}).get(step, {})
    # The name of a part may have dots itself: ``zones.his.example``.
    words = parameter.split(".")
    names = [".".join(words[:count]) for count in range(len(words), 0, -1)]
    files: list[str] = next((declared[one] for one in names if one in declared), [])
    if len(files) > 1:
        ops = [one.payload for one in frame.store.events(kind="op.finished")]
        written = {file["path"] for op in ops if op["step"] == step for file in op.get("files", [])}
        files = [one for one in files if one in written]
    return files[0] if len(files) == 1 else None


def _rollback(frame: Frame) -> Table:
    """A rollback's own limits, the one that followed a failed deployment, or the way back if one is needed."""
    described = columns(
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
    return Table(frame.say("form_install.rollback"), described, tuple(rows), note=frame.say("form_install.limits"))


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
    described = columns(frame, ("url", 3, ""), ("host", 1, ""), ("browser", 3, ""))
    return Table(frame.say("form_install.access"), described, tuple(rows)) if rows else None


def _packages(frame: Frame) -> Table:
    described = columns(frame, ("host", 0.7, ""), ("sent", 1, "right"), ("package", 6, ""))
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
    return Table(frame.say("form_install.packages"), described, tuple(rows), empty=frame.say("form_install.none_sent"))
