"""Thresholds that cannot be meant are refused with their line before any host is asked; layers win in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.check import registry
from implops.check.explain import explain
from implops.check.limits import Limits
from implops.errors import KitError
from implops.site import load

CHECKS = registry.load(None)


def profiled(example: Path, text: str) -> Limits:
    folder = example.parent / "checks" / "profiles"
    folder.mkdir(parents=True, mode=0o755)
    (folder / "small.yml").write_text(f"# ours\n{text}\n", encoding="utf-8")
    return Limits(load(example), CHECKS)


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        ("treshold: {}", "unknown_key", "small.yml:2 treshold"),
        ("thresholds: [1]", "bad_layer", "small.yml:2 thresholds"),
        ("thresholds:\n  ACC99: {}", "unknown_id", "small.yml:3 thresholds.ACC99"),
        ("thresholds:\n  MEM01: 8 GiB", "bad_layer", "small.yml:3 thresholds.MEM01"),
        ("thresholds:\n  MEM01: {db: {}}", "bad_layer", "small.yml:3 thresholds.MEM01.db"),
        ("thresholds:\n  MEM01: {dbx: {need: 8 GiB}}", "unknown_key", "small.yml:3 thresholds.MEM01.dbx"),
        ("thresholds:\n  MEM01: {db: {ned: 8 GiB}}", "unknown_key", "small.yml:3 thresholds.MEM01.db.ned"),
        ("thresholds:\n  MEM01:\n    db: {need: 8}", "bad_threshold", "small.yml:4 thresholds.MEM01.db.need"),
        ("thresholds:\n  MEM01: {db: {need: null}}", "bad_threshold", "small.yml:3 thresholds.MEM01.db.need"),
        ("thresholds:\n  ACC06: {db: {need: 5}}", "bad_threshold", "small.yml:3 thresholds.ACC06.db.need"),
        ("thresholds:\n  DSK13: {db: {need: 5 MB}}", "bad_threshold", "small.yml:3 thresholds.DSK13.db.need"),
        ("thresholds:\n  LIM03: {db: {need: 1 GB}}", "bad_threshold", "small.yml:3 thresholds.LIM03.db.need"),
        # Read as the number 3.1, which is another version.
        ("thresholds:\n  OS03: {db: {need: 3.10}}", "bad_threshold", "small.yml:3 thresholds.OS03.db.need"),
        ("thresholds:\n  OS01: {db: {need: []}}", "bad_threshold", "small.yml:3 thresholds.OS01.db.need"),
        ("thresholds:\n  ACC04: {db: {need: 1}}", "no_threshold", "small.yml:3 thresholds.ACC04.db"),
        ("thresholds:\n  LIM02: {db: {need: 8, want: 4}}", "want_below_need", "small.yml:3 thresholds.LIM02.db"),
        ("thresholds:\n  ACC06: {db: {need: 2 s, want: 3 s}}", "want_below_need", "small.yml:3 thresholds.ACC06.db"),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_meant_is_refused_with_its_line(
    example: Path, text: str, key: str, place: str
) -> None:  # fmt: skip
    with pytest.raises(KitError) as caught:
        profiled(example, text)
    assert (caught.value.key, caught.value.params["place"]) == (f"check.{key}", place)
    assert str(caught.value).startswith(f"{place}:")
    with pytest.raises(KitError) as caught:
        explain(CHECKS["MEM01"], CHECKS, example.parent)
    assert caught.value.params["place"] == place


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("MEM99: {want: 100}", "unknown_id"),
        ("MEM04: {want: 1 GiB}", "bad_threshold"),
        ("ACC06: {want: 5}", "bad_threshold"),
        ("ACC06: {}", "bad_layer"),
        # ``memory`` of the role would win, and nobody would notice.
        ("MEM01: {need: 8 GB}", "said_twice"),
    ],
)
def test_a_site_file_that_cannot_be_meant_is_refused_with_its_line(example: Path, given: str, key: str) -> None:
    text = example.read_text(encoding="utf-8")
    assert "MEM04: {want: 100}" in text
    example.write_text(text.replace("MEM04: {want: 100}", given), encoding="utf-8")
    line = next(number for number, one in enumerate(text.splitlines(), start=1) if "MEM04: {want: 100}" in one)
    with pytest.raises(KitError) as caught:
        Limits(load(example), CHECKS)
    assert caught.value.key == f"check.{key}"
    assert caught.value.params["place"].startswith(f"site.yml:{line} roles.db.checks.")


def test_a_profile_may_be_empty_and_replaces_what_it_names(example: Path) -> None:
    limits = profiled(example, "thresholds:\n  LIM03: {db: {want: 7000000}}")
    db1 = limits.site.hosts["db1"]
    found = limits.of(CHECKS["LIM03"], db1)
    assert (found.need, found.want, found.source) == (200_000, 7_000_000, "profile")
    (example.parent / "checks" / "profiles" / "small.yml").write_text("thresholds:\n", encoding="utf-8")
    assert Limits(limits.site, CHECKS).of(CHECKS["LIM03"], db1).source == "default"
