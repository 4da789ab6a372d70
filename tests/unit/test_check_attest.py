"""What no machine can measure: answered by a person, for one wording and place, until a day; and who has to act."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from implops.check import attest, owners
from implops.check.model import Result, Verdict
from implops.errors import InputError
from implops.site import Site, load
from implops.store import Store

TODAY = date(2026, 11, 25)
ITEMS = """
mend: {network: 网络组, storage: 存储组, due: 5 d}
attest:
  - {id: M01, title: UPS 双路供电, owner: 机房, required: true, valid: 30 d}
  - {id: M02, title: 服务器已上架, hosts: [db1, app1]}
"""


@pytest.fixture
def site(example: Path) -> Site:
    example.write_text(example.read_text(encoding="utf-8") + ITEMS, encoding="utf-8")
    return load(example)


def states(site: Site, store: Store, today: date = TODAY) -> dict[tuple[str, str], str]:
    return {(one.id, one.host): one.state for one in attest.verdicts(site, store, today)}


def answer(site: Site, store: Store, *words: str) -> str:
    return attest.answer(site, store, "王工/1", attest.parse(site, words), "看过铭牌", TODAY)


def test_what_nobody_answered_is_not_checked_and_blocks_only_where_required(site: Site, store: Store) -> None:
    found = list(attest.verdicts(site, store, TODAY))
    assert [(one.id, one.host, one.state, one.blocks) for one in found] == [
        ("M01", "*", "error", True), ("M02", "db1", "error", False), ("M02", "app1", "error", False),
    ]  # fmt: skip


def test_an_answer_holds_for_its_place_and_wording_and_runs_out(site: Site, store: Store) -> None:
    run = answer(site, store, "M01=ok", "M02@db1=bad")
    assert states(site, store) == {("M01", "*"): "pass", ("M02", "db1"): "warn", ("M02", "app1"): "error"}
    one = next(attest.verdicts(site, store, TODAY))
    assert one.result.params["operator"] == "王工/1"
    assert one.result.params["remark"] == "看过铭牌"
    assert [event.kind for event in store.events(run=run)] == [
        "attest.started", "attested", "attested", "attest.finished",
    ]  # fmt: skip
    # The last day counts; the next one does not.
    assert states(site, store, TODAY + timedelta(days=30))["M01", "*"] == "pass"
    assert states(site, store, TODAY + timedelta(days=31))["M01", "*"] == "error"
    answer(site, store, "M01=bad", "M02=ok")
    assert states(site, store) == {("M01", "*"): "fail", ("M02", "db1"): "pass", ("M02", "app1"): "pass"}
    # Another wording is another question.
    site.path.write_text(site.path.read_text(encoding="utf-8").replace("UPS 双路", "UPS 单路"), encoding="utf-8")
    assert states(load(site.path), store)["M01", "*"] == "error"


@pytest.mark.parametrize(
    ("word", "key"),
    [("M01", "attest.form"), ("M01=yes", "attest.form"), ("M01@=ok", "attest.form"), ("M09=ok", "attest.unknown"),
     ("M02@dns1=ok", "attest.host"), ("M01@db1=ok", "attest.host")],
)  # fmt: skip
def test_a_wrong_answer_is_refused_and_nothing_recorded(site: Site, store: Store, word: str, key: str) -> None:
    with pytest.raises(InputError) as caught:
        answer(site, store, "M01=ok", word)
    assert caught.value.key == key
    assert not store.events()


def verdict(id: str, state: str, host: str = "app1", target: str = "") -> Verdict:
    return Verdict(id, host, "fail", Result(state, target=target))  # type: ignore[arg-type]


def test_every_finding_has_its_owner_and_what_blocks_its_day(site: Site) -> None:
    found = [
        verdict("NET01", "fail", target="→ db1:5432/tcp"), verdict("DSK03", "warn"), verdict("MEM01", "fail"),
        verdict("DNS01", "absent"), verdict("M01", "error", "*"), verdict("NET01", "pass"), verdict("NET05", "fail"),
    ]  # fmt: skip
    told = owners.payloads(site, found, TODAY)
    assert [one.get("owner") for one in told] == ["网络组", "存储组", "信息科", "信息科", "机房", None, "网络组"]
    assert [one.get("due") for one in told] == ["2026-11-30", "", "2026-11-30", "2026-11-30", "2026-11-30", None,
                                                "2026-11-30"]  # fmt: skip
    assert [one["request"] for one in told if "request" in one] == [
        {"source": "app1", "source_address": "10.77.1.12", "target": "db1", "address": "10.77.1.11", "port": "5432",
         "protocol": "tcp", "why": "JDBC"},
    ]  # fmt: skip
