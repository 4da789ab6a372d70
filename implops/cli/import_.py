"""``implops import check|run SITE [MAPPING…]``: base data checked, loaded, proved, backed up, documented."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.import_inspect import inspect, map_
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.baseload.batch import Batch
    from implops.baseload.mapping import Mapping
    from implops.baseload.rows import Known, Tally
    from implops.baseload.server import Server
    from implops.store import Event, Run

# Rows between two looks at the clock cost nothing; a line of progress every two seconds.
_PROGRESS_SECONDS = 2.0
_SHOWN_REJECTS = 10


def _argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("mappings", nargs=-1, metavar=f"[{texts.say('import.argument')}]...")(function)


@verb("import.check", name="check")
@_argument
def check(session: Session, mappings: tuple[str, ...]) -> int:
    from implops.baseload.server import reach

    chosen = _chosen(session, mappings)
    with reach(session.site) as server:
        batches = _check_all(session, server, chosen)
    _answer(session, batches)
    bad = sum(one.bad for one in batches)
    site = session.path.name
    session.story(texts.say("import.some_bad", bad=bad) if bad else texts.say("import.all_good", site=site))
    return _code(batches)


@verb("import.run", name="run")
@click.option("--yes", is_flag=True, help=texts.say("cli.yes"))
@_argument
def run(session: Session, mappings: tuple[str, ...], yes: bool) -> int:
    from implops import lock, machine
    from implops.cli.forms import emit
    from implops.gates import imports
    from implops.store import record
    from implops.store.events import new_run

    site, run_id = session.site, new_run()
    chosen = _chosen(session, mappings)
    if site.backup is None:
        from implops.errors import InputError

        raise InputError("import.no_backup_part", site=session.path.name)
    with lock.hold(site.state, "import", run_id, session.operator):
        opened = imports.require(session.store, site)
        assert site.database
        names = " → ".join(one.name for one in chosen)
        session.story(texts.say("import.plan", count=len(chosen), database=site.database.name,
                                host=site.only("db").name, names=names))  # fmt: skip
        session.ask(texts.say("import.confirm"), yes=yes)
        facts = machine.ready(site.state, disk=64 * 2**20)
        started = {
            "deploy": opened.deploy.run,
            "approval": {"approver": opened.approval.approver, "time": opened.approval.time},
            "backup_before": {"run": opened.backup.run, "time": opened.backup.time},
            "local_machine": facts,
            "imports": [one.name for one in chosen],
        }
        try:
            with record(session.store, site, "import", session.operator, started, run_id) as entry:
                batches = _import(session, entry, chosen, run_id)
                after = _back_up(session, batches)
                _finish(entry, batches, after)
        finally:
            emit(session, "import", run_id)
        if after:
            emit(session, "backup", after.run)
    _answer(session, batches)
    written = [one for one in batches if one.loaded]
    if written:
        rows = sum(one.loaded.rows for one in written if one.loaded)
        session.story(texts.say("import.done", files=len(written), rows=rows))
    elif not any(one.bad for one in batches):
        session.story(texts.say("import.nothing"))
    return _code(batches)


def _chosen(session: Session, words: tuple[str, ...]) -> list[Mapping]:
    """The mappings of the site file, or those named, in the order of ``after``."""
    from implops.baseload import mapping
    from implops.errors import InputError

    site = session.site
    for path in site.data:
        if not path.is_file():
            raise InputError("import.no_mapping_file", path=path)
    all_ = [mapping.load(path) for path in site.data]
    picked: list[Mapping] = []
    for word in words:
        found = [one for one in all_ if word in (one.name, one.path.stem) or Path(word).absolute() == one.path]
        if not found and not Path(word).is_file():
            raise InputError("import.unknown_mapping", value=word, known=" ".join(one.name for one in all_))
        picked.append(found[0] if found else mapping.load(Path(word)))
    picked = picked if words else all_
    if not picked:
        raise InputError("import.no_mapping")
    for one in picked:
        if site.database and one.target.database != site.database.name:
            raise InputError("import.other_database", place=one.path.name, value=one.target.database,
                             expected=site.database.name)  # fmt: skip
    return mapping.in_order(picked, {one.name for one in all_})


def _check_all(session: Session, server: Server, chosen: list[Mapping]) -> list[Batch]:
    """Every file is judged, so that the customer hears of all faults at once."""
    from implops.baseload import rejects
    from implops.baseload.batch import Batch
    from implops.baseload.check import check as check_one
    from implops.baseload.check import wanted_codes
    from implops.errors import DataError, InputError

    pending: Known = {}
    batches: list[Batch] = []
    refused: set[str] = set()
    for number, one in enumerate(chosen):
        session.story(texts.say("import.checking", name=one.name, file=one.file.name))
        if refused.intersection(one.after):
            # Its parents are not known, so its references cannot be judged.
            batches.append(Batch(one, "skipped"))
            refused.add(one.name)
            continue
        try:
            checked = check_one(server, one, pending, wanted_codes(one, chosen[number + 1 :]), _progress(session))
        except (InputError, DataError) as error:
            session.story(f"  {error}")
            batches.append(Batch(one, "refused", error=error))
            refused.add(one.name)
            continue
        outcome = "already" if checked.loaded else "good" if checked.good else "rejected"
        batch = Batch(one, outcome, checked)
        if checked.rejects:
            path, sha256 = rejects.write(one, checked.rejects, session.site.out)
            batch.rejects = (path.name, sha256)
        else:
            rejects.clear(one, session.site.out)
        if not checked.good:
            first = checked.rejects[0]
            fault = first.faults[0]
            reason = rejects.reason(fault.code, fault.params)
            batch.error = DataError("import.rejected", file=one.file.name, rejected=checked.tally.rejected,
                                    allowed=checked.allowed, line=first.line, column=fault.column,
                                    reason=reason,
                                    rejects=f"out/{batch.rejects[0] if batch.rejects else ''}")  # fmt: skip
            session.story(f"  {batch.error}")
            refused.add(one.name)
        _tell(session, batch)
        batches.append(batch)
    return batches


def _tell(session: Session, batch: Batch) -> None:
    checked = batch.checked
    assert checked
    proof, tally = checked.proof, checked.tally
    if checked.loaded:
        session.story(texts.say("import.already", time=checked.loaded["committed_at"]))
        return
    session.story(texts.say("import.checked", encoding=batch.mapping.source.encoding, bytes=proof.bytes,
                            rows=tally.rows, good=tally.good, rejected=tally.rejected))  # fmt: skip
    if 0 < proof.crlf < proof.lines:
        session.story(texts.say("import.noted_crlf", crlf=proof.crlf, lf=proof.lines - proof.crlf))
    if proof.bom:
        session.story(texts.say("import.noted_bom"))
    if tally.blank:
        session.story(texts.say("import.noted_blank", count=tally.blank))


def _import(session: Session, entry: Run, chosen: list[Mapping], run_id: str) -> list[Batch]:
    """Check everything first; load nothing when a file is refused."""
    from implops.baseload.server import reach

    with ExitStack() as stack:
        server = stack.enter_context(reach(session.site))
        batches = _check_all(session, server, chosen)
        if any(one.bad for one in batches):
            for number, batch in enumerate(batches, start=1):
                entry.event("batch.finished", batch.payload(number))
            return batches
        failed = False
        for number, batch in enumerate(batches, start=1):
            if batch.outcome == "good":
                batch.outcome = "skipped" if failed else batch.outcome
                if not failed:
                    session.story(texts.say("import.loading", name=batch.mapping.name, table=batch.mapping.target))
                    _load(session, entry, server, batch, number, run_id)
                    failed = batch.bad
            entry.event("batch.finished", batch.payload(number))
    return batches


def _load(session: Session, entry: Run, server: Server, batch: Batch, number: int, run_id: str) -> None:
    """One file. What goes wrong with the data stays in the batch; a lost server or another import ends the run."""
    import random

    from implops.baseload.check import open_reader
    from implops.baseload.load import CommitUnknown, load
    from implops.errors import DataError

    checked = batch.checked
    assert checked
    one = batch.mapping
    entry.event("batch.started", {"batch": number, "import": one.name, "sha256": checked.proof.sha256})
    batch.seed = f"{run_id}/{number}"
    sample = random.Random(batch.seed).sample(  # noqa: S311 - a repeatable sample, no secret
        range(checked.tally.good), min(one.verify.spot, checked.tally.good)
    )
    reader = open_reader(server, one, checked.table, checked.cells, {}, hashed=True, spots=frozenset(sample))
    try:
        batch.loaded = load(server, one, checked.table, reader, checked.proof, f"{run_id}/{number}", _progress(session))
    except CommitUnknown as error:
        _settle(session, batch, error, f"{run_id}/{number}", reader.tally)
    except DataError as error:
        batch.outcome, batch.error = "failed", error
        session.story(f"  {error}")
        return
    batch.tally = reader.tally
    batch.outcome = "partly" if reader.tally.rejected else "loaded"
    session.story(texts.say("import.loaded", rows=reader.tally.good))


def _settle(session: Session, batch: Batch, error: Any, import_id: str, tally: Tally) -> None:
    """The connection broke around COMMIT: the log table in the database says whether the file is in."""
    from implops.baseload.load import Loaded
    from implops.baseload.server import reach
    from implops.baseload.target import already, describe

    checked = batch.checked
    assert checked
    with reach(session.site) as server:
        found = already(server, batch.mapping, checked.proof.sha256)
        if not found or found["import_id"] != import_id:
            raise error
        after = describe(server, batch.mapping).rows
    rows = int(found["rows"])
    batch.loaded = Loaded(rows, after - rows, after, tally.columns, found["row_hash"], "")


def _back_up(session: Session, batches: list[Batch]) -> Event | None:
    """After data has changed, the whole database is backed up (requirement G05)."""
    if not any(one.loaded for one in batches):
        return None
    from implops.backup.run import run as back_up

    with session.phase(texts.say("import.backup_follows")):
        event = back_up(session.site, session.store, session.operator, trigger="after_import")
    session.story(texts.say("import.backup_done", id=event.run))
    return event


def _finish(entry: Run, batches: list[Batch], after: Event | None) -> None:
    outcomes = {one.outcome for one in batches}
    good = "conditional" if "partly" in outcomes else "pass"
    conclusion = "fail" if any(one.bad for one in batches) else good
    counts = {outcome: sum(one.outcome == outcome for one in batches) for outcome in sorted(outcomes)}
    rows = sum(one.loaded.rows for one in batches if one.loaded)
    backup = {"run": after.run, "time": after.time} if after else None
    entry.finish(conclusion, {"outcomes": counts, "rows": rows, "backup_after": backup})


def _progress(session: Session) -> Callable[[int, int], None]:
    begun = last = time.monotonic()

    def told(rows: int, line: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            session.story(texts.say("import.progress", rows=rows, rate=round(line / (now - begun))))

    return told


def _code(batches: list[Batch]) -> int:
    """2 for a mapping, header or encoding that must be mended first, 1 for bad rows, 0 when everything is in."""
    codes = {one.error.code for one in batches if one.error}
    if 2 in codes:
        return 2
    return 1 if codes or any(one.outcome in ("partly", "rejected", "failed", "skipped") for one in batches) else 0


def _answer(session: Session, batches: list[Batch]) -> None:
    if session.as_json:
        session.answer({"batches": [one.payload(number) for number, one in enumerate(batches, start=1)]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "table", "encoding", "rows", "good", "rejected", "result"):
        right = name in ("rows", "good", "rejected")
        table.add_column(texts.say(f"import.column.{name}"), justify="right" if right else "left", overflow="fold")
    for one in batches:
        tally = one.counted
        read = one.checked is not None and one.checked.loaded is None
        counts = [str(value) if read else "—" for value in (tally.rows, tally.good, tally.rejected)]
        table.add_row(one.mapping.file.name, one.mapping.target.table, one.mapping.source.encoding, *counts,
                      texts.say(f"import.outcome.{one.outcome}"))  # fmt: skip
    session.console.print(table)
    for one in batches:
        if one.checked and one.checked.rejects:
            _print_rejects(session, one)


def _print_rejects(session: Session, batch: Batch) -> None:
    from implops.baseload.rejects import reason

    assert batch.checked
    shown = batch.checked.rejects if session.verbose else batch.checked.rejects[:_SHOWN_REJECTS]
    for reject in shown:
        for fault in reject.faults:
            column = batch.mapping.columns.get(fault.column)
            where = f" {column.source if column else fault.column}" if fault.column else ""
            value = "".join(one if one.isprintable() else "·" for one in fault.value[:60])
            told = reason(fault.code, fault.params)
            click.echo(f"{batch.mapping.file.name}:{reject.line}{where} 「{value}」 {told}")
    left = len(batch.checked.rejects) - len(shown)
    if left and batch.rejects:
        click.echo(texts.say("import.more_rejects", count=left, file=batch.rejects[0]))


command = click.Group("import", commands=[inspect, map_, check, run], help=texts.say("import.help"))
