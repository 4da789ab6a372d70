"""What the form of a line cannot tell: references, dictionaries, duplicates, free patterns, lengths, storability.

Works on columns: a whole run of good lines costs one set operation, and only what fails is looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from implops.baseload.codec import unstorable
from implops.baseload.column import KEPT
from implops.baseload.mapping import Mapping
from implops.baseload.rules import DAMAGED, Fault
from implops.baseload.seen import KEPT_KEYS, Hashes, Names, Seen, Suspects
from implops.baseload.target import Cell

# ("schema", "table", "column") or, with a fourth name, what is stored instead; ("", "", NAME) for a dictionary.
Key = tuple[str, ...]
# Codes that are known; with ``take``, what each stands for, None when several rows match.
Codes = set[str] | dict[str, str | None]
Known = dict[Key, Codes]
Taken = dict[Names, set[Names] | Hashes]
Refuse = Callable[..., None]
# Values of a column that a free pattern is known to match.
_REMEMBERED = 200_000
# A line of a cell that ends the data of psql's COPY, even between quotes.
_END = re.compile(r"\n\\\.(?:\r?\n|$)")


def lookups(cell: Cell) -> list[Key]:
    """The lists of codes that a column needs."""
    column = cell.column
    keys: list[Key] = [("", "", column.codes)] if column.codes is not None else []
    if column.ref:
        keys.append((*column.ref.key, column.ref.take) if column.ref.take else column.ref.key)
    return keys


def groups(mapping: Mapping) -> list[tuple[str, ...]]:
    """The column groups whose values must not repeat."""
    keys: list[tuple[str, ...]] = [(name,) for name, column in mapping.columns.items() if column.unique]
    return [*keys, tuple(mapping.key)] if mapping.key and tuple(mapping.key) not in keys else keys


class Judge:
    """``known``: codes of parent tables and dictionaries; ``taken``: keys that the target holds already, or their
    hashes; ``suspects``: what a pass before this one has told.
    """

    def __init__(self, mapping: Mapping, cells: Sequence[Cell], known: Known, taken: Taken, suspects: Suspects) -> None:
        self.cells, self.known = list(cells), known
        self._order = [cell.name for cell in cells]
        self._seen: dict[Names, Seen] = {}
        keyed = groups(mapping)
        for names in keyed:
            rows = taken.get(names, set())
            keys = {row[0] for row in rows} if len(names) == 1 and not isinstance(rows, Hashes) else rows
            only = suspects.get(names)
            self._seen[names] = Seen(keys, only, KEPT_KEYS // len(keyed))
        self._tame: dict[str, set[str]] = {}
        self._free = {
            cell.name: re.compile(cell.field.pattern, re.ASCII)
            for cell in cells if cell.field.pattern and not cell.field.tame
        }  # fmt: skip

    def wanted(self, worked: frozenset[str]) -> frozenset[str]:
        """The columns that are looked at; ``worked`` ones are judged for their pattern already."""
        keyed = {name for names in self._seen for name in names}
        looked = {
            cell.name for cell in self.cells
            if lookups(cell) or cell.field.charset
            or (cell.name not in worked and cell.field.pattern and (not cell.field.tame or cell.field.limit))
        }  # fmt: skip
        return frozenset(keyed | looked)

    def rows(
        self, lines: Sequence[int], values: list[Sequence[str]], bad: dict[int, list[Fault]]
    ) -> list[Sequence[str]]:
        """The values with references replaced by what is stored; what is wrong is added to ``bad`` by place."""

        def refuse(index: int, name: str, code: str, value: str, /, **params: Any) -> None:
            bad.setdefault(index, []).append(Fault(name, code, value, params))

        out = list(values)
        for place, (cell, column) in enumerate(zip(self.cells, values, strict=True)):
            if cell.column.source is None:
                continue
            if cell.column.keeps:
                # Neither a pattern nor a list of codes says anything about an empty text.
                column = ["" if one == KEPT else one for one in column]
            self._text(cell, column, refuse)
            for key in lookups(cell):
                out[place] = self._known(cell, key, column, out[place], refuse)
        self._repeated(lines, values, bad, refuse)
        return out

    def codes(self, cell: Cell, value: str) -> list[Fault]:
        """What a list of codes says against one value of a row that is refused already."""
        found: list[Fault] = []

        def refuse(index: int, name: str, code: str, value: str, /, **params: Any) -> None:
            found.append(Fault(name, code, value, params))

        for key in lookups(cell):
            self._known(cell, key, [value.replace(KEPT, "")], [value], refuse)
        return found

    def _text(self, cell: Cell, column: Sequence[str], refuse: Refuse) -> None:
        rule = cell.field
        if rule.pattern and rule.limit is not None and max(map(len, column)) > rule.limit:
            for index, value in enumerate(column):
                if len(value) > rule.limit:
                    refuse(index, cell.name, "length", value, length=len(value), limit=rule.limit)
        if cell.name in self._free:
            self._match(cell, column, refuse)
        if rule.multiline and any(one and _END.search(one) for one in column):
            for index, value in enumerate(column):
                if _END.search(value):
                    refuse(index, cell.name, "end_mark", value)
        if rule.charset and unstorable("".join(column), rule.charset):
            for index, value in enumerate(column):
                if lost := unstorable(value, rule.charset):
                    refuse(index, cell.name, "storable", value, charset=rule.charset, lost=lost)

    def _known(
        self, cell: Cell, key: Key, column: Sequence[str], stored: Sequence[str], refuse: Refuse
    ) -> Sequence[str]:
        codes = self.known[key]
        if not codes.keys() >= set(column) if isinstance(codes, dict) else not codes.issuperset(column):
            for index, value in enumerate(column):
                if value and value not in codes:
                    if key[0]:
                        refuse(index, cell.name, "reference", value, table=f"{key[1]}.{key[2]}")
                    else:
                        refuse(index, cell.name, "dictionary", value, name=key[2])
        if not isinstance(codes, dict):
            return stored
        for index, value in enumerate(column):
            if value and codes.get(value, "") is None:
                refuse(index, cell.name, "reference_many", value, table=f"{key[1]}.{key[2]}")
        return [codes.get(value) or "" for value in column]

    def _match(self, cell: Cell, column: Sequence[str], refuse: Refuse) -> None:
        """A customer's own pattern, asked once for every distinct value."""
        pattern, good = self._free[cell.name], self._tame.setdefault(cell.name, {""})
        if len(good) > _REMEMBERED:
            good.clear()
            good.add("")
        good |= {value for value in set(column) - good if pattern.fullmatch(value)}
        if not good.issuperset(column):
            for index, value in enumerate(column):
                if value not in good:
                    refuse(index, cell.name, "pattern", value, pattern=cell.field.pattern)

    def _repeated(
        self, lines: Sequence[int], values: list[Sequence[str]], bad: dict[int, list[Fault]], refuse: Refuse
    ) -> None:
        for names, seen in self._seen.items():
            picked = [values[self._order.index(name)] for name in names]
            keys: Sequence[Any] = picked[0] if len(names) == 1 else list(zip(*picked, strict=True))
            for index, first in list(seen.repeated(keys, lines, bad.keys())):
                shown = keys[index] if len(names) == 1 else " ".join(keys[index])
                if first is None:
                    refuse(index, " ".join(names), "exists", shown)
                else:
                    refuse(index, " ".join(names), "duplicate", shown, first=first)

    def suspects(self) -> tuple[Suspects, bool]:
        """At the end of a pass: what another one must look at where keys were too many; whether it must come."""
        found = {names: told for names, seen in self._seen.items() if (told := seen.suspects()) is not None}
        return {names: told for names, (told, _) in found.items()}, any(open_ for _, open_ in found.values())


def damaged(text: str) -> bool:
    """Whether a text holds what programs leave where characters were lost."""
    # One letter is found many times as fast as three, and this one stands in no ordinary word.
    return DAMAGED[0] in text and DAMAGED in text
