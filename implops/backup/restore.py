"""Put the database of a named backup back in its place; the application must have been stopped before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from implops.backup.run import PROGRAM, ask
from implops.errors import InputError
from implops.remote import Connection
from implops.site import Site
from implops.store import Store

ENGINES = ("postgresql", "mariadb")


@dataclass(frozen=True)
class Named:
    """A complete database backup of the records. ``run`` is what the program on the host calls it; ``schema``: names
    and SHA-256 of the schema files that were executed by then, None when the backup does not say.
    """

    run: str
    host: str
    started: str
    trigger: str
    schema: tuple[tuple[str, str], ...] | None = None


def find(store: Store, site: Site, word: str) -> Named:
    """The backup that the user names: its run, or the beginning or end of it.

    Raises InputError when there is none of that name, several, or it did not come to a good end; and when this
    database cannot be restored in place.
    """
    if site.database is None or site.database.engine not in ENGINES:
        raise InputError("rollback.no_restore", engine=site.database.engine if site.database else "-")
    found = {}
    for kind in ("backup.member", "backup.collected"):
        for event in store.events(kind=kind):
            one = event.payload
            if one["job"] == "database" and one.get("verb", "run") == "run":
                found[one["run"]] = one
    upper = word.upper()
    fitting = [one for run, one in found.items() if len(word) >= 4 and _fits(run, word, upper)]
    if len(fitting) != 1:
        known = " ".join(list(found)[-3:]) or "-"
        raise InputError("rollback.no_such_backup", backup=word, known=known)
    one = fitting[0]
    if one["state"] != "complete" or one["error"]:
        raise InputError("rollback.bad_backup", backup=one["run"])
    told = next((member["schema"] for member in one["members"] if "schema" in member), None)
    schema = None if told is None else tuple((name, sha256) for name, sha256 in told)
    return Named(one["run"], one["host"], str(one.get("started", "")), str(one.get("trigger", "manual")), schema)


def _fits(run: str, word: str, upper: str) -> bool:
    head = run.partition("-")[0]
    return run == word or run.startswith(upper) or head.endswith(upper)


def restore(connection: Connection, named: Named, run: str) -> dict[str, Any]:
    """The program's answer: ``state``, ``error``, ``verdict``, ``tables``, ``rows``, ``kept`` (the database as it was).

    Raises HostError when the connection is lost: started again with the same run it goes on.
    """
    name = f"{run}-{connection.name}-database"
    command = f"{PROGRAM} restore --job database --run {name} --backup {named.run} --trigger manual --wait 600"
    return ask(connection, command, name, "database")
