"""How much of the catalogue a run has covered; nothing disappears silently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from implops.check.model import Verdict
from implops.check.registry import Check


@dataclass(frozen=True)
class Coverage:
    """Of ``defined`` checks: measured everywhere it applies, not applicable anywhere, and not measured somewhere with
    the reason (a key of ``check.note.…``) -> ids.
    """

    defined: int
    measured: int
    not_applicable: int
    not_measured: dict[str, tuple[str, ...]]

    def payload(self) -> dict[str, Any]:
        return {"defined": self.defined, "measured": self.measured, "not_applicable": self.not_applicable,
                "not_measured": {reason: list(ids) for reason, ids in self.not_measured.items()}}  # fmt: skip


def of(checks: Mapping[str, Check], verdicts: Iterable[Verdict]) -> Coverage:
    states: dict[str, set[str]] = {id: set() for id in checks}
    reasons: dict[str, str] = {}
    for one in verdicts:
        if one.id not in states:
            continue
        states[one.id].add(one.state)
        if one.state in ("error", "absent"):
            reasons.setdefault(one.id, "absent" if one.state == "absent" else one.result.note)
        elif one.result.note == "needs_deep":
            reasons.setdefault(one.id, one.result.note)
    lost: dict[str, list[str]] = {}
    for id, reason in reasons.items():
        lost.setdefault(reason, []).append(id)
    measured = sum(bool(found - {"skip"}) and id not in reasons for id, found in states.items())
    missing = len(reasons)
    return Coverage(len(checks), measured, len(checks) - measured - missing, {r: tuple(i) for r, i in lost.items()})
