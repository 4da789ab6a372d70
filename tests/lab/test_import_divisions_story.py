"""The real divisions on a deployed site: five levels, 665,276 rows with references, in UTF-8 and in GB18030."""

from __future__ import annotations

import hashlib
import lzma
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk
from power import implops

from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]

EXAMPLES = Path(__file__).parents[2] / "examples"
# level -> rows, and the table's columns in the order of the file
LEVELS = {
    "provinces": (31, "code, name"),
    "cities": (342, "code, name, province_code"),
    "areas": (2_978, "code, name, city_code, province_code"),
    "streets": (41_352, "code, name, area_code, province_code, city_code"),
    "villages": (620_573, "code, name, street_code, province_code, city_code, area_code"),
}


@pytest.fixture
def desk(deployed: Site, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(deployed, tmp_path)
    schema = (EXAMPLES / "his" / "schema" / "003_villages.sql").read_text(encoding="utf-8")
    desk.sql(f"set role his_owner; drop table if exists villages; {schema}")
    empty = f"truncate {', '.join(LEVELS)}; delete from implops_import_log"
    desk.sql(empty)
    yield desk
    desk.sql(f"{empty}; drop table villages")


def deliver(folder: Path, encoding: str) -> list[Path]:
    """Every level in one encoding, with the mapping of the examples."""
    paths = []
    for level in LEVELS:
        plain = EXAMPLES / "data" / f"{level}.csv"
        if plain.exists():
            text = plain.read_bytes().decode("gb18030")
        else:
            text = lzma.decompress(plain.with_suffix(".csv.xz").read_bytes()).decode()
        (folder / f"{level}.csv").write_bytes(text.encode(encoding))
        mapping = (EXAMPLES / "mappings" / f"{level}.yml").read_text(encoding="utf-8")
        found = mapping.index("source: "), mapping.index("target: ")
        told = f"source: {{file: {level}.csv, encoding: {encoding}}}\n"
        paths.append(folder / f"{level}.yml")
        paths[-1].write_text(mapping[: found[0]] + told + mapping[found[1] :], encoding="utf-8")
    return paths


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_all_five_levels_arrive(desk: Desk, tmp_path: Path, encoding: str) -> None:
    paths = deliver(tmp_path, encoding)
    begun = time.monotonic()
    implops("import", "check", desk.site.path, *paths)
    checked = time.monotonic()
    desk.approve()
    approved = time.monotonic()
    done = implops("import", "run", desk.site.path, *paths, "--yes", timeout=900)
    ended = time.monotonic()
    print(
        f"{encoding}: check {checked - begun:.1f} s, run with backup and form {ended - approved:.1f} s\n{done.stderr}"
    )
    batches = [one.payload for one in Store.of(desk.site.state).events(kind="batch.finished", run=_run(desk))]
    assert [(one["outcome"], one["rows"]["inserted"]) for one in batches] == [
        ("loaded", count) for count, _ in LEVELS.values()
    ]
    for level, (_, columns) in LEVELS.items():
        lines = (tmp_path / f"{level}.csv").read_bytes().decode(encoding).splitlines()
        # The files quote their names and nothing else; a name holds neither quote nor comma.
        wanted = "\n".join(sorted(one.replace('"', "") for one in lines[1:]))
        joined = f"select concat_ws(',', {columns}) as line from {level}"
        there = desk.sql(f"select md5(string_agg(line, E'\\n' order by line collate \"C\")) from ({joined}) t")
        assert there == hashlib.md5(wanted.encode()).hexdigest(), level  # noqa: S324
    special = (
        desk.sql("select count(*) from villages where name ~ '[𡌶𡐓𣒍]'"),
        desk.sql("select count(*) from villages where name like U&'%\\E08B%' or name like U&'%\\E170%'"),
    )
    assert all(int(one) > 0 for one in special)


def _run(desk: Desk) -> str:
    last = Store.of(desk.site.state).last("import.started")
    assert last
    return last.run
