"""A mapping file is read as strictly as the site file."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.baseload import mapping
from implops.errors import SiteError

GOOD = """\
import: 市
source: {file: cities.csv, encoding: gb18030}
target: {database: his, table: city}
key: [code]
after: [省]
columns:
  code: {from: 代码, pattern: '[0-9]{4}', required: true, unique: true}
  name: {from: 名称, max: 60}
  price: {from: 单价, type: 'decimal(14,2)'}
  by: {value: implops}
ignore: [备注]
verify: {sum: [code, price], rows_expected: 342}
"""


def _load(folder: Path, text: str, name: str = "m.yml") -> mapping.Mapping:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return mapping.load(path)


def test_a_good_mapping_is_read_whole(tmp_path: Path) -> None:
    found = _load(tmp_path, GOOD)
    assert found.file == tmp_path / "cities.csv"
    assert str(found.target) == "his.public.city"
    assert found.columns["price"].precision == (14, 2)
    assert found.source.separator == ","


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ("max: 60", "maxx: 60", "site.unknown", 8),
        ("import: 市", "import: 市\nimport: 县", "site.duplicate", 2),
        ("encoding: gb18030", "encoding: ansi", "import.form.encoding", 2),
        (", encoding: gb18030", "", "import.mapping.no_encoding", 2),
        ("decimal(14,2)", "decimal(2,2,1)", "import.form.type", 9),
        ("[0-9]{4}", "[0-9", "import.form.pattern", 7),
        ("from: 名称, max: 60", "from: 名称, value: x", "import.mapping.from_or_value", 8),
        ("from: 名称", "from: 2", "import.mapping.from_number", 8),
        ("type: 'decimal(14,2)'", "type: int, pattern: '3'", "import.mapping.text_only", 9),
        ("max: 60", "max: 60, dict: 分类", "import.mapping.no_dictionary", 8),
        ("max: 60", "max: 60, clean: [trimm]", "site.literal", 8),
        ("max: 60", "max: 60, clean: [currency]", "import.mapping.clean_type", 8),
        ("unique: true}", "unique: true, clean: [width]}", "import.mapping.clean_code", 7),
        ("max: 60", "max: 60, required: true, default: x", "import.mapping.default_required", 8),
        ("max: 60", "max: 2020-01-01", "import.mapping.bound_type", 8),
        ("max: 60", "min: 9, max: 3", "import.mapping.bound_type", 8),
        ("max: 60", "type: date, formats: [YYYY/DD]", "import.mapping.format", 8),
        ("max: 60", "type: bool, formats: [是]", "import.mapping.format", 8),
        ("max: 60", "formats: [YYYY]", "import.mapping.formats_type", 8),
        ("max: 60", "type: int, ref: {table: t, match: a, take: b}", "import.mapping.take_type", 8),
        ("max: 60", "units: {kg: 1}", "import.mapping.numbers_only", 8),
        ("max: 60", "type: int, units: {kg: 0}", "import.form.unit", 8),
        ("table: city", "table: city, mode: upsert, replace_where: {name: x}", "import.mapping.replace_mode", 3),
        ("key: [code]", "update: [name]", "import.mapping.update_mode", 4),
        ("key: [code]", "dictionaries: {分类: {}}", "import.mapping.dictionary", 4),
        ("key: [code]", "dictionaries: {分类: {table: kind}}", "import.mapping.dictionary", 4),
        ("encoding: gb18030", "format: fixed, encoding: gb18030", "import.mapping.widths", 2),
        ("encoding: gb18030", "encoding: gb18030, skip: [1]", "site.", 2),
        ("key: [code]", "key: [cod]", "import.mapping.no_column", 4),
        ("sum: [code, price]", "sum: [name]", "import.mapping.no_sum", 12),
        ("ignore: [备注]", "ignore: [名称]", "import.mapping.ignored_used", 11),
        ("value: implops", "value: implops, unique: true", "import.mapping.constant", 10),
        ("type: 'decimal(14,2)'", "type: int, empty: keep", "import.mapping.keep_text", 9),
        ("max: 60", "empty: keep, default: x", "import.mapping.keep_with", 8),
        ("max: 60", "empty: keep, ref: {table: t, match: a}", "import.mapping.keep_with", 8),
        ("value: implops", "value: implops, empty: keep", "import.mapping.constant", 10),
        ("max: 60", "empty: kept", "site.literal", 8),
        ("encoding: gb18030", "encoding: ask, format: xlsx", "import.mapping.ask_workbook", 2),
        ("table: city", "table: 'city; drop'", "site.type", 3),
        ("key: [code]", "reject_limit: some", "import.form.limit", 4),
        ("encoding: gb18030", "encoding: gb18030, delimiter: ab", "import.form.delimiter", 2),
        ("encoding: gb18030", "encoding: gb18030, delimiter: '|^|'", "import.form.delimiter_quote", 2),
    ],
)
def test_a_fault_is_refused_with_its_line(tmp_path: Path, old: str, new: str, key: str, line: int) -> None:
    with pytest.raises(SiteError) as error:
        _load(tmp_path, GOOD.replace(old, new, 1))
    assert error.value.key.startswith(key)
    assert error.value.code == 2
    assert f"m.yml:{line}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_misspelt_key_gets_the_right_word(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="required"):
        _load(tmp_path, GOOD.replace("required", "requird"))


def test_the_hash_counts_what_decides_the_values(tmp_path: Path) -> None:
    base = _load(tmp_path, GOOD).sha256
    assert (
        _load(tmp_path, GOOD.replace("encoding: gb18030", "encoding: gb18030, encoding_confirmed: true")).sha256 == base
    )
    assert _load(tmp_path, GOOD.replace("key: [code]", "key: [code]\nreject_limit: 5")).sha256 == base
    assert _load(tmp_path, GOOD.replace("gb18030", "gbk")).sha256 != base
    assert _load(tmp_path, GOOD.replace("from: 名称", "from: 备注2")).sha256 != base


@pytest.mark.parametrize(
    ("limit", "rows", "allowed"), [("0", 1000, 0), ("20", 1000, 20), ("0.5%", 1000, 5), ("1%", 99, 0)]
)
def test_the_limit_is_rows_or_a_share(tmp_path: Path, limit: str, rows: int, allowed: int) -> None:
    found = _load(tmp_path, GOOD.replace("key: [code]", f"key: [code]\nreject_limit: {limit}"))
    assert found.allowed_rejects(rows) == allowed


def _named(folder: Path, name: str, *after: str) -> mapping.Mapping:
    text = GOOD.replace("import: 市", f"import: {name}").replace("after: [省]", f"after: [{', '.join(after)}]")
    return _load(folder, text, f"{name}.yml")


def test_parents_come_first_whatever_the_site_file_says(tmp_path: Path) -> None:
    area, city, province = _named(tmp_path, "区", "市"), _named(tmp_path, "市", "省"), _named(tmp_path, "省")
    assert mapping.in_order([area, city, province], set()) == [province, city, area]
    assert mapping.in_order([city], {"省"}) == [city]


@pytest.mark.parametrize(
    ("after", "key"), [(("省份",), "import.mapping.no_import"), (("甲",), "import.mapping.circle")]
)
def test_an_order_that_cannot_be_is_refused(tmp_path: Path, after: tuple[str, ...], key: str) -> None:
    both = [_named(tmp_path, "甲", "乙"), _named(tmp_path, "乙", *after)]
    with pytest.raises(SiteError) as error:
        mapping.in_order(both, set())
    assert error.value.key == key


def test_a_name_stands_once(tmp_path: Path) -> None:
    one = _named(tmp_path, "甲")
    with pytest.raises(SiteError) as error:
        mapping.in_order([one, one], set())
    assert error.value.key == "import.mapping.same_name"


def test_the_example_of_the_page_is_a_mapping(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    assert mapping.load(path).columns["code"].unique
