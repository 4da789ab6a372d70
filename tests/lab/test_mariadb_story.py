"""The same hospital system on MariaDB, JDK 21 and Debian 13: two application hosts, two name servers."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from power import implops, ssh
from releases import files_of_parameters, last, prepare, write

from implops import lab
from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]


@pytest.fixture
def site(mariadb: Site) -> Site:
    return mariadb


def sql(site: Site, query: str) -> str:
    done = ssh(site, "db1", f"sudo -n mariadb -NB his <<'EOF'\n{query}\nEOF\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def as_app(site: Site, host: str, query: str, *options: str) -> subprocess.CompletedProcess[str]:
    """From an application host, with the driver that the application itself uses."""
    password = (site.base / "secrets" / "db_app").read_text(encoding="ascii").strip()
    wanted = "&".join(options or ("useSsl=true", "trustServerCertificate=true"))
    url = f"jdbc:mariadb://{site.hosts['db1'].address}:3306/his?{wanted}"
    program = f"""import java.sql.*;
class Ask {{ public static void main(String[] a) throws Exception {{
  try (Connection c = DriverManager.getConnection("{url}", "his_app", "{password}");
       Statement s = c.createStatement()) {{
    System.out.println(s.execute("{query}") ? "rows" : "done"); }} }} }}"""
    script = f"cd $(mktemp -d) && cat > Ask.java <<'EOF'\n{program}\nEOF\n"
    return ssh(site, host, f"{script}java -cp /usr/share/java/mariadb-java-client.jar Ask.java 2>&1", timeout=120)


def test_1_a_fresh_site_is_deployed_and_a_second_run_finds_nothing_to_do(site: Site) -> None:
    event = Store.of(site.state).last("deploy.finished")
    assert event
    asked = [(one["module"], one["host"], one["state"]) for one in event.payload["modules"]]
    assert len(asked) == 2 * 5 + 1
    assert {state for *_, state in asked} == {"pass"}
    files_of_parameters(site)
    implops("check", site.path)
    assert "无需改动" in implops("deploy", site.path, "--yes", timeout=600).stdout


def test_2_the_server_is_as_declared_and_accounts_can_only_do_their_work(site: Site) -> None:
    assert sql(site, "select @@datadir, @@collation_database") == "/data/mysql/\tutf8mb4_nopad_bin"
    assert sql(site, "select count(*) from implops.schema_log where finished_at is not null") == "2"
    assert "rows" in as_app(site, "app1", "select name from departments").stdout
    assert "denied" in as_app(site, "app2", "create table t (a int)").stdout
    assert "denied" in as_app(site, "app2", "select * from implops.schema_log").stdout
    insert = "insert into implops_import_log values ('a','b','c','d',1,1,1,1,1,'e','f',now())"
    assert "done" in as_app(site, "app1", insert).stdout
    assert "implops_import_log" in as_app(site, "app1", "delete from implops_import_log").stdout
    assert "Access denied" in as_app(site, "app1", "select 1", "useSsl=false").stdout
    for user in ("his_app", "his_owner"):
        done = ssh(site, "db1", f"mariadb -u {user} his -e 'select 1'")
        assert "ERROR 1045" in done.stderr or "ERROR 1698" in done.stderr, user
    with pytest.raises(AssertionError, match="Data too long"):
        sql(site, "update departments set name = repeat('长', 61) limit 1")


def test_3_a_backup_under_writes_is_of_one_instant_and_comes_back_equal(site: Site) -> None:
    sql(site, "create table busy (id int auto_increment primary key, v text, b blob);")
    sql(
        site,
        """create table past (id int primary key, v text) with system versioning;
