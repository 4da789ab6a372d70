"""The import on a deployed database: what is in the table is what was in the file, or nothing is."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from desk import HEADER, ITEMS, Desk, big
from power import implops, ssh

from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab


@pytest.fixture
def desk(deployed: Site, tmp_path: Path) -> Desk:
    return Desk.ready(deployed, tmp_path)


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


NUMBERED = """\
import: 编号
source: {file: numbered.csv, encoding: utf-8}
target: {database: his, table: import_numbered}
key: [id]
columns:
  id: {from: id, type: int, required: true}
  name: {from: name}
"""


def test_the_application_draws_numbers_behind_those_loaded(desk: Desk) -> None:
    """With the rights that the deployment gave the import account, and with those of a deployment before."""
    desk.folder.mkdir()
    mapping = desk.folder / "numbered.yml"
    mapping.write_text(NUMBERED, encoding="utf-8")
    (desk.folder / "numbered.csv").write_text("id,name\n7,a\n900,b\n", encoding="utf-8")
    drop = "drop table if exists import_numbered"
    desk.sql(f"{drop}; set role his_owner; create table import_numbered (id serial primary key, name text)")
    try:
        implops("import", "check", desk.site.path, mapping)
        implops("import", "run", desk.site.path, mapping, "--yes")
        draw = "set role his_app; insert into import_numbered (name) values ('c') returning id"
        assert desk.sql(draw) == "901"
        desk.sql("revoke update on sequence import_numbered_id_seq from his_import")
        (desk.folder / "numbered.csv").write_text("id,name\n950,d\n", encoding="utf-8")
        told = implops("import", "check", desk.site.path, mapping, code=2).stderr
        assert "GRANT SELECT, UPDATE ON SEQUENCE public.import_numbered_id_seq TO his_import" in told
        # Deploying again mends what an older deployment lacks.
        implops("deploy", desk.site.path, "--yes", timeout=900)
        desk.approve()
        implops("import", "check", desk.site.path, mapping)
        implops("import", "run", desk.site.path, mapping, "--yes")
        assert desk.sql(draw) == "951"
    finally:
        desk.sql(drop)


@pytest.mark.parametrize(
    "victim",
    ["importer", *(pytest.param(one, marks=pytest.mark.full) for one in ("psql", "ssh")), "interrupt"],
)
def test_whoever_dies_half_way_the_table_is_as_before(desk: Desk, victim: str) -> None:
    desk.write(big())
    process = desk.start()
    desk.wait_for_copy(process)
    if victim == "importer":
        os.kill(process.pid, signal.SIGKILL)
    elif victim == "interrupt":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    else:
        os.kill(desk.child(process.pid, victim), signal.SIGKILL)
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
