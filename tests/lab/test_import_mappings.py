"""What a mapping declares, against both engines: converted, referred, refused; any text in any encoding, to and fro."""

from __future__ import annotations

import datetime
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from databases import ENGINES, Database, running
from importer import bring

from implops.baseload import judge, target
from implops.baseload import source as reading
from implops.baseload.check import Checked
from implops.baseload.codec import CODECS
from implops.baseload.load import Loaded
from implops.baseload.server import identifier

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="implops-db-") as folder, running(request.param, Path(folder)) as database:
        yield database


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    yield server
    server.sql("drop table if exists mat; drop table if exists dept; delete from implops_import_log")


def write(folder: Path, data: bytes, columns: str, *, source: str = "", more: str = "", name: str = "f.csv") -> Path:
    (folder / name).write_bytes(data)
    path = folder / "m.yml"
    path.write_text(
        f"import: 物料\nsource: {{file: {name}{source}}}\ntarget: {{database: his, table: mat}}\n"
        f"{more}columns:\n{columns}",
        encoding="utf-8",
    )
    return path


def read(database: Database, columns: str, order: str = "code") -> list[list[str]]:
    server = database.server
    names = [server.text(identifier(name)) for name in columns.split()]
    return server.values(names, f"{server.table('public', 'mat')} order by {identifier(order)}")


RICH = """\
  code: {from: 编码, clean: [trim], pattern: 'M[0-9]{3}', required: true, unique: true}
  name: {from: 名称, clean: [trim, squeeze, width, t2s], max: 20, required: true}
  price: {from: 单价, type: 'decimal(12,2)', clean: [currency, thousands], units: {万元: 10000}, min: 0}
  since: {from: 启用, type: date, formats: [YYYY/M/D, YYYY年M月D日, excel_serial]}
  made: {from: 时间, type: datetime, formats: ['YYYY/M/D h:mm']}
  clock: {from: 钟点, type: time}
  active: {from: 在用, type: bool, formats: [是/否]}
  kind: {from: 分类, dict: 类, map: {成品: C1}}
  dept_id: {from: 科室, ref: {table: dept, match: name, take: id}}
  memo: {from: 备注, multiline: true, max: 40}
  made_by: {value: implops}
dictionaries: {类: {table: dept, column: kind, where: {live: 'y'}}}
"""
ROWS = """\
编码,名称,单价,启用,时间,钟点,在用,分类,科室,备注
 M001, 注射用水　（Ａ）,"¥1,234.50",2025/3/1,2025/3/1 8:05,08:05:09,是,成品,内科,"一
二"
M002,臺灣  針,1.5万元,2025年12月31日,2025-03-01 23:59:59,,否,C2,外科,-
M003,丙,0.00,45717,,,,,,
M004,坏,-1,2025/2/29,2025/3/1,24:00:00,有,C3,儿科,x
M005,坏,,,,,,,皮肤科,x
"""


def test_values_arrive_as_the_mapping_says(database: Database, tmp_path: Path) -> None:
    kind = "timestamp" if database.engine == "postgresql" else "datetime"
    flag = "boolean" if database.engine == "postgresql" else "tinyint(1)"
    database.sql(
        "create table dept (id integer primary key, name varchar(20), kind varchar(4), live char(1));"
        "insert into dept values (7, '内科', 'C1', 'y'), (8, '外科', 'C2', 'y'), (9, '皮肤科', 'C3', 'n'),"
        " (10, '皮肤科', 'C3', 'n');"
        f"create table mat (code varchar(4) primary key, name varchar(20) not null, price decimal(12,2), since date, "
        f"made {kind}, clock time, active {flag}, kind varchar(4), dept_id integer, memo varchar(40), "
        "made_by varchar(20))"
    )
    path = write(tmp_path, ROWS.encode("gb18030"), RICH, source=", encoding: gb18030, 'null': ['', '-']",
                 more="reject_limit: 2\n")  # fmt: skip
    checked, loaded = bring(database.server, path)
    faults = [(one.line, {(fault.column, fault.code) for fault in one.faults}) for one in checked.rejects]
    assert faults == [
        (6, {("price", "range"), ("since", "date_format"), ("made", "date_format"), ("clock", "time"),
             ("active", "bool"), ("kind", "dictionary"), ("dept_id", "reference")}),
        (7, {("dept_id", "reference_many")}),
    ]  # fmt: skip
    assert loaded
    assert loaded.inserted == 3
    yes, no = ("true", "false") if database.engine == "postgresql" else ("1", "0")
    assert read(database, "code name price since made clock active kind dept_id memo made_by") == [
        ["M001", "注射用水 (A)", "1234.50", "2025-03-01", "2025-03-01 08:05:00", "08:05:09", yes, "C1", "7", "一\n二",
         "implops"],
        ["M002", "台湾 针", "15000.00", "2025-12-31", "2025-03-01 23:59:59", "", no, "C2", "8", "", "implops"],
        ["M003", "丙", "0.00", "2025-03-01", "", "", "", "", "", "", "implops"],
    ]  # fmt: skip
    assert checked.changes["price"]["currency"].count == 1
    assert checked.changes["memo"]["null"].samples == [(4, "-", "")]
    again, nothing = bring(database.server, path)
    assert again.loaded
    assert nothing is None


