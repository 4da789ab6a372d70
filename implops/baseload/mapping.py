"""A mapping file: which customer file goes into which table, and what every column must be. YAML, read strictly.

Formats follow the site file: unknown and duplicate keys are refused with file, line and the nearest right word.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, StringConstraints, model_validator

from implops.baseload.codec import CODECS, PARTED, codec_of
from implops.baseload.column import Column, Dictionary, Part, Said, SqlIdentifier, SqlTable, Text, fault
from implops.errors import InputError, SiteError
from implops.strict_yaml import Lines, nearest, read, validate

# The encoding of a mapping whose author does not know it yet: every verb shows the readings and stops.
ASK = "ask"


def _encoding(text: str) -> str:
    if text != ASK and codec_of(text) is None:
        raise ValueError(f"import.form.encoding|{text}|{' '.join(CODECS)} {ASK}")
    return text


def _limit(value: object) -> str:
    """Rows, or a share: ``20``, ``0.5%``."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,3})?%", text):
        raise ValueError(f"import.form.limit|{value}|0 20 0.5%")
    return text


def _delimiter(text: str) -> str:
    one = len(text) == 1 and text not in "\\.-_"
    mark = any(not char.isalnum() and char != " " for char in text)
    strange = any(char in "\"'\r\n" or unicodedata.category(char) in ("Cs", "Co", "Cn") for char in text)
    if not mark or strange or not (one or 2 <= len(text) <= 10):
        raise ValueError(f"import.form.delimiter|{text}|, ; | TAB |^|")
    return text


def _minutes(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"import.form.minutes|{value}|60")
    return value


class Source(Part):
    """The customer's file. ``skip``: title lines above the header, total lines at the end. ``member``: which file of
    a zip. ``widths``: characters of each column of a fixed-width file. ``table``: whose INSERTs of a SQL file;
    ``dialect``: whether a backslash in its texts escapes.
    """

    file: Text
    format: Literal["csv", "tsv", "xlsx", "sql", "fixed"] = "csv"
    encoding: Annotated[str, AfterValidator(_encoding)] = ""
    encoding_confirmed: bool = False
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    quote: Literal['"', "'", ""] = '"'
    newline: Literal["lf", "cr"] = "lf"
    header_row: Annotated[int, Field(ge=0, le=100)] = 1
    skip: tuple[Annotated[int, Field(ge=0, le=100)], Annotated[int, Field(ge=0, le=100)]] = (0, 0)
    sheet: Text | None = None
    member: Text | None = None
    widths: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(default_factory=list)
    table: SqlTable | None = None
    dialect: Literal["mysql", "postgresql"] | None = None
    null: list[Annotated[str, StringConstraints(max_length=100)]] = Field(default_factory=lambda: [""])
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _bare(self) -> Source:
        """Quotes around a cell could hide only a delimiter of one character."""
        if self.delimiter and len(self.delimiter) > 1 and self.quote:
            raise ValueError(f"import.form.delimiter_quote|{self.delimiter}|quote: ''")
        return self

    @property
    def separator(self) -> str:
        """The character between cells of decoded text (``parting``)."""
        if self.delimiter and len(self.delimiter) > 1:
            return PARTED
        return self.delimiter or ("\t" if self.format == "tsv" else ",")

    @property
    def codec(self) -> str:
        """The Python codec that decodes what the customer calls ``encoding``; none while that is still asked."""
        return str(codec_of(self.encoding)) if self.encoding else "utf-8"

    @property
    def asks(self) -> bool:
        """The encoding is still to be chosen."""
        return self.encoding == ASK

    @property
    def declared(self) -> str:
        """What the mapping says of the file's bytes: the encoding, or the format that brings its own."""
        return self.encoding or self.format

    @property
    def header_line(self) -> int:
        """The line of the header; without one, the last line above the data."""
        return self.skip[0] + self.header_row


