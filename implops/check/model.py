"""What a check says: a Result; what the record keeps of it: a Verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["pass", "warn", "fail", "info", "skip", "error", "waived", "absent"]
# What has to be acted on stands first; also the order of totals.
STATES: tuple[State, ...] = ("fail", "absent", "error", "warn", "waived", "pass", "info", "skip")


@dataclass(frozen=True, slots=True)
class Result:
    """``actual`` and ``required`` are values with their units, as people read them, never sentences. ``target`` is what
    was looked at when that is less than the host (a path, a port, a flow). ``source`` is the layer that set the
    requirement: default, profile, site. ``note`` is a key ``check.note.…`` with ``params``. ``configured`` is the
    persistent setting behind a running value, where there is one: what the next boot will bring.
    """

    state: State
    actual: str = "—"
    required: str = "—"
    target: str = ""
    source: str = ""
    note: str = ""
    params: dict[str, str] = field(default_factory=dict)
    configured: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A Result with its check and host. ``severity`` is that of the check: an error of a fail-class check blocks."""

    id: str
    host: str
    severity: str
    result: Result

    @property
    def state(self) -> State:
        return self.result.state

    @property
    def blocks(self) -> bool:
        return self.state in ("fail", "absent") or (self.state == "error" and self.severity == "fail")

    def payload(self) -> dict[str, Any]:
        one = self.result
        return {
            "id": self.id, "host": self.host, "target": one.target, "state": one.state, "severity": self.severity,
            "required": one.required, "actual": one.actual, "source": one.source, "note": one.note,
            "params": one.params, "configured": one.configured,
        }  # fmt: skip
