"""G3: from pre-production on, a change has a number and somebody who approved exactly it.

Source: requirements F08 ("每一步都要严格遵循变更管理流程"), F09 (the version of every change, and the old data saved).
"""

from __future__ import annotations

from implops.errors import GateRefused
from implops.gates import approval
from implops.site import Site
from implops.store import Store


def require(store: Store, site: Site, change: str, release_sha256: str) -> str:
    """Who approved; empty in a test environment. Raises GateRefused for a missing number or approval.

    An approval counts for this change, for the site file and the release (``release.of_site``) as they were approved,
    and for one deployment: one that has begun has used it up, however it ended.
    """
    if site.project.environment == "test":
        return ""
    file = site.path.name
    if not change.strip():
        raise GateRefused("gate.no_change", site=file, environment=site.project.environment)
    last = store.last("deploy.started")
    found = approval.find(store, site, "deploy", since=last.sequence if last else 0)
    if found is None:
        raise GateRefused("gate.not_approved", site=file, change=change)
    if found.change != change.strip():
        raise GateRefused(
            "gate.approved_change", site=file, approver=found.approver, approved=found.change or "-", change=change
        )
    if found.site_sha256 != site.model_sha256 or found.release_sha256 != release_sha256:
        raise GateRefused("gate.approved_other", site=file, time=found.time, approver=found.approver)
    return found.approver


def require_backup(site: Site, *, can_save: bool = True) -> str:
    """An upgrade, a change of the schema or another version of the server saves the database first: its ground.

    Raises GateRefused for a site without backups, and for a host whose backup jobs are not there yet.
    """
    if site.backup is None:
        raise GateRefused("gate.no_backup", site=site.path.name)
    if not can_save:
        raise GateRefused("gate.cannot_save", host=site.only("db").name)
    return "declared"
