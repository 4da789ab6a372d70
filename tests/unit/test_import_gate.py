"""G4: base data goes into a deployed system only, after a database backup, with consent."""

from __future__ import annotations

from typing import Any

import pytest

from implops.errors import GateRefused
from implops.gates import imports
from implops.site import Site
from implops.store import Store, record


def ran(store: Store, site: Site, verb: str, conclusion: str = "pass", **payload: Any) -> None:
    with record(store, site, verb, "张三/1001", {}) as run:
        run.finish(conclusion, payload)


def backed_up(store: Store, site: Site, conclusion: str = "pass", what: str = "database") -> None:
    ran(store, site, "backup", conclusion, objects=[what])


def approved(store: Store, site: Site) -> None:
    payload = {"subject": "import", "approver": "王经理", "reason": "已审核", "of_run": "", "lab": site.is_lab}
    store.append("approval", payload, run="R", operator="张三/1001")


def refusal(store: Store, site: Site) -> str:
    with pytest.raises(GateRefused) as error:
        imports.require(store, site)
    assert error.value.code == 5
    assert "implops " in str(error.value)  # the way out is a command
    return error.value.key


def test_each_missing_record_is_named_in_the_order_of_the_work(store: Store, site: Site) -> None:
    assert refusal(store, site) == "import.gate.not_deployed"
    ran(store, site, "deploy", "fail")
    assert refusal(store, site) == "import.gate.not_deployed"
    ran(store, site, "deploy")
    assert refusal(store, site) == "import.gate.no_backup"
    backed_up(store, site)
    assert refusal(store, site) == "record.not_approved"
    approved(store, site)
    assert imports.require(store, site).approval.approver == "王经理"


def test_a_backup_of_something_else_or_a_failed_one_does_not_count(store: Store, site: Site) -> None:
    ran(store, site, "deploy")
    approved(store, site)
    backed_up(store, site, what="program")
    backed_up(store, site, "fail")
    assert refusal(store, site) == "import.gate.no_backup"


def test_a_backup_that_began_before_the_last_write_does_not_count(store: Store, site: Site) -> None:
    ran(store, site, "deploy")
    approved(store, site)
    with record(store, site, "backup", "张三/1001", {}) as backup:
        store.append("batch.finished", {"outcome": "loaded"}, run="R", operator="张三/1001")
        backup.finish("pass", {"objects": ["database"]})
    assert refusal(store, site) == "import.gate.no_backup"
    backed_up(store, site)
    assert imports.require(store, site).backup.kind == "backup.finished"


def test_a_refused_batch_is_no_write(store: Store, site: Site) -> None:
    ran(store, site, "deploy")
    backed_up(store, site)
    approved(store, site)
    store.append("batch.finished", {"outcome": "refused"}, run="R", operator="张三/1001")
    assert imports.require(store, site).deploy.kind == "deploy.finished"


def test_a_system_that_went_back_to_a_good_release_is_deployed(store: Store, site: Site) -> None:
    ran(store, site, "deploy")
    with record(store, site, "deploy", "张三/1001", {}) as deploy:
        with record(store, site, "rollback", "张三/1001", {}) as back:
            back.finish("pass", {"automatic": True})
        deploy.finish("fail", {"rollback_run": back.id})
    # A backup and a consent of the system as it is now are asked for again.
    assert refusal(store, site) == "import.gate.no_backup"
    backed_up(store, site)
    approved(store, site)
    assert imports.require(store, site).deploy.run == back.id
    # By hand, and badly: nobody knows what runs there.
    ran(store, site, "rollback", "fail")
    assert refusal(store, site) == "import.gate.not_deployed"
    ran(store, site, "rollback")
    assert refusal(store, site) == "import.gate.no_backup"
    # One that was killed has no end.
    store.append("deploy.started", {}, run="R", operator="张三/1001")
    assert refusal(store, site) == "import.gate.not_deployed"


def test_a_way_back_that_failed_keeps_the_gate_shut(store: Store, site: Site) -> None:
    ran(store, site, "deploy")
    with record(store, site, "deploy", "张三/1001", {}) as deploy:
        with record(store, site, "rollback", "张三/1001", {}) as back:
            back.finish("fail", {"automatic": True})
        deploy.finish("fail", {"rollback_run": back.id})
    assert refusal(store, site) == "import.gate.not_deployed"


def test_a_new_deployment_asks_again_for_backup_and_approval(store: Store, site: Site) -> None:
    for _ in range(2):
        ran(store, site, "deploy")
        assert refusal(store, site) == "import.gate.no_backup"
        backed_up(store, site)
        assert refusal(store, site) == "record.not_approved"
        approved(store, site)
        imports.require(store, site)
