"""``make bench-import``: loading with all rules, and with the proof, against the bare client on the same path.

(a) raw      ``psql \\copy`` / ``LOAD DATA LOCAL`` of the same clean UTF-8 file over the same SSH forward to the host's
             own socket, as the import account
(b) load     implops: every rule on every row, one transaction, no proof
    proof    the same with the proof of content (what ``import run`` does)
    gb18030  load of the same rows in GB18030
    pgloader of the UTF-8 file, over the same socket (PostgreSQL)

Every contender runs in turn, ROUNDS times; the ratio is the median of the pairs (raw / contender), printed with its
spread. ``--rows N`` (default 1 and 4 million), ``--engine``, ``--site SITE`` for a site that is deployed already.
Prints tables and ends with one JSON line: ``ratio`` is the UTF-8 load of the largest file into PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from implops import kit
from implops.baseload import load as loading
from implops.baseload import mapping
from implops.baseload.check import Checked, check
from implops.baseload.server import Server, reach
from implops.baseload.session import Session
from implops.remote import ssh_options
from implops.site import Site, load

ROUNDS, NETWORK = 3, "10.77.241"
_WORDS = [
    f"{a}{b}{c}"
    for a in ("复方", "注射用", "盐酸", "一次性", "无菌", "阿莫西林", "葡萄糖")
    for b in ("氯化钠", "头孢", "导管", "针头", "敷料", "输液器", "缝合线")
    for c in ("注射液", "片", "胶囊", "(大)", "颗粒", "套装", "Ⅱ型")
]
TABLES = (
    "create table bench_kind (code varchar(8) primary key)",
    "create table bench_item (code varchar(12) primary key, name varchar(60) not null, kind varchar(8) not null, "
    "dept varchar(8), price numeric(14, 2), amount integer, since date, unit varchar(8), memo varchar(200))",
)
MAPPING = """\
import: 物料
source: {{file: {file}, encoding: {encoding}}}
target: {{database: {database}, table: bench_item}}
key: [code]
columns:
  code: {{from: 编码, pattern: 'M[0-9]{{8}}', required: true}}
  name: {{from: 名称, max: 60, required: true}}
  kind: {{from: 分类, ref: {{table: bench_kind, match: code}}, required: true}}
  dept: {{from: 部门, pattern: 'D[0-9]{{3}}'}}
  price: {{from: 单价, type: 'decimal(14,2)'}}
  amount: {{from: 数量, type: int}}
  since: {{from: 启用日期, type: date}}
  unit: {{from: 单位, max: 4}}
  memo: {{from: 备注, max: 200}}
