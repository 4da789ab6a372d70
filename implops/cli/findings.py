"""How ``check`` tells what it found: what did not pass as a table, then for every owner what has to be done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from implops.check.model import Result, Verdict
    from implops.check.run import Outcome

# Not shown without --verbose.
_QUIET = ("pass", "skip", "info")
_COLOURS = {"fail": "red", "absent": "red", "error": "magenta", "warn": "yellow", "waived": "cyan", "pass": "green"}


def show(session: Session, verdicts: Sequence[Verdict]) -> None:
    """The verdicts as a table (all with --verbose, else what did not pass), and in one line what was not asked."""
    shown = [one for one in verdicts if not _untested(one) and (session.verbose or one.state not in _QUIET)]
    if shown:
        _table(session, shown)
    left_out = list(dict.fromkeys(one.id for one in verdicts if _untested(one)))
    if left_out and not session.quiet:
        click.echo(texts.say("check.needs_deep", count=len(left_out), ids=" ".join(left_out)))


def _untested(one: Verdict) -> bool:
    """Left out because nobody asked for it with --deep: said once, not line by line."""
    return one.state == "skip" and one.result.note == "needs_deep"


def titled(one: Verdict) -> str:
    """The check's title, and what of the host was looked at; users' own checks bring their title along."""
    title = texts.find(f"check.{one.id}.title") or one.result.params.get("title", one.id)
    return f"{title} {one.result.target}".strip()


def place(one: Verdict) -> str:
    """The host, or the word for the site as a whole."""
    return texts.say("form_environment.whole_site") if one.host == "*" else one.host


def told(result: Result) -> str:
    """What the note of a result says, in words, and whether its waiver has lapsed; empty without either."""
    found = [_noted(result)] if result.note else []
    if "lapsed" in result.params:
        found.append(texts.say(f"check.lapsed.{result.params['lapsed']}", **result.params))
    return ";".join(found)


def _noted(result: Result) -> str:
    key = (
        result.note
        if "." in result.note and not result.note.startswith(("reason.", "baseline."))
        else f"check.note.{result.note}"
    )
    text = texts.find(key)
    if text is None:
        return " ".join([result.note, *result.params.values()])
    return text.format_map({"detail": "—", **result.params})


def actual(result: Result) -> str:
    """The value and what is said about it."""
    note = told(result)
    found = f"{result.actual}({note})" if note and result.actual != "—" else note or result.actual
    if result.configured and result.configured != result.actual:
        found += texts.say("check.configured", value=result.configured)
    return found


def _table(session: Session, verdicts: Sequence[Verdict]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("host", "id", "title", "required", "actual", "result"):
        table.add_column(texts.say(f"check.column.{name}"), overflow="fold", no_wrap=name in ("host", "result"))
    before = ""
    for one, ids in _collapsed(verdicts):
        if before and one.host != before:
            table.add_section()
        result = one.result
        style = _COLOURS.get(one.state, "dim")
        required = result.required
        if session.verbose and result.source:
            required += texts.say("check.from", source=texts.say(f"check.source.{result.source}"))
        title = titled(one) if len(ids) == 1 else texts.say("check.alike", count=len(ids))
        cells = (" ".join(ids), title, required, actual(result))
        table.add_row(place(one) if one.host != before else "", *map(escape, cells),
                      f"[{style}]{texts.say(f'form.result.{one.state}')}[/]")  # fmt: skip
        before = one.host
    session.console.print(table)


def _collapsed(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, list[str]]]:
    """Verdicts with the ids that each stands for: a host that is away stands there once, and so do the checks of a host
    that could not be measured for one and the same reason.
    """
    found: dict[tuple[object, ...], tuple[Verdict, list[str]]] = {}
    for number, one in enumerate(verdicts):
        if one.state == "absent":
            found.setdefault((one.host,), (one, [one.id]))
            continue
        said = (one.host, one.result.note, *one.result.params.items())
        _, ids = found.setdefault(said if unmeasured(one) else (number,), (one, []))
        ids += [one.id] * (one.id not in ids)
    return list(found.values())


def unmeasured(one: Verdict) -> bool:
    """Not measured for a reason that lies elsewhere than in its own subject."""
    return one.state == "error" and one.result.note.startswith("reason.") and not one.result.target


def sheets(session: Session, done: Outcome) -> None:
    """What has to be done, a sheet an owner; flows as a request that the network group can work from."""
    from implops.check.owners import TO_DO, due, owner, request

    by_owner: dict[str, list[Verdict]] = {}
    alike = {}
    for one, ids in _collapsed(done.verdicts):
        alike[id(one)] = ids
        if one.state in TO_DO:
            by_owner.setdefault(owner(session.site, one), []).append(one)
    for name, verdicts in by_owner.items():
        click.echo("")
        terms = {term for one in verdicts if (term := due(session.site, one, date.today()))}
        until = texts.say("check.until", day=min(terms)) if terms else ""
        click.echo(texts.say("check.to_do", owner=name if name != "-" else texts.say("check.nobody"), until=until))
        flows = [(one, asked) for one in verdicts if (asked := request(session.site, one))]
        for one in verdicts:
            if not any(one is flow for flow, _ in flows):
                click.echo(_remedy(one, alike[id(one)]))
        if flows:
            click.echo(texts.say("check.request", run=done.run, time=done.finished.time[:16].replace("T", " ")))
            for number, (one, asked) in enumerate(flows, start=1):
                click.echo(texts.say("check.request_line", number=number, seen=actual(one.result), **asked))


def unlike(done: Outcome) -> None:
    """Hosts of one role that are not alike."""
    for one in done.differences:
        values = " / ".join(f"{value}({' '.join(hosts)})" for value, hosts in one.values.items())
        about = {"role": one.role, "what": texts.say(f"check.difference.{one.what}"), "values": values}
        if one.odd:
            click.echo(texts.say("check.unlike_odd", odd=" ".join(one.odd), **about))
        else:
            click.echo(texts.say("check.unlike", **about))


def covered(done: Outcome) -> str:
    """How much of the catalogue was measured, and why the rest was not."""
    found = done.covered
    lost = sum(len(ids) for ids in found.not_measured.values())
    line = texts.say("check.coverage", defined=found.defined, measured=found.measured,
                     not_applicable=found.not_applicable, lost=lost)  # fmt: skip
    reasons = [
        texts.say("check.covered_reason", reason=_reason(reason), ids=" ".join(ids))
        for reason, ids in found.not_measured.items()
    ]
    return f"{line}({';'.join(reasons)})" if reasons else line


def _reason(note: str) -> str:
    text = texts.find(f"check.note.{note}") or texts.find(f"form.result.{note}") or note
    # The place of a detail ends the words that all of them share.
    return re.split(r"[{(:（：]", text)[0]


def _remedy(one: Verdict, ids: Sequence[str]) -> str:
    if one.state == "absent":
        return texts.say("check.remedy_absent", host=one.host, why=told(one.result))
    fix = texts.find(f"check.{one.id}.fix") or texts.say("check.own_fix")
    if one.result.note.startswith("attest"):
        fix = texts.say("form_environment.answer", id=one.id)
    title = titled(one)
    if len(ids) > 1:
        title = texts.say("check.alike", count=len(ids))
        fix = told(one.result)
    about: dict[str, Any] = {"host": place(one), "id": " ".join(ids), "title": title, "fix": fix,
                             "result": texts.say(f"form.result.{one.state}")}  # fmt: skip
    return texts.say("check.remedy", **about)
