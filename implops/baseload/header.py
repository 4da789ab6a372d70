"""The header of a customer's file fitted to the mapping: every column mapped or ignored by name, none guessed."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from implops.baseload.codec import visible
from implops.baseload.mapping import Mapping
from implops.baseload.source import shown
from implops.errors import InputError
from implops.strict_yaml import nearest

Name = str | int


def cut(text: str, delimiter: str, quote: str, file: str) -> list[str]:
    """The cells of the header line of a delimited file. Raises InputError for a file whose lines end in CR alone."""
    text = text.removesuffix("\r")
    if "\r" in text:
        raise InputError("import.cr_only", file=file)
    if not quote:
        return text.split(delimiter)
    return next(csv.reader([text], delimiter=delimiter, quotechar=quote), [])


def fit(mapping: Mapping, names: Sequence[Name]) -> None:
    """Raises InputError for a column that is missing, doubled, or neither mapped nor ignored."""
    file, place = shown(mapping), mapping.path.name
    wanted = [column.source for column in mapping.columns.values() if column.source is not None]
    if names and names[-1] == "" and "" not in mapping.ignore:
        raise InputError("import.header_trailing", file=file, place=place)
    for name in names:
        if names.count(name) > 1:
            raise InputError("import.header_twice", file=file, name=seen(name))
    for source in [*wanted, *mapping.ignore]:
        if source not in names:
            raise InputError("import.header_missing", file=file, place=place, name=source,
                             known=nearest(str(source), [seen(one) for one in names]))  # fmt: skip
    known = {*wanted, *mapping.ignore}
    for name in names:
        if name not in known:
            raise InputError("import.header_unmapped", file=file, place=place, name=seen(name),
                             known=" ".join(map(str, known)))  # fmt: skip


def seen(name: Name) -> str:
    """A header cell with what cannot be seen, blanks that make it another name too, written as code points."""
    blanks = "\u3000 " if str(name).strip() != name else "\u3000"
    return "".join(f"<U+{ord(one):04X}>" if one in blanks else visible(one) for one in str(name))
