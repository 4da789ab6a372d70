"""The draft of a mapping file from a file's header and a table's columns. A person completes it; nothing is assumed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from implops import texts
from implops.baseload.inspection import Guessed, Inspection
from implops.baseload.target import Table, TableColumn

_PLAIN = re.compile(r"[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff]*")


def draft(found: Inspection, path: Path, folder: Path, database: str, table: Table) -> str:
    """YAML text. Columns of file and table meet by name; what has no partner is listed for a person to decide."""
    schema, name = table.name
    partners = pair(found.header, table)
    shown = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    source = [f"file: {_word(shown)}", f"format: {found.kind}"]
    if found.kind != "xlsx":
        source.append(f"encoding: {found.encoding or 'ask'}")
    if found.delimiter not in ("", ","):
        source.append(f"delimiter: {json.dumps(found.delimiter)}")
    if found.kind == "sql" and found.parts:
        source.append(f"table: {_word(found.parts[0])}")
    if len(found.delimiter) > 1:
        source.append('quote: ""')
    lines = [
        f"# {texts.say('import.draft.head')}",
        f"import: {_word(path.stem)}",
        f"source: {{{', '.join(source)}}}",
        f"target: {{database: {database}, table: {name if schema == 'public' else f'{schema}.{name}'}}}",
        "reject_limit: 0",
        "columns:",
    ]
    guessed = {one.name: one for one in found.columns}
    for source_name, column in partners.items():
        lines.append(f"  {_word(column.name)}: {{{', '.join(_rules(source_name, guessed[source_name], column))}}}")
    for column in table.columns.values():
        if column.name not in [one.name for one in partners.values()] and not column.generated:
            must = column.not_null and not column.default
            told = texts.say("import.draft.must" if must else "import.draft.may")
            lines.append(f"  # {_word(column.name)}: {{from: …}}    # {column.type}, {told}")
    left = [one for one in found.header if one not in partners]
    if left:
        lines.append(f"# {texts.say('import.draft.ignored')}")
        lines.append(f"ignore: [{', '.join(map(_word, left))}]")
    return "\n".join(lines) + "\n"


def pair(header: list[str], table: Table) -> dict[str, TableColumn]:
    """File column -> table column of the same name; case, blanks and underscores do not count."""

    def plain(text: str) -> str:
        return re.sub(r"[\s_\u3000-]", "", text).casefold()

    there = {plain(name): column for name, column in table.columns.items() if not column.generated}
    return {name: there[plain(name)] for name in header if plain(name) in there}


def _rules(name: str, guessed: Guessed, column: TableColumn) -> list[str]:
    rules = [f"from: {_word(name)}"]
    kind = _kind(column, guessed)
    if kind != "text":
        rules.append(f"type: {_word(kind)}")
    if guessed.formats and kind in ("date", "datetime"):
        rules.append(f"formats: [{', '.join(map(_word, guessed.formats))}]")
    if kind == "text" and column.limit:
        rules.append(f"max: {column.limit}")
    if column.not_null:
        rules.append("required: true")
    return rules


def _kind(column: TableColumn, guessed: Guessed) -> str:
    """The type of the table decides; the file only fills what it leaves open."""
    if column.type in ("int2", "int4", "int8", "tinyint", "smallint", "mediumint", "int", "bigint"):
        return "int"
    if column.type in ("numeric", "decimal"):
        if column.digits is not None:
            return f"decimal({column.digits},{column.behind or 0})" if column.behind else "int"
        return guessed.type if guessed.type.startswith("decimal") else "int"
    return {"date": "date", "timestamp": "datetime", "datetime": "datetime", "time": "time", "bool": "bool"}.get(
        column.type, "text"
    )


def _word(text: str) -> str:
    """A YAML scalar; quoted unless it is plainly a word."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)


_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
