"""``record``, ``document`` and ``init`` as a user runs them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from implops import kit, lock
from implops.cli.main import main
from implops.documents import render
from implops.documents.common import Frame
from implops.documents.model import Document, Language
from implops.gates import approval
from implops.site import Site, load
from implops.store import Store, record


def _build(store: Store, run: str, number: str, language: Language) -> Document:
    return Frame.of(store, run, ("check",), number, language).document("TST", "测试表", ())


@pytest.fixture(autouse=True)
def _form(monkeypatch: pytest.MonkeyPatch) -> None:
    form = SimpleNamespace(KIND="TST", VERBS=("check",), build=_build)
    monkeypatch.setattr(render, "forms", lambda: {"TST": form})
    monkeypatch.setenv("IMPLOPS_OPERATOR", "张工/1042")
    monkeypatch.setenv("IMPLOPS_LANG", "zh-Hans")


@pytest.fixture
def run(store: Store, site: Site) -> str:
    with record(store, site, "check", "李工", {}) as one:
        one.event("step.finished", {"host": "db1"}, (one.keep(b"raw output"),))
        one.finish("conditional", {})
    return one.id


def implops(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _json(capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    found: dict = json.loads(capsys.readouterr().out)  # type: ignore[type-arg]
    return found


def test_list_tells_how_runs_ended(store: Store, site: Site, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    started = store.events(run=run)[0].payload
    for one in ("DEAD", "ALIVE"):
        store.append("deploy.started", started, run=one, operator="王工")
    with lock.hold(site.state, "deploy", "ALIVE", "王工"):
        assert implops("record", "list", site.path, "--json") == 0
        rows = {row["run"]: row for row in _json(capsys)["runs"]}
        assert implops("record", "list", site.path) == 0
        shown = capsys.readouterr().out
    assert {name: row["conclusion"] for name, row in rows.items()} == {
        run: "conditional",
        "DEAD": "unfinished",
        "ALIVE": "running",
    }
    assert rows[run]["operator"] == "李工"
    for word in (run, "有条件合格", "未完成", "运行中"):
        assert word in shown


def test_show_takes_the_end_of_a_run_id(site: Site, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert implops("record", "show", site.path, run[-6:].lower()) == 0
    out = capsys.readouterr().out
    assert "check.finished" in out
    assert '{"host": "db1"}' in out
    assert implops("record", "show", site.path, "NOSUCHRUN") == 2
    assert "NOSUCHRUN" in capsys.readouterr().err


def test_verify_is_quiet_about_good_and_loud_about_altered(
    store: Store, site: Site, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert implops("record", "verify", site.path) == 0
    assert store.events()[-1].sha256[:16] in capsys.readouterr().out
    with sqlite3.connect(site.state / "records.db") as other:
        other.execute("DROP TRIGGER event_no_UPDATE")
        other.execute("UPDATE event SET operator = 'x' WHERE sequence = 3")
    assert implops("record", "verify", site.path, "--json") == 1
    assert _json(capsys)["broken"] == [3]
    assert implops("record", "verify", site.path) == 1
    assert "序号 3" in capsys.readouterr().out


@pytest.mark.parametrize("sql", ["DELETE FROM evidence", "UPDATE evidence SET body = X'00'"])
def test_verify_reads_the_evidence_too(site: Site, run: str, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(site.state / "records.db") as other:
        for word in ("UPDATE", "DELETE"):
            other.execute(f"DROP TRIGGER evidence_no_{word}")
        other.execute(sql)
    assert implops("record", "verify", site.path, "--json") == 1
    assert _json(capsys)["broken"] == [2]


def test_approve_is_what_the_gate_reads(store: Store, site: Site, run: str) -> None:
    words = ("record", "approve", site.path, "--subject", "import", "--approver", "李四", "--reason", "已核对")
    assert implops(*words, "--run", run[:10]) == 0
    found = approval.find(store, site, "import", of_run=run)
    assert found is not None
    assert (found.approver, found.operator, found.of_run) == ("李四", "张工/1042", run)
    assert implops(*words[:-1], "  ") == 2
    assert implops(*words, "--run", "NOSUCHRUN") == 2
    assert len(store.events(kind="approval")) == 1


def test_who_records_must_be_known(store: Store, site: Site, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPLOPS_OPERATOR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site.base))
    words = ("record", "approve", site.path, "--subject", "import", "--approver", "李四", "--reason", "已核对")
    assert implops(*words) == 2
    assert implops("document", "render", site.path) == 2
    assert not store.events(kind="approval")
    assert not site.out.exists()


def test_documents_are_listed_with_what_became_of_them(
    site: Site, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert implops("document", "list", site.path, "--json") == 0
    assert _json(capsys) == {"documents": []}
    assert implops("document", "render", site.path) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == [f"HIS-TEST-TST-0001.{suffix}" for suffix in ("docx", "xlsx", "html")]
    paths[0].write_bytes(b"altered by hand")
    paths[1].unlink()
    assert implops("document", "list", site.path, "--json") == 0
    (listed,) = _json(capsys)["documents"]
    assert [file["state"] for file in listed["files"]] == ["altered", "missing", "same"]
    assert implops("document", "render", site.path, "--run", run[-8:], "--kind", "tst") == 0
    capsys.readouterr()
    assert implops("document", "list", site.path, "--json") == 0
    (listed,) = _json(capsys)["documents"]
    assert {file["state"] for file in listed["files"]} == {"same"}
    assert implops("document", "list", site.path) == 0
    assert "HIS-TEST-TST-0001" in capsys.readouterr().out


def test_what_cannot_be_rendered_is_refused(site: Site, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert implops("document", "render", site.path) == 2
    assert "implops check" in capsys.readouterr().err
    assert implops("document", "render", site.path, "--kind", "XXX") == 2
    assert "TST" in capsys.readouterr().err


def test_init_makes_a_folder_that_loads_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "医院"
    assert implops("init", folder, "--name", '某"医院: #1') == 0
    site = load(folder / "site.yml")
    assert site.project.name == '某"医院: #1'
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == {
        "site.yml", "checks", "deploy_recipes", "mappings", "release", "secrets",
    }  # fmt: skip
    capsys.readouterr()
    (folder / "site.yml").write_text("mine", encoding="utf-8")
    assert implops("init", folder) == 2
    assert "site.yml" in capsys.readouterr().err
    assert (folder / "site.yml").read_text(encoding="utf-8") == "mine"


def test_init_gives_the_annotated_example_as_it_is(tmp_path: Path) -> None:
    assert implops("init", tmp_path) == 0
    assert (tmp_path / "site.yml").read_text(encoding="utf-8") == kit.annotated_site().read_text(encoding="utf-8")


def test_init_refuses_what_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert implops("init", tmp_path / "file" / "below") == 2
    assert implops("init", tmp_path / "x", "--name", "a\nb") == 2
    assert not (tmp_path / "x").exists()


def test_status_names_what_comes_next(site: Site, store: Store, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert implops("document", "render", site.path) == 0
    capsys.readouterr()
    assert implops("status", site.path, "--json") == 0
    found = _json(capsys)
    assert found["next"] == f"implops bundle build {site.path}"
    assert found["phases"][0]["documents"] == ["HIS-TEST-TST-0001"]
    assert [phase["conclusion"] for phase in found["phases"]] == ["conditional", *[None] * 6]
    with record(store, site, "check", "李工", {}) as again:
        again.finish("fail", {})
    assert implops("status", site.path) == 0
    shown = capsys.readouterr()
    assert "✘ 不合格" in shown.out
    assert f"implops check {site.path}" in shown.err
