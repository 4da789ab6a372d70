"""The import on a deployed database: what is in the table is what was in the file, or nothing is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from power import environment, implops, ssh

from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab

BIG = 500_000
TABLES = """\
create table import_kind (code varchar(8) primary key, name varchar(40) not null);
create table import_item (
  code varchar(12) primary key, name varchar(60) not null, kind varchar(8) references import_kind,
  price numeric(14, 2), amount integer, since date, memo text);
"""
KIND = """\
import: 分类
source: {file: kind.csv, encoding: gb18030}
target: {database: his, table: import_kind}
columns:
  code: {from: 代码, pattern: 'C[0-9]{1,3}', required: true, unique: true}
  name: {from: 名称, max: 40, required: true}
verify: {rows_expected: 3}
"""
ITEM = """\
import: 物料
source: {file: item.csv, encoding: gb18030}
target: {database: his, table: import_item}
key: [code]
after: [分类]
reject_limit: 0
columns:
  code: {from: 编码, pattern: 'M[0-9]{3,8}', required: true}
  name: {from: 名称, max: 60, required: true}
  kind: {from: 分类, ref: {table: import_kind, match: code}}
  price: {from: 单价, type: 'decimal(14,2)'}
  amount: {from: 数量, type: int}
  since: {from: 启用, type: date}
  memo: {from: 备注, allow: [private_use]}
verify: {sum: [price, amount]}
"""
KINDS = '代码,名称\nC1,"药品"\nC2,耗材\nC12,"器械, ""大型"""\n'
ITEMS = [
    "M001,注射用水,C1,1.50,100,2024-02-29,",
    "M002,𠮷野家专用针,C2,0.05,-3,,四字节 𡌶𣒍",
    'M003,"引号 "" 与, 逗号",C12,,,,"\\."',
    "M004,造字在备注,,1234567.89,2147483647,1999-12-31,\ue170",
    "M005,空值,C1,0,0,,NULL",
    "M006,斜杠,C2,-0.50,,,\\N '; drop table import_kind",
]
HEADER = "编码,名称,分类,单价,数量,启用,备注\n"


