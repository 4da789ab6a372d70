"""Finds checks: ``checks/*.py`` of the kit, a topic a file. A check is a function over facts::

    @check("MEM01", "mem.total", unit="size", severity="fail")
    def total(case):
        return case.least(case.fact(Memory).total)

It returns a Result, several (one a target), or none when it has nothing to say. A ``scope="site"`` check is called once
with all hosts. It never connects. Its texts are ``check.ID.title``, ``.why`` and ``.fix``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from implops import kit
from implops.errors import KitError
from implops.site import ROLES

FOLDER = "checks"
Unit = Literal["", "size", "rate", "count", "percent", "ms", "seconds", "words"]


@dataclass(frozen=True)
class Check:
    """``roles`` are those it concerns; ``unit`` is that of its thresholds, which are ceilings when ``ceiling``."""

    id: str
    name: str
    function: Callable[..., Any]
    roles: tuple[str, ...]
    severity: Literal["fail", "warn"]
    unit: Unit
    scope: Literal["host", "site"]
    ceiling: bool
    # Of cost class S: its facts load the host, so they are asked only with --deep.
    deep: bool = False
    # Its value is news whenever it changes, also where it is only recorded.
    steady: bool = False
    path: Path = Path()


def check(
    id: str,
    name: str,
    *,
    roles: tuple[str, ...] = ROLES,
    severity: Literal["fail", "warn"] = "fail",
    unit: Unit = "",
    scope: Literal["host", "site"] = "host",
    ceiling: bool = False,
    deep: bool = False,
    steady: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as a check."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.check = Check(id, name, function, roles, severity, unit, scope, ceiling, deep, steady)  # type: ignore[attr-defined]
        return function

    return mark


def load(base: Path | None) -> dict[str, Check]:
    """Checks by id, in the order of the catalogue: topics as their ids say, numbers rising. The nearest kit wins.

    Raises KitError for a file that cannot be read, and for an id that two files use.
    """
    found: dict[str, Check] = {}
    kit.register("check", FOLDER, base)
    for path in kit.files(FOLDER, base).values():
        module = kit.load(path, FOLDER)
        for value in vars(module).values():
            one = getattr(value, "check", None)
            if not isinstance(one, Check) or value.__module__ != module.__name__:
                continue
            if one.id in found:
                raise KitError("check.two_files", id=one.id, path=path, other=found[one.id].path)
            found[one.id] = replace(one, path=path)
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


_TOPICS = ("ACC", "OS", "CPU", "MEM", "LIM", "DSK", "TIM", "LOC", "SEC", "NET", "DNS", "DB", "APP", "STO")


def _order(id: str) -> tuple[int, str]:
    topic = id.rstrip("0123456789")
    return (_TOPICS.index(topic) if topic in _TOPICS else len(_TOPICS), id)
