"""``implops import dry-run|run SITE [MAPPING…]``: base data loaded, proved, then kept or rolled back; backed up."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.import_ask import stop_if_asked
from implops.cli.import_check import answer, argument, check_all, chosen, code, progress, remember
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.baseload.batch import Batch
    from implops.baseload.load import Job
    from implops.baseload.mapping import Mapping
    from implops.baseload.server import Server
    from implops.errors import HostError
    from implops.gates.imports import Opened, Wanted
    from implops.store import Event, Run


@verb("import.dry_run", name="dry-run")
@argument
def dry_run(session: Session, mappings: tuple[str, ...]) -> int:
    from implops import lock
    from implops.baseload.server import reach
    from implops.store.events import new_run

    files = chosen(session, mappings)
    stop_if_asked(session, files)
    run_id, operator = new_run(), session.operator
    with lock.hold(session.site.state, "import", run_id, operator), reach(session.site) as server:
        batches = check_all(session, server, files)
        for number, batch in enumerate(batches, start=1):
            if batch.outcome == "good" and _parents_waiting(batch, batches):
                # What was rolled back is not there for its children.
                session.story(texts.say("import.parents_first", name=batch.mapping.name))
                batch.outcome = "skipped"
            elif batch.outcome == "good":
                session.story(texts.say("import.rehearsing", name=batch.mapping.name, table=batch.mapping.target))
                _load(session, server, batch, number, run_id, keep=False)
                if _lacks_parent(batch) and any(one.loaded for one in batches[: number - 1]):
                    session.story(texts.say("import.parents_first", name=batch.mapping.name))
                    batch.outcome, batch.error = "skipped", None
            remember(session, batch, "rehearsed", run_id, good=batch.outcome in ("loaded", "partly", "already"))
    answer(session, batches)
    session.story(texts.say("import.rolled_back"))
    return code(batches)


@verb("import.run", name="run")
@click.option("--yes", is_flag=True, help=texts.say("cli.yes"))
@click.option("--i-know", "i_know", metavar="REASON", help=texts.say("import.i_know"))
@argument
def run(session: Session, mappings: tuple[str, ...], yes: bool, i_know: str | None) -> int:
    from implops import lock, machine
    from implops.cli.forms import emit
    from implops.errors import InputError
    from implops.gates import imports
    from implops.store import record
    from implops.store.events import new_run

    site, run_id = session.site, new_run()
    files = chosen(session, mappings)
    stop_if_asked(session, files)
    if site.backup is None:
        raise InputError("import.no_backup_part", site=session.path.name)
    if i_know is not None and not i_know.strip():
        raise InputError("import.no_reason")
    with lock.hold(site.state, "import", run_id, session.operator):
        opened = imports.require(session.store, site, [_wanted(one) for one in files], overrule=i_know is not None)
        for refusal in opened.overruled:
            session.story(texts.say("import.overruled", refusal=refusal, reason=i_know))
        assert site.database
        names = " → ".join(one.name for one in files)
        session.story(texts.say("import.plan", count=len(files), database=site.database.name,
                                host=site.only("db").name, names=names))  # fmt: skip
        session.ask(texts.say("import.confirm"), yes=yes)
        started = _started(opened, files, i_know) | {"local_machine": machine.ready(site.state, disk=64 * 2**20)}
        try:
            with record(session.store, site, "import", session.operator, started, run_id) as entry:
                batches = _import(session, entry, files, run_id)
                after = _back_up(session, batches)
                _finish(entry, batches, after)
        finally:
            emit(session, "import", run_id)
        if after:
            emit(session, "backup", after.run)
    answer(session, batches)
    written = [one for one in batches if one.loaded]
    if written:
        rows = sum(one.loaded.rows for one in written if one.loaded)
        session.story(texts.say("import.done", files=len(written), rows=rows))
    elif not any(one.bad for one in batches):
        session.story(texts.say("import.nothing"))
    return code(batches)


def _wanted(mapping: Mapping) -> Wanted:
    from implops.errors import InputError
    from implops.gates.imports import Wanted

    try:
        with mapping.file.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError("import.unreadable", file=mapping.file, why=error.strerror) from None
    gates = mapping.gates
    return Wanted(mapping.name, sha256, mapping.sha256, gates.test_run, gates.backup_minutes, gates.approved_by)


def _started(opened: Opened, files: Sequence[Mapping], reason: str | None) -> dict[str, Any]:
    consent, backup = opened.approval, opened.backup
    return {
        "deploy": opened.deploy.run,
        "approval": {"approver": consent.approver, "time": consent.time} if consent else None,
        "backup_before": {"run": backup.run, "time": backup.time} if backup else None,
        "overruled": [
            {"key": one.key, "params": {name: str(value) for name, value in one.params.items()}, "reason": reason}
            for one in opened.overruled
        ],
        "imports": [one.name for one in files],
        "test_run": all(one.gates.test_run for one in files),
    }


def _parents_waiting(batch: Batch, batches: Sequence[Batch]) -> bool:
    """Its parents are only rehearsed, so a reference to them finds nothing in the database."""
    loading = {one.mapping.name for one in batches if one is not batch and one.outcome not in ("already",)}
    tables = {one.mapping.target.table for one in batches if one.mapping.name in loading}
    refs = {column.ref.table for column in batch.mapping.columns.values() if column.ref}
    return bool(tables & refs)


def _lacks_parent(batch: Batch) -> bool:
    """The database refused a row for want of the row that it refers to."""
    return batch.error is not None and batch.error.params.get("state") in ("23503", "1452/23000")


def _import(session: Session, entry: Run, files: list[Mapping], run_id: str) -> list[Batch]:
    """Check everything first; load nothing when a file is refused."""
    from implops.baseload.server import reach

    with reach(session.site) as server:
        batches = check_all(session, server, files)
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
                    assert batch.checked
                    entry.event("batch.started", {"batch": number, "import": batch.mapping.name,
                                                  "sha256": batch.checked.proof.sha256})  # fmt: skip
                    try:
                        _load(session, server, batch, number, run_id, keep=True)
                    except BaseException:
                        entry.event("batch.finished", batch.payload(number))
                        raise
                    failed = batch.bad
            entry.event("batch.finished", batch.payload(number))
    return batches


def _load(session: Session, server: Server, batch: Batch, number: int, run_id: str, *, keep: bool) -> None:
    """One file. What goes wrong with the data stays in the batch; a lost server or another import ends the run."""
    from implops.baseload.load import CommitUnknown, Job, load
    from implops.errors import DataError, HostError

    checked = batch.checked
    assert checked
    one, good = batch.mapping, checked.tally.good
    batch.seed = f"{run_id}/{number}"
    places = random.Random(batch.seed).sample(  # noqa: S311 - a repeatable sample, no secret
        range(good), min(one.verify.spot, good)
    )
    job = Job(
        server=server, mapping=one, table=checked.table, cells=checked.cells, proof=checked.proof,
        import_id=f"{run_id}/{number}", skip=frozenset(reject.line for reject in checked.rejects),
        rejected=checked.tally.rejected, spots=frozenset([*places, *([0, good - 1] if good else [])]),
        progress=progress(session, checked.proof.lines), keep=keep,
        past=checked.past, suspects=checked.suspects,
    )  # fmt: skip
    try:
        load(job)
    except CommitUnknown as error:
        _settle(session, batch, job, error)
    except DataError as error:
        batch.error = error
        session.story(f"  {error}")
    except HostError as error:
        batch.error = error
        raise
    finally:
        _account(session, batch, job)


def _account(session: Session, batch: Batch, job: Job) -> None:
    """However the load ended: what of the file is in the table now."""
    loaded = job.loaded
    if loaded.whole:
        batch.loaded, batch.outcome = loaded, "partly" if job.rejected else "loaded"
        if loaded.resumed:
            session.story(texts.say("import.resumed", rows=loaded.resumed))
        counts = {name: getattr(loaded, name) for name in ("rows", "inserted", "updated", "unchanged")}
        session.story(texts.say("import.loaded" if job.keep else "import.rehearsed", **counts))
    elif batch.outcome != "unknown":
        batch.outcome = "failed"
        if job.keep and loaded.batches + len(job.past.batches):
            loaded.resumed = job.past.rows
            batch.loaded, batch.outcome = loaded, "halfway"
            told = texts.say("import.halfway", rows=loaded.rows + loaded.resumed, name=batch.mapping.name)
            session.story(told)


def _settle(session: Session, batch: Batch, job: Job, error: HostError) -> None:
    """The connection broke around COMMIT: the log table in the database says whether it went through."""
    from implops.baseload.past import past
    from implops.baseload.server import reach
    from implops.baseload.target import describe
    from implops.errors import HostError

    batch.error, batch.outcome = error, "unknown"
    with reach(session.site) as server:
        there = past(server, batch.mapping, job.proof.sha256).batches
        found = [one for one in there if one.import_id == job.import_id]
        after = describe(server, batch.mapping).rows
    batch.error, batch.outcome = None, "good"
    loaded = job.loaded
    if len(found) > loaded.batches:
        loaded.after, loaded.batches, loaded.whole = after, len(found), found[-1].last_byte > 0
        loaded.inserted += sum(one.rows for one in found) - loaded.rows
        loaded.state.row_hash = loaded.tally.row_hash = sum(int(one.row_hash) for one in found)
        session.story(texts.say("import.settled"))
    if not loaded.whole:
        batch.error = HostError("import.server_lost", **error.params)
        raise batch.error


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
