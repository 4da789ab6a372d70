"""Approvals: who consented to what, and why; recorded by ``implops record approve``, read by the gates.

An approval of an earlier state must not open a later one: a gate says from which record on it counts (``since``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from implops.errors import GateRefused

if TYPE_CHECKING:
    from implops.site import Site
    from implops.store import Store

# What can be approved; a word of the command line and of the record.
SUBJECTS = ("deploy", "import")


@dataclass(frozen=True)
class Approval:
    """``of_run`` is the run that was approved, or empty when the consent is for the phase as a whole."""

    sequence: int
    time: str
    operator: str
    subject: str
    approver: str
    reason: str
    of_run: str
    site_sha256: str
    # Of a deployment: the change's number, and the release that was shown to the approver (release.of_site).
    change: str = ""
    release_sha256: str = ""


def find(store: Store, site: Site, subject: str, *, of_run: str = "", since: int = 0) -> Approval | None:
    """The newest approval of ``subject`` after sequence ``since``; with ``of_run`` one that names that run or none.

    Approvals given while the site had a ``lab:`` section do not count without it, nor the other way round.
    """
    for event in reversed(store.events(kind="approval")):
        given = event.payload
        bound = given["of_run"] in ("", of_run) if of_run else True
        if event.sequence > since and given["subject"] == subject and bound and given["lab"] == site.is_lab:
            return Approval(
                event.sequence,
                event.time,
                event.operator,
                subject,
                given["approver"],
                given["reason"],
                given["of_run"],
                given.get("site_sha256", ""),
                given.get("change", ""),
                given.get("release_sha256", ""),
            )
    return None


def require(store: Store, site: Site, subject: str, *, of_run: str = "", since: int = 0) -> Approval:
    """As ``find``; raises GateRefused("record.not_approved") when there is none."""
    found = find(store, site, subject, of_run=of_run, since=since)
    if found is None:
        raise GateRefused("record.not_approved", subject=subject, site=site.path.name)
    return found
