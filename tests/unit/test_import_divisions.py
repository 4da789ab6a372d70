"""The real divisions, all five levels: 665,276 rows with references, characters of four bytes and private use."""

from __future__ import annotations

import lzma
from pathlib import Path

from implops.baseload import mapping
from implops.baseload.judge import Known
from implops.baseload.mapping import Mapping
from implops.baseload.returned import table_of
from implops.baseload.rows import Reader
from implops.baseload.target import fit

EXAMPLES = Path(__file__).parents[2] / "examples"
LEVELS = ("provinces", "cities", "areas", "streets")


def villages() -> bytes:
    return lzma.decompress((EXAMPLES / "data" / "villages.csv.xz").read_bytes())


def codes() -> Known:
    known: Known = {}
    for level in LEVELS:
        lines = (EXAMPLES / "data" / f"{level}.csv").read_bytes().decode("gb18030").splitlines()[1:]
        known["public", level, "code"] = {line.partition(",")[0] for line in lines} | {""}
    return known


def test_every_village_comes_through_in_gb18030_as_it_is_in_utf_8(tmp_path: Path) -> None:
    original = villages()
    (tmp_path / "villages.csv").write_bytes(original.decode().encode("gb18030"))
    loaded = mapping.load(EXAMPLES / "mappings" / "villages.yml")
    wide = Mapping.model_validate(loaded.model_dump(by_alias=True) | {
        "source": {"file": "villages.csv", "encoding": "gb18030"}
    })  # fmt: skip
    wide._path = tmp_path / "villages.yml"
    reader = Reader(wide, fit(wide, table_of(wide)), codes(), {})
    sent = b"".join(block.data for block in reader.blocks())
    assert reader.rejects == []
    assert reader.tally.rows == loaded.verify.rows_expected == 620_573
    assert sent == original.partition(b"\n")[2]
    text = sent.decode()
    assert all(text.count(one) for one in "𡌶𡐓𣒍\ue08b\ue170")


def test_private_use_is_refused_where_nobody_allows_it(tmp_path: Path) -> None:
    loaded = mapping.load(EXAMPLES / "mappings" / "villages.yml")
    lines = villages().decode().split("\n")
    # Lines 383,483 and 462,879 of the file hold names that were damaged long ago.
    picked = [lines[0], *lines[383_480:383_486], *lines[462_876:462_882], ""]
    (tmp_path / "v.csv").write_bytes("\n".join(picked).encode("gb18030"))
    given = loaded.model_dump(by_alias=True) | {"source": {"file": "v.csv", "encoding": "gb18030"}}
    given["columns"]["name"]["allow"] = []
    strict = Mapping.model_validate(given)
    strict._path = tmp_path / "v.yml"
    reader = Reader(strict, fit(strict, table_of(strict)), codes(), {})
    list(reader.blocks())
    assert [(one.line, one.faults[0].code) for one in reader.rejects] == [(4, "private_use"), (10, "private_use")]
