"""Users' own checks as pytest files (``checks/testinfra/*.py``), run during a check over the connections that it holds.

The id of a test is made of its file's and its own name: ``T.fonts.simsun_is_there`` of ``test_fonts.py``. A file's
``SEVERITY = "warn"`` makes it a warning; the first line of a test's docstring is its title.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from implops import kit
from implops.check import pytests
from implops.check.gather import Seen
from implops.check.model import Result, Verdict
from implops.check.owners import SITE
from implops.check.registry import Check
from implops.errors import KitError
from implops.remote import Connection
from implops.site import ROLES, Site

FOLDER = "checks/testinfra"
PREFIX = "T."
_MOST = 200


def files(site: Site) -> list[Path]:
    """The test files, the nearest kit wins. Raises KitError when others may write to them."""
    return list(kit.files(FOLDER, site.base).values())


def verdicts(site: Site, seen: Mapping[str, Seen], only: Collection[str] = ()) -> list[Verdict]:
    """A verdict a test and host that answered. Files that cannot be run at all are one error of the site."""
    found = files(site)
    hosts = [name for name, one in seen.items() if one.connection is not None]
    if not found or not hosts or (only and not any(id.startswith(PREFIX) for id in only)):
        return []

    def connection(name: str) -> Connection:
        held = seen[name].connection
        assert held is not None
        return held

    try:
        rows = pytests.run(site, found, hosts, connection)
    except KitError as error:
        params = {name: str(value) for name, value in error.params.items()}
        return [Verdict(f"{PREFIX}*", SITE, "fail", Result("error", note=error.key, params=params))]
    made = [_verdict(row) for row in rows]
    return [one for one in made if not only or one.id in only]


def as_checks(found: Collection[Verdict]) -> dict[str, Check]:
    """What a waiver needs to know about them."""
    return {
        one.id: Check(one.id, one.id, _nothing, ROLES, "warn" if one.severity == "warn" else "fail", "", "host", False)
        for one in found
    }


def _nothing(_: object) -> None:
    return None


def _verdict(row: Mapping[str, Any]) -> Verdict:
    file, _, test = str(row["check"]).partition("::")
    id = f"{PREFIX}{file.removesuffix('.py').removeprefix('test_')}.{test.removeprefix('test_') or '*'}"
    # The first line is the author's own message; below it pytest takes the expression apart.
    said = (str(row["said"]).strip().splitlines() or [""])[0].removeprefix("AssertionError: ")[:_MOST]
    title = str(row["title"] or file)
    note = "" if row["state"] == "pass" else "reason.raised" if row["state"] == "error" else "said"
    params = {"title": title, **({"detail": said or "—"} if note else {})}
    actual = "✓" if row["state"] == "pass" else "—"
    result = Result(row["state"], actual, "✓", row["target"], "", note, params)
    return Verdict(id, row["host"] or SITE, row["severity"], result)
