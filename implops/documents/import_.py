"""导入数据清单 (F4): every file with its proof, and three annexes: how columns were mapped, what was rejected, a sample
that the customer compares and signs. From the store only.
"""

from __future__ import annotations

from typing import Any

from implops.documents.common import Frame, clock, duration, error_text, mono, short_hash
from implops.documents.model import Cell, Column, Document, Language, Paragraph, Part, SignOff, State, Table
from implops.store import Event, Store

KIND = "IMP"
VERBS = ("import",)

_COUNTS = ("inserted", "updated", "unchanged", "deleted")
_RESULTS: dict[str, State] = {
    "loaded": "pass", "already": "pass", "partly": "warn", "good": "skip", "skipped": "skip",
    "rejected": "fail", "refused": "fail", "failed": "fail", "halfway": "fail", "unknown": "error",
}  # fmt: skip


def build(store: Store, run: str, number: str, language: Language) -> Document:
    """The list of one run. Raises InputError when the store has no such import."""
    frame = Frame.of(store, run, VERBS, number, language)
    batches = [_Batch(frame, event) for event in frame.of_kind("batch.finished")]
    parts: list[Part] = [_files(frame, batches), _proofs(frame, batches), _sums(frame, batches)]
    if notes := [batch for batch in batches if batch.given.get("error")]:
        parts.append(_faults(frame, notes))
    if fired := [batch for batch in batches if batch.given.get("triggers")]:
        parts.append(_triggers(frame, fired))
    if overruled := frame.started.payload.get("overruled"):
        parts.append(_overruled(frame, overruled))
    parts += [_backups(frame), _mapped(frame, batches), _rejected(frame, batches), _sample(frame, batches)]
    totals = frame.say(
        "form_import.totals",
        files=len(batches),
        rows=sum(batch.rows["file"] for batch in batches),
        inserted=sum(batch.taken for batch in batches),
        rejected=sum(batch.rows["rejected"] for batch in batches),
    )
    return frame.document(KIND, frame.say("form_import.title"), tuple(parts), totals=totals, landscape=True)


class _Batch:
    """One ``batch.finished`` with the time its loading began."""

    def __init__(self, frame: Frame, event: Event) -> None:
        self.frame, self.event, self.given = frame, event, event.payload
        starts = [one for one in frame.of_kind("batch.started") if one.payload["batch"] == self.given["batch"]]
        self.started = starts[0].time if starts else None
        self.rows: dict[str, int] = self.given["rows"]

    @property
    def file(self) -> str:
        return str(self.given["file"])

    def result(self) -> Cell:
        outcome = str(self.given["outcome"])
        return Cell(self.frame.say(f"form_import.outcome.{outcome}"), state=_RESULTS[outcome])

    @property
    def taken(self) -> int:
        """Rows of the file that stand in the table after the run."""
        return sum(self.rows.get(name, 0) for name in ("inserted", "updated", "unchanged")) + self.resumed

    @property
    def resumed(self) -> int:
        """Rows that an earlier run had committed, batch by batch."""
        return int(self.given.get("resumed", 0))

    def written(self) -> str:
        """``1000``, or how many of them were new when a mode other than insert was used."""
        if self.resumed:
            return self.frame.say("form_import.resumed", count=self.taken, resumed=self.resumed)
        if self.given["mode"] == "insert":
            return str(self.taken)
        mode = self.frame.say(f"form_import.mode.{self.given['mode']}")
        counts = {name: self.rows.get(name, 0) for name in _COUNTS}
        return self.frame.say("form_import.written", count=self.taken, mode=mode, **counts)

    def encodings(self) -> str:
        return f"{self.given['encoding']['declared']} / {self.given.get('server_encoding', '—')}"


def _columns(frame: Frame, *described: tuple[str, float, str]) -> tuple[Column, ...]:
    return tuple(
        Column(frame.say(f"form_import.column.{name}"), width, "right" if align == "right" else "left")
        for name, width, align in described
    )


