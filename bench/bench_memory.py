"""``bench/bench_memory.py [GB]``: what importing a file of so many GB (5) with a key takes of memory, check and run.

The file has the columns of bench-import; it is judged as ``import check`` does and loaded with the proof as
``import run`` does, in one transaction, into PostgreSQL on a deployed lab. Memory is that of this process and all that
it started (the witness, psql, ssh), shared pages counted once for all (PSS), asked every second.
Ends with one JSON line; the database host needs about three times the file's room.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from bench_import import Bench, administrator, deployed, write

from implops.baseload.server import reach

MIB = 2**20


class Peak:
    """The most memory that this process and its children took together, in MiB."""

    def __init__(self) -> None:
        self.most, self._over = 0, threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.most = 0
        self._over.clear()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(1.0):
            total = 0
            for one in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += one.memory_full_info().pss
            self.most = max(self.most, total // MIB)


def rows_of(folder: Path, gigabytes: float) -> int:
    """How many rows of bench-import make a file of that size."""
    some = 200_000
    write(folder, some, ["utf-8"])
    return int(gigabytes * 1e9 / (folder / "utf-8.csv").stat().st_size * some)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("gigabytes", nargs="?", type=float, default=5.0, metavar="GB")
    given = options.parse_args()
    os.environ.setdefault("IMPLOPS_OPERATOR", "bench/0")
    with tempfile.TemporaryDirectory(prefix="implops-bench-", dir="/var/tmp") as folder:
        data, place = Path(folder) / "rows", Path(folder) / "site"
        data.mkdir()
        place.mkdir()
        rows = rows_of(data, given.gigabytes)
        write(data, rows, ["utf-8"])
        size = (data / "utf-8.csv").stat().st_size
        with deployed(place, "postgresql") as site, reach(site) as server:
            bench, peak = Bench(server, administrator(site), data), Peak()
            bench.tables()
            found: dict[str, object] = {"bench": "memory", "gigabytes": round(size / 1e9, 2), "rows": rows}
            with peak.watched():
                began = time.monotonic()
                checked = bench.checked("utf-8")
                found |= {"check_s": round(time.monotonic() - began)}
            found["check_mib"] = peak.most
            print(json.dumps(found), flush=True)
            with peak.watched():
                found["run_s"] = round(bench.load(checked, proof=True))
            found["run_mib"] = peak.most
    print(json.dumps(found))


if __name__ == "__main__":
    main()
