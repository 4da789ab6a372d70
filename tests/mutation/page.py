"""The result of a whole run: docs/mutation.md, one line a fault, and the totals by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mutation.bench import Outcome
from mutation.recorded import Proof

PAGE = Path(__file__).parents[2] / "docs" / "mutation.md"
_HEAD = """# Mutation score

Last result of `make mutation` (generated). Every check is given its fault on real hosts of the lab (Debian 12, bare and
deployed) and has to say so there, with the value that was measured, while no other check changes but those that follow
from the fault. Kinds: R, the condition is really there; S, the source that the probe reads is shadowed, because one
kernel serves all hosts; K, an answer that real hosts gave with the fault written into it. Healthy hosts of Debian 12
and 13, bare and deployed, have to be silent.

"""


def totals(ids: Sequence[str], outcomes: Sequence[Outcome], proofs: Sequence[Proof], alarms: Sequence[str]
           ) -> dict[str, int]:  # fmt: skip
    """Ids by what came of all their faults together. An id that nothing was tried of is missed."""
    missed = {one.fault.id for one in outcomes if one.missed}
    stray = {one.fault.id for one in outcomes if one.collateral} - missed
    caught = {one.fault.id for one in outcomes} - missed - stray
    recorded = {one.id for one in proofs if not one.missed} - {one.fault.id for one in outcomes}
    missed |= {one.id for one in proofs if one.missed}
    missed |= set(ids) - caught - stray - recorded
    return {
        "caught": len(caught), "missed": len(missed), "collateral": len(stray), "recorded": len(recorded),
        "false_alarms": len(alarms), "total": len(ids),
    }  # fmt: skip


def line(one: Outcome) -> str:
    word = "missed" if one.missed else "collateral" if one.collateral else "caught"
    more = "; ".join(filter(None, [one.missed, *one.collateral])).replace("\n", " ")
    return f"{word} {one.fault.id} {one.fault.what} | {one.fault.expected} | {one.seen}{f' | {more}' if more else ''}"


def write(outcomes: Sequence[Outcome], proofs: Sequence[Proof], alarms: Sequence[str], total: dict[str, int]) -> None:
    kinds = {kind: [one for one in outcomes if one.fault.kind == kind] for kind in ("R", "S")}
    lines = ["| " + " | ".join(total) + " |", "|" + " --- |" * len(total),
             "| " + " | ".join(map(str, total.values())) + " |", ""]  # fmt: skip
    for kind, mine in kinds.items():
        lines.append(f"Kind {kind}: {sum(one.good for one in mine)} of {len(mine)} faults caught cleanly.  ")
    lines += [f"Kind K: {sum(not one.missed for one in proofs)} of {len(proofs)}.", ""]
    lines += ["## Faults", "", "| id | kind | fault | expected | seen | result |", "|" + " --- |" * 6]
    for one in sorted(outcomes, key=lambda one: (one.fault.id, one.fault.what)):
        result = "missed" if one.missed else "collateral" if one.collateral else "caught"
        cells = (one.fault.id, one.fault.kind, one.fault.what, one.fault.expected, one.seen, result)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    lines += ["", "## Proved from recorded answers", "", "| id | why not on a host | fault | expected | result |",
              "|" + " --- |" * 5]  # fmt: skip
    for proof in proofs:
        cells = (proof.id, proof.why, proof.what, f"{proof.state} {proof.actual}", proof.missed or "caught")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if alarms:
        lines += ["", "## False alarms", "", *(f"- {one}" for one in alarms)]
    PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
