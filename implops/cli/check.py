"""``implops check SITE``: ask every host, judge, print, record."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.check.model import Verdict
    from implops.check.registry import Check
    from implops.check.run import Outcome

_LANGUAGE = texts.from_environment()


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
@click.option("--attest", multiple=True, metavar="ID=ok|bad", help=texts.say("check.option.attest", lang=_LANGUAGE))
@click.option("--note", default="", help=texts.say("check.option.note", lang=_LANGUAGE))
@click.option("--explain", metavar="ID", default="", help=texts.say("check.option.explain", lang=_LANGUAGE))
def check(
    session: Session, only: tuple[str, ...], hosts: tuple[str, ...], retry_failed: bool, replay: str | None,
    diff: str | None, form: str | None, no_document: bool, deep: bool, force_io: bool,
    fix_script: Path | None, mend: bool, yes: bool, attest: tuple[str, ...], note: str, explain: str,
) -> int:  # fmt: skip
    from implops.check import history, run
    from implops.cli import mending
    from implops.cli.forms import emit
    from implops.deploy.recipes import planned
    from implops.errors import InputError

    site, store = session.site, session.store
    if explain:
        from implops.cli.explain import say

        say(explain, session.site, verbose=session.verbose)
        return 0
    if attest:
        return _attest(session, attest, note)
    # Looked up before this run becomes the last one.
    before = history.standing(store) if diff == "last" else None
    if diff and before is None:
        before = history.verdicts_of(store, history.find(store, diff))
    if replay:
        _without_hosts({"--fix-script": fix_script, "--apply": mend, "--deep": deep, "--force-io": force_io,
                        "--retry-failed": retry_failed, "--host": hosts})  # fmt: skip
        return _replay(session, history.find(store, replay), only, form, before)
    if retry_failed:
        only = history.not_passed(store)
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
        return _formatted(done.verdicts, form)
    _answer(session, done)
    if done.finished.payload["complete"] and not no_document:
        emit(session, "check", done.run)
    code = _end(session, done.checks, done.verdicts, before, whole=not only and not hosts)
    if fix_script or mend:
        fixes = mending.plan(session, done)
        if fix_script:
            mending.write(session, done.run, fixes, fix_script)
        if mend:
            return mending.apply(session, done, fixes, yes=yes)
    return code


def _without_hosts(given: dict[str, object]) -> None:
    """Refuse what has to ask or change a host."""
    from implops.errors import InputError

    if words := [name for name, value in given.items() if value]:
        raise InputError("check.replay_asks_nobody", options=" ".join(words))


def _replay(
    session: Session, run: str, only: tuple[str, ...], form: str | None, before: list[dict[str, Any]] | None
) -> int:  # fmt: skip
    """Judge a recorded run again: the same answers as a check's, no host asked, nothing recorded."""
    from implops.check import history, owners
    from implops.cli import findings
    from implops.deploy.recipes import planned

    checks, verdicts = history.replay(session.site, session.store, run, planned(session.site), only)
    if form:
        return _formatted(verdicts, form)
    if session.as_json:
        told = owners.payloads(session.site, verdicts, date.today())
        session.answer({"replayed": run, "verdicts": told})
    else:
        findings.show(session, verdicts)
        click.echo(texts.say("check.replayed", run=run, checks=len(checks)))
    return _end(session, checks, verdicts, before, whole=not only)


def _attest(session: Session, words: tuple[str, ...], note: str) -> int:
    """Record answers to what no machine can measure; nothing is asked of a host."""
    from implops.check import attest

    site, store, today = session.site, session.store, date.today()
    answers = attest.parse(site, words)
    run = attest.answer(site, store, session.operator, answers, note, today)
    until = max(
        one.result.params["until"] for one in attest.verdicts(site, store, today) if "until" in one.result.params
    )
    open_ = [one.id if one.host == "*" else f"{one.id}@{one.host}" for one in attest.verdicts(site, store, today)
             if one.state == "error"]  # fmt: skip
    if session.as_json:
        session.answer({"run": run, "answers": [vars(one) for one in answers], "open": open_})
        return 0
    click.echo(texts.say("attest.recorded", count=len(answers), run=run, until=until))
    if open_:
        click.echo(texts.say("attest.open", count=len(open_), ids=" ".join(open_)))
    return 0


def _costs(session: Session, hosts: tuple[str, ...]) -> None:
    """What the tests that load a host will cost at most, before they are made."""
    from implops.check.deep import costs
    from implops.units import format_seconds, format_size

    chosen = [host for name, host in session.site.hosts.items() if not hosts or name in hosts]
    for name, cost in costs(session.site, chosen).items():
        session.story(texts.say("check.deep_will_cost", host=name, size=format_size(cost.size),
                                seconds=format_seconds(cost.seconds)))  # fmt: skip


def _end(
    session: Session, checks: dict[str, Check], verdicts: list[Verdict], before: list[dict[str, Any]] | None, *,
    whole: bool = True,
) -> int:  # fmt: skip
    """What has changed, when that was asked, and the exit code."""
    from implops.check.history import compare
    from implops.check.run import code
    from implops.cli import findings

    if before is not None and not session.as_json:
        steady = {one.id for one in checks.values() if one.steady}
        changes = compare(before, verdicts, steady, whole=whole)
        click.echo(texts.say("check.changes", count=len(changes)))
        titles = {(one.id, one.host, one.result.target): findings.titled(one) for one in verdicts}
        for one in changes:
            known = f"{texts.find(f'check.{one.id}.title') or one.id} {one.target}".strip()
            title = titles.get((one.id, one.host, one.target), known)
            about = {"host": one.host, "id": one.id, "title": title, "before": one.before, "after": one.after}
            click.echo(texts.say(f"check.change.{one.kind}", **about))
    return code(verdicts)


def _formatted(verdicts: list[Verdict], form: str) -> int:
    """For other programs: nothing but the answer on stdout; Nagios has exit codes of its own."""
    from implops.check import formats
    from implops.check.run import code
    from implops.cli.findings import actual
    from implops.cli.findings import titled as title

    def said(one: Verdict) -> str:
        return actual(one.result)

    if form == "nagios":
        line, number = formats.nagios(verdicts)
        click.echo(line)
        return number
    click.echo((formats.junit if form == "junit" else formats.tap)(verdicts, title, said))
    return code(verdicts)


def _answer(session: Session, done: Outcome) -> None:
    from implops.check import owners
    from implops.cli import findings
    from implops.units import format_seconds

    if session.as_json:
        session.answer({
            "run": done.run, "conclusion": done.finished.payload["conclusion"],
            "totals": done.finished.payload["totals"],
            "verdicts": owners.payloads(session.site, done.verdicts, date.today()),
            "coverage": done.covered.payload(), "differences": [one.payload() for one in done.differences],
            "hosts": {name: {"trips": seen.trips, "again": seen.again, "login_ms": seen.login_ms}
                      for name, seen in done.seen.items()},
        })  # fmt: skip
        return
    findings.show(session, done.verdicts)
    findings.sheets(session, done)
    click.echo("")
    findings.unlike(done)
    totals = done.finished.payload["totals"]
    counts = "、".join(f"{texts.say(f'form.result.{state}')} {count}" for state, count in totals.items())
    slowest = max(((seen.login_ms + seen.trip_ms) / 1000 for seen in done.seen.values()), default=0.0)
    click.echo(texts.say("check.totals", hosts=len(done.seen), counts=counts, slowest=format_seconds(slowest)))
    click.echo(findings.covered(done))
    click.echo(texts.say(f"check.concluded.{done.finished.payload['conclusion']}"))


command = check
