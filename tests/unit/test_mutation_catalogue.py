"""What ``make mutation`` stands on: a fault or a reason for every check, recorded faults, controls at the limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mutation import catalogue, page, recorded
from mutation.bench import Outcome, batches
from mutation.controls import CONTROLS, LOGIN, Control, beyond
from mutation.fault import Fault, shell

from implops import kit
from implops.check.gather import kinds
from implops.check.limits import Limit, Limits
from implops.site import load

CHECKS = recorded.checks()
FAULTS = catalogue.load()


def test_a_fault_names_checks_that_exist_and_gives_reasons() -> None:
    known = set(CHECKS)
    for one in FAULTS:
        named = {one.id} | {id.rpartition("/")[2] for id in one.follows} - {"*"}
        assert named <= known, one.what
        assert all(one.follows.values()), one.what


def test_every_check_has_a_fault_on_a_host_or_a_reason_why_not() -> None:
    on_hosts, noted = {one.id for one in FAULTS}, {one.id for one in recorded.FAULTS}
    assert not set(CHECKS) - on_hosts - noted
    assert all(one.why for one in recorded.FAULTS)


def test_faults_that_could_meet_are_put_apart() -> None:
    def fault(id: str, host: str = "db1", **more: Any) -> Fault:
        return Fault(id, host, id, (shell("a", "b", touches=more.pop("touches", "")),), "fail", "x", **more)

    together = batches([fault("OS01"), fault("OS02"), fault("OS03", "app1", whole=True)])
    assert len(together) == 1
    for one, two in [
        (fault("OS01"), fault("OS01", "app1")),
        (fault("OS01", touches="/tmp"), fault("OS02", touches="/tmp")),
        (fault("OS01", whole=True), fault("OS02")),
        (fault("OS01", alone=True), fault("OS02", "app1")),
        (fault("OS01", follows={"OS02": "why"}), fault("OS02")),
        (fault("OS01", deep=True), fault("OS02", "app1")),
    ]:
        assert len(batches([one, two])) == 2


@pytest.mark.parametrize("proof", recorded.prove(), ids=lambda proof: proof.id)
def test_a_recorded_fault_is_caught(proof: recorded.Proof) -> None:
    assert proof.missed == ""


def test_the_recorded_answers_have_every_section_that_is_asked() -> None:
    for trips in recorded.answers(recorded.site()).values():
        for kind in kinds():
            if kind.trip in (1, 2) and kind.__module__.startswith("implops.facts."):
                assert recorded.trip_of(trips, kind.section) == kind.trip, kind.section


def _said(control: Control, value: int) -> str:
    site = recorded.site(control.edit)
    told = recorded.answers(site)
    login_ms, more = 0, recorded.Answers()
    for host, sections in control.put(value).items():
        for section, lines in sections.items():
            if section == LOGIN:
                login_ms = int(str(lines["login_ms"]))
                continue
            if trip := recorded.trip_of(told[host], section):
                told[host][trip] = recorded.edit(told[host][trip], section, lines)
            else:
                more.setdefault(host, {})[section] = lines
    seen = recorded.look(site, told, control.id, login_ms, more=more, planned=control.planned)
    found = [one for one in seen if one.host == control.host]
    chosen = [one for one in found if not control.target or one.result.target == control.target]
    return chosen[0].state


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_at_the_limit_nothing_fires_and_one_step_beyond_it_does(control: Control) -> None:
    site = recorded.site(control.edit)
    check = CHECKS[control.id]
    limit: Limit = control.limit or Limits(site, CHECKS).of(check, site.hosts[control.host])
    assert limit.need is not None or limit.want is not None
    if limit.want not in (None, limit.need):
        assert _said(control, limit.want) == "pass"
        assert _said(control, beyond(limit.want, control, ceiling=check.ceiling)) == "warn"
    if limit.need is not None:
        assert _said(control, limit.need) == ("pass" if limit.want in (None, limit.need) else "warn")
        assert _said(control, beyond(limit.need, control, ceiling=check.ceiling)) == (control.fires or check.severity)


def test_every_edit_finds_its_place_and_makes_a_good_site_file(tmp_path: Path) -> None:
    shipped = kit.annotated_site().read_text(encoding="utf-8")
    texts = {"bare": shipped, "deployed": shipped, "mariadb": catalogue.of_mariadb(shipped)}
    catalogue.of_trixie(shipped)
    names = {f"@{host.name}@": host.address for host in recorded.site().hosts.values()}
    names |= {"@net@": "10.77.1", "@gateway@": "10.77.1.1"}

    def words(text: str) -> str:
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    path = tmp_path / "site.yml"
    for one in FAULTS:
        text = texts[one.scene]
        for old, new in (pair for step in one.steps for pair in step.edit):
            assert text.count(words(old)) == 1, (one.id, old)
            text = text.replace(words(old), words(new))
        if one.edits:
            path.write_text(text, encoding="utf-8")
            load(path)


def test_totals_count_ids_and_what_was_not_tried_is_missed() -> None:
    def outcome(id: str, **more: Any) -> Outcome:
        return Outcome(Fault(id, "db1", id, (), "fail", "x"), **more)

    tried = [outcome("OS01"), outcome("OS01", missed="why"), outcome("OS02", collateral=["x"]), outcome("OS03")]
    proof = recorded.Proof("LIM10", "why", "what", "fail", "1", "")
    assert page.totals(["OS01", "OS02", "OS03", "OS04", "LIM10"], map(page.row, tried), [proof], ["alarm"]) == {
        "caught": 1, "missed": 2, "collateral": 1, "recorded": 1, "false_alarms": 1, "total": 5,
    }  # fmt: skip
