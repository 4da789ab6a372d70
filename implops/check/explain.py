"""What there is to tell about a check: its facts and their probes, thresholds by layer, cost, stage, class of its fix.

How a check is read is taken from its own code: the facts that its function names.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from implops import kit
from implops.check import fixes, limits
from implops.check.gather import kinds
from implops.check.registry import FOLDER, Check
from implops.facts.base import Fact
from implops.strict_yaml import read

_MOST_LINES = 4
_WORD = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]*\b")
_FILE = re.compile(r"\b(\w+) (/\S+)")
_PLANS = re.compile(r"will_be_set|case\.sysctl\(|\.post\(|\.planned\(|\.plans\(|deployed")


@dataclass(frozen=True)
class Read:
    """A fact that the check looks at: its name, what it is, the probe that reads it, that probe's text, and the lines
    of it that read what the check uses (none where the names differ)."""

    name: str
    doc: str
    probe: str
    script: str
    lines: tuple[str, ...]
    trip: int


@dataclass(frozen=True)
class Explained:
    """``cost``: computed, trip1, trip2 or deep. ``limits``: (layer, role, need, want) as the files write them."""

    check: Check
    facts: tuple[Read, ...]
    limits: tuple[tuple[str, str, str, str], ...]
    cost: str
    deploy_aware: bool
    risk: str


def explain(check: Check, checks: Mapping[str, Check], base: Path | None) -> Explained:
    """Raises KitError for a threshold or fix file that cannot be read."""
    code = _code(check)
    words = set(_WORD.findall(code))
    probes = kit.files(f"{FOLDER}/probes", base, "*.sh")
    facts = tuple(_read(kind, probes, words) for kind in kinds() if kind.__name__ in words)
    # A check may say more with --deep; what it costs without is what counts, unless it is a deep one itself.
    latest = max((one.trip for one in facts if one.trip < 3), default=3 if facts else 0)
    cost = "deep" if check.deep or latest == 3 else ("computed", "trip1", "trip2")[latest]
    remedy = fixes.load(base, checks).get(check.id)
    return Explained(check, facts, tuple(_limits(check, checks, base)), cost, bool(_PLANS.search(code)),
                     remedy.risk if remedy else "")  # fmt: skip


def _code(check: Check) -> str:
    """The text of the check's function and of the functions of its file that it calls."""
    module = inspect.getmodule(check.function)
    found, wanted = "", [check.function]
    seen: set[object] = set()
    while wanted:
        function = wanted.pop()
        if function in seen:
            continue
        seen.add(function)
        text = inspect.getsource(function)
        found += text
        for word in set(_WORD.findall(text)):
            other = getattr(module, word, None)
            if inspect.isfunction(other) and other.__module__ == check.function.__module__:
                wanted.append(other)
    return found


def _read(kind: type[Fact], probes: Mapping[str, Path], words: set[str]) -> Read:
    doc = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    # A dataclass without a docstring gets its signature as one: then the names of its fields say more.
    if doc.startswith(f"{kind.__name__}("):
        doc = ", ".join(name for name in kind.__dataclass_fields__ if name not in ("section", "trip"))
    path = probes.get(f"{kind.section}.sh")
    script = path.read_text(encoding="utf-8") if path else ""
    used = words & set(kind.__dataclass_fields__)
    lines = tuple(dict.fromkeys(_told(line, used) for line in script.splitlines() if used & set(_WORD.findall(line))))
    return Read(
        kind.__name__, doc, f"checks/probes/{path.name}" if path else "—", script, lines[:_MOST_LINES], kind.trip
    )


def _told(line: str, used: set[str]) -> str:
    """What of a probe's line reads a field: its file where one stands behind its name, else the line."""
    files = [f"{name} {path}" for name, path in _FILE.findall(line) if name in used]
    return " ".join(files) or line.strip().removesuffix("\\").strip()


def _limits(check: Check, checks: Mapping[str, Check], base: Path | None) -> list[tuple[str, str, str, str]]:
    paths = list(kit.files(FOLDER, base, limits.DEFAULT).items())
    paths += list(kit.files(f"{FOLDER}/profiles", base, "*.yml").items())
    found = []
    for name, path in paths:
        layer = limits.thresholds(path, _layer(path, path.stat().st_mtime_ns), checks)
        for role, given in layer.get(check.id, {}).items():
            found.append((name, role, _plain(given.get("need")), _plain(given.get("want"))))
    return found


@lru_cache(maxsize=16)
def _layer(path: Path, changed: int) -> dict[str, Any]:
    """A file of thresholds; the page of all checks asks for the same few a hundred times."""
    values: dict[str, Any] = read(path)[0]
    return values


def _plain(value: object) -> str:
    if value is None:
        return "—"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def shown(check: Check, value: Any) -> str:
    """A threshold in the check's unit, as people write it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return limits.shown(check, value)
    return _plain(value)
