"""Backups of the deployed system: made, proved, drilled; and what is damaged, cut off or missing is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from power import implops, ssh

from implops import lab
from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab

REPOSITORY = "/backup/his/db1"


@pytest.fixture(autouse=True)
def _rows(deployed: Site) -> Iterator[None]:
    sql(deployed, "create table if not exists backup_story (id integer primary key, text varchar(40))")
    sql(deployed, "truncate backup_story; insert into backup_story select n, '行' || n from generate_series(1, 5000) n")
    yield
    sql(deployed, "drop table backup_story")


def sql(site: Site, text: str) -> str:
    done = ssh(site, "db1", f"cd / && sudo -n -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d his <<'END'\n{text};\nEND\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def root(site: Site, host: str, script: str, timeout: float = 120) -> str:
    done = ssh(site, host, f"sudo -n sh -c '{script}'", timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def member(site: Site, verb: str, job: str = "database") -> dict[str, object]:
    return [one.payload for one in Store.of(site.state).events(kind=f"{verb}.member") if one.payload["job"] == job][-1]


def test_what_is_restored_is_what_was_backed_up_row_by_row(deployed: Site) -> None:
    implops("backup", "run", deployed.path)
    # Rows that come later are not in the backup: the drill compares with the backup's own moment.
    sql(deployed, "insert into backup_story values (9001, 'later')")
    done = implops("backup", "drill", deployed.path)
    assert "恢复演练合格" in done.stdout
    drilled = member(deployed, "drill")
    assert drilled["verdict"] == "equal"
    assert drilled["tables"]["compared"] > 8  # type: ignore[index]
    assert member(deployed, "drill", "program")["verdict"] == "equal"
    assert root(
        deployed, "db1", "ls -A /var/lib/implops/drill /run/implops-drill | grep -v : ; pgrep -fc [5]5440; true"
    ) in ("0", "")


def test_timers_are_set_and_what_they_did_is_collected(deployed: Site) -> None:
    timers = root(deployed, "db1", "systemctl list-timers --all --no-legend")
    for name in ("implops-backup@database.timer", "implops-backup@program.timer", "implops-drill@database.timer"):
        assert name in timers
    assert "implops-backup@program.timer" in root(deployed, "app1", "systemctl list-timers --all --no-legend")
    root(deployed, "db1", "systemctl start implops-backup@database.service")
    root(deployed, "db1", "systemctl start implops-drill@database.service")
    rows = json.loads(implops("backup", "list", deployed.path, "--json").stdout)["runs"]
    timed = [one for one in rows if one["trigger"] == "timer"]
    assert [(one["verb"], one["state"], one["error"]) for one in timed[-2:]] == [
        ("run", "complete", None),
        ("drill", "complete", None),
    ]
    assert len(json.loads(implops("backup", "list", deployed.path, "--json").stdout)["runs"]) == len(rows)


def test_a_damaged_repository_fails_the_drill(deployed: Site) -> None:
    implops("backup", "run", deployed.path, "--only", "database")
    root(deployed, "sto1", f"rm -rf /root/kept; cp -a {REPOSITORY} /root/kept")
    # Nearly all of every pack: the blob that a drill reads may lie anywhere in it.
    zeros = "dd if=/dev/zero of=$one bs=$(($(stat -c %s $one) * 9 / 10)) count=1 conv=notrunc status=none"
    root(deployed, "sto1", f"cd {REPOSITORY}/data && for one in $(find . -type f); do {zeros}; done")
    try:
        done = implops("backup", "drill", deployed.path, "--only", "database", code=1)
        assert "恢复演练未通过" in done.stderr
        assert member(deployed, "drill")["state"] == "failed"
    finally:
        root(deployed, "sto1", f"rm -rf {REPOSITORY}; mv /root/kept {REPOSITORY}")
    implops("backup", "drill", deployed.path, "--only", "database")


def test_without_the_storage_host_there_is_no_backup_and_it_says_so(deployed: Site) -> None:
    before = Store.of(deployed.state).last("backup.finished")
    lab.cut_network(deployed, "sto1")
    try:
        done = implops("backup", "run", deployed.path, "--only", "database", code=1)
        assert "存储主机" in done.stderr
    finally:
        lab.mend_network(deployed, "sto1")
    time.sleep(1)
    last = Store.of(deployed.state).last("backup.finished")
    assert last
    assert before != last
    assert last.payload["conclusion"] == "fail"
    # The last one is what counts: a drill does not fall back on yesterday's.
    assert "不会退回更早的备份" in implops("backup", "drill", deployed.path, "--only", "database", code=1).stderr
    implops("backup", "run", deployed.path, "--only", "database")


def test_a_killed_backup_is_no_backup_and_the_next_one_is(deployed: Site) -> None:
    sql(deployed, "insert into backup_story select n, repeat('x', 40) from generate_series(10000, 400000) n")
    start = "systemctl start --no-block implops-backup@database.service"
    root(deployed, "db1", start)
    for _ in range(100):
        if root(deployed, "db1", "pgrep -c pg_dump; true") != "0":
            break
        time.sleep(0.1)
    root(deployed, "db1", "systemctl kill -s KILL implops-backup@database.service; sleep 1")
    rows = json.loads(implops("backup", "list", deployed.path, "--json").stdout)["runs"]
    assert rows[-1]["state"] == "failed"
    assert rows[-1]["error"]["code"] == "lost"
    implops("backup", "run", deployed.path, "--only", "database")
    implops("backup", "drill", deployed.path, "--only", "database")


def test_no_secret_in_arguments_status_files_or_journal(deployed: Site) -> None:
    password = (deployed.base / "secrets" / "restic").read_text(encoding="ascii").strip()
    root(deployed, "db1", "systemctl start --no-block implops-backup@database.service")
    seen = ""
    for _ in range(30):
        seen += root(deployed, "db1", 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\\\0" " "; true')
        time.sleep(0.05)
    assert "restic" in seen
    assert password not in seen
    root(deployed, "db1", "systemctl start implops-backup@database.service")
    # Asked on standard input: sudo writes every command line into the journal.
    where = "/var/lib/implops/backup /var/log /opt/implops"
    assert ssh(deployed, "db1", f"printf %s {password} | sudo -n grep -rlF -f - {where}").stdout == ""
