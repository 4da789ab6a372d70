"""``implops collect SITE``: the list of what the customer delivers as a workbook; and what of it came back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.baseload.returned import Returned

_SHOWN = 10


@verb("collect")
@click.argument("mappings", nargs=-1, metavar=f"[{texts.say('import.argument')}]...")
@click.option("--validate", "place", type=click.Path(path_type=Path), help=texts.say("collect.validate"))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help=texts.say("collect.output"))
def collect(session: Session, mappings: tuple[str, ...], place: Path | None, output: Path | None) -> int:
    from implops.baseload.template import write
    from implops.cli import import_check

    chosen = import_check.chosen(session, mappings)
    if place is not None:
        return _validate(session, place, chosen)
    path = output or session.site.out / texts.say("collect.file", code=session.site.project.code)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(session.site, chosen, path)
    if session.as_json:
        session.answer({"workbook": str(path), "sheets": [one.name for one in chosen]})
    session.story(texts.say("collect.written", path=path, count=len(chosen)))
    return 0


def _validate(session: Session, place: Path, chosen: list[Any]) -> int:
    from implops.baseload import rejects
    from implops.baseload.returned import validate
    from implops.cli.forms import emit
    from implops.store import record
    from implops.store.events import new_run

    if not place.exists():
        from implops.errors import InputError

        raise InputError("collect.no_place", path=place)
    run_id = new_run()
    try:
        with record(session.store, session.site, "collect", session.operator, {"place": place.name}, run_id) as entry:
            found = validate(chosen, place)
            lists = {}
            for one in found:
                if one.rejects:
                    path, sha256 = rejects.write(one.mapping, one.rejects, session.site.out)
                    lists[one.mapping.name] = {"file": path.name, "sha256": sha256}
                entry.event("item.finished", _payload(one, lists.get(one.mapping.name)))
            bad = [one for one in found if one.state != "complete"]
            entry.finish("fail" if bad else "pass", {"complete": len(found) - len(bad), "missing": len(bad)})
    finally:
        emit(session, "collect", run_id)
    if session.as_json:
        session.answer({"items": [_payload(one, lists.get(one.mapping.name)) for one in found]})
    else:
        _print(session, found)
    session.story(texts.say("collect.some_missing", count=len(bad)) if bad else texts.say("collect.all_there"))
    return 1 if bad else 0


def _payload(one: Returned, listed: dict[str, str] | None) -> dict[str, Any]:
    error = one.error
    return {
        "import": one.mapping.name,
        "table": one.mapping.target.table,
        "state": one.state,
        "expected_file": Path(one.mapping.source.file).name,
        "file": one.file,
        "sha256": one.sha256,
        "encoding": one.mapping.source.encoding or one.mapping.source.format,
        "rows": one.rows,
        "rejected": one.rejected,
        "required": one.mapping.verify.rows_expected != 0,
        "unjudged": one.unjudged,
        "error": {"key": error.key, "params": {name: str(value) for name, value in error.params.items()}}
        if error
        else None,
        "rejects": listed,
    }


def missing(one: Returned) -> str:
    """What the customer still owes, in one line."""
    if one.error:
        return str(one.error)
    if one.state == "missing":
        return texts.say("form_collect.missing", file=Path(one.mapping.source.file).name)
    if one.state == "rejected":
        return texts.say("form_collect.rejected", count=one.rejected)
    return texts.say("form_collect.unjudged", columns=" ".join(one.unjudged)) if one.unjudged else ""


def _print(session: Session, found: list[Returned]) -> None:
    from rich.table import Table

    from implops.baseload.rejects import reason

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "file", "rows", "result", "missing"):
        table.add_column(texts.say(f"form_collect.column.{name}"), overflow="fold")
    for one in found:
        table.add_row(one.mapping.name, one.file or "—", str(one.rows) if one.file else "—",
                      texts.say(f"form_collect.state.{one.state}"), missing(one))  # fmt: skip
    session.console.print(table)
    for one in found:
        for reject in one.rejects[: None if session.verbose else _SHOWN]:
            for fault in reject.faults:
                column = one.mapping.columns.get(fault.column)
                where = column.source if column else fault.column
                click.echo(f"{one.mapping.name}:{reject.line} {where} 「{fault.value[:60]}」 "
                           f"{reason(fault.code, fault.params)}")  # fmt: skip


command = collect
