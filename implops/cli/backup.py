"""``implops backup run|list|drill SITE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.store import Event

_LANGUAGE = texts.from_environment()
_CHOICE = click.Choice(["database", "program", "all"])


def _objects(chosen: str) -> tuple[str, ...]:
    return ("database", "program") if chosen == "all" else (chosen,)


@verb("backup.run")
@click.option("--only", type=_CHOICE, default="all", help=texts.say("backup.only", lang=_LANGUAGE))
def run(session: Session, only: str) -> int:
    from implops.backup.run import run as start

    return _carry_out(session, "backup", lambda say: start(session.site, session.store, session.operator,
                                                           _objects(only), say=say))  # fmt: skip


@verb("backup.drill")
@click.option("--only", type=_CHOICE, default="all", help=texts.say("backup.only", lang=_LANGUAGE))
def drill(session: Session, only: str) -> int:
    from implops.backup.run import drill as start

    return _carry_out(session, "drill", lambda say: start(session.site, session.store, session.operator,
                                                          _objects(only), say=say))  # fmt: skip


def _carry_out(session: Session, verb_: str, start: Any) -> int:
    from implops.cli.forms import emit
    from implops.errors import BackupError, HostError

    with session.phase(texts.say(f"backup.{verb_}.running")):
        try:
            finished: Event = start(lambda host, answer: session.story(told(host, answer)))
        except (BackupError, HostError) as error:
            if "run" in error.params:
                emit(session, verb_, str(error.params["run"]))
            raise
    emit(session, verb_, finished.run)
    if session.as_json:
        session.answer({"run": finished.run, **finished.payload})
    else:
        click.echo(texts.say(f"backup.{verb_}.done", jobs=len(finished.payload["members"])))
    return 0


def told(host: str, answer: dict[str, Any]) -> str:
    """How one job ended, for people."""
    from implops.backup.run import why
    from implops.units import format_seconds, format_size

    about = {
        "host": host,
        "job": texts.say(f"backup.object.{answer['job']}"),
        "took": format_seconds(answer["ms"] / 1000),
    }
    if answer["error"]:
        return texts.say("backup.told.bad", **about, why=why(answer))
    if "verdict" in answer:
        counts = answer.get("tables") or answer["files"]
        unit = "tables" if "tables" in answer else "files"
        return texts.say(f"backup.told.drill_{unit}", **about, rows=answer.get("rows", 0), **counts)
    size = sum(one["bytes"] for one in answer["members"])
    growth = sum(one["growth"] for one in answer["members"])
    return texts.say("backup.told.good", **about, size=format_size(size), growth=format_size(growth))


@verb("backup.list")
def list_(session: Session) -> int:
    from rich.table import Table

    from implops.backup.run import collect
    from implops.units import format_size

    collect(session.site, session.store, session.operator)
    found = [
        one for kind in ("backup.member", "backup.collected", "drill.member") for one in session.store.events(kind=kind)
    ]
    rows = sorted((one.payload for one in found), key=lambda one: str(one.get("started", "")))
    if session.as_json:
        session.answer({"runs": rows})
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("started", "host", "object", "verb", "trigger", "size", "result", "snapshots"):
        table.add_column(texts.say(f"backup.column.{name}"), overflow="fold")
    for one in rows:
        good = one["state"] == "complete" and not one["error"]
        snapshots = " ".join(member["snapshot"][:8] for member in one["members"])
        size = (
            format_size(sum(member.get("bytes", 0) for member in one["members"])) if one.get("verb") == "run" else "—"
        )
        table.add_row(
            str(one.get("started", "—"))[:19].replace("T", " "), one["host"], texts.say(f"backup.object.{one['job']}"),
            texts.say(f"backup.verb.{one.get('verb', 'run')}"),
            texts.say(f"backup.trigger.{one.get('trigger', 'manual')}"),
            size, texts.say("form.result.pass" if good else "form.result.fail"), snapshots or "—",
        )  # fmt: skip
    session.console.print(table)
    return 0


command = click.Group("backup", commands=[run, list_, drill], help=texts.say("backup.help"))
