"""What a mapping declares, against both engines: converted, referred, refused; any text in any encoding, to and fro."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from databases import Database
from importer import bring

from implops.baseload import judge, target
from implops.baseload import source as reading
from implops.baseload.check import Checked
from implops.baseload.codec import CODECS
from implops.baseload.load import Loaded
from implops.baseload.server import identifier
from implops.errors import DataError

pytestmark = pytest.mark.lab


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    if server.process is None or server.process.poll() is not None:
        server.start()
    server.sql("drop table if exists mat; drop table if exists dept; delete from implops_import_log")
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


def test_cells_that_several_characters_part_arrive_and_a_doubtful_one_does_not(
    database: Database, tmp_path: Path
) -> None:
    plain(database)
    cells = [["1", '"甲",\\'], ["2", "乙^|x"], ["3", ""], ["4", "丙|^"], ["5", "|丁"]]
    data = "".join(f"{code}|^|{name}|^|废\n" for code, name in [["code", "name"], *cells]).encode("gb18030")
    columns = "  code: {from: code, required: true}\n  name: {from: name}\n"
    source = ", encoding: gb18030, encoding_confirmed: true, delimiter: '|^|', quote: ''"
    path = write(tmp_path, data, columns, source=source,
                 more="reject_limit: 1\nignore: [废]\n")  # fmt: skip
    checked, loaded = bring(database.server, path)
    assert [(one.line, one.raw, one.faults[0].code) for one in checked.rejects] == [
        (5, "4|^|丙|^|^|废".encode("gb18030"), "doubtful")
    ]
    assert loaded
    assert read(database, "code name") == [one for one in cells if one[0] != "4"]


def test_every_character_of_cp950_arrives(database: Database, tmp_path: Path) -> None:
    """13,752 of them; the servers' own BIG5 loses or changes some, which is why they never see it."""
    plain(database)
    codes = [bytes([high, low]) for high in range(0x81, 0xFF) for low in (*range(0x40, 0x7F), *range(0x80, 0xFF))]
    pairs = [code for code in codes if _reads(code, "cp950")]
    data = b"code,name\n" + b"".join(b"%05d,\xa5\xfe%s\n" % (place, one) for place, one in enumerate(pairs))
    _, loaded = bring(database.server, write(tmp_path, data, SIMPLE, source=", encoding: big5"))
    assert loaded
    assert len(pairs) == loaded.inserted == 13_752
    assert [row[1] for row in read(database, "code name")] == ["全" + one.decode("cp950") for one in pairs]
    if database.engine == "postgresql":
        own = database.sql("select convert_from(decode('a1fe' || 'a145' || 'a1e3', 'hex'), 'BIG5')")
        assert own != b"\xa1\xfe\xa1\x45\xa1\xe3".decode("cp950")


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


KEEPING = """\
  code: {from: code, required: true, empty: keep, map: {无: ''}}
  name: {from: name, max: 9, empty: keep, required: true}
  memo: {from: memo, empty: keep}
  note: {from: note}
  digits: {from: digits, empty: keep, pattern: '[0-9]{1,4}'}
"""


def empties(database: Database) -> list[tuple[str, ...]]:
    """Every row; an empty text as a zero, NULL as a dash."""
    names = ("code", "name", "memo", "note", "digits")
    told = ", ".join(f"case when {name} is null then '-' when char_length({name}) = 0 then '0' else {name} end"
                     for name in names)  # fmt: skip
    rows = database.sql(f"select {told} from mat order by code").splitlines()
    return [tuple(one.strip() for one in row.split("|")) for row in rows]


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_empty_texts_are_kept_where_the_mapping_says_so(database: Database, tmp_path: Path, mode: str) -> None:
    database.sql(
        "create table mat (code varchar(9) not null, name varchar(9) not null, memo text, note varchar(9), "
        "digits char(4), primary key (code))"
    )
    database.sql("insert into mat values ('M2', 'x', null, '', '')")
    rows = 'code,name,memo,note,digits\n无,,,,\nM1,"","","",""\nM2,甲,-,乙,12\nM3,,"多 "" 引",-,7\n'
    if mode == "insert":
        rows = rows.replace("M2", "M4")
    more = "key: [code]\nverify: {sum: [digits]}\n"
    path = write(tmp_path, rows.encode(), KEEPING, source=", encoding: utf-8, 'null': ['-']", more=more)
    path.write_text(path.read_text(encoding="utf-8").replace("table: mat", f"table: mat, mode: {mode}"),
                    encoding="utf-8")  # fmt: skip
    checked, loaded = bring(database.server, path)
    assert checked.rejects == []
    assert loaded
    assert loaded.tally.columns["memo"].count == 3
    there = [
        ("0", "0", "0", "-", "0"),
        ("M1", "0", "0", "-", "0"),
        ("M2", "甲", "-", "乙", "12"),
        ("M3", "0", '多 " 引', "-", "7"),
    ]
    if mode == "insert":
        there = [*there[:2], ("M2", "x", "-", "0", "0"), there[3], ("M4", *there[2][1:])]
    assert empties(database) == there
    assert all(spot["source"] == spot["target"] for spot in loaded.spots)
    if mode == "replace":
        assert database.sql(loaded.sql).split("|") == ["4", loaded.row_hash]
    # An empty key is a key: a second delivery meets it in the table.
    again = write(tmp_path, rows.replace("M1", "M9").encode(), KEEPING, source=", encoding: utf-8, 'null': ['-']",
                  more=more)  # fmt: skip
    told = [(one.line, one.faults[0].code, one.faults[0].value) for one in bring(database.server, again)[0].rejects]
    assert told[0] == (2, "exists", "")


NULLED = {
    "postgresql": "create or replace function nulled() returns trigger language plpgsql as "
    "$$ begin new.memo := nullif(new.memo, ''); return new; end $$; "
    "create trigger nulled before insert on mat for each row execute function nulled()",
    "mariadb": "create trigger nulled before insert on mat for each row set new.memo = nullif(new.memo, '')",
}


@pytest.mark.parametrize("rules", ["", ", empty: keep"])
def test_an_empty_text_that_became_null_is_a_difference(database: Database, tmp_path: Path, rules: str) -> None:
    database.sql("create table mat (code varchar(9) primary key, memo text)")
    database.sql(NULLED[database.engine])
    columns = f"  code: {{from: code, required: true}}\n  memo: {{from: memo{rules}}}\n"
    path = write(tmp_path, b"code,memo\n1,x\n2,\n", columns, source=", encoding: utf-8")
    if rules:
        with pytest.raises(DataError) as error:
            bring(database.server, path)
        assert error.value.key == "import.not_equal"
        assert database.count("mat") == 0
    else:
        assert bring(database.server, path)[1]


def test_rows_whose_unique_column_is_null_are_no_difference(database: Database, tmp_path: Path) -> None:
    """The sample is read back by key, and NULL cannot be asked for."""
    database.sql("create table mat (code varchar(9), memo varchar(9), unique (code))")
    columns = "  code: {from: code, unique: true}\n  memo: {from: memo}\n"
    path = write(tmp_path, b"code,memo\n,x\n1,y\n,z\n", columns, source=", encoding: utf-8")
    _, loaded = bring(database.server, path)
    assert loaded
    assert [spot["key"] for spot in loaded.spots] == [["1"]]


def _reads(code: bytes, codec: str) -> bool:
    try:
        return bool(code.decode(codec))
    except UnicodeError:
        return False


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
