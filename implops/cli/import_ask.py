"""``encoding: ask`` in a mapping: how each encoding that fits reads the file, for a person to choose; then the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from implops import texts
from implops.cli.output import Session

if TYPE_CHECKING:
    from implops.baseload.inspection import Inspection
    from implops.baseload.mapping import Mapping


def stop_if_asked(session: Session, files: Sequence[Mapping]) -> None:
    """Raises InputError (exit 2) when a mapping has no encoding yet, after the readings of every such file have been
    printed. Nothing is connected to, nothing is recorded.
    """
    from implops.baseload.inspection import evidence
    from implops.errors import InputError

    asking = [(one, evidence(one)) for one in files if one.source.asks]
    if not asking:
        return
    if session.as_json:
        session.answer({"ask": [_document(one, found) for one, found in asking]})
    else:
        for one, found in asking:
            _print(one, found)
    raise InputError("import.ask.declare", place=" ".join(one.path.name for one, _ in asking))


def _document(mapping: Mapping, found: Inspection) -> dict[str, object]:
    return {"import": mapping.name, "mapping": mapping.path.name, **found.proposal()}


def _print(mapping: Mapping, found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    from implops.cli.import_inspect import score

    click.echo(texts.say("import.ask.file", name=mapping.name, file=found.file, bytes=found.bytes,
                         count=found.nonascii))  # fmt: skip
    if found.mark:
        click.echo(texts.say("import.inspect.mark", mark=found.mark))
    if not found.encodings:
        click.echo(texts.say("import.inspect.no_encoding"))
        return
    # What stands in a customer's file is no markup.
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("encoding", "score", "line", "read"):
        right = name in ("score", "line")
        table.add_column(texts.say(f"import.inspect.column.{name}"), justify="right" if right else "left",
                         overflow="fold")  # fmt: skip
    for one in found.encodings:
        for place, (number, text) in enumerate(one.lines):
            table.add_row(*((one.encoding, score(one)) if place == 0 else ("", "")), str(number), text)
    Console(highlight=False, markup=False, emoji=False).print(table)
    if found.encoding:
        click.echo(texts.say("import.inspect.suggested", encoding=found.encoding))
