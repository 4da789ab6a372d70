"""``implops trust SITE``: show every host's key, and pin the new ones once a person has compared the fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.trust import Seen

_LANGUAGE = texts.from_environment()


@verb("trust")
@click.option("--yes", is_flag=True, help=texts.say("cli.yes", lang=_LANGUAGE))
@click.option("--replace", multiple=True, metavar="HOST", help=texts.say("trust.replace", lang=_LANGUAGE))
def trust(session: Session, yes: bool, replace: tuple[str, ...]) -> int:
    from implops import trust as core
    from implops.errors import InputError

    site = session.site
    for name in replace:
        if name not in site.hosts:
            raise InputError("trust.no_such_host", host=name, known=" ".join(site.hosts))
    seen = core.look(site, list(site.hosts.values()))
    if not session.as_json:
        # Never cut or folded, also on a narrow terminal: a fingerprint is compared by eye.
        session.console.print(_table(seen), crop=False)
    for one in seen:
        if one.error:
            session.story(str(one.error))
    refused = [one for one in seen if one.state == "changed" and one.host not in replace]
    taken = [one for one in seen if one.state == "new" or (one.state == "changed" and one.host in replace)]
    for one in refused:
        session.story(texts.say("trust.refused", host=one.host, pinned=one.pinned, fingerprint=one.fingerprint))
    if taken:
        session.ask(texts.say("trust.ask", hosts=" ".join(one.host for one in taken)), yes=yes)
        core.pin(site.known_hosts, {one.name: one.line for one in taken if one.line})
        session.story(texts.say("trust.pinned", count=len(taken), path=site.known_hosts))
    elif not refused and all(one.state == "same" for one in seen):
        session.story(texts.say("trust.nothing", count=len(seen)))
    if session.as_json:
        session.answer({"hosts": [_entry(one, one in taken) for one in seen]})
    return 3 if refused or any(one.state == "absent" for one in seen) else 0


def _entry(one: Seen, pinned_now: bool) -> dict[str, Any]:
    return {
        "host": one.host,
        "address": one.name,
        "state": one.state,
        "type": one.line.split()[0] if one.line else None,
        "fingerprint": one.fingerprint,
        "pinned": one.pinned,
        "pinned_now": pinned_now,
        "error": one.error.key if one.error else None,
    }


def _table(seen: list[Seen]) -> Any:
    from rich.cells import cell_len
    from rich.table import Table

    rows = [
        (
            one.host,
            one.name,
            one.line.split()[0] if one.line else "-",
            one.fingerprint or "-",
            texts.say(f"trust.state.{one.state}"),
        )
        for one in seen
    ]
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(("host", "address", "type", "fingerprint", "state")):
        title = texts.say(f"trust.column.{column}")
        table.add_column(
            title, no_wrap=True, min_width=max(cell_len(text) for text in (title, *(r[number] for r in rows)))
        )
    for row in rows:
        table.add_row(*row)
    return table


command = trust
