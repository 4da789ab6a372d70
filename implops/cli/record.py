"""``implops record list|show|verify|approve``: what was done, by whom, and whether the records are still as written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb
from implops.gates.approval import SUBJECTS

if TYPE_CHECKING:
    from implops.store import Event


def runs(events: Iterable[Event], holder: str | None) -> list[dict[str, Any]]:
    """Every run with verb, times, operator and conclusion: running (it holds the lock), unfinished, or as it said."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.kind.endswith(".started") and "project" in event.payload:
            row = found.setdefault(event.run, {"run": event.run, "verb": event.kind.removesuffix(".started")})
            row.setdefault("started", event.time)
            row |= {"operator": event.operator, "finished": None, "sha256": None}
            row["conclusion"] = "running" if event.run == holder else "unfinished"
        row = found.get(event.run, {})
        if row and event.kind == f"{row['verb']}.finished":
            row |= {"finished": event.time, "sha256": event.sha256, "conclusion": event.payload["conclusion"]}
    return list(found.values())


@verb("record.list", name="list")
def listed(session: Session) -> int:
    from implops import lock

    holder = lock.holder(session.site.state)
    rows = runs(session.store.events(), str(holder["run"]) if holder else None)
    if session.as_json:
        session.answer({"runs": rows})
        return 0
    if not rows:
        session.story(texts.say("record.none", site=session.path.name))
        return 0
    from rich.table import Table

    from implops.documents.common import when

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "verb", "started", "operator", "conclusion"):
        table.add_column(texts.say(f"record.column.{name}"), overflow="fold", no_wrap=name == "run")
    for row in rows:
        table.add_row(row["run"], row["verb"], when(row["started"], "en")[:19], row["operator"], conclusion(row))
    session.console.print(table)
    return 0


@click.argument("run")
@verb("record.show", name="show")
def show(session: Session, run: str) -> int:
    from implops.errors import InputError

    events = session.store.events(run=full_run(session, run))
    if not events:
        raise InputError("document.unknown_run", run=run)
    if session.as_json:
        session.answer({"run": events[0].run, "events": [_plain(event) for event in events]})
        return 0
    import json

    for event in events:
        click.echo(f"{event.sequence:>5}  {event.time}  {event.kind}  {event.operator}  {event.sha256[:16]}")
        # started repeats the whole site; its parts are shown with -v
        if session.verbose or not event.kind.endswith(".started"):
            click.echo("       " + json.dumps(event.payload, ensure_ascii=False, sort_keys=True))
        for sha256 in event.evidence:
            click.echo("       " + texts.say("record.evidence", sha256=sha256))
    return 0


@verb("record.verify", name="verify")
def verify(session: Session) -> int:
    broken = sorted({*session.store.broken(), *_unkept(session)})
    events = session.store.events()
    last = events[-1].sha256 if events else ""
    if session.as_json:
        session.answer({"events": len(events), "broken": broken, "last": last})
    elif broken:
        shown = " ".join(map(str, broken[:20])) + (f" …(+{len(broken) - 20})" if len(broken) > 20 else "")
        click.echo(texts.say("record.broken", count=len(broken), sequences=shown))
    elif events:
        click.echo(texts.say("record.whole", count=len(events), sha256=last[:16]))
    else:
        click.echo(texts.say("record.none", site=session.path.name))
    return 1 if broken else 0


@click.option("--subject", required=True, type=click.Choice(SUBJECTS), help=texts.say("record.option.subject"))
@click.option("--approver", required=True, help=texts.say("record.option.approver"))
@click.option("--reason", required=True, help=texts.say("record.option.reason"))
@click.option("--run", default="", help=texts.say("record.option.run"))
@click.option("--change", metavar="ID", default="", help=texts.say("record.option.change"))
@verb("record.approve", name="approve")
def approve(session: Session, subject: str, approver: str, reason: str, run: str, change: str) -> int:
    from implops.deploy import release
    from implops.errors import InputError
    from implops.store.events import new_run

    if not approver.strip() or not reason.strip():
        raise InputError("record.empty")
    of_run = full_run(session, run) if run else ""
    if of_run and not session.store.events(run=of_run):
        raise InputError("document.unknown_run", run=run)
    payload = {
        "subject": subject,
        "approver": approver.strip(),
        "reason": reason.strip(),
        "of_run": of_run,
        "lab": session.site.is_lab,
        "site_sha256": session.site.model_sha256,
    }
    if subject == "deploy":
        payload |= {"change": change.strip(), "release_sha256": release.of_site(session.site)}
    event = session.store.append("approval", payload, run=of_run or new_run(), operator=session.operator)
    if session.as_json:
        session.answer(_plain(event))
    else:
        click.echo(texts.say("record.approved", subject=subject, approver=approver.strip(), sequence=event.sequence))
    return 0


def full_run(session: Session, run: str) -> str:
    """A run id, or the end or beginning of one that fits a single run: ids are long to type."""
    from implops.errors import InputError

    ids = dict.fromkeys(event.run for event in session.store.events())
    wanted = run.upper()
    fitting = [one for one in ids if one == wanted] or [
        one for one in ids if len(wanted) >= 4 and (one.startswith(wanted) or one.endswith(wanted))
    ]
    if len(fitting) > 1:
        raise InputError("record.ambiguous", run=run, runs=" ".join(fitting[:5]))
    return fitting[0] if fitting else run


def _unkept(session: Session) -> list[int]:
    """Events whose evidence is missing or is not what its sha256 says."""
    import hashlib
    import zlib

    from implops.errors import StoreError

    good: dict[str, bool] = {}
    faulty = []
    for event in session.store.events():
        for sha256 in event.evidence:
            if sha256 not in good:
                try:
                    good[sha256] = hashlib.sha256(session.store.evidence(sha256)).hexdigest() == sha256
                except (StoreError, zlib.error):
                    good[sha256] = False
            if not good[sha256]:
                faulty.append(event.sequence)
    return faulty


def conclusion(row: dict[str, Any]) -> str:
    """Sign and word of a row of ``runs``."""
    if row["conclusion"] == "running":
        return texts.say("record.running")
    from implops.documents.common import conclusion_cell

    return conclusion_cell(row["conclusion"], texts.language()).text


def _plain(event: Event) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(event)


@click.group(help=texts.say("record.help"))
def command() -> None:
    pass


for _one in (listed, show, verify, approve):
    command.add_command(_one)
