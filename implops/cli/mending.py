"""``implops check --fix-script`` and ``--apply``: what a machine can mend, as a script to read or on the hosts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from implops.check.fixes import Planned
    from implops.check.run import Outcome
    from implops.check.script import Applied


def plan(session: Session, done: Outcome) -> list[Planned]:
    from implops.check import mend
    from implops.deploy.recipes import planned

    return mend.plan(session.site, session.store, planned(session.site), done)


def write(session: Session, run: str, fixes: Sequence[Planned], path: Path) -> None:
    """The script for people. Raises InputError when the file cannot be written."""
    from implops.check import script
    from implops.errors import InputError

    if not fixes:
        session.story(texts.say("fix.none"))
        return
    head = texts.say("fix.script_head", site=session.site.project.name, run=run, name=path.name).splitlines()
    usage = texts.say("fix.script_usage", name=path.name).splitlines()
    text = script.for_people(session.site, run, fixes, describe, head, usage)
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    except OSError as error:
        raise InputError("fix.cannot_write", path=path, why=error.strerror or error) from None
    counts = ", ".join(
        f"{texts.say(f'fix.risk.{risk}')} {sum(one.risk == risk for one in fixes)}"
        for risk in dict.fromkeys(one.risk for one in fixes)
    )
    session.story(texts.say("fix.written", path=path, count=len(fixes), counts=counts))


def describe(one: Planned) -> list[str]:
    """What a fix is for, in three lines: the finding, what is demanded, its class and how to check again."""
    result = one.verdict.result
    title = f"{texts.say(f'check.{one.verdict.id}.title')} {result.target}".strip()
    return [
        texts.say("fix.about", host=one.host, title=title, actual=result.actual, required=result.required),
        texts.say("fix.class", risk=texts.say(f"fix.risk.{one.risk}")),
        texts.say("fix.again", id=one.verdict.id, host=one.host),
    ]


def apply(session: Session, done: Outcome, fixes: Sequence[Planned], *, yes: bool) -> int:
    """Ask, run those of class safe, ask the hosts again for exactly these ids; the exit code of that check."""
    from implops.check import mend, run
    from implops.deploy.recipes import planned

    chosen = [one for one in fixes if one.risk == "safe"]
    if not chosen:
        session.story(texts.say("fix.none_safe"))
        return done.code
    for one in chosen:
        session.story(f"  {one.host} {describe(one)[0]}")
    hosts = list(dict.fromkeys(one.host for one in chosen))
    session.ask(texts.say("fix.ask", count=len(chosen), hosts=len(hosts)), yes=yes)
    site, store, operator = session.site, session.store, session.operator
    with session.phase(texts.say("fix.applying", count=len(chosen))):
        mended = mend.apply(site, store, operator, done.run, chosen)
    ids = list(dict.fromkeys(one.verdict.id for one in chosen))
    with session.phase(texts.say("fix.checking_again", ids=" ".join(ids))):
        again = run.check(site, store, operator, planned(site), only=ids, hosts=hosts)
    for applied in mended.applied:
        click.echo(_line(applied, again))
    click.echo(texts.say("fix.whole_check"))
    return again.code


def _line(applied: Applied, again: Outcome) -> str:
    """What was done and what the check says now; a fix that told of success is believed only with that."""
    one = applied.planned
    mine = (one.host, one.verdict.id, one.verdict.result.target)
    now = next((found for found in again.verdicts if (found.host, found.id, found.result.target) == mine), None)
    state = texts.say(f"form.result.{now.state}") if now else "—"
    actual = now.result.actual if now else "—"
    title = f"{texts.say(f'check.{one.verdict.id}.title')} {one.verdict.result.target}".strip()
    return texts.say(f"fix.state.{applied.state}", host=one.host, key=one.key, title=title,
                     before=one.verdict.result.actual, actual=actual, result=state, said=applied.said)  # fmt: skip
