"""A release that does not stand its test is gone before anybody notices; and the way back by hand, with the data."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import environment, implops, ssh
from releases import fresh, last, notes, page, prepare, write

from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab

HOME = "/opt/implops/releases/his"


def states(site: Site, host: str = "app1") -> tuple[str, dict[str, str]]:
    """The active release and the state of every one."""
    said = ssh(site, host, f"readlink {HOME}/current; sudo -n sh -c 'cat {HOME}/*/RELEASE.json'").stdout
    current, _, rest = said.partition("\n")
    return current, notes(rest)


def login(site: Site) -> str:
    address = site.hosts["app1"].address
    ask = f"exec 3<>/dev/tcp/{address}/80; printf 'GET /his/login.jsp HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3; cat <&3"
    return ssh(site, "app1", f"bash -c {ask!r}").stdout


def sql(site: Site, query: str, database: str = "his") -> str:
    done = ssh(site, "db1", f'cd / && sudo -n -u postgres psql -XAtq -d {database} -c "{query}"')
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def as_found(deployed: Site) -> Iterator[Site]:
    """The shared site; its file is put back afterwards."""
    text = deployed.path.read_text(encoding="utf-8")
    yield deployed
    deployed.path.write_text(text, encoding="utf-8")


def test_1_a_release_whose_module_fails_is_rolled_back_by_itself(as_found: Site) -> None:
    before, known = states(as_found)
    assert known[before] == "good"
    site = write(as_found, "1.0.1", mark="新版", broken="materials.jsp")
    # Only the new release has this one: the old one is not asked for it.
    text = site.path.read_text(encoding="utf-8")
    added = "    - {id: beds, name: 床位, url: /his/beds.jsp, requirement: SRS-3.5}\n"
    site.path.write_text(text.replace("    - {id: materials,", f"{added}    - {{id: materials,", 1), encoding="utf-8")
    prepare(site)
    done = implops("deploy", site.path, "--yes", code=1, timeout=400)
    assert f"已回滚到 {before}" in done.stderr, done.stderr
    after, known = states(site)
    assert after == before
    assert sorted(known.values()) == ["bad", "good"]
    assert "新版" not in login(site)
    deployed, back = last(site, "deploy.finished"), last(site, "rollback.finished")
    assert deployed["conclusion"] == "fail"
    assert back["conclusion"] == "pass"
    assert back["automatic"] is True
    assert [one["state"] for one in back["modules"]] == ["pass"] * 4  # type: ignore[attr-defined]
    assert back["not_asked"] == ["床位"]
    # The database was saved before anything was touched.
    assert last(site, "database.saved")["run"]
    run = str(back["of_run"])
    shown = page(site, "INST", run)
    assert "已回滚" in shown
    assert "升级未通过验证,自动" in shown
    assert "部署前" in shown
    shown = page(site, "INST", str(deployed["rollback_run"]))
    assert "不询问(该版本部署时没有这些模块):床位" in shown
    assert "systemctl start tomcat10.service" in shown
    assert f"ln -s {before}" in shown
    # What was rolled back is not resumed, and there is nothing further to go back to.
    assert "已转入回滚" in implops("deploy", site.path, "--yes", "--resume", run, code=2).stderr
    assert before in implops("rollback", site.path, "--yes", "--to", before, code=2).stderr


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from fresh(tmp_path_factory.mktemp("back"))


BEDS = "create table beds (id integer primary key, ward text not null);\ninsert into beds values (1, '内科');\n"
DROP = "alter table beds add column floor integer;\n"


@pytest.mark.full
def test_2_an_upgrade_with_a_schema_file_saves_the_database_first(own: Site) -> None:
    site = write(own, "1.1.0", mark="一点一", schema={"003_beds.sql": BEDS})
    prepare(site)
    implops("deploy", site.path, "--yes", timeout=400)
    assert "一点一" in login(site)  # not the page that Tomcat had compiled of the old release
    saved = last(site, "database.saved")
    trigger = Store.of(site.state).events(kind="backup.started", run=str(saved["run"]))[0].payload["trigger"]
    assert trigger == "before_deploy"
    assert sql(site, "select count(*) from implops.schema_log") == "3"


@pytest.mark.full
def test_3_after_a_migration_it_does_not_go_back_without_the_dump(own: Site) -> None:
    sql(own, "insert into beds values (2, '外科')")
    site = write(own, "1.2.0", mark="一点二", broken="departments.jsp", schema={"004_floor.sql": DROP})
    prepare(site)
    done = implops("deploy", site.path, "--yes", code=1, timeout=400)
    assert "004_floor.sql" in done.stderr
    assert "--with-database" in done.stderr
    assert Store.of(site.state).events(kind="rollback.started") == []
    current, known = states(site)
    assert current.startswith("1.2.0-")
    assert known[current] == "active"
    assert sql(site, "select count(*) from implops.schema_log") == "4"


@pytest.mark.full
def test_4_back_by_hand_with_the_database_and_nothing_is_lost(own: Site) -> None:
    sql(own, "insert into beds values (3, '儿科', 2)")
    saved = str(last(own, "database.saved")["run"])
    # A backup that does not belong to the program is refused before anything is done.
    first = str(Store.of(own.state).events(kind="database.saved")[0].payload["run"])
    told = implops("rollback", own.path, "--yes", "--with-database", first, code=2).stderr
    assert "003_beds.sql" in told
    assert Store.of(own.state).events(kind="rollback.started") == []
    assert "没有这份数据库备份" in implops("rollback", own.path, "--yes", "--with-database", "01ABCDEF", code=2).stderr
    # Killed when the application is stopped and the database is about to be replaced; then taken up again.
    killer = [sys.executable, str(Path(__file__).with_name("killer.py")), "after", "3"]
    died = subprocess.run([*killer, "rollback", str(own.path), "--yes", "--with-database", saved], capture_output=True,
                          stdin=subprocess.DEVNULL, env=environment(), timeout=300)  # fmt: skip
    assert died.returncode == -signal.SIGKILL
    assert "--resume" in implops("rollback", own.path, "--yes", code=4).stderr
    done = implops("rollback", own.path, "--yes", "--resume", "last", timeout=400)
    assert "1.1.0-" in done.stdout
    current, known = states(own)
    assert current.startswith("1.1.0-")
    assert known[current] == "good"
    assert [state for id, state in known.items() if id.startswith("1.2.0-")] == ["bad"]
    assert sql(own, "select count(*) from implops.schema_log") == "3"
    assert sql(own, "select string_agg(ward, ',' order by id) from beds") == "内科,外科"
    restored = last(own, "database.restored")
    assert restored["verdict"] == "equal"
    # What was written since lies in the database as it was, not in the dust.
    assert sql(own, "select count(*) from beds where id = 3", str(restored["kept"])) == "1"
    # The application's role may do what it could before.
    assert sql(own, "select has_table_privilege('his_app', 'beds', 'select')") == "t"
    assert sql(own, "select pg_get_userbyid(datdba) from pg_database where datname = 'his'") == "his_owner"
    assert "一点一" in login(own)


@pytest.mark.full
def test_5_back_once_more_chooses_the_good_one_before(own: Site) -> None:
    done = implops("rollback", own.path, "--yes", "--reason", "用户要求", timeout=400)
    assert "003_beds.sql" in done.stderr  # said before acting: only the backup undoes it
    current, known = states(own)
    assert current.startswith("1.0.0-")
    assert [known[id] for id in sorted(known)] == ["good", "bad", "bad"]
    assert "一点一" not in login(own)
    assert "没有可以回到" in implops("rollback", own.path, "--yes", code=2).stderr
    run = Store.of(own.state).events(kind="rollback.started")[-1].run
    assert "用户要求" in page(own, "INST", run)
    implops("record", "verify", own.path)


@pytest.mark.full
def test_6_a_way_back_that_fails_itself_keeps_others_out_and_is_gone_on_with(own: Site) -> None:
    old = states(own)[0]
    site = write(own, "1.3.0", mark="一点三")
    prepare(site)
    implops("deploy", site.path, "--yes", timeout=400)
    # The release that it goes back to has come to harm meanwhile.
    war = f"/opt/implops/releases/his/{old}/his.war"
    ssh(site, "app1", f"sudo -n cp {war} /var/tmp/his.war; echo broken | sudo -n tee {war} >/dev/null")
    done = implops("rollback", site.path, "--yes", "--reason", "演练", code=1, timeout=400)
    run = Store.of(site.state).events(kind="rollback.started")[-1].run
    assert f"--resume {run}" in done.stderr
    assert last(site, "rollback.finished")["conclusion"] == "fail"
    # Nobody else changes hosts that are neither here nor there; the lock says why it is held.
    told = implops("rollback", site.path, "--yes", code=4).stderr
    assert "演练" in told
    assert run in told
    ssh(site, "app1", f"sudo -n cp /var/tmp/his.war {war}")
    implops("rollback", site.path, "--yes", "--resume", "last", timeout=400)
    assert states(site)[0] == old
    assert ssh(site, "app1", "ls /var/lib/implops/lock").returncode != 0
