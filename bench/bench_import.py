"""``make bench-import``: loading with all rules, and with the proof, against the bare client on the same path.

(a) raw      ``psql \\copy`` / ``LOAD DATA LOCAL`` of the same clean UTF-8 file over the same SSH forward to the host's
             own socket, as the import account
(b) load     implops: every rule on every row, one transaction, no proof
    gb18030  load of the same rows in GB18030
    proof    load of UTF-8 with the proof of content (what ``import run`` does)
    pgloader of the UTF-8 file, over the same socket (PostgreSQL, the smallest file)

A round is raw, load, gb18030, proof; another raw ends the last one. A contender's ratio is the mean of the raws before
and behind it to its own time; the median of the rounds is told with its spread. Both engines are deployed to a lab for
it, one after the other; ``--site SITE`` takes a site that is deployed already instead.
Prints tables and ends with one JSON line: ``ratio`` is the UTF-8 load of the largest file into PostgreSQL.
"""

from __future__ import annotations

import argparse
import itertools
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from implops import kit
from implops.baseload import load as loading
from implops.baseload import mapping
from implops.baseload.check import Checked, check
from implops.baseload.server import Server, reach
from implops.baseload.session import Session
from implops.remote import ssh_options
from implops.site import Site, load

NETWORK = "10.77.241"
# Rows in the files for each engine, and rounds for a file of so many rows or more.
SIZES = {"postgresql": (1_000_000, 4_000_000), "mariadb": (1_000_000,)}
ROUNDS = ((2_000_000, 3), (0, 5))
# docs/site.yml with the other engine.
MARIADB = (
    ("engine: postgresql", "engine: mariadb"),
    ("  major: 15\n", "  major: 10\n"),
    ("listens: [5432]", "listens: [3306]"),
    ("  encoding: UTF8\n  locale: zh_CN.UTF-8\n", ""),
    ("data: /data/pg", "data: /data/mysql"),
    ("release/schema/", "release/schema-mariadb/"),
)
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
import: {name}
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


def write(folder: Path, rows: int, encodings: Sequence[str] = ("utf-8", "gb18030")) -> None:
    """A file ``ENCODING.csv`` each: 9 columns, the same every time."""
    numbers = random.Random(5)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{one}.csv").open("w", encoding=one)) for one in encodings]
        for file in files:
            file.write("编码,名称,分类,部门,单价,数量,启用日期,单位,备注\n")
        for number in range(rows):
            line = (
                f"M{number:08d},{_WORDS[number % len(_WORDS)]}{number},C{number % 50:02d},D{number % 20:03d},"
                f"{numbers.randrange(1, 99999)}.{numbers.randrange(100):02d},{numbers.randrange(10000)},"
                f"20{10 + number % 15}-{1 + number % 12:02d}-{1 + number % 28:02d},{'盒支瓶包'[number % 4]},"
                f"{'' if number % 3 else '常温保存'}\n"
            )
            for file in files:
                file.write(line)


