"""The result: docs/mutation.json, what came of each fault by hosts and scene, and docs/mutation.md made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mutation.bench import Outcome
from mutation.recorded import Proof

DOCS = Path(__file__).parents[2] / "docs"
_HEAD = """# Mutation score

Last result of `make mutation` (generated). Every check is given its fault on real hosts of the lab (Debian 12, bare and
deployed) and has to say so there, with the value that was measured, while no other check changes but those that follow
from the fault. Kinds: R, the condition is really there; S, the source that the probe reads is shadowed, because one
kernel serves all hosts; K, an answer that real hosts gave with the fault written into it. Healthy hosts of Debian 12
and 13, bare and deployed, have to be silent.

"""

Row = dict[str, str]
# "bookworm deployed" -> when it ran, rows, false alarms
Parts = dict[str, dict[str, Any]]


def row(one: Outcome) -> Row:
    fault = one.fault
    more = "; ".join(filter(None, [one.missed, *one.collateral])).replace("\n", " ")
    return {
        "id": fault.id, "kind": fault.kind, "what": fault.what, "expected": fault.expected, "seen": one.seen,
        "result": "missed" if one.missed else "collateral" if one.collateral else "caught", "more": more,
    }  # fmt: skip


def totals(ids: Sequence[str], rows: Iterable[Row], proofs: Sequence[Proof], alarms: Sequence[str]) -> dict[str, int]:
    """Ids by what came of all their faults together. An id that nothing was tried of is missed."""
    rows = list(rows)
    missed = {one["id"] for one in rows if one["result"] == "missed"}
    stray = {one["id"] for one in rows if one["result"] == "collateral"} - missed
    caught = {one["id"] for one in rows} - missed - stray
    recorded = {one.id for one in proofs if not one.missed} - {one["id"] for one in rows}
    missed |= {one.id for one in proofs if one.missed}
    missed |= set(ids) - caught - stray - recorded
    return {
        "caught": len(caught), "missed": len(missed), "collateral": len(stray), "recorded": len(recorded),
        "false_alarms": len(alarms), "total": len(ids),
    }  # fmt: skip


def line(one: Row) -> str:
    told = f"{one['result']} {one['id']} {one['what']} | {one['expected']} | {one['seen']}"
    return f"{told} | {one['more']}" if one["more"] else told


def part(rows: list[Row], alarms: list[str]) -> dict[str, Any]:
    return {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "rows": rows, "alarms": alarms}


def keep(name: str, found: dict[str, Any]) -> None:
    """Note what came of one scene, in the place of what was noted of it before."""
    parts = {**read(), name: found}
    (DOCS / "mutation.json").write_text(json.dumps(parts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read() -> Parts:
    path = DOCS / "mutation.json"
    found: Parts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def write(ids: Sequence[str], proofs: Sequence[Proof]) -> dict[str, int]:
    """docs/mutation.md of everything that is noted; returns the totals."""
    parts = read()
    rows: list[Row] = [one for part in parts.values() for one in part["rows"]]
    alarms: list[str] = [one for part in parts.values() for one in part["alarms"]]
    total = totals(ids, rows, proofs, alarms)
    lines = [_cells(total), "|" + " --- |" * len(total), _cells(total.values()), ""]
    for kind in ("R", "S"):
        mine = [one for one in rows if one["kind"] == kind]
        lines.append(f"Kind {kind}: {sum(one['result'] == 'caught' for one in mine)} of {len(mine)} faults caught.  ")
    lines += [f"Kind K: {sum(not one.missed for one in proofs)} of {len(proofs)}.", ""]
    lines += ["| hosts | ran (UTC) | faults | false alarms |", "|" + " --- |" * 4]
    lines += [_cells((name, part["at"], len(part["rows"]), len(part["alarms"]))) for name, part in parts.items()]
    lines += ["", "## Faults", "", "| id | kind | fault | expected | seen | result |", "|" + " --- |" * 6]
    names = ("id", "kind", "what", "expected", "seen", "result")
    lines += [_cells(one[name] for name in names) for one in sorted(rows, key=_order)]
    lines += ["", "## Proved from recorded answers", "", "| id | why not on a host | fault | expected | result |",
              "|" + " --- |" * 5]  # fmt: skip
    lines += [
        _cells((one.id, one.why, one.what, f"{one.state} {one.actual}", one.missed or "caught")) for one in proofs
    ]
    stray = [one for one in rows if one["more"]]
    if stray:
        lines += ["", "## What was wrong", "", *(f"- {line(one)}" for one in stray)]
    if alarms:
        lines += ["", "## False alarms", "", *(f"- {one}" for one in alarms)]
    (DOCS / "mutation.md").write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return total


def _order(one: Row) -> tuple[str, str]:
    return one["id"], one["what"]


def _cells(values: Iterable[object]) -> str:
    return "| " + " | ".join(str(one).replace("|", "\\|").replace("\n", " ") for one in values) + " |"
