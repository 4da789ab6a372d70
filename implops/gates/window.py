"""The change window: a system that people work with is changed in the hours that the customer gave.

Source: requirements L05 and table 3 (G6: low-load window).
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from implops.errors import GateRefused
from implops.site import Site


def inside(window: str, at: time) -> bool:
    """``22:00-06:00`` goes over midnight; the end does not belong to it. Equal ends mean the whole day."""
    start, end = (time.fromisoformat(one) for one in window.split("-"))
    if start < end:
        return start <= at < end
    return at >= start or at < end


def require(site: Site, *, at: datetime | None = None) -> str:
    """The window; empty when the site file names none. Raises GateRefused outside of it, by the site's own time."""
    window = site.deploy.window
    if not window:
        return ""
    now = (at or datetime.now(UTC)).astimezone(ZoneInfo(site.time.zone))
    if not inside(window, now.time()):
        raise GateRefused("gate.window", window=window, now=f"{now:%H:%M}", zone=site.time.zone, site=site.path.name)
    return window
