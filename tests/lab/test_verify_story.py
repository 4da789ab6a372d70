"""The deployed system asked module by module, and by a check of the user's own."""

from __future__ import annotations

import json

import pytest
from power import implops

from implops import lab
from implops.site import Site

pytestmark = pytest.mark.lab

MINE = """
ROLES = ("db",)


def test_the_departments_are_there(host):
    with host.sudo("postgres"):
        assert host.check_output("psql -XAtq -d his -c 'select count(*) from departments'") == "6"
"""


def shown(site: Site, code: int) -> tuple[list[str], dict[tuple[str, str], str]]:
    answer = json.loads(implops("verify", site.path, "--json", code=code).stdout)
    checks = {(one["check"].partition("::")[2], one["host"]): one["state"] for one in answer["checks"]}
    return [one["state"] for one in answer["modules"]], checks


def test_modules_and_the_users_own_check_pass_and_are_printed(deployed: Site) -> None:
    folder = deployed.base / "checks" / "system"
    folder.mkdir(parents=True)
    (folder / "test_mine.py").write_text(MINE, encoding="utf-8")
    modules, checks = shown(deployed, 0)
    assert modules == ["pass"] * 4
    assert checks["test_the_departments_are_there", "db1"] == "pass"
    assert checks["test_services_run_and_start_with_the_host", "app1"] == "pass"
    page = max(deployed.out.glob("*SYS*.html")).read_text(encoding="utf-8")
    assert "test_the_departments_are_there" in page
    assert "SRS-3.2" in page


def test_a_database_that_is_down_fails_every_module_that_reads_it(deployed: Site) -> None:
    lab.enter(deployed, "db1", ["systemctl", "stop", "postgresql@15-main"])
    try:
        modules, checks = shown(deployed, 1)
    finally:
        lab.enter(deployed, "db1", ["systemctl", "start", "postgresql@15-main"])
    assert modules == ["fail"] * 4
    assert checks["test_services_run_and_start_with_the_host", "db1"] == "fail"
    assert checks["test_the_departments_are_there", "db1"] == "fail"
    assert shown(deployed, 0)[0] == ["pass"] * 4


@pytest.mark.full
def test_an_application_host_that_is_away_is_absent_not_good(deployed: Site) -> None:
    lab.cut_network(deployed, "app1")
    try:
        modules, checks = shown(deployed, 3)
    finally:
        lab.mend_network(deployed, "app1")
    assert modules == ["absent"] * 4
    assert checks["test_nothing_failed", "app1"] == "error"
    assert checks["test_nothing_failed", "db1"] == "pass"
