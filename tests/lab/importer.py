"""Loads one mapping into a server of databases.py, as ``implops import run`` does it after its gates.

``python importer.py ENGINE FOLDER MAPPING [PAUSE]`` is a process of its own, so that a test may kill it; it pauses so
many seconds after each block that it has sent, so that the test comes in time.
"""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

from databases import Database

from implops.baseload import mapping
from implops.baseload.check import Checked, check
from implops.baseload.load import Job, Loaded, load
from implops.baseload.server import Server


def checked(server: Server, path: Path) -> Checked:
    return check(server, mapping.load(path), {}, frozenset(), lambda lines: lambda rows, line: None)


def bring(server: Server, path: Path, *, keep: bool = True, pause: float = 0) -> tuple[Checked, Loaded | None]:
    """Check and load; no Loaded when the file is in already or too much was rejected."""
    found = checked(server, path)
    return found, None if found.loaded or not found.good else load_checked(server, found, keep=keep, pause=pause)


def load_checked(server: Server, found: Checked, *, keep: bool = True, pause: float = 0) -> Loaded:
    one, good = found.mapping, found.tally.good
    job = Job(
        server=server, mapping=one, table=found.table, cells=found.cells, proof=found.proof,
        import_id=secrets.token_hex(8), skip=frozenset(reject.line for reject in found.rejects),
        rejected=found.tally.rejected, spots=frozenset({0, good // 2, good - 1} if good else ()),
        progress=lambda rows, line: time.sleep(pause), keep=keep, past=found.past, suspects=found.suspects,
    )  # fmt: skip
    return load(job)


if __name__ == "__main__":
    kind, folder, path, *pause = sys.argv[1:]
    bring(Database(kind, Path(folder)).server, Path(path), pause=float(*pause))
