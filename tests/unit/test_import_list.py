"""导入数据清单 comes from the record alone: batches, proof, sums, rejects, sample, and why a file was refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from implops.baseload.batch import Batch
from implops.baseload.check import Checked
from implops.baseload.fingerprint import md5_sum
from implops.baseload.load import Loaded
from implops.baseload.mapping import Mapping
from implops.baseload.proof import prove
from implops.baseload.rows import Reader
from implops.baseload.state import State
from implops.baseload.target import Table, TableColumn, fit
from implops.documents import import_
from implops.documents.model import Cell, Document, Paragraph
from implops.documents.model import Table as Sheet
from implops.errors import DataError, InputError
from implops.site import Site
from implops.store import Store, record

COLUMN = TableColumn("code", "text", None, None, None, True, False, False)
TABLE = Table(("public", "kind"), {"code": COLUMN}, "UTF8", 150018, 0, ())


def batch(folder: Path, data: bytes) -> Batch:
    """A loaded file as a run leaves it, without a database."""
    (folder / "kind.csv").write_bytes(data)
    mapping = Mapping.model_validate(
        {
            "import": "分类",
            "source": {"file": "kind.csv", "encoding": "gb18030"},
            "target": {"database": "his", "table": "kind"},
            "reject_limit": 1,
            "key": ["code"],
            "columns": {"code": {"from": "代码", "required": True, "max": 4}},
        }
    )
    mapping._path = folder / "kind.yml"
    proof, cells = prove(mapping), fit(mapping, TABLE)
    reader = Reader(mapping, cells, {}, {}, fingerprint=md5_sum, spots=frozenset([0]))
    assert sum(one.rows for one in reader.blocks()) == reader.tally.good
    spots = [{"line": line, "key": values, "source": values, "target": values} for line, values in reader.spotted]
    tally = reader.tally
    there = State(tally.good, tally.row_hash, tally.columns)
    loaded = Loaded(0, tally.good, tally.good, state=there, tally=tally, sql="select 1", spots=spots)
    checked = Checked(mapping, proof, TABLE, cells, reader.tally, reader.rejects)
    return Batch(mapping, "partly", checked, loaded, seed="S1")


def built(store: Store, site: Site, *batches: Batch, end: str = "conditional") -> Document:
    started = {
        "backup_before": {"run": "BEFORE", "time": "2026-11-20T14:03:05.120+08:00"},
        "approval": {"approver": "王经理", "time": "2026-11-20T14:03:05.120+08:00"},
    }
    with record(store, site, "import", "张三/1001", started) as run:
        for number, one in enumerate(batches, start=1):
            run.event("batch.started", {"batch": number, "import": "分类", "sha256": "0" * 64})
            run.event("batch.finished", one.payload(number))
        run.finish(end, {"backup_after": {"run": "AFTER", "time": "2026-11-20T14:03:06.120+08:00"}})
    return import_.build(store, run.id, "HIS-TEST-IMP-0001", "zh-Hans")


def printed(document: Document, title: str) -> list[list[str]]:
    sheet = next(part for part in document.parts if isinstance(part, Sheet) and title in part.title)
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in sheet.rows]


def test_a_loaded_file_stands_there_with_its_proof(store: Store, site: Site, tmp_path: Path) -> None:
    document = built(store, site, batch(tmp_path, "代码\n药品\n器械\n一二三四五\n".encode("gb18030")))
    (row,) = printed(document, "导入批次")
    assert row[:2] == ["1", "kind.csv"]
    assert row[5:12] == ["3", "2", "1", "0 → 2", "0", "一致", "1/1"]
    (proof,) = printed(document, "编码证明")
    assert "逐字节严格解码" in proof[4]
    assert printed(document, "列核对") == [["kind.csv", "code", "2 | 2", "4 | 4", "—", "一致"]]
    assert printed(document, "附件一") == [["kind.csv", "代码", "code", "文本,必填,至多 4 字"]]
    assert printed(document, "附件二") == [["kind.csv", "4", "代码", "一二三四五", "长度 5,上限 4"]]
    assert printed(document, "附件三") == [["kind.csv", "2", "药品", "code", "药品", "药品", "一致"]]
    assert document.conclusion.text.endswith("有条件合格")
    signed = [part.signoff for part in document.parts if isinstance(part, Sheet) and part.signoff]
    assert [one.signers for one in signed] == [("客户抽样核对人(签字)",)]


def test_a_file_that_stopped_half_way_says_what_is_in(store: Store, site: Site, tmp_path: Path) -> None:
    one = batch(tmp_path, "代码\n药品\n器械\n".encode("gb18030"))
    assert one.loaded
    one.outcome, one.error = "halfway", DataError("import.disk_full", host="db1", why="x", reclaim="VACUUM t")
    one.loaded.inserted, one.loaded.resumed = 0, 1
    document = built(store, site, one, end="fail")
    (row,) = printed(document, "导入批次")
    assert (row[5:8], row[9], row[-1]) == (["2", "1(其中 1 此前已提交)", "0"], "1", "中断,已提交一部分")
    assert "VACUUM t" in printed(document, "原因")[0][1]


def test_triggers_of_the_table_are_named_once(store: Store, site: Site, tmp_path: Path) -> None:
    one, two = (batch(tmp_path, "代码\n药品\n".encode("gb18030")) for _ in "12")
    assert one.checked and two.checked
    assert not [told for told in paragraphs(built(store, site, one, two)) if "触发器" in told]
    one.checked.table = two.checked.table = replace(TABLE, triggers=("stamp", "audit"))
    (told,) = [told for told in paragraphs(built(store, site, one, two)) if "触发器" in told]
    assert told.endswith("his.public.kind:stamp audit")


def paragraphs(document: Document) -> list[str]:
    return [f"{part.title} {part.text}" for part in document.parts if isinstance(part, Paragraph)]


def test_a_refused_file_says_which_bytes_and_why(store: Store, site: Site, tmp_path: Path) -> None:
    good = batch(tmp_path, "代码\n药品\n".encode("gb18030"))
    error = InputError("import.bom_inside", file="kind.csv", line=161)
    document = built(store, site, Batch(good.mapping, "refused", error=error), end="fail")
    (row,) = printed(document, "导入批次")
    assert (row[6], row[-1]) == ("0", "不予导入")
    assert len(row[2]) == 16
    assert printed(document, "原因")[0][1].startswith("kind.csv:161:行内出现 BOM")
    assert printed(document, "附件三") == []


def test_a_difference_would_be_seen(store: Store, site: Site, tmp_path: Path) -> None:
    one = batch(tmp_path, "代码\n药品\n".encode("gb18030"))
    assert one.loaded
    one.loaded.state.row_hash = 1
    one.error = DataError("import.not_equal", file="kind.csv", table="t", what="row_hash", in_file=1, in_table=2)
    assert printed(built(store, site, one), "导入批次")[0][10] == "不一致"