def _files(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(
        frame,
        ("batch", 0.5, ""), ("file", 1.5, ""), ("sha256", 1.6, ""), ("encodings", 1.2, ""), ("target", 1.4, ""),
        ("source_rows", 0.8, "right"), ("inserted", 0.8, "right"), ("rejected", 0.7, "right"),
        ("table_rows", 1.1, "right"), ("difference", 0.6, "right"), ("sums_equal", 0.9, ""),
        ("sampled", 0.8, "right"), ("started", 0.9, ""), ("finished", 0.9, ""), ("result", 1.3, ""),
    )  # fmt: skip
    rows = []
    for batch in batches:
        given, table, spot = batch.given, batch.given.get("table"), batch.given.get("spot")
        same = sum(one["source"] == one["target"] for one in spot["rows"]) if spot else 0
        read = "before" not in given and "proof" in given
        loaded = table is not None
        rows.append((
            str(given["batch"]), batch.file, short_hash(given.get("sha256")), batch.encodings(),
            mono(given["target"].partition(".")[2].removeprefix("public.")),
            str(batch.rows["file"]) if read else "—",
            batch.written() if loaded else "0",
            str(batch.rows["rejected"]) if read else "—",
            f"{table['before']} → {table['after']}" if table else "—",
            str(batch.rows["file"] - batch.taken - batch.rows["rejected"]) if loaded else "—",
            frame.say("form_import.equal" if _equal(given) else "form_import.unequal") if loaded else "—",
            f"{len(spot['rows'])}/{same}" if spot else "—",
            clock(batch.started), clock(batch.event.time) if loaded else "—", batch.result(),
        ))  # fmt: skip
    return Table(frame.say("form_import.files"), columns, tuple(rows), empty=frame.say("form_import.no_files"),
                 note=frame.say("form_import.files_note"))  # fmt: skip


def _equal(given: dict[str, Any]) -> bool:
    sums = all(one["file"] == one["table"] for one in given["columns"].values())
    return sums and given["row_hash"]["file"] == given["row_hash"]["table"]


def _proofs(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(
        frame, ("file", 1.5, ""), ("bytes", 0.9, "right"), ("full_sha256", 3.2, ""), ("encoding", 1, ""),
        ("proof", 3.4, ""), ("row_hash", 2.4, ""),
    )  # fmt: skip
    rows = []
    for batch in batches:
        given = batch.given
        proof, hashes = given.get("proof"), given.get("row_hash")
        told = "—"
        if proof:
            told = frame.say("form_import.proof", bytes=proof["bytes"], nonascii=proof["nonascii_lines"],
                             bad=proof["undecodable_lines"], strangers=proof["strangers"], lead=_lead(frame, proof),
                             bom=frame.say("form_import.yes" if proof["bom"] else "form_import.no"))  # fmt: skip
        rows.append((
            batch.file, str(given.get("bytes", "—")), mono(given.get("sha256")),
            given["encoding"]["declared"], told,
            mono(f"{hashes['file']} | {hashes['table']}") if hashes else "—",
        ))  # fmt: skip
    return Table(frame.say("form_import.proofs"), columns, tuple(rows), note=frame.say("form_import.proofs_note"))


def _lead(frame: Frame, proof: dict[str, Any]) -> str:
    lead = proof["lead_milli"]
    if lead is None:
        return frame.say("form_import.alone")
    shown = f"{'-' if lead < 0 else ''}{abs(lead) // 1000}.{abs(lead) % 1000:03d}"
    return frame.say("form_import.lead", lead=shown)


def _sums(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(frame, ("file", 1.5, ""), ("to", 1.2, ""), ("count", 1.6, ""), ("length", 1.8, ""),
                       ("sum", 2.6, ""), ("same", 0.8, ""))  # fmt: skip
    rows = []
    for batch in batches:
        compared = batch.given.get("columns", {})
        for name in [one["to"] for one in batch.given["map"] if one["to"] in compared]:
            mine, theirs = compared[name]["file"], compared[name]["table"]
            total = f"{mine['sum']} | {theirs['sum']}" if mine["sum"] is not None else "—"
            length = f"{mine['length']} | {theirs['length']}" if mine["length"] is not None else "—"
            rows.append((
                batch.file, mono(name), f"{mine['count']} | {theirs['count']}",
                length, total, _same(frame, mine == theirs),
            ))  # fmt: skip
    return Table(frame.say("form_import.sums"), columns, tuple(rows), empty=frame.say("form_import.nothing_loaded"),
                 note=frame.say("form_import.sums_note"))  # fmt: skip


def _same(frame: Frame, same: bool) -> Cell:
    return Cell(frame.say("form_import.equal" if same else "form_import.unequal"), state="pass" if same else "fail")


def _faults(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(frame, ("file", 1, ""), ("remark", 5, ""))
    rows = tuple((batch.file, error_text(batch.given["error"], frame.language)) for batch in batches)
    return Table(frame.say("form_import.faults"), columns, rows)


def _triggers(frame: Frame, batches: list[_Batch]) -> Paragraph:
    told = {
        frame.say("form_import.triggers", table=batch.given["target"], names=" ".join(batch.given["triggers"]))
        for batch in batches
    }
    return Paragraph("\n".join(sorted(told)), frame.say("form_import.triggers_title"))


def _overruled(frame: Frame, overruled: list[dict[str, Any]]) -> Paragraph:
    told = [
        frame.say("form_import.overruled", refusal=error_text(one, frame.language), reason=one["reason"])
        for one in overruled
    ]
    return Paragraph("\n".join(told), frame.say("form_import.overruled_title"))


def _backups(frame: Frame) -> Paragraph:
    before = frame.started.payload["backup_before"] or {}
    after = frame.payload("backup_after")
    approval = frame.started.payload["approval"] or {}
    none = frame.say("form_import.none")
    return Paragraph(
        frame.say(
            "form_import.backups",
            before=before.get("run", none),
            before_time=frame.when(before.get("time")),
            after=after["run"] if after else none,
            after_time=frame.when(after["time"]) if after else "—",
            approver=approval.get("approver", none),
            approved=frame.when(approval.get("time")),
            took=duration(_milliseconds(frame)),
            rehearsed=frame.say(f"form_import.{'' if frame.started.payload.get('test_run') else 'not_'}rehearsed"),
        ),
        frame.say("form_import.backups_title"),
    )


def _milliseconds(frame: Frame) -> int | None:
    from datetime import datetime

    if frame.finished is None:
        return None
    begun, ended = datetime.fromisoformat(frame.started.time), datetime.fromisoformat(frame.finished.time)
    return round((ended - begun).total_seconds() * 1000)


def _mapped(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(frame, ("file", 1.5, ""), ("from", 1.2, ""), ("to", 1.2, ""), ("conversion", 3.5, ""))
    rows: list[tuple[Cell | str, ...]] = []
    for batch in batches:
        for one in batch.given["map"]:
            source = one["from"] if one["from"] is not None else frame.say("form_import.constant", value=one["value"])
            changes = batch.given.get("changes", {}).get(one["to"], {})
            rows.append((batch.file, source, mono(one["to"]), _conversion(frame, one["rules"], changes)))
        rows += [(batch.file, ignored, "—", frame.say("form_import.ignored")) for ignored in batch.given["ignored"]]
    return Table(frame.say("form_import.annex_map"), columns, tuple(rows), empty=frame.say("form_import.none"))


def _conversion(frame: Frame, rules: dict[str, Any], changes: dict[str, Any]) -> str:
    """The rules of a column, and how often each changed a value, with the first change."""
    words = [frame.say(f"form_import.type.{rules['type'].partition('(')[0]}", type=rules["type"])]
    for name in ("required", "unique", "multiline", "empty"):
        if rules.get(name):
            words.append(frame.say(f"form_import.rule.{name}"))
    for name in ("length_min", "length_max", "min", "max", "pattern", "default", "dict", "ref", "formats", "units",
                 "map"):  # fmt: skip
        if name in rules:
            words.append(frame.say(f"form_import.rule.{name}", value=rules[name]))
    if rules.get("allow"):
        words.append(frame.say("form_import.rule.allow"))
    words += [frame.say(f"import.rule.{name}") for name in rules.get("clean", []) if name not in changes]
    for name, change in changes.items():
        line, before, after = change["samples"][0]
        words.append(frame.say("form_import.changed", rule=frame.say(f"import.rule.{name}"), count=change["count"],
                               line=line, before=before, after=after))  # fmt: skip
    return frame.say("form_import.and").join(words)


def _rejected(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(frame, ("file", 1.5, ""), ("line", 0.7, "right"), ("from", 1.2, ""), ("value", 2, ""),
                       ("reason", 3, ""))  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    left = 0
    for batch in batches:
        rejects = batch.given.get("rejects", {"first": [], "total": 0})
        left += rejects["total"] - len(rejects["first"])
        sources = {one["to"]: one["from"] for one in batch.given["map"]}
        for reject in rejects["first"]:
            for fault in reject["faults"]:
                shown = "".join(one if one.isprintable() else "·" for one in fault["value"])
                told = error_text({"key": f"import.reason.{fault['code']}", "params": fault["params"]}, frame.language)
                rows.append((batch.file, str(reject["line"]), str(sources.get(fault["column"]) or fault["column"]),
                             shown, told))  # fmt: skip
    note = frame.say("form_import.more_rejects", count=left) if left else ""
    return Table(frame.say("form_import.annex_rejects"), columns, tuple(rows),
                 empty=frame.say("form_import.no_rejects"), note=note)  # fmt: skip


def _sample(frame: Frame, batches: list[_Batch]) -> Table:
    columns = _columns(
        frame, ("file", 1.2, ""), ("line", 0.6, "right"), ("key", 1.1, ""), ("fields", 2.2, ""),
        ("source_value", 2.6, ""), ("target_value", 2.6, ""), ("same", 0.7, ""),
    )  # fmt: skip
    rows: list[tuple[Cell | str, ...]] = []
    seeds = []
    for batch in batches:
        spot = batch.given.get("spot")
        if not spot or not spot["rows"]:
            continue
        seeds.append(spot["seed"])
        names = " · ".join(spot["columns"])
        rows += [
            (batch.file, str(one["line"]), mono(" ".join(one["key"])), names, " · ".join(one["source"]),
             " · ".join(one["target"]), _same(frame, one["source"] == one["target"]))
            for one in spot["rows"]
        ]  # fmt: skip
    note = frame.say("form_import.seeds", seeds=" ".join(seeds)) if seeds else ""
    signer = SignOff((frame.say("form_import.sample_signer"),), frame.say("form.signoff.date"))
    return Table(frame.say("form_import.annex_sample"), columns, tuple(rows),
                 empty=frame.say("form_import.nothing_loaded"), note=note,
                 signoff=signer if rows else None)  # fmt: skip
