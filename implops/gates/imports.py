"""G4: base data goes into a deployed system only, after a database backup, with the project lead's consent.

Source: requirements G01 (review before the import), G07 (back up before the data changes).
"""

from __future__ import annotations

from dataclasses import dataclass

from implops.errors import GateRefused
from implops.gates import approval
from implops.gates.approval import Approval
from implops.site import Site
from implops.store import Event, Store

# Outcomes of a batch that changed the database.
_WRITES = ("loaded", "partly")


@dataclass(frozen=True)
class Opened:
    """The records that open an import."""

    deploy: Event
    backup: Event
    approval: Approval


def require(store: Store, site: Site) -> Opened:
    """Raises GateRefused for a missing deployment, backup or approval, in the order in which they are mended."""
    deploy = store.last("deploy.finished")
    if deploy is None or deploy.payload["conclusion"] != "pass":
        raise GateRefused("import.gate.not_deployed", site=site.path.name)
    write = last_write(store, deploy)
    backup = database_backup(store, write)
    if backup is None:
        raise GateRefused("import.gate.no_backup", since=write.time, site=site.path.name)
    return Opened(deploy, backup, approval.require(store, site, "import", since=deploy.sequence))


def last_write(store: Store, deploy: Event) -> Event:
    """The newest of the deployment and the batches that changed the database."""
    batches = [one for one in store.events(kind="batch.finished") if one.payload["outcome"] in _WRITES]
    return max([deploy, *batches], key=lambda one: one.sequence)


def database_backup(store: Store, since: Event) -> Event | None:
    """The newest good backup of the database that began after ``since``."""
    for event in reversed(store.events(kind="backup.finished")):
        if event.payload["conclusion"] == "pass" and "database" in event.payload["objects"]:
            started = store.events(kind="backup.started", run=event.run)
            return event if started and started[0].sequence > since.sequence else None
    return None