@dataclass
class Desk:
    """A folder of customer files and mappings beside a deployed site."""

    site: Site
    folder: Path

    def write(self, items: str | bytes, kinds: str = KINDS, edit: Callable[[str], str] = lambda text: text) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "kind.csv").write_bytes(kinds.encode("gb18030"))
        (self.folder / "item.csv").write_bytes(items if isinstance(items, bytes) else items.encode("gb18030"))
        (self.folder / "kind.yml").write_text(KIND, encoding="utf-8")
        (self.folder / "item.yml").write_text(edit(ITEM), encoding="utf-8")

    @property
    def mappings(self) -> tuple[Path, Path]:
        return self.folder / "kind.yml", self.folder / "item.yml"

    def check(self, code: int) -> subprocess.CompletedProcess[str]:
        return implops("import", "check", self.site.path, *self.mappings, code=code)

    def run(self, code: int, *, checked: bool = True) -> subprocess.CompletedProcess[str]:
        """Check, as the gate of run demands it, and load."""
        if checked:
            implops("import", "check", self.site.path, *self.mappings, code=None)
        return implops("import", "run", self.site.path, *self.mappings, "--yes", code=code)

    def sql(self, text: str) -> str:
        done = ssh(self.site, "db1", f"sudo -n -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d his <<'END'\n{text}\nEND\n")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def counts(self) -> tuple[int, int]:
        both = self.sql("select (select count(*) from import_kind), (select count(*) from import_item)")
        kinds, _, items = both.partition("|")
        return int(kinds), int(items)

    def clear(self) -> None:
        self.sql("truncate import_item, import_kind; delete from implops_import_log where target like '%import\\_%'")

    def batches(self) -> list[dict[str, object]]:
        store = Store.of(self.site.state)
        last = store.last("import.started")
        assert last
        return [one.payload for one in store.events(kind="batch.finished", run=last.run)]

    def start(self) -> subprocess.Popen[bytes]:
        self.check(0)
        command = [sys.executable, "-m", "implops.cli.main", "import", "run", self.site.path, *self.mappings, "--yes"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, env=environment(), start_new_session=True)  # fmt: skip

    def wait_for_copy(self, process: subprocess.Popen[bytes]) -> None:
        """Until rows of the big file are on their way into the table."""
        deadline = time.monotonic() + 60
        seen = (
            "select coalesce(max(tuples_processed), 0) from pg_stat_progress_copy where relid = 'import_item'::regclass"
        )
        while int(self.sql(seen)) < 1000:
            assert process.poll() is None, "the import ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def settled(self) -> tuple[int, int]:
        """Rows once no import is connected any more."""
        deadline = time.monotonic() + 30
        while int(self.sql("select count(*) from pg_stat_activity where usename = 'his_import'")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return self.counts()


def big() -> str:
    return HEADER + "".join(
        f"M{number:08d},物料{number},C1,{number}.25,{number},2024-01-01,备注\n" for number in range(BIG)
    )


@pytest.fixture
def desk(deployed: Site, tmp_path: Path) -> Iterator[Desk]:
    """Empty tables, a fresh backup and the approval: whatever a test leaves, the next one may import."""
    desk = Desk(deployed, tmp_path / "delivery")
    desk.sql(f"set role his_owner; drop table if exists import_item, import_kind; {TABLES}")
    desk.sql("delete from implops_import_log where target like '%import\\_%'")
    implops("backup", "run", deployed.path, "--only", "database")
    approve = ["record", "approve", deployed.path, "--subject", "import", "--approver", "王经理", "--reason", "已审核"]
    implops(*approve)
    yield desk


def test_the_table_holds_what_the_file_held(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.check(0)
    assert desk.counts() == (0, 0)
    desk.run(0)
    assert desk.counts() == (3, 6)
    rows = json.loads(desk.sql("select json_agg(i order by code) from import_item i"))
    assert rows[1]["name"] == "𠮷野家专用针"
    assert rows[1]["memo"] == "四字节 𡌶𣒍"
    assert (rows[2]["name"], rows[2]["memo"], rows[2]["price"]) == ('引号 " 与, 逗号', "\\.", None)
    assert rows[3]["memo"] == "\ue170"
    assert (rows[4]["memo"], rows[4]["since"]) == ("NULL", None)
    assert rows[5]["memo"] == "\\N '; drop table import_kind"
    kinds, items = desk.batches()
    assert (kinds["outcome"], items["outcome"]) == ("loaded", "loaded")
    hashes = items["row_hash"]
    assert isinstance(hashes, dict)
    assert hashes["file"] == hashes["table"]
    assert desk.sql(f"{hashes['sql']}").split("|") == ["6", hashes["file"]]
    assert Store.of(desk.site.state).last("import.finished").payload["backup_after"]  # type: ignore[union-attr]


def test_the_same_files_again_change_nothing(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.run(0)
    before = desk.sql("select sum(xmin::text::bigint) from import_item")
    again = desk.run(0)
    assert "已导入,未作改动" in again.stdout
    assert desk.sql("select sum(xmin::text::bigint) from import_item") == before
    assert [one["outcome"] for one in desk.batches()] == ["already", "already"]


def test_one_bad_byte_loads_nothing_and_is_named(desk: Desk) -> None:
    good = (HEADER + "\n".join(ITEMS) + "\n").encode("gb18030")
    at = good.index("注射".encode("gb18030"))
    desk.write(good[:at] + b"\xff" + good[at:])
    done = desk.check(1)
    assert "item.csv:2" in done.stdout
    assert "字节 ff" in done.stdout
    assert "没有通过校验" in desk.run(5).stderr
    assert desk.counts() == (0, 0)
    assert b"\xff" in (desk.site.out / "rejects-item.csv").read_bytes()


def test_a_wrong_declaration_is_refused_with_the_proof_and_then_mended(desk: Desk) -> None:
    items = HEADER + "".join(f"M{number:03d},青霉素钠注射用水{number},C1,,,,门诊药房\n" for number in range(50))
    desk.write(items, edit=lambda text: text.replace("encoding: gb18030", "encoding: big5"))
    done = desk.check(2)
    assert "更像" in done.stderr or "不是 big5 编码" in done.stderr
    assert "青霉素" in done.stderr
    assert desk.counts() == (0, 0)
    desk.write(items)
    desk.run(0)
    assert desk.counts() == (3, 50)


def test_rejects_within_the_limit_leave_the_rest(desk: Desk) -> None:
    rows = [*ITEMS, "M007,无分类,C9,,,,", "M001,重复,C1,,,,", "M8,格式,C1,,,,"]
    desk.write(HEADER + "\n".join(rows) + "\n", edit=lambda text: text.replace("reject_limit: 0", "reject_limit: 3"))
    done = desk.run(1)
    assert desk.counts() == (3, 6)
    for told in ("item.csv:8 分类 「C9」", "item.csv:9 编码 「M001」 与第 2 行重复", "item.csv:10 编码 「M8」"):
        assert told in done.stdout
    assert desk.batches()[1]["outcome"] == "partly"


def test_a_key_that_the_table_holds_already_is_a_reject(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.run(0)
    desk.write(HEADER + "M006,又来,C1,,,,\n")
    assert "目标表中已存在" in desk.check(1).stdout
    assert "没有通过校验" in desk.run(5).stderr
    assert desk.counts() == (3, 6)


@pytest.mark.parametrize("victim", ["importer", "psql", "ssh", "interrupt"])
def test_whoever_dies_half_way_the_table_is_as_before(desk: Desk, victim: str) -> None:
    desk.write(big())
    process = desk.start()
    desk.wait_for_copy(process)
    if victim == "importer":
        os.kill(process.pid, signal.SIGKILL)
    elif victim == "interrupt":
        os.kill(process.pid, signal.SIGINT)
    else:
        os.kill(_child(process.pid, victim), signal.SIGKILL)
    code = process.wait(60)
    assert code != 0
    assert desk.settled() == (3, 0)
    if victim == "interrupt":
        assert code == 130
    if victim in ("psql", "ssh"):
        assert code == 3
    store = Store.of(desk.site.state)
    assert store.last("import.started")
    # The files before it are in: the next run needs a backup, and then loads what is missing.
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    assert "数据库备份" in desk.run(5).stderr
    implops("backup", "run", desk.site.path, "--only", "database")
    desk.run(0)
    assert desk.counts() == (3, 6)


def _child(parent: int, name: str) -> int:
    """The process that the import started under this name."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            if (Path("/proc") / child / "comm").read_text(encoding="utf-8").strip() == name:
                return int(child)
    raise AssertionError(f"no {name}")


def test_a_second_import_at_the_same_time_is_told(desk: Desk) -> None:
    desk.write(big())
    process = desk.start()
    desk.wait_for_copy(process)
    try:
        assert "import" in desk.run(4, checked=False).stderr
        # From another machine the site's lock does not help: the database's own does.
        key = "select pg_try_advisory_xact_lock(hashtextextended('his.public.import_item', 7))"
        assert desk.sql(key) == "f"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)
    assert desk.settled() == (3, 0)


def test_a_table_locked_by_another_connection_is_waited_for_and_then_told(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.check(0)
    hold = "begin; lock table import_item in access exclusive mode; select pg_sleep(25)"
    ssh(desk.site, "db1", f"sudo -n -u postgres setsid psql -Xq -d his -c '{hold}' >/dev/null 2>&1 </dev/null &")
    time.sleep(1)
    started = time.monotonic()
    assert "锁定" in desk.run(3, checked=False).stderr
    assert time.monotonic() - started < 20
