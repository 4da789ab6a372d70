"""Which file comes first: parents before children, by ``after``, by the references of the mappings and by the foreign
keys of the database; otherwise in the order in which they were given.
"""

from __future__ import annotations

from collections.abc import Sequence

from implops.baseload.mapping import Mapping, in_order
from implops.baseload.server import Foreign, Place, Server


def parents_of(server: Server, mapping: Mapping) -> set[Place]:
    """The tables that the mapping's columns refer to."""
    refs = [column.ref.key for column in mapping.columns.values() if column.ref]
    return {server.place(schema, table) for schema, table, _ in refs} - {here(server, mapping)}


def here(server: Server, mapping: Mapping) -> Place:
    """The table that a mapping fills."""
    return server.place(mapping.target.schema_name, mapping.target.table_name)


def needs(server: Server, mappings: Sequence[Mapping], foreign: Foreign) -> dict[str, set[str]]:
    """Import -> the imports among ``mappings`` that must come before it."""
    found = {}
    for one in mappings:
        mine = here(server, one)
        tables = parents_of(server, one) | {parent for child, parent in foreign if child == mine and parent != mine}
        names = {other.name for other in mappings if here(server, other) in tables or other.name in one.after}
        found[one.name] = names
    return found


def arrange(mappings: Sequence[Mapping], wanted: dict[str, set[str]]) -> tuple[list[Mapping], list[list[str]]]:
    """The mappings in the order in which they can be loaded, and the names of each circle among them. A circle keeps
    the given order, as far as ``after`` agrees. ``wanted``: what each import needs.
    """
    done: list[Mapping] = []
    circles: list[list[str]] = []
    waiting = {one.name: one for one in mappings}
    before = {name: _all_before(name, wanted) for name in waiting}
    while waiting:
        # The first whose ancestors are all in, or else are in a circle with it.
        first = next(
            name for name in waiting if all(name in before[other] for other in before[name] & waiting.keys())
        )  # fmt: skip
        group = [one for name, one in waiting.items() if name == first or name in before[first]]
        if len(group) > 1:
            circles.append([one.name for one in group])
            group = in_order(group, {name for one in group for name in one.after})
        done += group
        for one in group:
            del waiting[one.name]
    return done, circles


def _all_before(name: str, wanted: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        for other in wanted[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found
