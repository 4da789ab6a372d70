"""What is backed up where and when follows from the site file."""

from __future__ import annotations

import stat

import pytest

from implops.backup import jobs, keys
from implops.site import Site


def test_each_source_has_its_jobs_and_its_own_repository(site: Site) -> None:
    found = {host.name: sorted(jobs.jobs(site, host)) for host in site.hosts.values()}
    assert found == {"db1": ["database", "program"], "app1": ["program"], "dns1": [], "sto1": []}
    assert {jobs.place(site, host) for host in jobs.sources(site)} == {"/backup/his/db1", "/backup/his/app1"}
    assert jobs.jobs(site, site.hosts["db1"])["database"]["keep"] == {"daily": 7, "weekly": 4, "monthly": 12}


@pytest.mark.parametrize(
    ("every", "calendar"),
    [
        ("daily 02:00", "*-*-* 02:00:00"),
        ("weekly mon 23:30", "Mon *-*-* 23:30:00"),
        ("monthly 01 05:15", "*-*-01 05:15:00"),
    ],
)
def test_times_become_timers(every: str, calendar: str) -> None:
    assert jobs.calendar(every) == calendar


def test_a_drill_follows_its_backup_also_past_midnight() -> None:
    assert jobs.drill_calendar("daily 23:30", "weekly") == "Sun *-*-* 01:30:00"
    assert jobs.drill_calendar("daily 02:00", "monthly") == "Sun *-*-01..07 04:00:00"


def test_a_key_is_made_once_and_is_nobody_elses(site: Site) -> None:
    host = site.hosts["db1"]
    first = keys.public(site, host)
    assert first.startswith("ssh-ed25519 ")
    assert keys.public(site, host) == first
    assert keys.public(site, site.hosts["app1"]).split()[1] != first.split()[1]
    path = site.base / "secrets" / "backup_db1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
