"""Accepted faults of the site file. A waiver is bound to check, host and value, and has an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from implops.check.model import Verdict
from implops.check.registry import Check
from implops.errors import SiteError
from implops.site import Site, Waiver
from implops.units import measure


def apply(
    site: Site, checks: Mapping[str, Check], verdicts: Sequence[Verdict], today: date,
    asked: Sequence[Waiver] | None = None,
) -> list[Verdict]:  # fmt: skip
    """Faults that a waiver covers become ``waived``; their value is still printed. A waiver that has run out, or whose
    value got worse, has lapsed: the fault stands and says so. A waiver of a test that nobody asked for stays dormant.
    ``asked``: those that can meet their fault here, when not all of the site file's can.

    Raises SiteError for a waiver that names no check or host of this site, or matches no fault: it hides a mistake.
    """
    found = list(verdicts)
    for waiver in site.waive if asked is None else asked:
        place = f"{site.path.name} waive {waiver.id}"
        if waiver.id not in checks:
            raise SiteError("check.waiver_id", place=place, id=waiver.id)
        if waiver.host not in site.hosts:
            raise SiteError("check.waiver_host", place=place, host=waiver.host)
        mine = [n for n, v in enumerate(found) if (v.id, v.host) == (waiver.id, waiver.host)]
        faults = [number for number in mine if found[number].state in ("fail", "error", "warn")]
        if not faults and _dormant([found[number] for number in mine], checks[waiver.id]):
            continue
        if not faults and waiver.until >= today:
            now = ", ".join(dict.fromkeys(found[number].result.actual for number in mine)) or "—"
            raise SiteError("check.waiver_unused", place=place, host=waiver.host, at=waiver.at, now=now)
        covered = [number for number in faults if _covers(waiver, found[number], checks[waiver.id])]
        for number in faults:
            if waiver.until < today:
                found[number] = _lapsed(found[number], waiver, "expired")
            elif number in covered:
                one = found[number]
                found[number] = replace(one, result=replace(one.result, state="waived", params=_told(waiver)))
            elif not covered:
                found[number] = _lapsed(found[number], waiver, "worse")
    return found


def _dormant(mine: list[Verdict], check: Check) -> bool:
    """Nothing was measured that the waiver speaks of: the test was not asked for, or the host is away."""
    return (check.deep and all(one.result.note == "needs_deep" for one in mine)) or any(
        one.state == "absent" for one in mine
    )


def _covers(waiver: Waiver, verdict: Verdict, check: Check) -> bool:
    """The accepted value, or one that is no worse: both are numbers of one unit then."""
    now = verdict.result.actual
    if now == waiver.at:
        return True
    accepted, measured = measure(waiver.at), measure(now)
    ordered = check.unit not in ("", "words")
    if not ordered or accepted is None or measured is None or accepted[1] != measured[1]:
        return False
    return measured[0] <= accepted[0] if check.ceiling else measured[0] >= accepted[0]


def _lapsed(verdict: Verdict, waiver: Waiver, why: str) -> Verdict:
    told = {"lapsed": why, "accepted": waiver.at, "until": waiver.until.isoformat()}
    return replace(verdict, result=replace(verdict.result, params={**verdict.result.params, **told}))


def _told(waiver: Waiver) -> dict[str, str]:
    return {"reason": waiver.reason, "approver": waiver.approver, "until": waiver.until.isoformat()}
