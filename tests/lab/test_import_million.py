"""At full size what other tools were seen to lose: every bad row of a million named, no good row lost, none bent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Database
from importer import bring

pytestmark = [pytest.mark.lab, pytest.mark.full]

ROWS, BAD = 1_000_000, 300
MAPPING = """\
import: 物料
source: {{file: mat.csv, encoding: {encoding}}}
target: {{database: his, table: big}}
key: [code]
reject_limit: {limit}
columns:
  code: {{from: 编码, pattern: 'M[0-9]{{8}}', required: true}}
  name: {{from: 名称, max: 20, required: true}}
  price: {{from: 单价, type: 'decimal(10,2)'}}
  amount: {{from: 数量, type: int}}
  since: {{from: 启用, type: date}}
  low: {{from: 备注}}
verify: {{sum: [price, amount], rows_expected: 1000000}}
"""
HEADER = "编码,名称,单价,数量,启用,备注\n"


def row(place: int, **other: str) -> str:
    values = {"code": f"M{place:08d}", "name": f"物料{place}", "price": f"{place}.25", "amount": str(place),
              "since": "2025-02-28", "low": "备注"} | other  # fmt: skip
    return ",".join(values.values())


# What MariaDB's LOAD DATA LOCAL was seen to take under a strict sql_mode, exit 0, and pgloader to stop at.
FAULTS: dict[str, tuple[Callable[[int], str | bytes], str, str]] = {
    "letter": (lambda one: row(one, price="12a"), "price", "decimal"),
    "scale": (lambda one: row(one, price="1.005"), "price", "decimal"),
    "greatest": (lambda one: row(one, amount="99999999999"), "amount", "int"),
    "digits": (lambda one: row(one, price="123456789.00"), "price", "decimal"),
    "no day": (lambda one: row(one, since="2025-02-30"), "since", "date"),
    "zero day": (lambda one: row(one, since="0000-00-00"), "since", "date"),
    "long": (lambda one: row(one, name="名" * 21), "name", "length"),
    "empty": (lambda one: row(one, name=""), "name", "required"),
    "more": (lambda one: row(one) + ",x", "", "columns"),
    "fewer": (lambda one: row(one).rpartition(",")[0], "", "columns"),
    "again": (lambda one: row(one - 1, amount=str(one)), "code", "duplicate"),
    "byte": (lambda one: row(one).encode().replace("物料".encode(), b"\xff"), "", "encoding"),
    "nul": (lambda one: row(one, low="a\0b"), "low", "nul"),
    "quote": (lambda one: row(one, low='a"b'), "", "quote"),
}
WIDE = (lambda one: row(one, low="𠮷"), "low", "storable")


@pytest.fixture
def table(server: Database) -> Iterator[Database]:
    if server.process is None or server.process.poll() is not None:
        server.start()
    three = " character set utf8mb3" if server.engine == "mariadb" else ""
    server.sql("drop table if exists big; create table big (code varchar(9) primary key, name varchar(20) not null, "
               f"price decimal(10, 2), amount integer, since date, low varchar(20){three})")  # fmt: skip
    yield server
    server.sql("drop table big; delete from implops_import_log")


def written(folder: Path, bad: dict[int, bytes], limit: int, encoding: str = "utf-8") -> Path:
    lines = [bad.get(place) or row(place).encode(encoding) for place in range(ROWS)]
    (folder / "mat.csv").write_bytes(HEADER.encode(encoding) + b"\n".join(lines) + b"\n")
    (folder / "mat.yml").write_text(MAPPING.format(limit=limit, encoding=encoding), encoding="utf-8")
    return folder / "mat.yml"


def wrong(database: Database) -> int:
    """Rows of the table that are not what the file said."""
    name = "'物料' || amount" if database.engine == "postgresql" else "concat('物料', amount)"
    digits = "right('00000000' || amount, 8)" if database.engine == "postgresql" else "lpad(amount, 8, '0')"
    code = f"'M' || {digits}" if database.engine == "postgresql" else f"concat('M', {digits})"
    return int(database.sql(
        f"select count(*) from big where not (code = {code} and name = {name} and price = amount + 0.25 "
        "and since = '2025-02-28' and low = '备注') or price is null or amount is null or since is null or low is null"
    ))  # fmt: skip


def test_each_of_300_bad_rows_in_a_million_is_named(table: Database, tmp_path: Path) -> None:
    faults = [*FAULTS.values(), *([WIDE] if table.engine == "mariadb" else [])]
    # Neighbours are never both bad: a repeated key must repeat a good one.
    places = sorted(one * 2 + 1 for one in random.Random(300).sample(range(ROWS // 2 - 1), BAD))
    chosen = {place: faults[number % len(faults)] for number, place in enumerate(places)}
    bad = {}
    for place, (make, _, _) in chosen.items():
        made = make(place)
        bad[place] = made.encode() if isinstance(made, str) else made
    checked, loaded = bring(table.server, written(tmp_path, bad, BAD))
    assert [(one.line, one.faults[0].column, one.faults[0].code) for one in checked.rejects] == [
        (place + 2, column, code) for place, (_, column, code) in sorted(chosen.items())
    ]
    assert [one.raw for one in checked.rejects] == [bad[place] for place in places]
    assert loaded
    assert (loaded.inserted, table.count("big")) == (ROWS - BAD, ROWS - BAD)
    assert wrong(table) == 0
    assert loaded.state.row_hash == loaded.tally.row_hash


def test_one_byte_in_a_million_rows_costs_one_row_or_everything(table: Database, tmp_path: Path) -> None:
    bad = {13_322: row(13_322).encode().replace("料".encode(), b"\xff")}
    checked, loaded = bring(table.server, written(tmp_path, bad, 0))
    assert loaded is None
    assert table.count("big") == 0
    (reject,) = checked.rejects
    assert (reject.line, reject.faults[0].code) == (13_324, "encoding")
    assert {**reject.faults[0].params}["hex"] == "ff"
    assert reject.raw == bad[13_322]
    _, loaded = bring(table.server, written(tmp_path, bad, 1))
    assert loaded
    assert (loaded.inserted, table.count("big"), wrong(table)) == (ROWS - 1, ROWS - 1, 0)