verify: {{sum: [price, amount]}}
"""


def write(folder: Path, rows: int) -> None:
    """``rows.csv`` in both encodings: 9 columns, the same every time."""
    numbers = random.Random(5)
    with (
        (folder / "utf-8.csv").open("w", encoding="utf-8") as one,
        (folder / "gb18030.csv").open("w", encoding="gb18030") as two,
    ):
        head = "编码,名称,分类,部门,单价,数量,启用日期,单位,备注\n"
        one.write(head)
        two.write(head)
        for number in range(rows):
            line = (
                f"M{number:08d},{_WORDS[number % len(_WORDS)]}{number},C{number % 50:02d},D{number % 20:03d},"
                f"{numbers.randrange(1, 99999)}.{numbers.randrange(100):02d},{numbers.randrange(10000)},"
                f"20{10 + number % 15}-{1 + number % 12:02d}-{1 + number % 28:02d},{'盒支瓶包'[number % 4]},"
                f"{'' if number % 3 else '常温保存'}\n"
            )
            one.write(line)
            two.write(line)


class Bench:
    def __init__(self, server: Server, admin: Callable[[str], None], folder: Path) -> None:
        self.server, self.admin, self.folder = server, admin, folder
        self.maria = not server.data_on_stdin

    def tables(self) -> None:
        self.admin("drop table if exists bench_item; drop table if exists bench_kind;" + ";".join(TABLES))
        listed = ", ".join(f"('C{number:02d}')" for number in range(50))
        self.admin(f"insert into bench_kind values {listed}")

    def empty(self) -> None:
        self.admin("truncate bench_item" + ("" if self.maria else "; checkpoint"))

    def raw(self) -> float:
        names = [str(one) for one in ("code", "name", "kind", "dept", "price", "amount", "since", "unit", "memo")]
        path = self.folder / "utf-8.csv"
        if self.maria:
            statement = (
                f"load data local infile '{path}' into table bench_item character set utf8mb4 fields terminated by ',' "
                f"optionally enclosed by '\"' lines terminated by '\\n' ignore 1 lines ({', '.join(names)});"
            )
        else:
            statement = f"\\copy bench_item({', '.join(names)}) from '{path}' with (format csv, header)"
        began = time.monotonic()
        done = subprocess.run(self.server.arguments(), input=f"{statement}\n".encode(), capture_output=True,
                              env=self.server.environment())  # fmt: skip
        took = time.monotonic() - began
        assert done.returncode == 0, done.stderr.decode()
        return took

    def checked(self, encoding: str) -> Checked:
        """As ``import check`` leaves it, without the minutes that its own reading would take: the rows are clean."""
        path = self.folder / f"{encoding}.yml"
        path.write_text(MAPPING.format(file=f"{encoding}.csv", encoding=encoding, database=self.server.database),
                        encoding="utf-8")  # fmt: skip
        return check(self.server, mapping.load(path), {}, frozenset(), lambda lines: lambda rows, line: None)

    def load(self, checked: Checked, *, proof: bool) -> float:
        good = checked.tally.good
        job = loading.Job(
            server=self.server, mapping=checked.mapping, table=checked.table, cells=checked.cells, proof=checked.proof,
            import_id=secrets.token_hex(8), skip=frozenset(), rejected=0,
            spots=frozenset(random.sample(range(good), 20)), progress=lambda rows, line: None,
        )  # fmt: skip
        began = time.monotonic()
        if proof:
            loading.load(job)
        else:
            self._without_proof(job)
        return time.monotonic() - began

    def _without_proof(self, job: loading.Job) -> None:
        """The same transaction, committed as soon as the rows are in."""
        source, _ = loading.sides(job)
        transaction = loading.Transaction(job, source, 0)
        session = Session(job.server)
        try:
            transaction.begin(session, loading.Loaded(0))
            transaction.send(session, source.blocks())
            transaction.commit(session)
        finally:
            session.close()

    def pgloader(self) -> float:
        url = f"pgsql://{self.server.user}@unix:{self.server.folder}:{self.server.port}/{self.server.database}"
        script = self.folder / "bench.load"
        script.write_text(
            f"LOAD CSV FROM '{self.folder / 'utf-8.csv'}' WITH ENCODING UTF-8 INTO {url} TARGET TABLE bench_item "
            "WITH skip header = 1, fields optionally enclosed by '\"', fields terminated by ',';\n",
            encoding="utf-8",
        )
        began = time.monotonic()
        password = (self.server.folder / "passfile").read_text(encoding="utf-8").strip().split(":", 4)[4]
        done = subprocess.run(["pgloader", str(script)], capture_output=True, text=True,
                              env={**self.server.environment(), "HOME": str(self.folder),
                                   "PGPASSWORD": password.replace("\\:", ":").replace("\\\\", "\\")})  # fmt: skip
        took = time.monotonic() - began
        assert done.returncode == 0, done.stdout + done.stderr
        return took


@contextmanager
def deployed(folder: Path) -> Iterator[Site]:
    """A database host of docs/site.yml, booted and deployed."""
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{NETWORK}.")
    (folder / "site.yml").write_text(text, encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic", "sudo"):
        (folder / "secrets" / name).touch(mode=0o600)
        (folder / "secrets" / name).write_text(secrets.token_urlsafe(18), encoding="ascii")
    examples = Path(__file__).parents[1] / "examples"
    for name in ("data", "mappings"):
        shutil.copytree(examples / name, folder / name)
    shutil.copytree(examples / "his" / "schema", folder / "release" / "schema")
    subprocess.run([sys.executable, examples / "his" / "build.py", folder / "release" / "his-1.0.0.war"], check=True)
    implops = [sys.executable, "-m", "implops.cli.main"]
    site = str(folder / "site.yml")
    try:
        for words in (["lab", "up"], ["check"], ["bundle", "build"], ["deploy", "--yes"]):
            verb = words[:2] if words[0] in ("lab", "bundle") else words[:1]
            subprocess.run([*implops, *verb, site, *words[len(verb) :], "-q"], check=True, stdout=subprocess.DEVNULL)
        yield load(Path(site))
    finally:
        subprocess.run([*implops, "lab", "down", site, "-q"], stdout=subprocess.DEVNULL)


def administrator(site: Site) -> Callable[[str], None]:
    """Runs statements on the database host as the owner of the database."""
    host, database = site.only("db"), site.database
    assert database
    client = (
        f"sudo -n -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d {database.name}"
        if database.engine == "postgresql" else f"sudo -n mariadb {database.name}"
    )  # fmt: skip

    def run(text: str) -> None:
        role = "" if database.engine != "postgresql" else f"set role {database.owner};"
        script = "\n".join(
            f"{'' if 'checkpoint' in one else role}{one.strip()};" for one in text.split(";") if one.strip()
        )
        done = subprocess.run(["ssh", *ssh_options(site, host), f"{site.ssh.user}@{host.address}", client],
                              input=script, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr

    return run


def measure(bench: Bench, rows: int) -> dict[str, object]:
    write(bench.folder, rows)
    bench.tables()
    plain, other = bench.checked("utf-8"), bench.checked("gb18030")
    contenders: dict[str, Callable[[], float]] = {
        "load": lambda: bench.load(plain, proof=False),
        "proof": lambda: bench.load(plain, proof=True),
        "gb18030": lambda: bench.load(other, proof=False),
    }
    if not bench.maria and shutil.which("pgloader"):
        contenders["pgloader"] = bench.pgloader
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name, contender in contenders.items():
            if name == "pgloader" and number:
                continue
            bench.empty()
            raw = bench.raw()
            bench.empty()
            bench.admin("delete from implops_import_log where target like '%bench_item'")
            times[name].append((raw, contender()))
    return report(bench, rows, times)


def report(bench: Bench, rows: int, times: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    print(f"\n{type(bench.server).__name__}, {rows:,} rows, {os.cpu_count()} cores")
    found: dict[str, object] = {}
    for name, pairs in times.items():
        ratios = [raw / mine for raw, mine in pairs]
        ratio = statistics.median(ratios)
        found[name] = {"ratio": round(ratio, 3), "low": round(min(ratios), 3), "high": round(max(ratios), 3),
                       "seconds": round(statistics.median(mine for _, mine in pairs), 2),
                       "raw": round(statistics.median(raw for raw, _ in pairs), 2)}  # fmt: skip
        print(f"  {name:9} {statistics.median(mine for _, mine in pairs):8.2f} s   raw "
              f"{statistics.median(raw for raw, _ in pairs):8.2f} s   ratio {ratio:.3f} "
              f"({min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rows", type=int, action="append")
    options.add_argument(
        "--site", type=Path, help="a deployed site; its database gets the tables bench_item and bench_kind"
    )
    given = options.parse_args()
    os.environ.setdefault("IMPLOPS_OPERATOR", "bench/0")
    sizes = given.rows or [1_000_000, 4_000_000]
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="implops-bench-") as folder:
        data = Path(folder) / "rows"
        data.mkdir()
        place = Path(folder) / "site"
        place.mkdir()
        with deployed(place) if given.site is None else _given(given.site) as site, reach(site) as server:
            bench = Bench(server, administrator(site), data)
            results = {str(rows): measure(bench, rows) for rows in sizes}
    largest = results[str(max(sizes))]
    assert isinstance(largest, dict)
    print(json.dumps({"bench": "import", "ratio": largest["load"]["ratio"], "proof": largest["proof"]["ratio"],
                      "gb18030": largest["gb18030"]["ratio"], "results": results}))  # fmt: skip


@contextmanager
def _given(path: Path) -> Iterator[Site]:
    yield load(path)


if __name__ == "__main__":
    main()
