"""Runs the users' own system checks (``checks/system/*.py``, pytest with testinfra) over our own connections."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from implops import kit
from implops.check import pytests
from implops.remote import Connection, connect
from implops.site import Site

FOLDER = "checks/system"


def files(site: Site) -> list[Path]:
    """The check files, the nearest kit wins. Raises KitError when others may write to them."""
    return list(kit.files(FOLDER, site.base).values())


def run(site: Site) -> list[dict[str, Any]]:
    """The results (``pytests.run``) of every file on its hosts; a host is connected to when a check first asks it."""
    found = files(site)
    if not found:
        return []
    opened: dict[str, Connection] = {}
    lock = threading.Lock()
    with ExitStack() as stack:

        def connection(name: str) -> Connection:
            with lock:
                if name not in opened:
                    opened[name] = stack.enter_context(connect(site, site.hosts[name]))
                return opened[name]

        return pytests.run(site, found, list(site.hosts), connection)
