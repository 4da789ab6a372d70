"""The demo's business system and its data are what they claim to be."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from implops.baseload import mapping
from implops.site import load

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = {"provinces": 31, "cities": 342, "areas": 2978, "streets": 41352}


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("his_build", EXAMPLES / "his" / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_sources_give_the_same_war(builder: ModuleType, tmp_path: Path) -> None:
    first, second = builder.build(tmp_path / "a" / "his.war"), builder.build(tmp_path / "b.war")
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    assert {"WEB-INF/web.xml", "login.jsp", "divisions.jsp", "departments.jsp", "materials.jsp"} <= set(names)


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_the_data_is_gb18030_with_every_row_and_its_mapping_loads(name: str, rows: int) -> None:
    text = (EXAMPLES / "data" / f"{name}.csv").read_bytes().decode("gb18030")
    assert len(text.splitlines()) == rows + 1
    loaded = mapping.load(EXAMPLES / "mappings" / f"{name}.yml")
    assert loaded.target.table == name
    assert loaded.source.encoding == "gb18030"


def test_example_sites_load() -> None:
    for path in (EXAMPLES.parent / "inventories").glob("*.yml"):
        assert load(path).hosts
