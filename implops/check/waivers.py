"""Accepted faults of the site file. A waiver is bound to check, host and value, and has an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from implops.check.model import Verdict
from implops.check.registry import Check
from implops.errors import SiteError
from implops.site import Site, Waiver


def apply(site: Site, checks: dict[str, Check], verdicts: list[Verdict], today: date) -> list[Verdict]:
    """Faults that a waiver covers become ``waived``; their value is still printed.

    Raises SiteError for a waiver that names no check or host of this site, has run out, or matches no fault with the
    accepted value: a waiver that covers nothing hides a mistake.
    """
    found = list(verdicts)
    for waiver in site.waive:
        place = f"{site.path.name} waive {waiver.id}"
        if waiver.id not in checks:
            raise SiteError("check.waiver_id", place=place, id=waiver.id)
        if waiver.host not in site.hosts:
            raise SiteError("check.waiver_host", place=place, host=waiver.host)
        if waiver.until < today:
            continue
        mine = [n for n, v in enumerate(found) if (v.id, v.host) == (waiver.id, waiver.host) and _waivable(v)]
        matched = [number for number in mine if found[number].result.actual == waiver.at]
        if not matched:
            now = ", ".join(found[number].result.actual for number in mine) or "—"
            raise SiteError("check.waiver_value", place=place, host=waiver.host, at=waiver.at, now=now)
        for number in matched:
            one = found[number]
            found[number] = replace(one, result=replace(one.result, state="waived", params=_told(waiver)))
    return found


def _waivable(verdict: Verdict) -> bool:
    return verdict.state in ("fail", "error", "warn")


def _told(waiver: Waiver) -> dict[str, str]:
    return {"reason": waiver.reason, "approver": waiver.approver, "until": waiver.until.isoformat()}
