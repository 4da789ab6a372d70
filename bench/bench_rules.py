"""Read, hash, decode and judge: what `implops import` does with a file before the database sees it.

`bench/bench_rules.py [ROWS]` measures a clean file of 9 columns in UTF-8 and GB18030, with 300 bad rows, and with a
column that is cleaned. `bench/bench_rules.py --large GB` writes a file of so many GB with a key and prints the peak
memory of judging it.
The last line is one JSON document. Ratios to the bare floor (read, hash and decode alone) tell more than seconds;
these are of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from implops.baseload.check import judged
from implops.baseload.mapping import Mapping
from implops.baseload.rows import Reader
from implops.baseload.target import Table, TableColumn, fit

HEADER = "code,name,cat,dept,price,qty,since,spec,memo\n"
COLUMNS: dict[str, Any] = {
    "code": {"from": "code", "pattern": "M[0-9]{8,9}", "required": True},
    "name": {"from": "name", "max": 80, "required": True},
    "cat": {"from": "cat", "pattern": "C[0-9]{3}", "required": True},
    "dept": {"from": "dept", "max": 40},
    "price": {"from": "price", "type": "decimal(14,2)", "min": 0},
    "qty": {"from": "qty", "type": "int"},
    "since": {"from": "since", "type": "date"},
    "spec": {"from": "spec", "max": 80},
    "memo": {"from": "memo", "max": 200},
}
TYPES = {"price": ("numeric", 14, 2), "qty": ("int4", None, None), "since": ("date", None, None)}
TABLE = Table(
    ("public", "mat"),
    {
        name: TableColumn(name, TYPES.get(name, ("text", None, None))[0], None, *TYPES.get(name, ("", None, None))[1:],
                          False, False, False)
        for name in COLUMNS
    },
    "UTF8", 150018, 0, (),
)  # fmt: skip
REPEATS = 3


def lines(first: int, count: int, step: int) -> str:
    """``count`` rows; every ``step``-th has a day that no month has."""
    return "".join(
        f"M{number:08d},注射用头孢曲松钠{number % 977}号,C{number % 300:03d},药剂科{number % 40},"
        f"{number % 9973}.{number % 100:02d},{number % 1000 - 3},20{10 + number % 15}-{number % 12 + 1:02d}-"
        f"{'32' if step and number % step == step - 1 else f'{number % 28 + 1:02d}'},"
        f"{number % 50}ml×{number % 10}支,{'备注' if number % 7 == 0 else ''}\n"
        for number in range(first, first + count)
    )


def write(path: Path, rows: int, encoding: str, bad: int = 0) -> None:
    with path.open("wb") as file:
        file.write(HEADER.encode(encoding))
        for first in range(0, rows, 50_000):
            file.write(lines(first, min(50_000, rows - first), rows // bad if bad else 0).encode(encoding))


def mapped(path: Path, encoding: str, columns: dict[str, Any], **more: Any) -> Mapping:
    mapping = Mapping.model_validate(
        {
            "import": "bench", "source": {"file": path.name, "encoding": encoding},
            "target": {"database": "his", "table": "mat"}, "columns": columns, "reject_limit": 1000,
            **more,
        }
    )  # fmt: skip
    mapping._path = path.parent / "bench.yml"
    return mapping


def judge(path: Path, encoding: str, columns: dict[str, Any], **more: Any) -> tuple[float, Reader]:
    """As ``import check`` reads: once, or twice when keys may repeat that are too many for memory."""
    mapping = mapped(path, encoding, columns, **more)
    cells = fit(mapping, TABLE)
    begun = time.process_time()
    one, _ = judged(lambda suspects: Reader(mapping, cells, {}, {}, suspects=suspects), lambda rows, line: None)
    return time.process_time() - begun, one


def floor(path: Path, encoding: str) -> float:
    """Read, hash, decode: nothing is judged."""
    begun, total = time.process_time(), hashlib.sha256()
    with path.open("rb") as file:
        rest = b""
        while data := file.read(2**20):
            total.update(data)
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            data[:cut].decode(encoding)
    return time.process_time() - begun


def measure(folder: Path, rows: int) -> dict[str, Any]:
    cases: dict[str, tuple[str, int, dict[str, Any], dict[str, Any]]] = {
        "utf-8": ("utf-8", 0, COLUMNS, {}),
        "gb18030": ("gb18030", 0, COLUMNS, {}),
        "utf-8, 300 rejects": ("utf-8", 300, COLUMNS, {}),
        "utf-8, unique key": ("utf-8", 0, COLUMNS, {"key": ["code"]}),
        "utf-8, name cleaned": (
            "utf-8", 0, {**COLUMNS, "name": {**COLUMNS["name"], "clean": ["trim", "squeeze"]}}, {},
        ),
    }  # fmt: skip
    found = {}
    print(f"{'case':24}{'floor s':>9}{'rules s':>9}{'s per million':>15}{'× floor':>9}{'rejects':>9}")
    for name, (encoding, bad, columns, more) in cases.items():
        path = folder / f"{encoding}-{bad}.csv"
        if not path.exists():
            write(path, rows, encoding, bad)
        pairs = [(floor(path, encoding), *judge(path, encoding, columns, **more)) for _ in range(REPEATS)]
        bare, took, last = min(one[0] for one in pairs), min(one[1] for one in pairs), pairs[0][2]
        assert last.tally.rows == rows
        million = took / rows * 1e6
        print(f"{name:24}{bare:9.2f}{took:9.2f}{million:15.2f}{took / bare:9.2f}{last.tally.rejected:9}")
        found[name] = {"seconds_per_million": round(million, 3), "ratio_to_floor": round(took / bare, 2)}
    return found


def large(folder: Path, gigabytes: float) -> dict[str, Any]:
    """A file with a key, clean; then with three rows at its end that repeat keys of its beginning, middle and end."""
    path, size, first = folder / "large.csv", 0, 0
    with path.open("wb") as file:
        file.write(HEADER.encode())
        while size < gigabytes * 1e9:
            size += file.write(lines(first, 50_000, 0).encode())
            first += 50_000
    found: dict[str, Any] = {"gigabytes": round(size / 1e9, 2), "rows": first}
    for case, repeated in (("clean", []), ("three keys repeated", [0, first // 2, first - 1])):
        with path.open("ab") as file:
            file.writelines(lines(number, 1, 0).encode() for number in repeated)
        began, before = time.monotonic(), _peak()
        took, one = judge(path, "utf-8", COLUMNS, key=["code"])
        told = [(reject.line, reject.faults[0].params["first"]) for reject in one.rejects]
        assert told == [(first + 2 + place, number + 2) for place, number in enumerate(repeated)], told
        assert one.tally.rows == first + len(repeated)
        print(f"{size / 1e9:.2f} GB, {one.tally.rows} rows, {case}: {took:.0f} s of the processor, "
              f"{time.monotonic() - began:.0f} s, peak memory {_peak()} MB ({before} MB before)")  # fmt: skip
        found[case] = {"seconds": round(took, 1), "peak_mb": _peak(), "rejects": len(told)}
    return found


def _peak() -> int:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--large", type=float, metavar="GB")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        found = large(Path(folder), given.large) if given.large else measure(Path(folder), given.rows)
    print(json.dumps({"bench": "rules", **found}, ensure_ascii=False))


if __name__ == "__main__":
    main()
