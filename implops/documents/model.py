"""A Document without a format: what a form says, in the language it is printed in. Writers decide how it looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["pass", "warn", "fail", "info", "skip", "error", "waived", "absent"]
Language = Literal["zh-Hans", "zh-Hant", "en"]


@dataclass(frozen=True)
class Cell:
    """A table cell. ``state`` colours it (never by colour alone: the text says it too); ``mono`` for hashes, paths."""

    text: str
    state: State | None = None
    mono: bool = False


@dataclass(frozen=True)
class Column:
    """``width`` is relative to the other columns of its table."""

    title: str
    width: float = 1.0
    align: Literal["left", "center", "right"] = "left"


@dataclass(frozen=True)
class Fields:
    """Labels and values, printed two pairs beside each other."""

    pairs: tuple[tuple[str, Cell | str], ...]
    title: str = ""


@dataclass(frozen=True)
class Paragraph:
    text: str
    title: str = ""


@dataclass(frozen=True)
class SignOff:
    """Blank rows to sign: (who,) each with a date; ``remarks`` is the label of the customer's remarks, or empty."""

    signers: tuple[str, ...]
    date: str
    title: str = ""
    remarks: str = ""


@dataclass(frozen=True)
class Table:
    """A flat table; ``empty`` is printed instead of rows when there are none, ``signoff`` is for the table alone."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    empty: str = ""
    note: str = ""
    signoff: SignOff | None = None


Part = Table | Fields | Paragraph | SignOff


@dataclass(frozen=True)
class Document:
    """One form. ``finished`` is the record's finish (RFC 3339): the only time in the file, so bytes can repeat."""

    kind: str
    title: str
    number: str
    language: Language
    header: Fields
    parts: tuple[Part, ...]
    signoff: SignOff
    conclusion: Cell
    footer: str
    finished: str
    landscape: bool = False
    stamp: str = ""
    meta: dict[str, str] = field(default_factory=dict)
