"""What one file of an import leaves in the record: everything that the data import list prints, no sentences."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implops.baseload.check import Checked
from implops.baseload.load import Loaded
from implops.baseload.mapping import Mapping
from implops.baseload.proof import shown_name
from implops.baseload.tally import Reject, Sums, Tally
from implops.baseload.target import Cell
from implops.errors import ImplopsError

# The record carries the first rejects; the whole list is the CSV file whose sha256 stands beside them.
RECORDED_REJECTS = 200
_LONGEST = 200


@dataclass
class Batch:
    """One file of a run. ``outcome``: good | loaded | partly | already | rejected | refused | failed | skipped, or
    halfway (some of its batches are in) and unknown (nobody could ask whether the commit went through).
    """

    mapping: Mapping
    outcome: str
    checked: Checked | None = None
    loaded: Loaded | None = None
    error: ImplopsError | None = None
    rejects: tuple[str, str] | None = None
    seed: str = ""

    @property
    def bad(self) -> bool:
        return self.outcome in ("rejected", "refused", "failed", "skipped", "halfway", "unknown")

    @property
    def counted(self) -> Tally:
        return self.checked.tally if self.checked else Tally()

    def payload(self, number: int) -> dict[str, Any]:
        """For ``batch.finished``."""
        mapping, tally = self.mapping, self.counted
        found: dict[str, Any] = {
            "batch": number,
            "import": mapping.name,
            "mapping": {"file": mapping.path.name, "sha256": mapping.sha256},
            "file": mapping.file.name,
            "encoding": {"declared": mapping.source.declared, "codec": shown_name(mapping.source.codec)},
            "target": str(mapping.target),
            "mode": mapping.target.mode,
            "outcome": self.outcome,
            "map": [_conversion(name, mapping) for name in mapping.columns],
            "ignored": [str(one) for one in mapping.ignore],
            "reject_limit": mapping.reject_limit,
            "rows": {
                "file": tally.rows,
                "good": tally.good,
                "rejected": tally.rejected,
                "blank": tally.blank,
                "inserted": self.loaded.inserted if self.loaded else 0,
                "updated": self.loaded.updated if self.loaded else 0,
                "unchanged": self.loaded.unchanged if self.loaded else 0,
                "deleted": self.loaded.deleted if self.loaded else 0,
            },
        }
        if self.error:
            params = {name: str(value) for name, value in self.error.params.items()}
            found["error"] = {"key": self.error.key, "params": params}
        found |= self._proved(self.checked) if self.checked else _identity(mapping.file)
        if self.loaded:
            found |= self._loaded(self.loaded)
        return found

    def _proved(self, checked: Checked) -> dict[str, Any]:
        found: dict[str, Any] = {
            "sha256": checked.proof.sha256,
            "bytes": checked.proof.bytes,
            "proof": checked.proof.document(),
            "server_encoding": checked.table.server_encoding,
            "triggers": list(checked.table.triggers),
            "rejects": {
                "first": [_reject(one) for one in checked.rejects[:RECORDED_REJECTS]],
                "total": self.counted.rejected,
            },
        }
        found["changes"] = {
            column: {
                rule: {
                    "count": one.count,
                    "samples": [[line, a[:_LONGEST], b[:_LONGEST]] for line, a, b in one.samples],
                }
                for rule, one in rules.items()
            }
            for column, rules in checked.changes.items()
        }
        found["notes"] = dict(checked.tally.notes)
        if self.rejects:
            found["rejects"] |= {"file": self.rejects[0], "sha256": self.rejects[1]}
        if checked.loaded:
            found["before"] = checked.loaded
        return found

    def _loaded(self, loaded: Loaded) -> dict[str, Any]:
        assert self.checked
        tally = loaded.tally
        return {
            "batches": loaded.batches,
            "resumed": loaded.resumed,
            "table": {"before": loaded.before, "after": loaded.after},
            "columns": {
                cell.name: {
                    "file": _sums(tally.columns[cell.name], cell),
                    "table": _sums(loaded.columns[cell.name], cell),
                }
                for cell in self.checked.cells
                if cell.name in tally.columns
            },
            "row_hash": {"file": str(tally.row_hash), "table": loaded.row_hash, "sql": loaded.sql},
            "spot": {
                "seed": self.seed,
                "columns": [cell.name for cell in self.checked.cells],
                "key": _key(self.checked.cells, self.mapping),
                "rows": loaded.spots,
            },
        }


def _identity(path: Path) -> dict[str, Any]:
    """What a refused file was, so that the list shows which delivery was sent back."""
    try:
        with path.open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
    except OSError:
        return {}


def _key(cells: list[Cell], mapping: Mapping) -> list[str]:
    return mapping.key or [cell.name for cell in cells if cell.column.unique][:1]


def _sums(sums: Sums, cell: Cell) -> dict[str, Any]:
    return {
        "count": sums.count,
        "length": sums.length if cell.counted else None,
        "sum": None if sums.sum is None else f"{sums.sum:f}",
    }


def _conversion(name: str, mapping: Mapping) -> dict[str, Any]:
    column = mapping.columns[name]
    rules: dict[str, Any] = {"type": column.type}
    bound = "length_" if column.kind == "text" else ""
    for word, value in ((f"{bound}min", column.min), (f"{bound}max", column.max), ("pattern", column.pattern),
                        ("default", column.default), ("dict", column.codes)):  # fmt: skip
        if value is not None:
            rules[word] = value
    if column.keeps:
        rules["empty"] = True
    rules |= {word: True for word in ("required", "unique", "multiline") if getattr(column, word)}
    if column.ref:
        rules["ref"] = str(column.ref)
    if column.formats:
        rules["formats"] = " ".join(column.formats)
    if column.units:
        rules["units"] = " ".join(f"{unit}×{factor}" for unit, factor in column.units.items())
    if column.mapped:
        rules["map"] = " ".join(f"{before}→{after}" for before, after in column.mapped.items())[:_LONGEST]
    if column.clean:
        rules["clean"] = list(column.clean)
    if column.allow:
        rules["allow"] = list(column.allow)
    source = None if column.source is None else str(column.source)
    return {"from": source, "value": None if column.value is None else str(column.value), "to": name, "rules": rules}


def _reject(reject: Reject) -> dict[str, Any]:
    faults = [
        {
            "column": fault.column,
            "code": fault.code,
            "value": fault.value[:_LONGEST],
            "params": {name: value if isinstance(value, int) else str(value) for name, value in fault.params.items()},
        }
        for fault in reject.faults
    ]
    return {"line": reject.line, "raw_hex": reject.raw[:_LONGEST].hex(), "faults": faults}
