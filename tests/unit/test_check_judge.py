"""Judging: typed limits with their layer, errors that are never passes, stages, waivers, order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implops import kit
from implops.check import reference, registry, waivers
from implops.check.gather import Seen, kinds
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Result, Verdict
from implops.cli.findings import told
from implops.errors import KitError, SiteError
from implops.facts.base import Fact, Section, Unknown, build
from implops.facts.planned import Planned
from implops.facts.script import parse
from implops.facts.system import Cpu, Memory
from implops.remote import HostUnreachable
from implops.site import Site, Waiver, load

CHECKS = registry.load(None)
GIB = 2**30


def memory(total: int | Unknown, **more: Any) -> Memory:
    values: dict[str, Any] = {
        "available": 8 * GIB, "swap": 0, "commit_limit": 0, "swappiness": 10, "overcommit": 0, "zone_reclaim": 0,
        "thp": "never", "nodes": 1, "huge_pages": 0,
    }  # fmt: skip
    return Memory(total=total, **{**values, **more})


def scene(site: Site, facts: dict[str, list[Fact]], done: dict[str, list[str]] | None = None,
          planned: list[Planned] | None = None) -> Scene:  # fmt: skip
    seen = {}
    for name, host in site.hosts.items():
        seen[name] = Seen(host, facts={type(one): one for one in facts.get(name, [])})
    return Scene(site, seen, planned or [], done or {}, Limits(site, CHECKS))


def verdict(made: Scene, id: str, host: str = "db1") -> Verdict:
    return next(one for one in judge(made, CHECKS, [id]) if one.host == host)


def test_need_and_want_and_who_set_them(site: Site) -> None:
    # docs/site.yml: db needs 2 GB and should have 4 GB.
    for total, state in ((1 * GIB, "fail"), (3 * GIB, "warn"), (4 * GIB, "pass")):
        one = verdict(scene(site, {"db1": [memory(total)]}), "MEM01")
        assert (one.state, one.result.source) == (state, "site")
    # The storage role says nothing in the site file: the profile's figures hold.
    one = verdict(scene(site, {"sto1": [memory(1 * GIB)]}), "MEM01", "sto1")
    assert (one.state, one.result.source) == ("warn", "profile")


def test_nameplate_sizes_are_within_tolerance_and_say_so(site: Site) -> None:
    one = verdict(scene(site, {"db1": [memory(int(2_000_000_000 * 0.94))]}), "MEM01")
    assert (one.state, one.result.note) == ("warn", "nameplate")
    assert verdict(scene(site, {"db1": [memory(int(2_000_000_000 * 0.92))]}), "MEM01").state == "fail"


def test_what_was_not_measured_is_an_error_with_its_reason(site: Site) -> None:
    one = verdict(scene(site, {"db1": [memory(Unknown("unreadable", "/proc/meminfo"))]}), "MEM01")
    assert (one.state, one.result.note, one.blocks) == ("error", "reason.unreadable", True)
    # No answer at all: the same, for every check that asks for facts.
    found = judge(scene(site, {}), CHECKS)
    assert not [
        one for one in found if one.state == "pass" and one.id not in ("ACC01", "ACC02", "ACC03", "ACC05", "ACC06")
    ]


def test_a_host_that_is_away_is_absent_in_all_its_checks(site: Site) -> None:
    made = scene(site, {})
    made.seen["db1"].error = HostUnreachable("remote.timeout", host="db1", address="x", port=22, seconds=10)  # type: ignore[index]
    mine = [one for one in judge(made, CHECKS) if one.host == "db1"]
    assert mine
    assert {one.state for one in mine} == {"absent"}
    assert {one.result.note for one in mine} == {"remote.timeout"}


def test_a_check_that_raises_is_its_own_error(site: Site) -> None:
    def broken(case: object) -> Result:
        raise ZeroDivisionError

    checks = {"MEM01": replace(CHECKS["MEM01"], function=broken), "MEM05": CHECKS["MEM05"]}
    found = judge(scene(site, {"db1": [memory(8 * GIB)]}), checks)
    assert [(one.id, one.state) for one in found if one.host == "db1"] == [("MEM01", "error"), ("MEM05", "pass")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("    return 1 / 0", "mine.py:5 ZeroDivisionError"),
        ("    raise SystemExit(0)", "mine.py:5 SystemExit"),
        ("    return 'good'", "mine.py TypeError: not a result: 'g'"),
        ("    yield case.good('1')\n    yield None", "mine.py TypeError: not a result: None"),
        ("    yield 'nobody', case.cases[0].good('1')", "mine.py KeyError: 'nobody'"),
        ("    yield 'db1', 'good'", "mine.py TypeError: not a result: 'good'"),
    ],
)
def test_a_users_check_that_goes_wrong_is_an_error_with_its_line_and_stops_no_other(
    example: Path, code: str, said: str
) -> None:  # fmt: skip
    folder = example.parent / "checks"
    folder.mkdir(mode=0o755)
    scope = ', scope="site"' if "'nobody'" in code or "'db1'" in code else ""
    (folder / "mine.py").write_text(
        f'from implops.check.registry import check\n\n@check("X01", "mine"{scope})\ndef mine(case):\n{code}\n',
        encoding="utf-8",
    )
    checks = registry.load(example.parent)
    made = scene(load(example), {"db1": [memory(8 * GIB)]})
    found = {one.id: one for one in judge(made, {id: checks[id] for id in ("X01", "MEM05")}) if one.host == "db1"}
    assert (found["X01"].state, found["X01"].result.note) == ("error", "reason.raised")
    assert found["X01"].result.params["detail"].startswith(said)
    assert found["MEM05"].state == "pass"


def test_what_a_recipe_will_set_is_information_before_and_demanded_after(site: Site) -> None:
    plan = [Planned("os_base", "db1", "sysctl", "vm.swappiness", "10")]
    facts: dict[str, list[Fact]] = {"db1": [memory(8 * GIB, swappiness=120)]}
    assert verdict(scene(site, facts, planned=plan), "MEM04").state == "info"
    after = verdict(scene(site, facts, done={"db1": ["os_base"]}, planned=plan), "MEM04")
    assert (after.state, after.result.required) == ("warn", "≤ 100")


def test_verdicts_stand_in_the_order_of_hosts_and_catalogue(site: Site) -> None:
    found = judge(scene(site, {}), CHECKS)
    hosts = list(dict.fromkeys(one.host for one in found))
    assert hosts == list(site.hosts)
    ids = [one.id for one in found if one.host == "db1"]
    assert ids.index("ACC02") < ids.index("OS01") < ids.index("MEM01") < ids.index("DSK01") < ids.index("NET01")


def waiver(**given: Any) -> Waiver:
    values = {"id": "MEM01", "host": "db1", "at": "1 GiB", "reason": "r", "approver": "a", "until": date(2099, 1, 1)}
    return Waiver.model_validate({**values, **given})


def waived(site: Site, one: Waiver, *found: Verdict) -> list[Verdict]:
    mine = site.model_copy(update={"waive": [one]})
    mine._path = site.path
    return waivers.apply(mine, CHECKS, found or [MEMORY], date(2026, 11, 24))


MEMORY = Verdict("MEM01", "db1", "fail", Result("fail", "1 GiB", "≥ 2 GiB"))


def test_a_waiver_covers_its_value_and_better_ones_until_its_day(site: Site) -> None:
    for at in ("1 GiB", "512 MiB", "1.0 GiB"):
        assert waived(site, waiver(at=at))[0].state == "waived"
    (lapsed,) = waived(site, waiver(until=date(2026, 11, 23)))
    assert (lapsed.state, lapsed.result.params["lapsed"]) == ("fail", "expired")


@pytest.mark.parametrize("at", ["2 GiB", "1 GB", "4", "1 %", "much"])
def test_a_waiver_lapses_when_the_value_is_worse_or_no_longer_comparable(site: Site, at: str) -> None:
    one = waived(site, waiver(at=at))[0]
    expected = "waived" if at == "1 GB" else "fail"
    assert one.state == expected
    assert one.result.params.get("lapsed") == (None if expected == "waived" else "worse")


def test_words_are_equal_or_worse(site: Site) -> None:
    # 077 is not "more than" 027: an umask has no order.
    umask = Verdict("SEC05", "db1", "warn", Result("warn", "077", "022"))
    assert waived(site, waiver(id="SEC05", at="077"), umask)[0].state == "waived"
    assert waived(site, waiver(id="SEC05", at="027"), umask)[0].state == "warn"


def test_five_faults_of_a_waiver_have_five_messages_and_none_passes(site: Site) -> None:
    said = set()
    for words in ({"id": "MEM99"}, {"host": "db9"}, {"id": "MEM05"}):
        with pytest.raises(SiteError) as caught:
            waived(site, waiver(**words))
        said.add(str(caught.value).split("waive", 1)[1].split(":", 1)[1])
    for words in ({"until": date(2026, 11, 23)}, {"at": "2 GiB"}):
        one = waived(site, waiver(**words))[0]
        assert one.blocks
        said.add(told(one.result))
    assert len(said) == 5


def test_a_waiver_of_a_test_that_did_not_run_stays_dormant(site: Site) -> None:
    untested = Verdict("OS10", "db1", "warn", Result("skip", note="needs_deep"))
    assert waived(site, waiver(id="OS10"), untested) == [untested]
    away = Verdict("MEM01", "db1", "fail", Result("absent", note="remote.timeout"))
    assert waived(site, waiver(), away) == [away]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("thresholds: {MEM77: {db: {need: 1 GiB}}}", "MEM77"),
        ("thresholds: {MEM01: {db: {need: 4}}}", "MEM01"),
        ("thresholds: {CPU01: {db: {need: 4 GiB}}}", "CPU01"),
        ("thresholds: {MEM01: {web: {need: 4 GiB}}}", "MEM01"),
    ],
)
def test_a_profile_with_a_mistake_is_refused(site: Site, text: str, word: str) -> None:
    folder = site.base / "checks" / "profiles"
    folder.mkdir(parents=True)
    (folder / "small.yml").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises((KitError, ValueError), match=word):
        Limits(site, CHECKS)


def test_an_unknown_profile_names_the_known_ones(site: Site) -> None:
    with pytest.raises(KitError, match="small"):
        Limits(site.model_copy(update={"profile": "large"}), CHECKS)


def test_every_check_has_its_texts_and_the_page_is_current() -> None:
    assert len(CHECKS) >= 40
    page = Path(kit.shipped() / "docs" / "checks.md").read_text(encoding="utf-8")
    assert page == reference.page()


NAMES = [kind.section for kind in kinds() if kind.trip == 1]


@given(st.binary(max_size=400))
def test_garbage_never_becomes_a_fact(noise: bytes) -> None:
    answer = parse(noise, "00ff", NAMES)
    assert all(isinstance(one, Unknown) for one in answer.sections.values())


@given(st.lists(st.tuples(st.sampled_from(["online", "quota", "loadavg", "MemTotal", "limit", "swappiness", "thp"]),
                          st.text(max_size=12)), max_size=12))  # fmt: skip
def test_strange_values_are_unknown_never_an_exception(lines: list[tuple[str, str]]) -> None:
    for kind in (Cpu, Memory):
        made = build(kind, Section(tuple(lines)))
        assert isinstance(made, kind | Unknown)


@pytest.mark.parametrize("name", ["small", "hospital"])
def test_shipped_profiles_load_and_only_raise_the_bar_with_size(site: Site, name: str) -> None:
    limits = Limits(site.model_copy(update={"profile": name}), CHECKS)
    small = Limits(site, CHECKS)
    for host in site.hosts.values():
        for id in ("LIM07", "LIM03"):
            mine, least = limits.of(CHECKS[id], host), small.of(CHECKS[id], host)
            assert mine.need >= least.need
