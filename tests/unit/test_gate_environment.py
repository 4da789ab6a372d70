"""The gate of the environment: which record of a check opens a deployment, and what shuts it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from implops.errors import GateRefused
from implops.gates import environment
from implops.site import Site
from implops.store import Store

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
FAULT = {"host": "db1", "id": "MEM01", "state": "fail"}
WAIVER = {"id": "DSK03", "host": "db1", "until": "2026-11-27"}


def checked(store: Store, run: str = "C1", **other: Any) -> None:
    payload = {
        "complete": True, "site_hash": "h", "collected": NOW.isoformat(), "blocking": [], "waivers": [],
        "hosts": {"db1": {"boot_id": "b1"}},
    }  # fmt: skip
    store.append("check.finished", {**payload, **other}, run=run, operator="o")


def refused(store: Store, site: Site, at: datetime = NOW, site_hash: str = "h") -> str:
    with pytest.raises(GateRefused) as caught:
        environment.require(store, site, site_hash, at=at)
    assert caught.value.code == 5
    assert site.path.name in str(caught.value)
    return caught.value.key


def test_only_a_whole_check_of_this_very_site_opens(store: Store, site: Site) -> None:
    assert refused(store, site) == "gate.no_check"
    checked(store, complete=False)
    assert refused(store, site) == "gate.no_check"
    checked(store)
    assert environment.require(store, site, "h", at=NOW).run == "C1"
    assert refused(store, site, site_hash="another") == "gate.other_site"


def test_a_check_counts_a_day_and_none_comes_from_the_future(store: Store, site: Site) -> None:
    checked(store)
    assert environment.require(store, site, "h", at=NOW + timedelta(hours=24))
    assert refused(store, site, NOW + timedelta(hours=24, seconds=1)) == "gate.too_old"
    # Clocks differ by minutes; a record of tomorrow is none.
    assert environment.require(store, site, "h", at=NOW - timedelta(minutes=5))
    assert refused(store, site, NOW - timedelta(minutes=6)) == "gate.too_old"


def test_the_newest_check_counts_and_its_faults_are_named(store: Store, site: Site) -> None:
    checked(store)
    checked(store, "C2", blocking=[FAULT])
    with pytest.raises(GateRefused, match="db1/MEM01"):
        environment.require(store, site, "h", at=NOW)
    checked(store, "C3", blocking=[FAULT, {**FAULT, "state": "absent"}])
    assert refused(store, site) == "gate.absent"


def test_a_waiver_counts_to_its_last_day(store: Store, site: Site) -> None:
    checked(store, waivers=[WAIVER])
    assert environment.require(store, site, "h", at=NOW)
    checked(store, "C2", waivers=[{**WAIVER, "until": "2026-11-24"}])
    assert refused(store, site) == "gate.waiver_ended"


def test_a_host_that_was_started_again_or_replaced_has_to_be_checked_again(store: Store, site: Site) -> None:
    checked(store)
    record = environment.require(store, site, "h", at=NOW)
    environment.require_same_boot(record, {"db1": "b1"}, site)
    for seen in ({"db1": "b2"}, {"db1": "b1", "app1": "b3"}):
        with pytest.raises(GateRefused) as caught:
            environment.require_same_boot(record, seen, site)
        assert caught.value.key == "gate.restarted"


def test_a_run_goes_on_with_its_own_check_and_no_other_site(store: Store, site: Site) -> None:
    checked(store)
    checked(store, "C2", blocking=[FAULT])
    assert environment.resume(store, site, "h", "C1").run == "C1"
    with pytest.raises(GateRefused) as caught:
        environment.resume(store, site, "another", "C1")
    assert caught.value.key == "gate.resume_other_site"
