"""``implops import check SITE [MAPPING…]``: customer files judged against the live database; and what run shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.import_ask import stop_if_asked
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.baseload.batch import Batch
    from implops.baseload.judge import Known
    from implops.baseload.mapping import Mapping
    from implops.baseload.server import Foreign, Server

# Rows between two looks at the clock cost nothing; a line of progress every two seconds.
_PROGRESS_SECONDS = 2.0
_SHOWN_REJECTS = 10


def argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("mappings", nargs=-1, metavar=f"[{texts.say('import.argument')}]...")(function)


@verb("import.check", name="check")
@argument
def check(session: Session, mappings: tuple[str, ...]) -> int:
    from implops.baseload.server import reach
    from implops.store.events import new_run

    files = chosen(session, mappings)
    stop_if_asked(session, files)
    run_id, _ = new_run(), session.operator
    with reach(session.site) as server:
        batches = check_all(session, server, files)
    for batch in batches:
        remember(session, batch, "checked", run_id, good=not batch.bad)
    answer(session, batches)
    bad = sum(one.bad for one in batches)
    site = session.path.name
    session.story(texts.say("import.some_bad", bad=bad) if bad else texts.say("import.all_good", site=site))
    return code(batches)


def chosen(session: Session, words: tuple[str, ...]) -> list[Mapping]:
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


def check_all(session: Session, server: Server, chosen: list[Mapping]) -> list[Batch]:
    """Every file is judged, parents before children, so that the customer hears of all faults at once."""
    from implops.baseload import order, rejects
    from implops.baseload.batch import Batch
    from implops.baseload.check import check as check_one
    from implops.baseload.check import wanted_codes
    from implops.errors import DataError, InputError

    foreign = server.foreign_keys()
    chosen = _arranged(session, server, chosen, foreign)
    referred = order.needs(server, chosen, ())
    pending: Known = {}
    batches: list[Batch] = []
    refused: set[str] = set()
    for number, one in enumerate(chosen):
        session.story(texts.say("import.checking", name=one.name, file=one.file.name))
        _tell_empty_parents(session, server, one, chosen, foreign)
        if refused & referred[one.name]:
            # Its parents are not known, so its references cannot be judged.
            batches.append(Batch(one, "skipped"))
            refused.add(one.name)
            continue
        try:
            checked = check_one(server, one, pending, wanted_codes(one, chosen[number + 1 :]),
                                lambda lines: progress(session, lines))  # fmt: skip
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


def _arranged(session: Session, server: Server, chosen: list[Mapping], foreign: Foreign) -> list[Mapping]:
    """Parents first; what that changes, and what goes round in a circle, is told."""
    from implops.baseload import order

    arranged, circles = order.arrange(chosen, order.needs(server, chosen, foreign))
    for names in circles:
        session.story(texts.say("import.order_circle", names=" ".join(names)))
    if arranged != chosen:
        session.story(texts.say("import.order", names=" → ".join(one.name for one in arranged)))
    return arranged


def _tell_empty_parents(
    session: Session, server: Server, one: Mapping, chosen: list[Mapping], foreign: Foreign
) -> None:  # fmt: skip
    """A table that this one refers to is empty, and nothing of this run fills it."""
    from implops.baseload import mapping, order

    mine = order.here(server, one)
    tables = order.parents_of(server, one) | {parent for child, parent in foreign if child == mine}
    for schema, table in sorted(tables - {order.here(server, other) for other in chosen}):
        if not server.empty(schema, table):
            continue
        others = [mapping.load(path) for path in session.site.data]
        names = [other.name for other in others if order.here(server, other) == (schema, table)]
        key = "import.parent_empty" if names else "import.parent_empty_unknown"
        session.story(texts.say(key, name=one.name, table=table, parent=" ".join(names)))


def remember(session: Session, batch: Batch, kind: str, run_id: str, *, good: bool) -> None:
    """What the gate of ``run`` asks for: which bytes and which mapping were judged, and how."""
    found = {
        "import": batch.mapping.name,
        "sha256": batch.checked.proof.sha256 if batch.checked else None,
        "mapping_sha256": batch.mapping.sha256,
        "outcome": batch.outcome,
        "rows": batch.counted.rows,
        "rejected": batch.counted.rejected,
        "good": good,
    }
    session.store.append(f"import.{kind}", found, run=run_id, operator=session.operator)


def _tell(session: Session, batch: Batch) -> None:
    checked = batch.checked
    assert checked
    proof, tally = checked.proof, checked.tally
    if checked.loaded:
        session.story(texts.say("import.already", time=checked.loaded["committed_at"]))
        return
    session.story(texts.say("import.checked", encoding=batch.mapping.source.declared, bytes=proof.bytes,
                            rows=tally.rows, good=tally.good, rejected=tally.rejected))  # fmt: skip
    if 0 < proof.crlf < proof.lines:
        session.story(texts.say("import.noted_crlf", crlf=proof.crlf, lf=proof.lines - proof.crlf))
    if proof.bom:
        session.story(texts.say("import.noted_bom"))
    if checked.table.triggers:
        session.story(texts.say("import.noted_triggers", names=" ".join(checked.table.triggers)))
    if checked.past.round > 1:
        session.story(texts.say("import.noted_again", round=checked.past.round))
    if tally.blank:
        session.story(texts.say("import.noted_blank", count=tally.blank))
    for key, value in tally.notes.items():
        session.story(texts.say(f"import.{key}", value=value))
    for name, rules in checked.changes.items():
        for rule, change in rules.items():
            line, before, after = change.samples[0]
            session.story(texts.say("import.noted_changes", column=batch.mapping.columns[name].source,
                                    rule=texts.say(f"import.rule.{rule}"), count=change.count, line=line,
                                    before=before, after=after))  # fmt: skip


def progress(session: Session, lines: int) -> Callable[[int, int], None]:
    """Told rows and line, prints rate and, of a file with so many ``lines`` (0: not known), the time left."""
    from implops.units import format_seconds

    begun = last = time.monotonic()

    def told(rows: int, line: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            rate = line / (now - begun)
            left = texts.say("import.left", time=format_seconds((lines - line) / rate)) if lines > line else ""
            session.story(texts.say("import.progress", rows=rows, rate=round(rate), left=left))

    return told


def code(batches: list[Batch]) -> int:
    """2 for a mapping, header or encoding that must be mended first, 1 for bad rows, 0 when everything is in."""
    codes = {one.error.code for one in batches if one.error}
    if 2 in codes:
        return 2
    return 1 if codes or any(one.bad or one.outcome == "partly" for one in batches) else 0


def answer(session: Session, batches: list[Batch]) -> None:
    if session.as_json:
        session.answer({"batches": [one.payload(number) for number, one in enumerate(batches, start=1)]})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "table", "encoding", "rows", "good", "rejected", "result"):
        right = name in ("rows", "good", "rejected")
        table.add_column(texts.say(f"import.column.{name}"), justify="right" if right else "left", overflow="fold")
    for one in batches:
        tally = one.counted
        read = one.checked is not None and one.checked.loaded is None
        counts = [str(value) if read else "—" for value in (tally.rows, tally.good, tally.rejected)]
        row = (one.mapping.file.name, one.mapping.target.table, one.mapping.source.declared, *counts,
               texts.say(f"import.outcome.{one.outcome}"))  # fmt: skip
        # A customer's file may be called like markup.
        table.add_row(*map(Text, row))
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
