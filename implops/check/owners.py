"""Who has to act on a finding, until when, and for the network group the request as they need it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from implops.check.model import Verdict
from implops.facts.peers import paths_of
from implops.site import Site

# The letters of an id -> the key of ``mend:`` in the site file; all others are the system's.
_GROUPS = {"NET": "network", "DNS": "network", "DSK": "storage", "STO": "storage", "DB": "database",
           "APP": "application"}  # fmt: skip
TO_DO = ("fail", "absent", "error", "warn")
# The host name of a verdict that concerns the site as a whole.
SITE = "*"


def owner(site: Site, verdict: Verdict) -> str:
    """An absent host is for its owner to bring, whatever the check; an attestation names its own."""
    asked = next((one for one in site.attest if one.id == verdict.id), None)
    if asked is not None and asked.owner != "-":
        return asked.owner
    host = site.hosts.get(verdict.host)
    found = host.owner if host else "-"
    if verdict.state == "absent" or asked is not None:
        return found
    group = _GROUPS.get(verdict.id.rstrip("0123456789"), "system")
    return getattr(site.mend, group) or found


def due(site: Site, verdict: Verdict, day: date) -> str:
    """The day by which what blocks must be mended; empty for the rest, and where the site file gives no term."""
    if site.mend.due is None or not verdict.blocks:
        return ""
    return (day + timedelta(days=site.mend.due)).isoformat()


def request(site: Site, verdict: Verdict) -> dict[str, str] | None:
    """Source, destination, port, protocol, purpose of a flow that does not pass: what a network group works from."""
    host = site.hosts.get(verdict.host)
    if host is None or verdict.state not in TO_DO or not verdict.id.startswith("NET"):
        return None
    for path in paths_of(site, host):
        if verdict.result.target == f"→ {path.subject}":
            return {
                "source": host.name, "source_address": host.address, "target": path.target, "address": path.address,
                "port": str(path.port), "protocol": path.protocol, "why": path.why,
            }  # fmt: skip
    return None


def payloads(site: Site, verdicts: Iterable[Verdict], day: date) -> list[dict[str, Any]]:
    """Verdicts for a record; what somebody must act on with ``owner`` and ``due``, a flow with ``request``."""
    found = []
    for one in verdicts:
        payload = one.payload()
        if one.state in TO_DO:
            payload |= {"owner": owner(site, one), "due": due(site, one, day)}
            if asked := request(site, one):
                payload["request"] = asked
        found.append(payload)
    return found