insert into past values (1, '旧'), (2, '旧'); update past set v = '新' where id = 1; delete from past where id = 2;""",
    )
    insert = "insert into busy (v, b) values (concat('字', rand()), x'00ff27');"
    write = f'while [ ! -e /tmp/stop ]; do echo "{insert}"; done'
    fill = f"(timeout 300 sh -c {shlex.quote(write)} | sudo -n mariadb his) >/dev/null 2>&1 &"
    script = f"rm -f /tmp/stop; {fill} echo started"
    assert "started" in ssh(site, "db1", script).stdout
    try:
        implops("backup", "run", site.path, timeout=400)
    finally:
        ssh(site, "db1", "touch /tmp/stop")
    during = int(sql(site, "select count(*) from busy"))
    implops("backup", "drill", site.path, timeout=600)
    store = Store.of(site.state)
    (event,) = [one for one in store.events(kind="backup.member") if one.payload["job"] == "database"]
    backed = event.payload
    drilled = [one.payload for one in store.events(kind="drill.member") if one.payload["job"] == "database"][-1]
    assert drilled["verdict"] == "equal"
    assert 0 < drilled["rows"] <= during + 14
    assert backed["lock_ms"] < 5000
    # Two rows that have been and one that is: a history is data too.
    members = json.loads(store.evidence(event.evidence[0]))["members"]
    assert next(one["fingerprint"]["his.past"][0] for one in members if one["role"] == "mariadb") == 3
    assert ssh(site, "db1", "sudo -n ls /var/lib/implops/drill /run/implops-drill 2>/dev/null").stdout.split() in (
        ["/run/implops-drill:", "/var/lib/implops/drill:"], [])  # fmt: skip
    sql(site, "create table old (a int) engine = MyISAM;")
    assert "his.old MyISAM" in implops("backup", "run", site.path, code=1, timeout=400).stderr
    sql(site, "drop table old; drop table busy; drop table past;")


def test_4_the_front_answers_while_one_application_server_is_away(site: Site) -> None:
    front = site.hosts["app1"].address
    trust = ssl.create_default_context(cafile=Path(site.base) / "tls" / "ca.pem")

    def page() -> str:
        with urllib.request.urlopen(f"https://{front}/his/departments.jsp", context=trust, timeout=30) as answer:
            return str(answer.read().decode("utf-8"))

    moved = urllib.request.Request(f"http://{front}/his/login.jsp?a=b", method="HEAD")
    with urllib.request.urlopen(moved, context=trust, timeout=30) as answer:  # noqa: S310
        assert answer.url == f"https://{front}/his/login.jsp?a=b"
    ssh(site, "app1", "sudo -n systemctl stop tomcat10", timeout=120)
    try:
        assert all("检验科" in page() for _ in range(30))
        told = implops("verify", site.path, code=1, timeout=600).stdout
        bad = [line for line in told.splitlines() if "不合格" in line and "SRS-" in line]
        assert len(bad) == 5
        assert all("app1" in line for line in bad)
    finally:
        ssh(site, "app1", "sudo -n systemctl start tomcat10", timeout=120)
    # systemd calls it started; it listens when it has loaded the system.
    deadline = time.monotonic() + 120
    while not ssh(site, "app1", "ss -Hltn 'sport = :8080'").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_5_zones_go_to_the_secondary_alone_and_follow_the_primary(site: Site) -> None:
    primary, secondary = site.hosts["dns1"].address, site.hosts["dns2"].address
    assert ssh(site, "dns2", f"dig axfr his.example @{primary}").stdout.count("IN\tA\t") == 7
    assert "Transfer failed" in ssh(site, "dns1", f"dig axfr his.example @{secondary}").stdout
    refused = ssh(site, "dns1", f"dig -b {primary} axfr his.example @{primary}").stdout
    assert "Transfer failed" in refused
    text = site.path.read_text(encoding="utf-8")
    site.path.write_text(text.replace("names: {his: app1}", "names: {his: app1, lis: app2}"), encoding="utf-8")
    # What the site file asks for only since the last deployment is still to come, no fault.
    implops("check", site.path)
    implops("deploy", site.path, "--yes", timeout=600)
    deadline = time.monotonic() + 60
    while site.hosts["app2"].address not in ssh(site, "dns2", f"dig +short lis.his.example @{secondary}").stdout:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_5a_another_server_with_data_of_its_own_is_left_alone(site: Site) -> None:
    implops("undo", site.path, "--yes", "--reason", "演练", timeout=600)
    make = "create database shop; create table shop.orders (id int primary key); insert into shop.orders values (7)"
    # Our settings went with whoever set it up; our data stayed.
    aside = "mkdir /run/aside; mv /etc/mysql/mariadb.conf.d/90-implops.cnf $d/implops.conf /run/aside"
    own = f"{aside}; systemctl daemon-reload; systemctl enable -q --now mariadb; mariadb -e '{make}'"
    lab.enter(site, "db1", ["sh", "-ec", f"d=/etc/systemd/system/mariadb.service.d; {own}"])
    told = implops("deploy", site.path, "--yes", code=1, timeout=600).stderr
    assert "已有别的 MariaDB 数据(/var/lib/mysql/shop)" in told
    asked = ["mariadb", "-NBe", "select id, @@datadir from shop.orders"]
    assert lab.enter(site, "db1", asked).stdout == "7\t/var/lib/mysql/\n"
    lab.enter(site, "db1", ["mariadb", "-e", "drop database shop"])
    before = Store.of(site.state).events()[-1].sequence
    implops("deploy", site.path, "--yes", "--resume", "last", timeout=600)
    # What lay there was saved when its own server told of it again.
    (saved,) = [one for one in Store.of(site.state).events(kind="database.saved") if one.sequence > before]
    assert saved.payload["run"]
    assert sql(site, "select @@datadir") == "/data/mysql/"
    assert sql(site, "select count(*) from implops.schema_log") == "2"


BEDS = "create table beds (id integer primary key, ward varchar(40) not null);\ninsert into beds values (1, '内科');\n"


def test_6_an_upgrade_that_migrated_goes_back_with_the_database_and_nothing_is_lost(site: Site) -> None:
    new = write(site, "1.1.0", mark="一点一", schema={"003_beds.sql": BEDS})
    prepare(new)
    implops("deploy", new.path, "--yes", timeout=600)
    assert sql(site, "select count(*) from implops.schema_log") == "3"
    sql(site, "insert into beds values (2, '外科')")
    saved = str(last(new, "database.saved")["run"])
    implops("rollback", new.path, "--yes", "--with-database", saved, timeout=600)
    restored = last(new, "database.restored")
    assert restored["verdict"] == "equal"
    assert sql(site, "select count(*) from implops.schema_log") == "2"
    assert sql(site, "show tables like 'beds'") == ""
    # What was written since lies in the database as it was.
    assert sql(site, f"select group_concat(ward order by id) from `{restored['kept']}`.beds") == "内科,外科"
    for host in ("app1", "app2"):
        assert ssh(site, host, "readlink /opt/implops/releases/his/current").stdout.startswith("1.0.0-")
    # Everybody may do what they could before, and nothing more.
    insert = "insert into implops_import_log values ('a','b6','c','d',1,1,1,1,2,'e','f',now())"
    assert "done" in as_app(site, "app1", insert).stdout
    assert "denied" in as_app(site, "app2", "create table t (a int)").stdout


def test_7_a_schema_file_that_ended_half_way_is_not_run_again_and_the_backup_undoes_it(site: Site) -> None:
    half = "create table half_one (a integer primary key);\ncreate table nowhere.half_two (a integer);\n"
    new = write(site, "1.2.0", mark="一点二", schema={"004_half.sql": half})
    prepare(new)
    before = ssh(site, "app1", "readlink /opt/implops/releases/his/current").stdout.strip()
    implops("deploy", new.path, "--yes", code=1, timeout=600)
    assert sql(site, "show tables like 'half_one'") == "half_one"
    # MariaDB cannot take back half a file: nobody runs it again, and nothing was switched to the new program.
    told = implops("deploy", new.path, "--yes", "--resume", "last", code=1, timeout=600).stderr
    assert "004_half.sql" in told
    assert "上次没有执行完" in told
    assert ssh(site, "app1", "readlink /opt/implops/releases/his/current").stdout.strip() == before
    saved = str(last(new, "database.saved")["run"])
    implops("rollback", new.path, "--yes", "--to", before, "--with-database", saved, timeout=600)
    assert last(new, "database.restored")["verdict"] == "equal"
    assert sql(site, "show tables like 'half_one'") == ""
    assert sql(site, "select count(*) from implops.schema_log") == "2"
