"""The whole path on PostgreSQL 17 and Debian 13: deployed, filled, backed up, drilled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import HEADER, ITEMS, Desk, big
from power import implops, on_trixie
from releases import fresh

from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from fresh(tmp_path_factory.mktemp("trixie"), on_trixie)


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk.ready(site, tmp_path)


def test_1_a_second_run_finds_nothing_to_do(site: Site) -> None:
    implops("check", site.path)
    assert "无需改动" in implops("deploy", site.path, "--yes", timeout=600).stdout
    implops("verify", site.path, timeout=300)


def test_2_the_table_holds_what_the_file_held(desk: Desk) -> None:
    assert desk.sql("show server_version_num").startswith("17")
    desk.write(HEADER + "\n".join(ITEMS) + "\n")
    desk.run(0)
    assert desk.counts() == (3, 6)
    rows = json.loads(desk.sql("select json_agg(i order by code) from import_item i"))
    assert (rows[1]["name"], rows[1]["memo"]) == ("𠮷野家专用针", "四字节 𡌶𣒍")
    assert (rows[2]["name"], rows[2]["memo"], rows[2]["price"]) == ('引号 " 与, 逗号', "\\.", None)
    assert rows[3]["memo"] == "\ue170"
    hashes = desk.batches()[1]["row_hash"]
    assert isinstance(hashes, dict)
    assert hashes["file"] == hashes["table"]
    assert desk.sql(f"{hashes['sql']}").split("|") == ["6", hashes["file"]]
    assert "已导入,未作改动" in desk.run(0).stdout


def test_3_an_upsert_counts_what_it_did(desk: Desk) -> None:
    desk.write(HEADER + "\n".join(ITEMS[:4]) + "\n")
    desk.run(0)
    changed = [ITEMS[0].replace("1.50", "2.75"), *ITEMS[1:]]
    desk.write(HEADER + "\n".join(changed) + "\n", edit=lambda text: text.replace(
        "table: import_item}", "table: import_item, mode: upsert}"))  # fmt: skip
    desk.run(0)
    items = desk.batches()[1]["rows"]
    assert isinstance(items, dict)
    assert (items["inserted"], items["updated"], items["unchanged"]) == (2, 1, 3)
    assert desk.sql("select price from import_item where code = 'M001'") == "2.75"


def test_4_a_large_file_is_backed_up_and_comes_back_equal(desk: Desk) -> None:
    desk.write(big())
    desk.run(0)
    implops("backup", "drill", desk.site.path, timeout=600)
    store = Store.of(desk.site.state)
    (drilled,) = [one.payload for one in store.events(kind="drill.member") if one.payload["job"] == "database"]
    assert drilled["verdict"] == "equal"
    assert drilled["rows"] > 500_000
