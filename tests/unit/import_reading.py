"""A pass over a file of a test, and a table with one column of every kind."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from implops.baseload.fingerprint import md5_sum
from implops.baseload.mapping import Mapping
from implops.baseload.proof import prove
from implops.baseload.rows import Known, Reader
from implops.baseload.target import Table, TableColumn, fit

TABLE = Table(
    ("public", "mat"),
    {
        one.name: one
        for one in [
            TableColumn("code", "text", None, None, None, True, False, False),
            TableColumn("name", "varchar", 80, None, None, True, False, False),
            TableColumn("price", "numeric", None, 14, 2, False, False, False),
            TableColumn("n", "int4", None, None, None, False, False, False),
            TableColumn("d", "date", None, None, None, False, False, False),
            TableColumn("at", "timestamp", None, None, None, False, False, False),
            TableColumn("clock", "time", None, None, None, False, False, False),
            TableColumn("yes", "bool", None, None, None, False, False, False),
            TableColumn("memo", "text", None, None, None, False, False, False),
            TableColumn("id", "int8", None, None, None, True, True, True),
        ]
    },
    "UTF8",
    150018,
    0,
    (),
)
COLUMNS: dict[str, Any] = {
    "code": {"from": "code", "pattern": "M[0-9]{3}", "required": True, "unique": True},
    "name": {"from": "name", "max": 20, "required": True},
    "price": {"from": "price", "type": "decimal(14,2)"},
    "n": {"from": "n", "type": "int"},
    "d": {"from": "d", "type": "date"},
    "memo": {"from": "memo"},
}
HEADER = b"code,name,price,n,d,memo\n"


class Read:
    """A pass over a file: what would be sent, what is refused."""

    def __init__(
        self, folder: Path, data: bytes, columns: dict[str, Any] | None = None, *, known: Known | None = None,
        taken: dict[tuple[str, ...], set[tuple[str, ...]]] | None = None, prove_first: bool = True,
        encoding: str = "utf-8", source: dict[str, Any] | None = None, table: Table = TABLE, name: str = "f.csv",
        suspicious: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        (folder / name).write_bytes(data)
        self.mapping = Mapping.model_validate(
            {
                "import": "x",
                "source": {"file": name, "encoding": encoding, **(source or {})},
                "target": {"database": "his", "table": "mat"},
                "columns": columns or COLUMNS,
                **more,
            }
        )
        self.mapping._path = folder / "m.yml"
        if prove_first:
            prove(self.mapping)
        self.reader = Reader(self.mapping, fit(self.mapping, table), known or {}, taken or {}, fingerprint=md5_sum,
                             suspicious=suspicious)  # fmt: skip
        self.sent = b"".join(block.data for block in self.reader.blocks())
        text = io.StringIO(self.sent.decode(), newline="")
        self.rows = list(csv.reader(text, delimiter=self.reader.delimiter))

    @property
    def reasons(self) -> list[tuple[int, str, str]]:
        return [(one.line, fault.column, fault.code) for one in self.reader.rejects for fault in one.faults]


def mat(*rows: str) -> bytes:
    return HEADER + "".join(f"{row}\n" for row in rows).encode()


def texts(*names: str) -> Table:
    """A table of text columns."""
    columns = {name: TableColumn(name, "text", None, None, None, False, False, False) for name in names}
    return Table(("public", "mat"), columns, "UTF8", 150018, 0, ())
