"""G1: nothing is deployed on an environment that has not been checked.

Source: requirements D02 and F01 ("具备了部署条件才可以安排部署"). There is no override: a single fault is accepted by a
waiver in the site file, with reason, approver and end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from implops.errors import GateRefused
from implops.site import Site
from implops.store import Event, Store

# Our own proposal (checks.md §1.4): a host changes within a day more often than it does not.
MAX_AGE = timedelta(hours=24)
# What --resume asks again: access, the host's identity, free space, time. What the journal installed counts as ours,
# so the checks of empty directories, free ports and leftovers are not among them.
RESUME_CHECKS = ("ACC02", "ACC04", "ACC07", "DSK01", "DSK03", "DSK16", "DSK17", "TIM01", "TIM03", "TIM05")


def require(store: Store, site: Site, site_hash: str, *, at: datetime | None = None) -> Event:
    """The check record that opens a deployment now; its payload holds ``hosts: {name: {boot_id, machine_id, …}}``.

    ``site_hash`` is ``implops.check.sitehash.site_hash(site)``. Raises GateRefused("gate.…") with the first obstacle.
    """
    file = site.path.name
    complete = [one for one in store.events(kind="check.finished") if one.payload.get("complete")]
    if not complete:
        raise GateRefused("gate.no_check", site=file)
    record = complete[-1]
    if record.payload["site_hash"] != site_hash:
        raise GateRefused("gate.other_site", time=record.time, site=file)
    age = (at or datetime.now(UTC)) - datetime.fromisoformat(record.payload["collected"])
    if age > MAX_AGE or age < -timedelta(minutes=5):
        limit = int(MAX_AGE.total_seconds() // 3600)
        raise GateRefused("gate.too_old", time=record.payload["collected"], hours=limit, site=file)
    _require_good(record, file, (at or datetime.now(UTC)).astimezone().date())
    return record


def resume(store: Store, site: Site, site_hash: str, check_run: str) -> Event:
    """The check record that opened the run being resumed (``check_run`` is its run id): age and boot ids do not count.

    The deploy asks again for RESUME_CHECKS only. Raises GateRefused when the site or the kit has changed since: the
    plan would be another one.
    """
    found = store.events(kind="check.finished", run=check_run)
    if not found:
        raise GateRefused("gate.no_check", site=site.path.name)
    if found[-1].payload["site_hash"] != site_hash:
        raise GateRefused("gate.resume_other_site", time=found[-1].time, site=site.path.name)
    return found[-1]


def require_same_boot(record: Event, boot_ids: Mapping[str, str], site: Site) -> None:
    """Raise GateRefused when a host has been started again, or replaced, since the check. Not for ``--resume``."""
    for name, boot_id in boot_ids.items():
        if record.payload["hosts"].get(name, {}).get("boot_id") != boot_id:
            raise GateRefused("gate.restarted", host=name, time=record.payload["collected"], site=site.path.name)


def _require_good(record: Event, file: str, today: date) -> None:
    blocking = record.payload["blocking"]
    if blocking:
        listed = " ".join(f"{one['host']}/{one['id']}" for one in blocking[:6])
        more = f" …(+{len(blocking) - 6})" if len(blocking) > 6 else ""
        absent = any(one["state"] == "absent" for one in blocking)
        raise GateRefused("gate.absent" if absent else "gate.not_good", listed=listed + more, site=file)
    for waiver in record.payload["waivers"]:
        if date.fromisoformat(waiver["until"]) < today:
            raise GateRefused("gate.waiver_ended", site=file, **{k: waiver[k] for k in ("id", "host", "until")})
