"""``implops document list|render``: the documents so far, and any of them again from its record."""

from __future__ import annotations

from typing import Any

import click

from implops import texts
from implops.cli.output import Session, verb


@verb("document.list", name="list")
def listed(session: Session) -> int:
    """Every number once, with its newest rendering and whether the file in out/ is still that one."""
    newest: dict[str, dict[str, Any]] = {}
    for event in session.store.events(kind="document.rendered"):
        given = event.payload
        files = [{**file, "state": _state(session, file)} for file in given["files"]]
        newest[given["number"]] = {
            "number": given["number"],
            "kind": given["kind"],
            "verb": given["verb"],
            "of_run": given["of_run"],
            "time": event.time,
            "operator": event.operator,
            "files": files,
        }
    rows = list(newest.values())
    if session.as_json:
        session.answer({"documents": rows})
        return 0
    if not rows:
        session.story(texts.say("document.none", site=session.path.name))
        return 0
    from rich.table import Table

    from implops.documents.common import when

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("number", "verb", "time", "run", "files"):
        table.add_column(texts.say(f"document.column.{name}"), overflow="fold", no_wrap=name == "number")
    for row in rows:
        words = "\n".join(_file_words(file) for file in row["files"])
        table.add_row(row["number"], row["verb"], when(row["time"], "en"), row["of_run"], words)
    session.console.print(table)
    return 0


@click.option("--run", default="", help=texts.say("document.option.run"))
@click.option("--kind", default="", help=texts.say("document.option.kind"))
@verb("document.render", name="render")
def render(session: Session, run: str, kind: str) -> int:
    from implops.cli.record import full_run
    from implops.documents.render import emit, forms, started_of
    from implops.errors import InputError

    known = forms()
    if kind and kind.upper() not in known:
        raise InputError("document.no_kind", kind=kind, known=" ".join(known))
    wanted = [kind.upper()] if kind else list(known)
    session.operator  # noqa: B018 - refuse before anything is written
    if run:
        run = full_run(session, run)
        doing = started_of(session.store, run).kind.removesuffix(".started")
        pairs = [(run, one) for one in wanted if doing in known[one].VERBS]
        if not pairs:
            raise InputError("document.no_run", run=run, verbs=" ".join(known[wanted[0]].VERBS) if kind else doing)
    else:
        pairs = [(last, one) for one in wanted if (last := _last(session, known[one].VERBS))]
        if not pairs:
            raise InputError("document.nothing", site=session.path.name)
    paths = [path for one, form in pairs for path in emit(session.store, session.site, one, form, session.operator)]
    if session.as_json:
        session.answer({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(path)
    return 0


def _last(session: Session, verbs: tuple[str, ...]) -> str | None:
    """The newest run of a form's verbs."""
    starts = [event for verb in verbs if (event := session.store.last(f"{verb}.started"))]
    return max(starts, key=lambda event: event.sequence).run if starts else None


def _state(session: Session, file: dict[str, Any]) -> str:
    """same, altered (by hand, perhaps), or missing."""
    import hashlib

    path = session.site.out / file["name"]
    if not path.is_file():
        return "missing"
    return "same" if hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"] else "altered"


def _file_words(file: dict[str, Any]) -> str:
    return f"{file['name']}  {texts.say('document.file.' + file['state'])}".rstrip()


@click.group(help=texts.say("document.help"))
def command() -> None:
    pass


for _one in (listed, render):
    command.add_command(_one)
