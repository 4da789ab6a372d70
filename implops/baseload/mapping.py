"""A mapping file: which customer file goes into which table, and what every column must be. YAML, read strictly.

Formats follow the site file: unknown and duplicate keys are refused with file, line and the nearest right word.
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StringConstraints

from implops.baseload.codec import CODECS, codec_of
from implops.errors import SiteError
from implops.strict_yaml import Lines, nearest, read, validate

# Names reach SQL only quoted (server.py); the form keeps control characters and quotes out of psql's own commands.
_NAME = r"[^\x00-\x20\x7f\"'`\\;.(),]{1,63}"
_TYPE = re.compile(r"text|int|date|decimal\(([0-9]{1,2}), ?([0-9]{1,2})\)")


def _encoding(text: str) -> str:
    if codec_of(text) is None:
        raise ValueError(f"import.form.encoding|{text}|{' '.join(CODECS)}")
    return text


def _type(text: str) -> str:
    match = _TYPE.fullmatch(text)
    if not match or (match[1] and not 0 <= int(match[2]) < int(match[1]) <= 30):
        raise ValueError(f"import.form.type|{text}|text int decimal(14,2) date")
    return text.replace(" ", "")


def _pattern(text: str) -> str:
    try:
        re.compile(text, re.ASCII)
    except re.error as error:
        raise ValueError(f"import.form.pattern|{text}|{error}") from None
    return text


def _limit(value: object) -> str:
    """Rows, or a share: ``20``, ``0.5%``."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,3})?%", text):
        raise ValueError(f"import.form.limit|{value}|0 20 0.5%")
    return text


def _delimiter(text: str) -> str:
    if len(text) != 1 or text.isalnum() or text in "\"'\r\n\\.-_ " or not text.isascii():
        raise ValueError(f"import.form.delimiter|{text}|, ; | TAB")
    return text


SqlIdentifier = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(Part):
    file: Text
    format: Literal["csv", "tsv"] = "csv"
    encoding: Annotated[str, AfterValidator(_encoding)]
    encoding_confirmed: bool = False
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    quote: Literal['"', "'", ""] = '"'
    header_row: Annotated[int, Field(ge=0, le=100)] = 1
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @property
    def separator(self) -> str:
        return self.delimiter or ("\t" if self.format == "tsv" else ",")

    @property
    def codec(self) -> str:
        """The Python codec that decodes what the customer calls ``encoding``."""
        return str(codec_of(self.encoding))


class Target(Part):
    database: SqlIdentifier
    table: Annotated[str, StringConstraints(pattern=rf"^({_NAME}\.)?{_NAME}$")]
    mode: Literal["insert"] = "insert"

    @property
    def schema_name(self) -> str:
        return self.table.rpartition(".")[0] or "public"

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.database}.{self.schema_name}.{self.table_name}"


class Ref(Part):
    """The value must stand in column ``match`` of ``table``."""

    table: Annotated[str, StringConstraints(pattern=rf"^({_NAME}\.)?{_NAME}$")]
    match: SqlIdentifier

    @property
    def key(self) -> tuple[str, str, str]:
        schema, _, table = self.table.rpartition(".")
        return schema or "public", table, self.match


class Column(Part):
    """``source`` (YAML: from) names the file's column, or its number when there is no header; or ``value`` is fixed."""

    source: str | int | None = Field(default=None, alias="from")
    value: str | int | None = None
    type: Annotated[str, AfterValidator(_type)] = "text"
    max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    required: bool = False
    unique: bool = False
    ref: Ref | None = None
    allow: list[Literal["private_use"]] = Field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.type.partition("(")[0]

    @property
    def precision(self) -> tuple[int, int]:
        """(digits, digits behind the point) of a decimal."""
        match = _TYPE.fullmatch(self.type)
        assert match and match[1]
        return int(match[1]), int(match[2])


class Verify(Part):
    sum: list[SqlIdentifier] = Field(default_factory=list)
    rows_expected: Annotated[int, Field(ge=0)] | None = None
    spot: Annotated[int, Field(ge=0, le=200)] = 20


class Mapping(Part):
    name: Text = Field(alias="import")
    source: Source
    target: Target
    key: list[SqlIdentifier] = Field(default_factory=list)
    reject_limit: Annotated[str, BeforeValidator(_limit)] = "0"
    after: list[Text] = Field(default_factory=list)
    columns: dict[SqlIdentifier, Column] = Field(min_length=1)
    ignore: list[str | int] = Field(default_factory=list)
    verify: Verify = Verify()
    _path: Path = PrivateAttr(Path())

    @property
    def path(self) -> Path:
        """The mapping file."""
        return self._path

    @property
    def file(self) -> Path:
        """The customer's file."""
        return self._path.parent / Path(self.source.file).expanduser()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of what decides which values end up where; limits, checks and confirmations do not count."""
        kept = self.model_dump(mode="json", by_alias=True, include={"name", "source", "target", "key", "columns"})
        for word in ("file", "encoding_confirmed", "sha256"):
            kept["source"].pop(word)
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

    for name, column in mapping.columns.items():
        if (column.source is None) == (column.value is None):
            raise refuse("from_or_value", "columns", name)
        if column.source is not None and isinstance(column.source, int) != (mapping.source.header_row == 0):
            raise refuse("from_number", "columns", name, "from", value=column.source)
        if isinstance(column.source, int) and column.source < 1:
            raise refuse("from_number", "columns", name, "from", value=column.source)
        if column.kind != "text" and (column.max or column.pattern):
            raise refuse("text_only", "columns", name, type=column.type)
        if column.value is not None and (column.ref or column.unique):
            raise refuse("constant", "columns", name)
    for word, listed in (("key", mapping.key), ("verify", mapping.verify.sum)):
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
