"""An override lets one gate's refusal pass for one run; its reason stands in the record and on the form.

G1 has none: a fault that is accepted is a waiver in the site file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from implops.errors import GateRefused, InputError

GATES = ("promotion", "change", "window", "backup")


@dataclass(frozen=True)
class Passed:
    """``state``: pass, skip (nothing is demanded here), override. ``ground``: the record or person that opened it."""

    gate: str
    state: str
    ground: str = ""
    reason: str = ""

    def payload(self) -> dict[str, str]:
        return asdict(self)


def refuse_empty(overridden: Collection[str], reason: str) -> None:
    """Raises InputError for an override without a reason."""
    if overridden and not reason.strip():
        raise InputError("gate.no_reason")


def ask(gate: str, require: Callable[[], str | None], overridden: Collection[str], reason: str) -> Passed:
    """How the gate was passed. Raises GateRefused as ``require`` does, unless it is overridden."""
    try:
        ground = require()
    except GateRefused as refused:
        if gate not in overridden:
            raise
        return Passed(gate, "override", str(refused.key), reason.strip())
    return Passed(gate, "pass" if ground else "skip", ground or "")
