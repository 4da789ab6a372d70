"""``implops import inspect FILE``: what a file looks like; ``import map SITE FILE TABLE``: a draft to start from."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.baseload.inspection import Inspection, Reading


def _say(key: str) -> str:
    return texts.say(f"import.inspect.{key}", lang=texts.from_environment())


def _examples(area: str) -> str:
    return f"{texts.say(f'import.{area}.help')}\n\n\b\n{texts.say(f'import.{area}.examples')}"


@click.command(
    name="inspect",
    help=_examples("inspect"),
    short_help=texts.say("import.inspect.help"),
    epilog=texts.say("cli.codes"),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--encoding", help=_say("encoding"))
@click.option("--member", help=_say("member"))
@click.option("--sheet", help=_say("sheet"))
@click.option("--json", "as_json", is_flag=True, help=texts.say("cli.json"))
@click.option("--lang", type=click.Choice(texts.LANGUAGES), help=texts.say("cli.lang"))
def inspect(
    file: Path, encoding: str | None, member: str | None, sheet: str | None, as_json: bool, lang: str | None
) -> int:
    if lang:
        texts.set_language(lang)
    found = _inspect(file, encoding, member, sheet)
    if as_json:
        click.echo(json_.dumps(found.document(), ensure_ascii=False, indent=2))
    else:
        _print(found)
    return 0


@verb("import.map", name="map")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("table", metavar="TABLE")
@click.option("--encoding", help=_say("encoding"))
@click.option("--member", help=_say("member"))
@click.option("--sheet", help=_say("sheet"))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help=texts.say("import.map.output"))
def map_(
    session: Session, file: Path, table: str, encoding: str | None, member: str | None, sheet: str | None,
    output: Path | None,
) -> int:  # fmt: skip
    from implops.baseload.draft import draft
    from implops.baseload.inspection import bare
    from implops.baseload.server import reach
    from implops.baseload.target import describe
    from implops.errors import InputError

    found = _inspect(file, encoding, member, sheet)
    if not found.header:
        raise InputError("import.inspect.no_header", file=found.file, known=" ".join(found.parts) or "—")
    if output and output.exists():
        raise InputError("import.map.exists", path=output)
    folder = (output or Path("x.yml")).absolute().parent
    with reach(session.site) as server:
        mapping = bare(file, "utf-8")
        target = mapping.target.model_copy(update={"database": server.database, "table": table})
        there = describe(server, mapping.model_copy(update={"target": target}))
        text = draft(found, file.absolute(), folder, server.database, there)
    if session.as_json:
        session.answer({"mapping": text, "inspection": found.document()})
    elif output is None:
        click.echo(text, nl=False)
    if output:
        output.write_text(text, encoding="utf-8")
        session.story(texts.say("import.map.written", path=output))
    return 0


def _inspect(file: Path, encoding: str | None, member: str | None, sheet: str | None) -> Inspection:
    from implops.baseload.codec import CODECS, name_of
    from implops.baseload.inspection import inspect as look
    from implops.errors import InputError

    named = name_of(encoding) if encoding else ""
    if named is None:
        raise InputError("import.form.encoding", place="--encoding", value=encoding, allowed=" ".join(CODECS))
    return look(file, member, sheet, named)


def score(reading: Reading) -> str:
    """``1.23``, or a dash for an encoding that is not scored."""
    return "—" if reading.score is None else f"{reading.score / 1000:.2f}"


def _print(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    from implops.baseload.codec import visible

    def say(key: str, **params: Any) -> None:
        click.echo(texts.say(f"import.inspect.{key}", **params))

    # What stands in a customer's file is no markup.
    console = Console(highlight=False, markup=False, emoji=False)

    def table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        made = Table(box=None, pad_edge=False, header_style="bold")
        for name in names:
            made.add_column(texts.say(f"import.inspect.column.{name}"), overflow="fold")
        for row in rows:
            made.add_row(*row)
        console.print(made)

    say("file", file=found.file, bytes=found.bytes, sha256=found.sha256, format=found.kind)
    if found.parts:
        say("parts", parts=" ".join(found.parts))
    if found.mark:
        say("mark", mark=found.mark)
    if found.encodings:
        say("evidence", count=found.nonascii)
        table(("encoding", "score", "read"), [(one.encoding, score(one), one.lines[0][1]) for one in found.encodings])
    elif found.nonascii:
        say("no_encoding")
    if found.encoding:
        say("suggested", encoding=found.encoding)
    if found.newlines:
        say("newlines", crlf=found.newlines["crlf"], lf=found.newlines["lf"], cr=found.newlines["cr"])
    if found.delimiter:
        say("delimiter", delimiter="TAB" if found.delimiter == "\t" else found.delimiter)
    if found.columns:
        say("columns", count=len(found.columns), rows=found.rows)
        table(("name", "type", "longest", "empty", "unique", "samples"), [
            (visible(one.name), " ".join([one.type, *one.formats]), str(one.longest), str(one.empty),
             texts.say("import.inspect.yes") if one.unique else "",
             " · ".join(visible(sample[:20]) for sample in one.samples))
            for one in found.columns
        ])  # fmt: skip
