"""Header, totals, numbers and the way a run ended: everything from the store, nothing from today's site file."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from implops.documents import common, render
from implops.documents.common import Frame
from implops.documents.model import Column, Document, Language, Paragraph, Table
from implops.errors import GateRefused, HostError, InputError
from implops.gates import approval
from implops.site import Site, load
from implops.store import Store, record

HEADER = (
    "项目名称 合同编号 客户名称 现场/地点 环境 文档编号 版次/检查轮次 变更单号 "
    "开始时间 结束时间 工具版本 清单摘要 记录摘要 结论 统计 操作人"
)


def _build(store: Store, run: str, number: str, language: Language) -> Document:
    frame = Frame.of(store, run, ("check",), number, language)
    rows = tuple((name,) for name in frame.started.payload["hosts"])
    return frame.document("TST", "测试表", (Table("主机", (Column("主机"),), rows),), totals={"pass": 3, "fail": 1})


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> None:
    form = SimpleNamespace(KIND="TST", VERBS=("check",), build=_build)
    monkeypatch.setattr(render, "forms", lambda: {"TST": form})


def _run(store: Store, site: Site, conclusion: str = "pass", **payload: Any) -> str:
    with record(store, site, "check", "张工/1042", {}) as run:
        run.finish(conclusion, payload)
    return run.id


def _header(document: Document) -> dict[str, str]:
    return {label: value if isinstance(value, str) else value.text for label, value in document.header.pairs}


def test_the_header_is_that_of_the_form(store: Store, site: Site) -> None:
    document = _build(store, _run(store, site), "HIS-TEST-TST-0001", "zh-Hans")
    header = _header(document)
    assert list(header) == HEADER.split(" ")
    assert header["合同编号"] == "HT-2026-018"
    assert header["环境"] == "测试"
    assert header["文档编号"] == "HIS-TEST-TST-0001"
    assert header["版次/检查轮次"] == "第 1 次"
    assert header["统计"] == "共\u00a04\u00a0项:不合格\u00a01, 合格\u00a03"
    assert header["结论"] == "✔ 合格"
    finished = store.last("check.finished")
    assert finished is not None
    assert header["记录摘要"] == finished.sha256[:16]
    assert header["清单摘要"] == site.model_sha256[:16]
    assert header["操作人"] == "张工/1042"
    assert document.stamp == "演练"
    assert finished.sha256[:16] in document.footer
    assert "HIS-TEST-TST-0001" in document.footer


def test_the_gates_hash_is_printed_where_the_run_knows_it(store: Store, site: Site) -> None:
    document = _build(store, _run(store, site, site_hash="ab" * 32), "N", "zh-Hans")
    assert _header(document)["清单摘要"] == "ab" * 8


def test_a_site_file_edited_later_does_not_change_an_old_form(store: Store, site: Site, example: Path) -> None:
    run = _run(store, site)
    before = _build(store, run, "N", "zh-Hans")
    text = example.read_text(encoding="utf-8")
    example.write_text(
        text.replace("HT-2026-018", "HT-9999").replace("lab:", "#lab:").split("#lab:")[0], encoding="utf-8"
    )
    assert not load(example).is_lab
    assert _build(store, run, "N", "zh-Hans") == before


def test_a_real_site_has_no_stamp(store: Store, example: Path) -> None:
    example.write_text(example.read_text(encoding="utf-8").split("\nlab:")[0], encoding="utf-8")
    site = load(example)
    assert _build(store, _run(store, site), "N", "zh-Hans").stamp == ""


def test_a_run_that_died_prints_unfinished(store: Store, site: Site) -> None:
    from implops.store.run import Run

    _run(store, site)
    started = store.last("check.started")
    assert started is not None
    Run(store, "check", "张工", "DEAD").event("check.started", started.payload)
    document = _build(store, "DEAD", "N", "zh-Hans")
    header = _header(document)
    assert header["结束时间"] == "未完成"
    assert header["结论"] == "? 未完成"
    assert header["记录摘要"] == "—"
    assert header["版次/检查轮次"] == "第 2 次"
    first = document.parts[0]
    assert isinstance(first, Paragraph)
    assert "不能作为合格依据" in first.text


def test_a_run_taken_up_again_is_as_its_last_end_says(store: Store, site: Site) -> None:
    with pytest.raises(HostError), record(store, site, "check", "张工", {}) as run:
        raise HostError("remote.lost", host="db1")
    failed = _build(store, run.id, "N", "zh-Hans")
    assert isinstance(failed.parts[0], Paragraph)
    assert failed.parts[0].text.startswith("db1:连接中断")
    started = store.last("check.started")
    assert started is not None
    run.event("check.started", started.payload)
    assert _header(_build(store, run.id, "N", "zh-Hans"))["结论"] == "? 未完成"
    run.finish("pass", {})
    again = _header(_build(store, run.id, "N", "zh-Hans"))
    assert again["结论"] == "✔ 合格"
    assert again["版次/检查轮次"] == "第 1 次(续跑 1 次)"


def test_an_interrupted_run_says_so(store: Store, site: Site) -> None:
    with pytest.raises(KeyboardInterrupt), record(store, site, "check", "张工", {}) as run:
        raise KeyboardInterrupt
    first = _build(store, run.id, "N", "zh-Hans").parts[0]
    assert isinstance(first, Paragraph)
    assert "中断" in first.text


def test_an_error_of_another_version_still_prints() -> None:
    assert common.error_text({"key": "gone.key", "params": {"host": "db1"}}, "zh-Hans") == "gone.key host=db1"
    assert "?" in common.error_text({"key": "remote.auth", "params": {}}, "zh-Hans")
    assert "ValueError" in common.error_text({"key": "bug", "params": {"type": "ValueError"}}, "zh-Hans")


def test_another_verbs_run_is_refused(store: Store, site: Site) -> None:
    run = _run(store, site)
    with pytest.raises(InputError) as caught:
        Frame.of(store, run, ("deploy",), "N", "zh-Hans")
    assert caught.value.key == "document.no_run"
    with pytest.raises(InputError):
        Frame.of(store, "NOSUCH", ("check",), "N", "zh-Hans")


@pytest.mark.parametrize(
    ("language", "text"),
    [("zh-Hans", "2026年11月20日 14:03:05 +08:00"), ("en", "2026-11-20 14:03:05 +08:00")],
)
def test_times(language: str, text: str) -> None:
    assert common.when("2026-11-20T14:03:05.120+08:00", language) == text
    assert common.when("2026-11-20T14:03:05Z", language).endswith("+00:00")
    assert common.when(None, language) == "—"
    assert common.clock("2026-11-20T14:03:05.120+08:00") == "14:03:05"


def test_every_state_has_word_sign_and_place() -> None:
    assert set(common.ORDER) == set(common.SIGNS)
    assert len(set(common.SIGNS.values())) == len(common.SIGNS)
    words = [common.result_word(code, "zh-Hans") for code in common.ORDER]
    assert words == ["不合格", "未到位", "未检", "警告", "豁免", "合格", "信息", "不适用"]
    rows = [{"result": code, "n": n} for n, code in enumerate(("pass", "fail", "pass", "absent"))]
    assert [row["n"] for row in common.by_result(rows)] == [1, 3, 0, 2]


def test_every_form_is_complete_and_kinds_differ() -> None:
    for kind, module in render.forms().items():
        assert kind.isupper()
        assert kind == module.KIND
        assert module.VERBS
        assert callable(module.build)
        assert module.__doc__


@pytest.mark.usefixtures("form")
def test_a_run_keeps_its_number_and_its_bytes(store: Store, site: Site) -> None:
    first, second = _run(store, site), _run(store, site, "fail")
    paths = render.emit(store, site, first, "TST", "张工")
    assert [path.name for path in paths] == [f"HIS-TEST-TST-0001.{suffix}" for suffix in ("docx", "xlsx", "html")]
    before = [path.read_bytes() for path in paths]
    assert render.emit(store, site, second, "TST", "张工")[0].name == "HIS-TEST-TST-0002.docx"
    assert render.emit(store, site, first, "TST", "李工") == paths
    assert [path.read_bytes() for path in paths] == before
    events = store.events(kind="document.rendered")
    assert [event.payload["number"][-4:] for event in events] == ["0001", "0002", "0001"]
    assert events[0].payload["files"] == events[2].payload["files"]
    assert events[2].operator == "李工"
    assert events[0].payload["of_run"] == first
    assert not [path for path in site.out.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("form")
def test_runs_that_end_together_get_different_numbers(store: Store, site: Site) -> None:
    runs = [_run(store, site) for _ in range(6)]
    threads = [
        threading.Thread(target=render.emit, args=(Store.of(site.state), site, run, "TST", "张工")) for run in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = {event.payload["number"] for event in store.events(kind="document.rendered")}
    assert numbers == {f"HIS-TEST-TST-{n:04d}" for n in range(1, 7)}


@pytest.mark.usefixtures("form")
def test_environments_count_apart(store: Store, site: Site) -> None:
    render.emit(store, site, _run(store, site), "TST", "张工")
    assert render.number(store, "HIS", "production", "TST", "new") == "HIS-PROD-TST-0001"
    assert render.number(store, "HIS", "pre-production", "TST", "new") == "HIS-PRE-TST-0001"
    assert render.number(store, "HIS", "test", "TST", "new") == "HIS-TEST-TST-0002"


@pytest.mark.usefixtures("form")
def test_what_cannot_be_rendered_writes_nothing(store: Store, site: Site) -> None:
    with record(store, site, "deploy", "张工", {}) as run:
        run.finish("pass", {})
    for kind, wanted in (("TST", "document.no_run"), ("XXX", "document.no_kind")):
        with pytest.raises(InputError) as caught:
            render.emit(store, site, run.id, kind, "张工")
        assert caught.value.key == wanted
    assert not store.events(kind="document.rendered")
    assert not site.out.exists()


def _approve(store: Store, site: Site, **more: Any) -> int:
    payload = {"subject": "import", "approver": "李四", "reason": "已核对", "of_run": "", "lab": site.is_lab}
    return store.append("approval", {**payload, **more}, run="A", operator="张工").sequence


def test_an_approval_opens_what_it_names_and_nothing_else(store: Store, site: Site) -> None:
    with pytest.raises(GateRefused) as caught:
        approval.require(store, site, "import")
    assert caught.value.code == 5
    assert "record approve site.yml --subject import" in str(caught.value)
    sequence = _approve(store, site)
    found = approval.require(store, site, "import")
    assert (found.approver, found.reason, found.operator) == ("李四", "已核对", "张工")
    assert approval.find(store, site, "deploy") is None
    assert approval.find(store, site, "import", since=sequence) is None


def test_an_approval_of_one_run_does_not_open_another(store: Store, site: Site) -> None:
    _approve(store, site, of_run="R1")
    assert approval.find(store, site, "import", of_run="R1")
    assert approval.find(store, site, "import", of_run="R2") is None


def test_a_rehearsals_approval_does_not_open_the_real_site(store: Store, site: Site, example: Path) -> None:
    _approve(store, site)
    example.write_text(example.read_text(encoding="utf-8").split("\nlab:")[0], encoding="utf-8")
    assert approval.find(store, load(example), "import") is None
