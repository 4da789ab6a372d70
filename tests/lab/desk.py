"""A folder of customer files beside a deployed site, imported as an engineer does it: check, run, look at the table."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from power import environment, implops, ssh

from implops.site import Site
from implops.store import Store

BIG = 500_000
TABLES = """
create table import_kind (code varchar(8) primary key, name varchar(40) not null);
create table import_item (
  code varchar(12) primary key, name varchar(60) not null, kind varchar(8), price decimal(14, 2), amount integer,
  since date, memo text, foreign key (kind) references import_kind (code))"""
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
    """A folder of customer files and mappings beside a deployed site, of either engine."""

    site: Site
    folder: Path

    @property
    def mariadb(self) -> bool:
        assert self.site.database
        return self.site.database.engine == "mariadb"

    def tables(self) -> None:
        """Empty tables, an empty log of them."""
        owner = "" if self.mariadb else "set role his_owner; "
        self.drop()
        self.sql(f"{owner}{TABLES}")

    def drop(self) -> None:
        # MariaDB's log refuses to forget a row, even to root, but not to be emptied.
        log = (
            "truncate implops_import_log"
            if self.mariadb
            else ("delete from implops_import_log where target like '%import\\_%'")
        )
        self.sql(f"drop table if exists import_item, import_kind; {log}")

    @classmethod
    def ready(cls, site: Site, folder: Path) -> Desk:
        """Empty tables, a fresh backup and the approval: whatever an import left, the next one may begin."""
        desk = cls(site, folder / "delivery")
        desk.tables()
        desk.approve()
        return desk

    def approve(self) -> None:
        """The backup and the consent that run asks for."""
        implops("backup", "run", self.site.path, "--only", "database")
        implops(
            "record", "approve", self.site.path, "--subject", "import", "--approver", "王经理", "--reason", "已审核"
        )

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
        client = "-u postgres psql -XAtq -v ON_ERROR_STOP=1 -d his"
        if self.mariadb:
            client = "mariadb -NB --default-character-set=utf8mb4 his"
        done = ssh(self.site, "db1", f"sudo -n {client} <<'END'\n{text};\nEND\n")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().replace("\t", "|")

    def counts(self) -> tuple[int, int]:
        both = self.sql("select (select count(*) from import_kind), (select count(*) from import_item)")
        kinds, _, items = both.partition("|")
        return int(kinds), int(items)

    def batches(self) -> list[dict[str, object]]:
        store = Store.of(self.site.state)
        last = store.last("import.started")
        assert last
        return [one.payload for one in store.events(kind="batch.finished", run=last.run)]

    def start(self) -> subprocess.Popen[bytes]:
        self.check(0)
        command = [sys.executable, "-m", "implops.cli.main", "import", "run", self.site.path, *self.mappings, "--yes"]
        with (self.folder / "story").open("wb") as story:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=story, stdout=subprocess.DEVNULL,
                                    env=environment(), start_new_session=True)  # fmt: skip

    def child(self, parent: int, name: str) -> int:
        """A child of that name."""
        for task in Path(f"/proc/{parent}/task").iterdir():
            for one in (task / "children").read_text(encoding="ascii").split():
                if (Path("/proc") / one / "comm").read_text(encoding="utf-8").strip() == name:
                    return int(one)
        raise AssertionError(f"no {name}")

    @property
    def story(self) -> str:
        """What a started import has told so far."""
        return (self.folder / "story").read_text(encoding="utf-8")

    def wait_for_copy(self, process: subprocess.Popen[bytes]) -> None:
        """Until rows of the big file are on their way into the table."""
        deadline = time.monotonic() + 60
        seen = (
            "select coalesce(max(tuples_processed), 0) from pg_stat_progress_copy where relid = 'import_item'::regclass"
        )
        if self.mariadb:
            seen = (
                "select coalesce(max(trx_rows_modified), 0) from information_schema.innodb_trx t join "
                "information_schema.processlist p on p.id = t.trx_mysql_thread_id where p.info like 'load data%item%'"
            )
        while int(self.sql(seen)) < 1000:
            assert process.poll() is None, "the import ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_for_server(self) -> None:
        """Until a database that was cut off has recovered: its host answers long before."""
        deadline = time.monotonic() + 120
        while True:
            try:
                self.sql("select 1")
                return
            except AssertionError:
                assert time.monotonic() < deadline
                time.sleep(0.5)

    def settled(self) -> tuple[int, int]:
        """Rows once no import is connected any more."""
        deadline = time.monotonic() + 30
        sessions = "select count(*) from pg_stat_activity where usename = 'his_import'"
        if self.mariadb:
            sessions = "select count(*) from information_schema.processlist where user = 'his_import'"
        while int(self.sql(sessions)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return self.counts()


def big() -> str:
    return HEADER + "".join(
        f"M{number:08d},物料{number},C1,{number}.25,{number},2024-01-01,备注\n" for number in range(BIG)
    )
