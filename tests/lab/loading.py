"""One table and its deliveries for all tests of loading: written, loaded by a process that may be killed, compared."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from databases import Database

TABLE = """create table mat (code varchar(12) primary key, name varchar(60) not null, price decimal(14, 2),
amount integer, since date, memo text)"""
MAPPING = """\
import: 物料
source: {{file: {file}, encoding: {encoding}}}
target: {{database: his, table: mat{target}}}
key: [code]
{more}columns:
  code: {{from: 编码, pattern: 'M[0-9]{{3,8}}', required: true}}
  name: {{from: 名称, max: 60, required: true}}
  price: {{from: 单价, type: 'decimal(14,2)'}}
  amount: {{from: 数量, type: int}}
  since: {{from: 启用, type: date}}
  memo: {{from: 备注{memo}}}
verify: {{sum: [price, amount]}}
"""
HEADER = "编码,名称,单价,数量,启用,备注\n"


def many(start: int, count: int, name: str = "物料") -> str:
    return "".join(f"M{one:06d},{name}{one},{one}.25,{one},2024-01-01,备注\n" for one in range(start, start + count))


def printed(start: int, count: int, name: str = "物料") -> list[str]:
    return [f"M{one:06d}|{name}{one}|{one}.25|{one}|2024-01-01|备注" for one in range(start, start + count)]


def state(database: Database) -> list[str]:
    """Every row as text, NULL as nothing."""
    columns = ", ".join(f"coalesce(concat({name}, ''), '')" for name in ("price", "amount", "since"))
    return database.sql(f"select code, name, {columns}, coalesce(memo, '') from mat order by code").splitlines()


def committed(database: Database) -> int:
    """Rows of all batches in the log table."""
    quoted = '"rows"' if database.engine == "postgresql" else "`rows`"
    return int(database.sql(f"select coalesce(sum({quoted}), 0) from implops_import_log"))


def start(database: Database, path: Path, hold: int = 0) -> subprocess.Popen[bytes]:
    """An import in a process of its own; with ``hold`` it waits behind so many rows until ``release``."""
    command = [sys.executable, str(Path(__file__).with_name("importer.py")), database.engine, str(database.folder),
               str(path)]  # fmt: skip
    if hold:
        _hold(path).touch()
        command += [str(_hold(path)), str(hold)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def release(path: Path) -> None:
    """Let the import of this mapping go on."""
    _hold(path).unlink(missing_ok=True)


def _hold(path: Path) -> Path:
    return path.with_name("hold")


def wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sessions(database: Database) -> list[str]:
    """Connections of the import account."""
    if database.engine == "postgresql":
        return database.sql("select pid from pg_stat_activity where usename = 'his_import'").split()
    # Inside a trigger a connection runs, and is listed, as the trigger's definer.
    who = "user = 'his_import' or state = 'User lock'"
    return database.sql(f"select id from information_schema.processlist where {who}").split()


def settle(database: Database) -> None:
    deadline = time.monotonic() + 60
    while sessions(database):
        assert time.monotonic() < deadline
        time.sleep(0.05)


_COPYING = {
    "postgresql": "select pid from pg_stat_activity where usename = 'his_import' and query ilike '%copy%' "
    "and state = 'active'",
    "mariadb": "select id from information_schema.processlist where user = 'his_import' and info like 'load data%'",
}


def copying(database: Database) -> list[str]:
    """Connections that take rows at this moment."""
    return database.sql(_COPYING[database.engine]).split()


def children(parent: int) -> list[int]:
    found = [(task / "children").read_text(encoding="ascii").split() for task in Path(f"/proc/{parent}/task").iterdir()]
    return [int(one) for some in found for one in some]


def command(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip()
