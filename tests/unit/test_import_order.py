"""Parents come before children, by what the mappings say and by what the database says; a circle stays as it was."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from implops.baseload.engines.mariadb import MariaDB
from implops.baseload.engines.postgresql import PostgreSQL
from implops.baseload.mapping import Mapping
from implops.baseload.order import arrange, needs
from implops.baseload.server import Foreign, Server

SERVER = PostgreSQL(Path("/nowhere"), 5432, "his", "x", "db1")


def mapping(name: str, table: str = "", after: tuple[str, ...] = (), ref: str = "") -> Mapping:
    column: dict[str, Any] = {"from": "a", **({"ref": {"table": ref, "match": "a"}} if ref else {})}
    return Mapping.model_validate(
        {
            "import": name, "source": {"file": "f.csv", "encoding": "utf-8"},
            "target": {"database": "his", "table": table or name}, "columns": {"a": column}, "after": after,
        }
    )  # fmt: skip


def names(
    given: list[Mapping], foreign: Foreign = (), server: Server = SERVER
) -> tuple[list[str], list[list[str]]]:  # fmt: skip
    found, circles = arrange(given, needs(server, given, foreign))
    return [one.name for one in found], circles


def key(child: str, parent: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("public", child), ("public", parent)


def test_foreign_keys_references_and_after_all_count() -> None:
    given = [mapping("d", after=("c",)), mapping("c", ref="b"), mapping("b"), mapping("a")]
    assert names(given) == (["b", "c", "d", "a"], [])
    assert names(given, [key("b", "a")]) == (["a", "b", "c", "d"], [])
    # Tables of other imports, and a table's key to itself, move nothing.
    assert names(given, [key("b", "z"), key("a", "a"), (("other", "b"), ("public", "a"))]) == (["b", "c", "d", "a"], [])


def test_what_is_free_keeps_the_given_order() -> None:
    given = [mapping(name) for name in "xcab"]
    assert names(given, [key("c", "b")]) == (["x", "a", "b", "c"], [])


def test_several_files_of_one_table_are_all_parents_and_none_of_each_other() -> None:
    given = [mapping("child", ref="t"), mapping("two", "t"), mapping("one", "t")]
    assert names(given, [key("t", "t")]) == (["two", "one", "child"], [])


def test_a_circle_is_named_and_keeps_its_order_while_the_rest_finds_its_place() -> None:
    given = [mapping("below"), mapping("b"), mapping("a"), mapping("above")]
    foreign = [key("a", "b"), key("b", "a"), key("below", "a"), key("b", "above")]
    assert names(given, foreign) == (["above", "b", "a", "below"], [["b", "a"]])


def test_in_a_circle_after_decides() -> None:
    given = [mapping("b", after=("a", "not of this run")), mapping("a")]
    assert names(given, [key("a", "b")]) == (["a", "b"], [["b", "a"]])


def test_mariadb_has_one_schema_under_two_names() -> None:
    server = MariaDB(Path("/nowhere"), 3306, "his", "x", "db1")
    given = [mapping("child", "his.child"), mapping("parent", "parent")]
    assert names(given, [key("child", "parent")], server) == (["parent", "child"], [])
    given = [mapping("child", ref="his.parent"), mapping("parent", "parent")]
    assert names(given, (), server) == (["parent", "child"], [])


@given(st.sets(st.sampled_from([key(a, b) for a, b in permutations("abcde", 2)])), st.permutations("abcde"))
def test_whatever_the_keys_every_import_comes_once_and_after_its_parents(
    foreign: set[tuple[tuple[str, str], tuple[str, str]]], order: list[str]
) -> None:
    found, circles = names([mapping(one) for one in order], foreign)
    assert sorted(found) == list("abcde")
    together = {name: set(group) for group in circles for name in group}
    for (_, child), (_, parent) in foreign:
        assert found.index(parent) < found.index(child) or parent in together.get(child, set())
    for group in circles:
        assert group == [one for one in order if one in group]