class Bench:
    def __init__(self, server: Server, admin: Callable[[str], str], folder: Path) -> None:
        self.server, self.admin, self.folder = server, admin, folder
        self.maria = not server.data_on_stdin

    def tables(self) -> None:
        self.admin("drop table if exists bench_item; drop table if exists bench_kind;" + ";".join(TABLES))
        listed = ", ".join(f"('C{number:02d}')" for number in range(50))
        self.admin(f"insert into bench_kind values {listed}")

    def empty(self) -> None:
        """Nobody pays for the pages that the turn before left dirty."""
        self.admin("truncate bench_item" + ("" if self.maria else "; checkpoint"))
        if self.maria:
            self.admin("set global innodb_max_dirty_pages_pct = 0")
            late = time.monotonic() + 60
            while self.admin("show global status like 'innodb_buffer_pool_pages_dirty'").split()[-1] != "0":
                assert time.monotonic() < late, "InnoDB does not come to rest"
                time.sleep(0.1)
            self.admin("set global innodb_max_dirty_pages_pct = default")

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
        path.write_text(MAPPING.format(name=secrets.token_hex(8), file=f"{encoding}.csv", encoding=encoding,
                                       database=self.server.database), encoding="utf-8")  # fmt: skip
        return check(self.server, mapping.load(path), {}, frozenset(), lambda lines: lambda rows, line: None)

    def load(self, checked: Checked, *, proof: bool) -> float:
        good = checked.tally.good
        # The log table keeps what went in, and the same file under the same mapping goes in once.
        one = checked.mapping.model_copy(update={"name": secrets.token_hex(8)})
        one.__dict__.pop("sha256", None)
        job = loading.Job(
            server=self.server, mapping=one, table=checked.table, cells=checked.cells, proof=checked.proof,
            import_id=secrets.token_hex(8), skip=frozenset(), rejected=0,
            spots=frozenset(random.sample(range(good), 20)), suspects=checked.suspects,
            progress=lambda rows, line: None,
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
            transaction.begin(session)
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
def deployed(folder: Path, engine: str) -> Iterator[Site]:
    """The hosts of docs/site.yml, booted and deployed."""
    text = kit.annotated_site().read_text(encoding="utf-8").replace("10.77.1.", f"{NETWORK}.")
    for old, new in MARIADB if engine == "mariadb" else ():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "site.yml").write_text(text, encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic", "sudo"):
        (folder / "secrets" / name).touch(mode=0o600)
        (folder / "secrets" / name).write_text(secrets.token_urlsafe(18), encoding="ascii")
    examples = Path(__file__).parents[1] / "examples"
    for name in ("data", "mappings"):
        shutil.copytree(examples / name, folder / name)
    for name in ("schema", "schema-mariadb"):
        shutil.copytree(examples / "his" / name, folder / "release" / name)
    subprocess.run([sys.executable, examples / "his" / "build.py", folder / "release" / "his-1.0.0.war"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    implops = [sys.executable, "-m", "implops.cli.main"]
    site = str(folder / "site.yml")
    try:
        for words in (["lab", "up"], ["check"], ["bundle", "build"], ["deploy", "--yes"]):
            verb = words[:2] if words[0] in ("lab", "bundle") else words[:1]
            subprocess.run([*implops, *verb, site, *words[len(verb) :], "-q"], check=True, stdout=subprocess.DEVNULL)
        yield load(Path(site))
    finally:
        subprocess.run([*implops, "lab", "down", site, "-q"], stdout=subprocess.DEVNULL)


def administrator(site: Site) -> Callable[[str], str]:
    """Runs statements on the database host as the owner of the database, and gives what they print."""
    host, database = site.only("db"), site.database
    assert database
    client = (
        f"sudo -n -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d {database.name}"
        if database.engine == "postgresql" else f"sudo -n mariadb {database.name}"
    )  # fmt: skip

    def run(text: str) -> str:
        role = "" if database.engine != "postgresql" else f"set role {database.owner};"
        script = "\n".join(
            f"{'reset role;' if 'checkpoint' in one else role}{one.strip()};" for one in text.split(";") if one.strip()
        )
        done = subprocess.run(["ssh", *ssh_options(site, host), f"{site.ssh.user}@{host.address}", client],
                              input=script, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def measure(bench: Bench, rows: int, rounds: int, *, peers: bool) -> dict[str, object]:
    write(bench.folder, rows)
    bench.tables()
    plain, other = bench.checked("utf-8"), bench.checked("gb18030")
    contenders: dict[str, Callable[[], float]] = {
        "raw": bench.raw,
        "load": lambda: bench.load(plain, proof=False),
        "gb18030": lambda: bench.load(other, proof=False),
        "proof": lambda: bench.load(plain, proof=True),
    }
    turns = [*contenders] * rounds + ["raw"]
    if peers and not bench.maria and shutil.which("pgloader"):
        contenders["pgloader"] = bench.pgloader
        turns += ["pgloader", "raw"]
    told: list[tuple[str, float]] = []
    for name in turns:
        bench.empty()
        told.append((name, contenders[name]()))
    raws = [place for place, (name, _) in enumerate(told) if name == "raw"]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders if name != "raw"}
    for before, behind in itertools.pairwise(raws):
        raw = (told[before][1] + told[behind][1]) / 2
        for name, took in told[before + 1 : behind]:
            times[name].append((raw, took))
    return report(bench, rows, times)


def report(bench: Bench, rows: int, times: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    print(f"\n{type(bench.server).__name__}, {rows:,} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found: dict[str, object] = {}
    for name, pairs in times.items():
        ratios = [raw / mine for raw, mine in pairs]
        ratio, mine = statistics.median(ratios), statistics.median(one for _, one in pairs)
        raw = statistics.median(one for one, _ in pairs)
        found[name] = {"ratio": round(ratio, 3), "low": round(min(ratios), 3), "high": round(max(ratios), 3),
                       "seconds": round(mine, 2), "raw": round(raw, 2)}  # fmt: skip
        print(f"  {name:9} {mine:8.2f} s   raw {raw:8.2f} s   ratio {ratio:.3f} ({min(ratios):.3f} to "
              f"{max(ratios):.3f}, {len(pairs)} rounds)", flush=True)  # fmt: skip
    return found


def run(engine: str, given: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Rows -> what was measured."""
    sizes = sorted(given.rows or SIZES[engine])
    with tempfile.TemporaryDirectory(prefix="implops-bench-") as folder:
        data, place = Path(folder) / "rows", Path(folder) / "site"
        data.mkdir()
        place.mkdir()
        with _given(given.site) if given.site else deployed(place, engine) as site, reach(site) as server:
            bench = Bench(server, administrator(site), data)
            found = {}
            for rows in sizes:
                rounds = given.rounds or next(rounds for least, rounds in ROUNDS if rows >= least)
                found[str(rows)] = measure(bench, rows, rounds, peers=rows == sizes[0])
            return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--engine", action="append", choices=[*SIZES], help="only this one (may be repeated)")
    options.add_argument("--rows", type=int, action="append", metavar="N",
                         help="may be repeated; 1 and 4 million for PostgreSQL, 1 for MariaDB")  # fmt: skip
    options.add_argument("--rounds", type=int, metavar="N", help="5; 3 from two million rows on")
    options.add_argument(
        "--site", type=Path, help="a deployed site; its database gets the tables bench_item, bench_kind"
    )
    given = options.parse_args()
    os.environ.setdefault("IMPLOPS_OPERATOR", "bench/0")
    engines = given.engine or [*SIZES]
    if given.site:
        database = load(given.site).database
        engines = [database.engine] if database else []
    began = time.monotonic()
    results = {engine: run(engine, given) for engine in engines}
    sizes = results.get("postgresql") or results[engines[0]]
    largest = sizes[max(sizes, key=int)]
    ratios = {name: one["ratio"] for name, one in largest.items() if isinstance(one, dict)}
    print(json.dumps({"bench": "import", "ratio": ratios["load"], "proof": ratios["proof"],
                      "gb18030": ratios["gb18030"], "minutes": round((time.monotonic() - began) / 60, 1),
                      "results": results}))  # fmt: skip


@contextmanager
def _given(path: Path) -> Iterator[Site]:
    yield load(path)


if __name__ == "__main__":
    main()