SIMPLE = "  code: {from: code, required: true, unique: true}\n  name: {from: name, max: 400, multiline: true}\n"


def plain(database: Database) -> None:
    text = "text" if database.engine == "postgresql" else "varchar(500)"
    database.sql(f"create table mat (code varchar(12) primary key, name {text})")


def test_a_workbook_and_a_dump_arrive_like_a_text_file(database: Database, tmp_path: Path) -> None:
    columns = "  code: {from: code, required: true}\n  name: {from: name}\n"
    wanted = [["1", "甲'\\"], ["2", "2025-03-01"], ["3", ""]]
    book = openpyxl.Workbook()
    rows: list[list[Any]] = [
        ["code", "name"],
        [1, "甲'\\"],
        [2, "2025-03-01"],
        [3, None],
        ["4", datetime.date(2025, 3, 1)],
    ]
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "b.xlsx")
    dump = "INSERT INTO `x` (`code`, `name`) VALUES (1, '甲\\'\\\\'), (2, '2025-03-01'), ('3', NULL), (4, now());\n"
    for name, data, source in (
        ("b.xlsx", (tmp_path / "b.xlsx").read_bytes(), ", format: xlsx"),
        ("d.sql", dump.encode("gbk"), ", format: sql, encoding: gbk, dialect: mysql"),
    ):
        plain(database)
        checked, loaded = bring(
            database.server, write(tmp_path, data, columns, source=source, more="reject_limit: 1\n", name=name)
        )
        assert [one.line for one in checked.rejects] == ([5] if name == "b.xlsx" else [1])
        assert loaded
        assert read(database, "code name") == wanted
        database.sql("drop table mat; delete from implops_import_log")


def test_code_points_that_servers_lose_arrive(database: Database, tmp_path: Path) -> None:
    """PostgreSQL's and MariaDB's own BIG5 lose or change all of these."""
    plain(database)
    raw = [b"\xa1\xfe", b"\xa2\x40", b"\xa1\x5a", b"\xa1\xc3", b"\xa1\xc5", b"\xa1\x45", b"\xa1\xe3", b"\xa3\xe1",
           b"\xf9\xd6", b"\xf9\xdd", b"\xf9\xfe"]  # fmt: skip
    lines = [b"code,name", *(b"%d,\xa5\xfe\xb0\xea%s" % (number, one) for number, one in enumerate(raw, start=10)), b""]
    _, loaded = bring(database.server, write(tmp_path, b"\n".join(lines), SIMPLE, source=", encoding: big5"))
    assert loaded
    assert [row[1] for row in read(database, "code name")] == ["全國" + one.decode("cp950") for one in raw]


def test_what_a_column_cannot_hold_is_found_before(database: Database, tmp_path: Path) -> None:
    if database.engine == "postgresql":
        database.sql("create table mat (code varchar(12) primary key, name varchar(2))")
        rows, wanted = "1,中国\n2,中国人\n", [(3, "length")]
    else:
        database.sql(
            "create table mat (code varchar(12) primary key, name varchar(9) character set gbk, "
            "low varchar(9) character set latin1, three varchar(9) character set utf8mb3)"
        )
        rows, wanted = "1,镕\n2,䶮\n", [(3, "storable")]
    columns = "  code: {from: code, required: true}\n  name: {from: name}\n"
    checked, _ = bring(
        database.server, write(tmp_path, f"code,name\n{rows}".encode(), columns, source=", encoding: utf-8")
    )
    assert [(one.line, one.faults[0].code) for one in checked.rejects] == wanted
    if database.engine == "mariadb":
        for column, text in (("low", "中"), ("three", "𠮷")):
            columns = f"  code: {{from: code, required: true}}\n  {column}: {{from: name}}\n"
            given = write(tmp_path, f"code,name\n1,é\n2,{text}\n".encode(), columns, source=", encoding: utf-8")
            checked, _ = bring(database.server, given)
            assert [(one.line, one.faults[0].params["lost"]) for one in checked.rejects] == [(3, text)]
    assert database.count("mat") == 0


