"""``implops check SITE``: ask every host, judge, print, record; ``--explain ID`` says what a check looks at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.check.model import Result, Verdict
    from implops.check.registry import Check
    from implops.check.run import Outcome

_LANGUAGE = texts.from_environment()
# Not shown with --quiet.
_QUIET = ("pass", "skip", "info")


@verb("check")
@click.option("--only", multiple=True, metavar="ID", help=texts.say("check.option.only", lang=_LANGUAGE))
@click.option("--host", "hosts", multiple=True, metavar="NAME", help=texts.say("cli.host", lang=_LANGUAGE))
@click.option("--retry-failed", is_flag=True, help=texts.say("check.option.retry_failed", lang=_LANGUAGE))
@click.option("--replay", metavar="RUN", help=texts.say("check.option.replay", lang=_LANGUAGE))
@click.option("--diff", metavar="RUN", help=texts.say("check.option.diff", lang=_LANGUAGE))
@click.option("--format", "form", type=click.Choice(("junit", "tap", "nagios")),
              help=texts.say("check.option.format", lang=_LANGUAGE))  # fmt: skip
@click.option("--no-document", is_flag=True, help=texts.say("check.option.no_document", lang=_LANGUAGE))
@click.option("--deep", is_flag=True, help=texts.say("check.option.deep", lang=_LANGUAGE))
@click.option("--force-io", is_flag=True, help=texts.say("check.option.force_io", lang=_LANGUAGE))
@click.option("--fix-script", type=click.Path(path_type=Path, dir_okay=False),
              help=texts.say("check.option.fix_script", lang=_LANGUAGE))  # fmt: skip
@click.option("--apply", "mend", is_flag=True, help=texts.say("check.option.apply", lang=_LANGUAGE))
@click.option("--yes", is_flag=True, help=texts.say("check.option.yes", lang=_LANGUAGE))
@click.option("--explain", metavar="ID", default="", help=texts.say("check.option.explain", lang=_LANGUAGE))
def check(
    session: Session, only: tuple[str, ...], hosts: tuple[str, ...], retry_failed: bool, replay: str | None,
    diff: str | None, form: str | None, no_document: bool, deep: bool, force_io: bool,
    fix_script: Path | None, mend: bool, yes: bool, explain: str,
) -> int:  # fmt: skip
    from implops.check import history, run
    from implops.cli import mending
    from implops.cli.forms import emit
    from implops.deploy.recipes import planned
    from implops.errors import InputError

    site, store = session.site, session.store
    if explain:
        return _explain(session, explain)
    # Looked up before this run becomes the last one.
    before = history.verdicts_of(store, history.find(store, diff)) if diff else None
    if replay:
        checks, verdicts = history.replay(site, store, history.find(store, replay), planned(site))
        _print(session, verdicts)
        click.echo(texts.say("check.replayed", run=history.find(store, replay), checks=len(checks)))
        return _end(session, checks, verdicts, before)
    if retry_failed:
        only = history.not_passed(store, history.find(store, "last"))
        if not only:
            click.echo(texts.say("check.nothing_to_retry"))
            return 0
    if deep:
        _costs(session, hosts)
    elif force_io:
        raise InputError("check.force_without_deep")
    with session.phase(texts.say("check.asking", hosts=len(site.hosts))):
        wanted = run.Deep(force_io) if deep else None
        done = run.check(site, store, session.operator, planned(site), only=only, hosts=hosts, deep=wanted)
    if form:
        return _formatted(done, form)
    _answer(session, done)
    if done.finished.payload["complete"] and not no_document:
        emit(session, "check", done.run)
    code = _end(session, done.checks, done.verdicts, before)
    if fix_script or mend:
        fixes = mending.plan(session, done)
        if fix_script:
            mending.write(session, done.run, fixes, fix_script)
        if mend:
            return mending.apply(session, done, fixes, yes=yes)
    return code


def _costs(session: Session, hosts: tuple[str, ...]) -> None:
    """What the tests that load a host will cost at most, before they are made."""
    from implops.check.deep import costs
    from implops.units import format_seconds, format_size

    chosen = [host for name, host in session.site.hosts.items() if not hosts or name in hosts]
    for name, cost in costs(session.site, chosen).items():
        session.story(texts.say("check.deep_will_cost", host=name, size=format_size(cost.size),
                                seconds=format_seconds(cost.seconds)))  # fmt: skip


def _end(
    session: Session, checks: dict[str, Check], verdicts: list[Verdict], before: list[dict[str, Any]] | None
) -> int:
    """What has changed, when that was asked, and the exit code."""
    from implops.check.history import compare
    from implops.check.run import code

    if before is not None and not session.as_json:
        changes = compare(before, verdicts, steady={one.id for one in checks.values() if one.steady})
        click.echo(texts.say("check.changes", count=len(changes)))
        for one in changes:
            title = f"{texts.say(f'check.{one.id}.title')} {one.target}".strip()
            about = {"host": one.host, "id": one.id, "title": title, "before": one.before, "after": one.after}
            click.echo(texts.say(f"check.change.{one.kind}", **about))
    return code(verdicts)


def _formatted(done: Outcome, form: str) -> int:
    """For other programs: nothing but the answer on stdout; Nagios has exit codes of its own."""
    from implops.check import formats

    def title(one: Verdict) -> str:
        return f"{texts.say(f'check.{one.id}.title')} {one.result.target}".strip()

    if form == "nagios":
        line, number = formats.nagios(done.verdicts)
        click.echo(line)
        return number
    click.echo(formats.junit(done.verdicts, title) if form == "junit" else formats.tap(done.verdicts, title))
    return done.code


def _explain(session: Session, id: str) -> int:
    from implops.check import registry
    from implops.check.limits import Limits
    from implops.errors import InputError

    checks = registry.load(session.site.base)
    if id not in checks:
        raise InputError("check.unknown_id", place="--explain", id=id)
    one, limits = checks[id], Limits(session.site, checks)
    click.echo(f"{id}  {texts.say(f'check.{id}.title')}")
    click.echo(texts.say("check.explain.why", text=texts.say(f"check.{id}.why")))
    click.echo(texts.say("check.explain.fix", text=texts.say(f"check.{id}.fix")))
    click.echo(
        texts.say("check.explain.kind", severity=texts.say(f"check.severity.{one.severity}"), roles=" ".join(one.roles))
    )
    click.echo(texts.say("check.explain.file", path=one.path))
    for host in session.site.hosts.values():
        limit = limits.of(one, host)
        if limit.need is not None or limit.want is not None:
            source = texts.say(f"check.source.{limit.source}")
            click.echo(
                texts.say("check.explain.limit", host=host.name, need=limit.need, want=limit.want, source=source)
            )
    return 0


def _answer(session: Session, done: Outcome) -> None:
    from implops.units import format_seconds

    if session.as_json:
        session.answer({
            "run": done.run, "conclusion": done.finished.payload["conclusion"],
            "totals": done.finished.payload["totals"], "verdicts": [one.payload() for one in done.verdicts],
            "coverage": done.covered.payload(), "differences": [one.payload() for one in done.differences],
            "hosts": {name: {"trips": seen.trips, "again": seen.again, "login_ms": seen.login_ms}
                      for name, seen in done.seen.items()},
        })  # fmt: skip
        return
    _print(session, done.verdicts)
    _remedies(session, done)
    _unlike(done)
    totals = done.finished.payload["totals"]
    counts = "、".join(f"{texts.say(f'form.result.{state}')} {count}" for state, count in totals.items())
    slowest = max(((seen.login_ms + seen.trip_ms) / 1000 for seen in done.seen.values()), default=0.0)
    click.echo(texts.say("check.totals", hosts=len(done.seen), counts=counts, slowest=format_seconds(slowest)))
    click.echo(_covered(done))
    click.echo(texts.say(f"check.concluded.{done.finished.payload['conclusion']}"))


def _unlike(done: Outcome) -> None:
    """Hosts of one role that are not alike."""
    for one in done.differences:
        values = " / ".join(f"{value}({' '.join(hosts)})" for value, hosts in one.values.items())
        about = {"role": one.role, "what": texts.say(f"check.difference.{one.what}"), "values": values}
        if one.odd:
            click.echo(texts.say("check.unlike_odd", odd=" ".join(one.odd), **about))
        else:
            click.echo(texts.say("check.unlike", **about))


def _covered(done: Outcome) -> str:
    """How much of the catalogue was measured, and why the rest was not."""
    covered = done.covered
    lost = sum(len(ids) for ids in covered.not_measured.values())
    line = texts.say("check.coverage", defined=covered.defined, measured=covered.measured,
                     not_applicable=covered.not_applicable, lost=lost)  # fmt: skip
    reasons = [
        texts.say("check.covered_reason", reason=_reason(reason), ids=" ".join(ids))
        for reason, ids in covered.not_measured.items()
    ]
    return f"{line}({';'.join(reasons)})" if reasons else line


def _reason(note: str) -> str:
    text = texts.find(f"check.note.{note}") or texts.find(f"form.result.{note}") or note
    # The place of a detail ends the words that all of them share.
    return re.split(r"[{(:（：]", text)[0]


def _print(session: Session, verdicts: list[Verdict]) -> None:
    """The verdicts as a table, and in one line what was not asked."""
    shown = [
        one
        for one in verdicts
        if not _untested(one) and (session.verbose or not session.quiet or one.state not in _QUIET)
    ]
    if shown:
        _table(session, shown)
    left_out = list(dict.fromkeys(one.id for one in verdicts if _untested(one)))
    if left_out and not session.quiet:
        click.echo(texts.say("check.needs_deep", count=len(left_out), ids=" ".join(left_out)))


def _untested(one: Verdict) -> bool:
    """Left out because nobody asked for it with --deep: said once, not line by line."""
    return one.state == "skip" and one.result.note == "needs_deep"


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


def _table(session: Session, verdicts: list[Verdict]) -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"fail": "red", "absent": "red", "error": "magenta", "warn": "yellow", "waived": "cyan", "pass": "green"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("host", "id", "title", "required", "actual", "result"):
        table.add_column(texts.say(f"check.column.{name}"), overflow="fold", no_wrap=name in ("host", "id", "result"))
    before = ""
    for one in verdicts:
        if before and one.host != before:
            table.add_section()
        result = one.result
        title = texts.say(f"check.{one.id}.title") + (f" {result.target}" if result.target else "")
        note = told(result)
        actual = f"{result.actual}({note})" if note and result.actual != "—" else note or result.actual
        if result.configured and result.configured != result.actual:
            actual += texts.say("check.configured", value=result.configured)
        style = colours.get(one.state, "dim")
        required = result.required
        if session.verbose and result.source:
            required += texts.say("check.from", source=texts.say(f"check.source.{result.source}"))
        cells = (one.host if one.host != before else "", one.id, title, required, actual)
        # A scheduler shows as "[none]": no markup of ours.
        table.add_row(*map(escape, cells),
                      f"[{style}]{texts.say(f'form.result.{one.state}')}[/]")  # fmt: skip
        before = one.host
    session.console.print(table)


def _remedies(session: Session, done: Outcome) -> None:
    """What has to be done, by whom: faults grouped by the owner of their host."""
    by_owner: dict[str, list[Verdict]] = {}
    for one in done.verdicts:
        if one.state in ("fail", "absent", "error", "warn"):
            by_owner.setdefault(session.site.hosts[one.host].owner, []).append(one)
    for owner, verdicts in by_owner.items():
        click.echo("")
        click.echo(texts.say("check.to_do", owner=owner))
        seen: set[tuple[str, str, str]] = set()
        for one in verdicts:
            mark = (one.host, one.id, one.state if one.state == "absent" else one.result.target)
            if one.state == "absent":
                mark = (one.host, "", "absent")
            if mark in seen:
                continue
            seen.add(mark)
            click.echo(_remedy(one))


def _remedy(one: Verdict) -> str:
    if one.state == "absent":
        return texts.say("check.remedy_absent", host=one.host, why=told(one.result))
    about: dict[str, Any] = {
        "host": one.host, "id": one.id, "title": texts.say(f"check.{one.id}.title"), "target": one.result.target,
        "result": texts.say(f"form.result.{one.state}"), "fix": texts.say(f"check.{one.id}.fix"),
    }  # fmt: skip
    return texts.say("check.remedy", **about).replace("  ", " ")


command = check
