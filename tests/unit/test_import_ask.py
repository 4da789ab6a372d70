"""``encoding: ask``: every import verb shows how each encoding reads the file, and stops before it reaches anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from implops.baseload import mapping
from implops.baseload.batch import Batch
from implops.baseload.inspection import evidence, excerpt
from implops.baseload.proof import prove
from implops.cli.import_check import answer
from implops.cli.output import Session
from implops.errors import InputError, SiteError
from implops.store import Store

NAMES = ["内科门诊", "外科药房", "检验中心", "后勤保障部"]
TEXT = "编码,名称\n" + "".join(f"0{place},{name}\n" for place, name in enumerate(NAMES, 1))


@pytest.fixture
def asking(example: Path) -> Path:
    """The mapping of a GBK file beside the site file, its encoding not declared yet."""
    text = example.read_text(encoding="utf-8")
    example.write_text(re.sub(r"(?m)^data:.*\n(?:  .*\n)*", "", text), encoding="utf-8")
    (example.parent / "dept.csv").write_bytes(TEXT.encode("gbk"))
    path = example.parent / "dept.yml"
    path.write_text(
        "import: 科室\nsource: {file: dept.csv, encoding: ask}\ntarget: {database: his, table: dept}\n"
        "columns: {code: {from: 编码}, name: {from: 名称}}\n",
        encoding="utf-8",
    )
    return path


def implops(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "implops.cli.main", "import", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "."},
                          check=False, timeout=60)  # fmt: skip


@pytest.mark.parametrize("verb", ["check", "dry-run", "run"])
def test_every_verb_shows_the_readings_and_stops(example: Path, asking: Path, verb: str) -> None:
    done = implops(verb, example, asking)
    assert done.returncode == 2, done.stderr
    assert "dept.yml" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    # Three lines under each encoding that fits: GBK reads them right; Latin does not, and stands there all the same.
    right = [line for line in done.stdout.splitlines() if any(name in line for name in NAMES)]
    assert [line.split()[0] for line in right[::3]] == ["gb18030", "gbk", "gb2312"]
    assert len(right) == 9
    assert TEXT.splitlines()[2].encode("gbk").decode("cp1252") in done.stdout
    assert "建议编码:gbk" in done.stdout
    # Neither a host was asked for nor was anything recorded: there is no host, no key and no operator here.
    assert not (example.parent / ".implops").exists() or not Store.of(example.parent / ".implops").events()


def test_json_gives_the_same_as_data(example: Path, asking: Path) -> None:
    done = implops("check", example, asking, "--json")
    assert done.returncode == 2
    (told,) = json.loads(done.stdout)["ask"]
    assert (told["import"], told["mapping"], told["file"]) == ("科室", "dept.yml", "dept.csv")
    assert (told["suggested_encoding"], told["nonascii_lines"], told["bytes"]) == ("gbk", 5, len(TEXT.encode("gbk")))
    readings = {one["encoding"]: one for one in told["encodings"]}
    wanted = [{"line": place + 1, "text": f"0{place},{name}"} for place, name in enumerate(NAMES, 1)]
    assert all(line in wanted for line in readings["gbk"]["lines"])
    assert len(readings["gbk"]["lines"]) == 3
    assert readings["gbk"]["score_milli"] > readings["euc-kr"]["score_milli"]
    assert "utf-8" not in readings


def test_one_file_that_asks_stops_all_of_them(example: Path, asking: Path) -> None:
    other = example.parent / "other.yml"
    other.write_text(asking.read_text(encoding="utf-8").replace("科室", "别").replace("ask", "gbk"), encoding="utf-8")
    done = implops("check", example, other, asking, "--json")
    assert done.returncode == 2
    assert [one["import"] for one in json.loads(done.stdout)["ask"]] == ["科室"]


@pytest.mark.parametrize(
    ("data", "suggested", "seen"),
    [
        (b"a,b\n1,x\n2,y\n", "utf-8", ["1,x", "2,y"]),
        ("a,b\n1,\u4e0a\n2,乙\n".encode("utf-16"), "utf-16", ["1,上", "2,乙"]),
        ("a,b\n1,\u4e0a\n2,乙\n".encode("utf-16le"), "utf-16le", ["1,上", "2,乙"]),
        ("a,b\n1,甲\n".encode("utf-8-sig"), "utf-8", ["1,甲"]),
        (b"a,b\n1,\xff\xff\x81\n\x80\xfe\n", "", None),
    ],
)
def test_what_there_is_nothing_to_choose_between_is_shown_too(
    asking: Path, data: bytes, suggested: str, seen: list[str] | None
) -> None:
    (asking.parent / "dept.csv").write_bytes(data)
    found = evidence(mapping.load(asking))
    assert found.encoding == suggested
    shown = [[text for _, text in one.lines] for one in found.encodings if one.encoding == suggested]
    assert shown == ([seen] if seen else [])


def test_a_sample_cannot_steer_the_terminal(example: Path, asking: Path) -> None:
    nasty = "编码,名称\n1,[red]甲[/]\x1b[2J\x07\u202e乙\n2,\x9b31m丙\r\n3,:smile: 丁\n4,[/x]戊\n"
    (asking.parent / "dept.csv").write_bytes(nasty.encode("utf-8"))
    for done in (implops("check", example, asking), implops("inspect", asking.parent / "dept.csv")):
        assert "Traceback" not in done.stderr
        assert all(one.isprintable() for one in done.stdout.replace("\n", ""))
    told = implops("check", example, asking).stdout
    assert "[red]甲[/]<U+001B>[2J<U+0007><U+202E>乙" in told


def test_the_name_of_a_file_cannot_either(
    example: Path, asking: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    asking.write_text(asking.read_text(encoding="utf-8").replace("dept.csv", "'[b]d.csv'"), encoding="utf-8")
    session = Session(example, as_json=False, quiet=False, verbose=False, operator="x/1")
    answer(session, [Batch(mapping.load(asking), "refused")])
    assert "[b]d.csv" in capsys.readouterr().out


def test_a_long_line_is_shown_where_it_tells_something() -> None:
    assert excerpt("a" * 500 + "内科" + "b" * 500) == "…" + "a" * 15 + "内科" + "b" * 41 + "…"
    assert excerpt("内科") == "内科"
    assert excerpt("x" * 61) == "x" * 59 + "…"


def test_nobody_reads_a_file_whose_encoding_is_asked_for(asking: Path) -> None:
    with pytest.raises(InputError, match="ask"):
        prove(mapping.load(asking))


def test_a_workbook_has_nothing_to_ask(asking: Path) -> None:
    text = asking.read_text(encoding="utf-8").replace("encoding: ask", "encoding: ask, format: xlsx")
    asking.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as error:
        mapping.load(asking)
    assert error.value.key == "import.mapping.ask_workbook"