def test_three_hundred_bad_rows_cost_three_hundred_rows(database: Database, tmp_path: Path) -> None:
    count, step = 60_000, 200
    database.sql("create table mat (code varchar(12) primary key, name varchar(20), price decimal(8,2), since date)")
    bad = {place: place // step % 6 for place in range(step - 1, count, step)}
    rows = []
    for place in range(count):
        fault = bad.get(place)
        price = {0: "12a", 1: "1.005"}.get(fault, "1.50") if fault is not None else "1.50"
        since = {2: "2025-02-30", 3: ""}.get(fault, "2025-02-28") if fault is not None else "2025-02-28"
        name = "名" * 21 if fault == 3 else "名称"
        row = f"{place:08d},{name},{price},{since}".encode("gbk")
        rows.append(row + {4: b",x", 5: b"\xff"}.get(fault if fault is not None else -1, b""))
    columns = (
        "  code: {from: code, pattern: '[0-9]{8}', required: true}\n  name: {from: name}\n"
        "  price: {from: price, type: 'decimal(8,2)'}\n  since: {from: since, type: date}\n"
    )
    data = b"code,name,price,since\n" + b"\n".join(rows) + b"\n"
    checked, loaded = bring(
        database.server, write(tmp_path, data, columns, source=", encoding: gbk", more="reject_limit: 300\n")
    )
    assert [one.line for one in checked.rejects] == [place + 2 for place in sorted(bad)]
    codes = {0: "decimal", 1: "decimal", 2: "date", 3: "length", 4: "columns", 5: "encoding"}
    assert [one.faults[0].code for one in checked.rejects] == [codes[bad[place]] for place in sorted(bad)]
    assert [one.raw for one in checked.rejects] == [rows[place] for place in sorted(bad)]
    assert loaded
    assert database.count("mat") == count - 300
    missing = "select count(*) from mat where name <> '名称' or price <> 1.50 or since <> '2025-02-28'"
    assert database.sql(missing) == "0"


LETTERS = "北京臺灣東誠上銹裏①～𠮷€가나다アイウéü,;|'\"\\ \n\r\t%_`$ \u3000.-NULL"


@pytest.mark.parametrize("encoding", sorted(CODECS))
def test_any_text_goes_to_the_table_and_comes_back(database: Database, tmp_path: Path, encoding: str) -> None:
    """A file of random texts, whatever the encoding writes, read back from the table and equal to the last letter."""
    import csv
    import io

    plain(database)
    codec, draw = CODECS[encoding][0], random.Random(encoding)
    letters = [one for one in LETTERS if _writes(one, codec)]
    letters += [chr(code) for code in draw.sample(range(0x100, 0xD000), 3000) if chr(code).isprintable()
                and _writes(chr(code), codec)]  # fmt: skip
    texts = ["".join(draw.choices(letters, k=draw.randint(1, 12))) for _ in range(300)]
    texts = [one for one in texts if "\n\\.\n" not in one]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(["code", "name"])
    writer.writerows([f"K{place:05d}", one] for place, one in enumerate(texts))
    data = buffer.getvalue().encode(codec)
    path = write(tmp_path, data, SIMPLE, source=f", encoding: {encoding}, encoding_confirmed: true")
    checked, loaded = bring(database.server, path)
    assert checked.rejects == []
    assert loaded
    assert [row[1] for row in read(database, "code name")] == texts


def _writes(one: str, codec: str) -> bool:
    try:
        return one.encode(codec).decode(codec) == one and not (codec == "cp932" and one in "\x80\xa0")
    except UnicodeError:
        return False


@pytest.mark.parametrize("clean", ["", ", clean: [trim]"], ids=["as it stands", "worked on"])
def test_keys_too_many_for_memory_are_told_apart_all_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: str
) -> None:
    """Keys that stand in the table, keys that stand twice in the file, and a key of which only a part does."""
    for module in (judge, target):
        monkeypatch.setattr(module, "KEPT_KEYS", 100)
    monkeypatch.setattr(reading, "BLOCK", 4096)
    database.sql("create table mat (code varchar(20), name varchar(50), n integer, primary key (code, n))")
    columns = (f"  code: {{from: 编码, required: true}}\n  name: {{from: 名称{clean}}}\n"
               "  n: {from: 数, type: int, required: true}\n")  # fmt: skip

    def bringing(*rows: tuple[int, int]) -> tuple[Checked, Loaded | None]:
        data = "编码,名称,数\n" + "".join(f"K{one},名 {one},{other}\n" for one, other in rows)
        more = "key: [code, n]\nreject_limit: 9\n"
        return bring(database.server, write(tmp_path, data.encode(), columns, source=", encoding: utf-8", more=more))

    checked, loaded = bringing(*zip(range(2000), range(2000), strict=True))
    assert loaded and loaded.inserted == 2000 and checked.rejects == []
    assert checked.suspects == {("code", "n"): frozenset()}
    rows = list(zip(range(1999, 4000), range(1999, 4000), strict=True))
    checked, loaded = bringing(*rows, (5, 5), (3000, 3000), (3000, 3001))
    told = [(one.line, one.faults[0].code, one.faults[0].params.get("first")) for one in checked.rejects]
    assert told == [(2, "exists", None), (2003, "exists", None), (2004, "duplicate", 1003)]
    assert loaded and loaded.inserted == 2001 and database.count("mat") == 4001
