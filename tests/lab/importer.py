"""Loads one mapping into a server of databases.py, as ``implops import run`` does it after its gates.

``python importer.py ENGINE FOLDER MAPPING [HOLD ROWS]`` is a process of its own, so that a test may kill it; once it
has sent so many rows it waits as long as there is a file HOLD, so that the test comes in time on any machine.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

from databases import Database

from implops.baseload import mapping
from implops.baseload.check import Checked, check
from implops.baseload.load import Job, Loaded, load
from implops.baseload.server import Server


def checked(server: Server, path: Path) -> Checked:
    return check(server, mapping.load(path), {}, frozenset(), lambda lines: lambda rows, line: None)


def quiet(rows: int, line: int) -> None:
    """Progress that nobody looks at."""


def bring(
    server: Server, path: Path, *, keep: bool = True, progress: Callable[[int, int], None] = quiet
) -> tuple[Checked, Loaded | None]:  # fmt: skip
    """Check and load; no Loaded when the file is in already or too much was rejected."""
    found = checked(server, path)
    return found, None if found.loaded or not found.good else load_checked(server, found, keep=keep, progress=progress)


def load_checked(
    server: Server, found: Checked, *, keep: bool = True, progress: Callable[[int, int], None] = quiet
) -> Loaded:  # fmt: skip
    one, good = found.mapping, found.tally.good
    job = Job(
        server=server, mapping=one, table=found.table, cells=found.cells, proof=found.proof,
        import_id=secrets.token_hex(8), skip=frozenset(reject.line for reject in found.rejects),
        rejected=found.tally.rejected, spots=frozenset({0, good // 2, good - 1} if good else ()),
        progress=progress, keep=keep, past=found.past, suspects=found.suspects,
    )  # fmt: skip
    return load(job)


def holding(place: Path, since: int) -> Callable[[int, int], None]:
    """Waits while ``place`` is there and whoever started this process too, once ``since`` rows are sent."""
    parent = os.getppid()

    def progress(rows: int, line: int) -> None:
        while rows >= since and place.exists() and os.getppid() == parent:
            time.sleep(0.02)

    return progress


if __name__ == "__main__":
    kind, folder, path, *hold = sys.argv[1:]
    bring(Database(kind, Path(folder)).server, Path(path),
          progress=holding(Path(hold[0]), int(hold[1])) if hold else quiet)  # fmt: skip