class Target(Part):
    """``mode``: insert only; upsert by ``key``; replace deletes what ``replace_where`` selects (all rows when it is
    empty) first.
    """

    database: SqlIdentifier
    table: SqlTable
    mode: Literal["insert", "upsert", "replace"] = "insert"
    replace_where: dict[SqlIdentifier, Said] = Field(default_factory=dict)

    @property
    def schema_name(self) -> str:
        return self.table.rpartition(".")[0] or "public"

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.database}.{self.schema_name}.{self.table_name}"


class Gates(Part):
    """What ``run`` demands: age of the backup before, and the name that the approval must carry."""

    backup_minutes: Annotated[int, BeforeValidator(_minutes), Field(ge=1, le=10_080)] | None = None
    approved_by: Text | None = None
    test_run: bool = False


class Verify(Part):
    sum: list[SqlIdentifier] = Field(default_factory=list)
    rows_expected: Annotated[int, Field(ge=0)] | None = None
    spot: Annotated[int, Field(ge=0, le=200)] = 20


class Mapping(Part):
    name: Text = Field(alias="import")
    source: Source
    target: Target
    key: list[SqlIdentifier] = Field(default_factory=list)
    update: list[SqlIdentifier] = Field(default_factory=list)
    batch: Annotated[int, Field(ge=1000, le=100_000_000)] | None = None
    reject_limit: Annotated[str, BeforeValidator(_limit)] = "0"
    after: list[Text] = Field(default_factory=list)
    columns: dict[SqlIdentifier, Column] = Field(min_length=1)
    ignore: list[str | int] = Field(default_factory=list)
    dictionaries: dict[Text, Dictionary] = Field(default_factory=dict)
    verify: Verify = Verify()
    gates: Gates = Gates()
    _path: Path = PrivateAttr(Path())

    @property
    def path(self) -> Path:
        """The mapping file."""
        return self._path

    @cached_property
    def file(self) -> Path:
        """The customer's file. Raises InputError when a pattern matches no file or several."""
        given = Path(self.source.file).expanduser()
        folder = self._path.parent / given.parent
        if not any(one in given.name for one in "*?"):
            return folder / given.name
        found = sorted(folder.glob(given.name))
        if len(found) != 1:
            raise InputError("import.which_file", place=self._path.name, value=self.source.file,
                             found=" ".join(one.name for one in found) or "0")  # fmt: skip
        return found[0]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of what decides which values end up where; limits, checks and confirmations do not count."""
        words = {"name", "source", "target", "key", "update", "columns", "dictionaries"}
        kept = self.model_dump(mode="json", by_alias=True, include=words)
        for word in ("file", "encoding_confirmed", "sha256"):
            kept["source"].pop(word)
        for column in kept["columns"].values():
            if column["empty"] is None:
                del column["empty"]  # younger than the first logs: what does not use it stays what it was
        return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def allowed_rejects(self, rows: int) -> int:
        """How many of ``rows`` may be rejected before nothing is loaded."""
        if not self.reject_limit.endswith("%"):
            return int(self.reject_limit)
        return int(Decimal(self.reject_limit.rstrip("%")) * rows / 100)


def load(path: Path) -> Mapping:
    """The Mapping of a file. Raises SiteError with file and line for the first fault found."""
    plain, lines = read(path)
    mapping = validate(Mapping, plain, lines, {"base": path.parent})
    mapping._path = path.absolute()
    _links(mapping, lines)
    return mapping


def _links(mapping: Mapping, lines: Lines) -> None:
    """Parts that do not fit together."""
    columns = list(mapping.columns)

    def refuse(fault: str, *where: str | int, **params: Any) -> SiteError:
        return SiteError(f"import.mapping.{fault}", place=lines.place(where), **params)

    source = mapping.source
    if not source.encoding and source.format != "xlsx":
        raise refuse("no_encoding", "source", known=" ".join(CODECS))
    if source.asks and source.format == "xlsx":
        raise refuse("ask_workbook", "source", "encoding")
    if (source.format == "fixed") != bool(source.widths):
        raise refuse("widths", "source")
    for name, column in mapping.columns.items():
        if found := fault(column, key=name in mapping.key):
            raise refuse(found[0], "columns", name, **found[1])
        # A SQL file names its own columns.
        numbered = source.header_row == 0 and source.format != "sql"
        if column.source is not None and isinstance(column.source, int) != numbered:
            raise refuse("from_number", "columns", name, "from", value=column.source)
        if isinstance(column.source, int) and column.source < 1:
            raise refuse("from_number", "columns", name, "from", value=column.source)
        if column.codes is not None and column.codes not in mapping.dictionaries:
            known = nearest(column.codes, list(mapping.dictionaries))
            raise refuse("no_dictionary", "columns", name, "dict", value=column.codes, known=known)
    for name, codes in mapping.dictionaries.items():
        if [codes.codes, codes.file, codes.table].count(None) != 2 or (codes.table and codes.column is None):
            raise refuse("dictionary", "dictionaries", name)
        if codec_of(codes.encoding) is None:
            raise refuse("dictionary", "dictionaries", name)
    _modes(mapping, refuse)
    for word, listed in (("key", mapping.key), ("update", mapping.update), ("verify", mapping.verify.sum)):
        for name in listed:
            if name not in mapping.columns:
                raise refuse("no_column", word, value=name, known=nearest(name, columns))
    for name in mapping.verify.sum:
        if not summable(mapping.columns[name]):
            raise refuse("no_sum", "verify", "sum", value=name)
    for name in mapping.key:
        if mapping.columns[name].source is None:
            raise refuse("constant", "key")
    sources = [column.source for column in mapping.columns.values()]
    for number, ignored in enumerate(mapping.ignore):
        if ignored in sources:
            raise refuse("ignored_used", "ignore", number, value=ignored)


def _modes(mapping: Mapping, refuse: Callable[..., SiteError]) -> None:
    target = mapping.target
    if target.mode == "upsert" and not mapping.key:
        raise refuse("upsert_key", "target", "mode")
    if mapping.update and target.mode != "upsert":
        raise refuse("update_mode", "update", mode=target.mode)
    if target.replace_where and target.mode != "replace":
        raise refuse("replace_mode", "target", "replace_where", mode=target.mode)
    if mapping.batch and target.mode == "replace":
        raise refuse("batch_mode", "batch", mode=target.mode)
    for name in mapping.update:
        if name in mapping.key:
            raise refuse("update_key", "update", value=name)


def summable(column: Column) -> bool:
    """Numbers can be summed, and codes whose pattern lets nothing but digits through."""
    digits = r"(?:(?:\[[0-9-]+\]|\\d|[0-9])(?:\{[0-9]+(?:,[0-9]+)?\}|[+?*])?)+"
    return column.kind in ("int", "decimal") or bool(column.pattern and re.fullmatch(digits, column.pattern))


def in_order(mappings: list[Mapping], known: set[str]) -> list[Mapping]:
    """The mappings so that each stands behind those it names in ``after``; otherwise in the given order.

    ``known`` are further names that ``after`` may mention (imports that are not part of this run).
    Raises SiteError for a name used twice, an unknown one, or a circle.
    """
    names = [one.name for one in mappings]
    for one in mappings:
        if names.count(one.name) > 1:
            raise SiteError("import.mapping.same_name", place=one.path.name, value=one.name)
        for earlier in one.after:
            if earlier not in names and earlier not in known:
                listed = nearest(earlier, [*names, *sorted(known)])
                raise SiteError("import.mapping.no_import", place=one.path.name, value=earlier, known=listed)
    done: list[Mapping] = []
    waiting = list(mappings)
    while waiting:
        left = {one.name for one in waiting}
        ready = [one for one in waiting if not left.intersection(one.after)]
        if not ready:
            raise SiteError("import.mapping.circle", place=waiting[0].path.name, names=" ".join(sorted(left)))
        done.append(ready[0])
        waiting.remove(ready[0])
    return done
