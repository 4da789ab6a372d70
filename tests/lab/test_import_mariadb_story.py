"""The import over SSH into a deployed MariaDB: every mode, rejects, gates and backups, and whoever dies half way."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from desk import HEADER, ITEMS, Desk, big
from power import implops

from implops import lab
from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]


@pytest.fixture
def desk(mariadb: Site, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk.ready(mariadb, tmp_path)
    yield desk
    desk.drop()


def _form(desk: Desk, kind: str = "IMP") -> str:
    """Every text of the newest form of a kind."""
    (book,) = sorted(desk.site.out.glob(f"*-{kind}-*.xlsx"))[-1:]
    sheets = openpyxl.load_workbook(book)
    return "\n".join(str(cell.value) for one in sheets for row in one.iter_rows() for cell in row if cell.value)


def test_1_a_file_with_bad_rows_goes_in_without_them_and_the_list_says_so(desk: Desk) -> None:
    # What MariaDB's own LOAD DATA would take: bent number, date that is none, text too long, number out of range.
    bad = ["M007,坏,C1,12a,,,", "M008,坏,C1,,,2025-02-30,", f"M009,{'长' * 61},C1,,,,", "M010,坏,C1,,99999999999,,",
           "M011,坏,C9,,,,", "M001,又来,C1,,,,"]  # fmt: skip
    desk.write(HEADER + "\n".join([*ITEMS, *bad]) + "\n", edit=lambda one: one.replace("limit: 0", "limit: 6"))
    told = desk.check(0).stdout
    named = [(8, "单价", "小数"), (9, "启用", "日期"), (10, "名称", "上限 60"), (11, "数量", "超出范围"),
             (12, "分类", "不存在"), (13, "编码", "第 2 行重复")]  # fmt: skip
    for line, column, reason in named:
        assert re.search(rf"item.csv:{line} {column} .*{reason}", told), (line, told)
    assert desk.counts() == (0, 0)
    dry = implops("import", "dry-run", desk.site.path, desk.mappings[0])
    assert "已回滚" in dry.stderr
    assert desk.counts() == (0, 0)
    desk.run(1)
    assert desk.counts() == (3, 6)
    rows = desk.sql("select code, name, price, amount, since, memo from import_item order by code").splitlines()
    assert rows == [
        "M001|注射用水|1.50|100|2024-02-29|NULL", "M002|𠮷野家专用针|0.05|-3|NULL|四字节 𡌶𣒍",
        'M003|引号 " 与, 逗号|NULL|NULL|NULL|\\\\.', "M004|造字在备注|1234567.89|2147483647|1999-12-31|\ue170",
        "M005|空值|0.00|0|NULL|NULL", "M006|斜杠|-0.50|NULL|NULL|\\\\N '; drop table import_kind",
    ]  # fmt: skip
    assert desk.sql("select count(*) from import_item where memo is null") == "1"
    items = desk.batches()[1]
    assert items["outcome"] == "partly"
    sql, hashes = items["row_hash"]["sql"], items["row_hash"]  # type: ignore[index, call-overload]
    assert desk.sql(str(sql)).split("|") == ["6", hashes["file"]]
    form = _form(desk)
    for word in ("item.csv", "M002", "𠮷野家专用针", "与第 2 行重复", "有条件合格", "抽样种子"):
        assert word in form
    finished = Store.of(desk.site.state).last("import.finished")
    assert finished
    assert finished.payload["backup_after"]
    assert "已导入,未作改动" in desk.run(0).stdout


def test_2_upsert_and_replace_change_what_they_say(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.run(0)
    # Case and trailing blanks are changes too, whatever the collation says of them.
    changed = [ITEMS[0], ITEMS[1].replace("野家", "野家 "), "M020,新,C1,1,1,2025-01-01,"]
    upsert = ("table: import_item}", "table: import_item, mode: upsert}")
    desk.write(HEADER + "\n".join(changed) + "\n", edit=lambda one: one.replace(*upsert))
    assert "新增 1,更新 1,未变 1" in desk.run(0).stderr
    assert desk.counts() == (3, 7)
    replace = ("table: import_item}", "table: import_item, mode: replace, replace_where: {kind: C1}}")
    desk.write(HEADER + "M030,换,C1,1,1,2025-01-01,\n", edit=lambda one: one.replace(*replace))
    desk.run(0)
    assert desk.sql("select group_concat(code order by code) from import_item") == "M002,M003,M004,M006,M030"
    assert desk.batches()[1]["rows"]["deleted"] == 3  # type: ignore[index]


def test_3_gates_hold(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    assert "没有通过校验" in desk.run(5, checked=False).stderr
    desk.check(0)
    (desk.folder / "item.csv").write_bytes((HEADER + "M001,变,C1,,,,\n").encode("gb18030"))
    assert "没有通过校验" in desk.run(5, checked=False).stderr
    assert desk.counts() == (0, 0)


@pytest.mark.parametrize("victim", ["interrupt", "importer", "mariadb", "ssh", "host"])
def test_4_whoever_dies_half_way_the_table_is_as_before(desk: Desk, victim: str) -> None:
    desk.write(big())
    process = desk.start()
    desk.wait_for_copy(process)
    if victim == "interrupt":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    elif victim == "importer":
        process.kill()
    elif victim == "host":
        lab.power_cut(desk.site, "db1")
    else:
        os.kill(desk.child(process.pid, victim), signal.SIGKILL)
    code = process.wait(150)
    if victim == "host":
        lab.boot(desk.site, "db1")
        desk.wait_for_server()
    assert code == {"interrupt": 130, "importer": -signal.SIGKILL}.get(victim, 3)
    assert desk.settled() == (3, 0)
    if victim == "interrupt":
        assert "已中断" in desk.story
        assert re.search(r"\d+ 行,\d+ 行/秒,约剩 ", desk.story)
    elif victim != "importer":
        assert "未提交的数据已全部回滚" in desk.story
        (kinds, items) = desk.batches()
        assert (kinds["outcome"], items["outcome"]) == ("loaded", "failed")
        assert "失败,已回滚" in _form(desk)
    desk.approve()
    desk.run(0)
    assert desk.counts() == (3, 500_000)
