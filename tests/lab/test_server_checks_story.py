"""Database and name servers after their deployment: asked through their own socket, logged in to as the application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import implops, ssh, write_demo, write_site

from implops import lab
from implops.site import Site, load
from implops.store import Store

pytestmark = pytest.mark.lab

Found = dict[tuple[str, str, str], dict[str, str]]
SERVERS = ("DB", "DNS")
RESTART = "systemctl restart 'postgresql@*-main.service'; sleep 1"
HBA = "$(ls /etc/postgresql/*/main/pg_hba.conf)"


def checked(site: Site) -> Found:
    shown = json.loads(implops("check", site.path, "--json", code=None).stdout)
    # Database questions ride in the second trip; where sudo is refused, each trip is asked again without it.
    assert all(one["trips"] <= 4 for one in shown["hosts"].values())
    return {(one["host"], one["id"], one["target"]): one for one in shown["verdicts"]}


def bad(found: Found) -> set[tuple[str, str, str]]:
    return {
        key for key, one in found.items() if key[1].startswith(SERVERS) and one["state"] in ("fail", "warn", "error")
    }


def on(site: Site, host: str, command: str) -> str:
    done = lab.enter(site, host, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept_nowhere(site: Site, secret: str) -> bool:
    """Whether neither an event nor a piece of evidence of the store has the text."""
    store = Store.of(site.state)
    events = store.events(kind="host.checked")
    told = [json.dumps(one.payload, ensure_ascii=False).encode() for one in events]
    told += [store.evidence(sha256) for one in events for sha256 in one.evidence]
    return bool(told) and not any(secret.encode() in one for one in told)


@pytest.mark.full
def test_a_deployed_server_passes_and_its_faults_have_their_values(deployed: Site) -> None:
    site, address = deployed, deployed.hosts["app1"].address
    healthy = checked(site)
    # The time of a name server is that of a busy machine.
    assert {key for key in bad(healthy) if key[1] != "DNS05"} == set()
    assert healthy["app1", "DB09", "→ db1"]["actual"] == f"his_app@{address}"
    assert healthy["db1", "DB12", "mount"]["actual"] == "/data"
    assert healthy["dns1", "DNS10", "← *"]["state"] == "pass"
    settings = ("max_connections=20", "shared_buffers=16MB", "fsync=off", "timezone=UTC", "archive_mode=on",
                "archive_command=false")  # fmt: skip
    write = f"printf '%s\\n' {' '.join(settings)} >$f; chmod 644 $f"
    on(site, "db1", f"f=$(ls -d /etc/postgresql/*/main/conf.d)/fault.conf; {write}; cp -a {HBA} /run/hba.kept; "
       f"sed -i '/{address}/d' {HBA}; {RESTART}")  # fmt: skip
    # A wrong address in the zone, which every host's own /etc/hosts hides; then a typing error that nobody loaded yet.
    zone, again = "/var/lib/bind/his.example.zone", "rndc reload >/dev/null; sleep 1"
    wrong_zone = f"sed -Ei 's/^(db1 IN A ).*/\\110.9.9.9/; s/[0-9]+ ; serial/2099010101 ; serial/' {zone}"
    on(site, "dns1", f"cp -a {zone} /run/zone.kept; {wrong_zone}; {again}")
    break_it = """sed -i 's/version "none";/version "none"/' /etc/bind/named.conf"""
    on(site, "dns1", f"cp -a /etc/bind/named.conf /run/named.kept; {break_it}")
    try:
        found = checked(site)
    finally:
        on(site, "db1", f"rm /etc/postgresql/*/main/conf.d/fault.conf; cp -a /run/hba.kept {HBA}; {RESTART}")
        on(site, "dns1", f"cp -a /run/named.kept /etc/bind/named.conf; cp -a /run/zone.kept {zone}; "
           "systemctl restart named; sleep 1")  # fmt: skip
    wrong = {key: found[key]["actual"] for key in bad(found) if key[1] != "DNS05"}
    assert "pg_hba.conf" in wrong.pop(("app1", "DB09", "→ db1"))
    assert "named.conf" in wrong.pop(("dns1", "DNS08", ""))
    assert {wrong.pop((host, "DNS02", "db1.his.example")) for host in site.hosts} == {"10.9.9.9"}
    assert found["app1", "DNS02", "db1.his.example"]["note"] == "hosts_file_masks"
    assert wrong == {
        ("db1", "DB05", ""): "20",
        ("db1", "DB06", "shared_buffers"): "16 MiB",
        ("db1", "DB07", "fsync"): "off",
        ("db1", "DB10", ""): "UTC",
        ("db1", "DB13", "archive_command"): "false",
    }
    assert site.database
    assert kept_nowhere(site, site.database.app.password.resolve().reveal())


@pytest.mark.full
def test_without_root_the_server_is_asked_over_a_tunnel(deployed: Site) -> None:
    site, address, kept = deployed, deployed.hosts["db1"].address, deployed.path.read_text(encoding="utf-8")
    secret = site.base / "secrets" / "db_check"
    secret.touch(mode=0o600)
    secret.write_text("only-for-looking-1\n", encoding="ascii")
    line = "# check: {role: his_check"
    assert line in kept
    known = kept.replace(line, "  check: {role: his_check", 1)
    sql = (
        "create role his_check login password 'only-for-looking-1' in role pg_monitor; grant connect on database his "
        "to his_check"
    )
    line = f"host his his_check {address}/32 scram-sha-256"
    on(site, "db1", f'cd /; runuser -u postgres -- psql -qX -d his -c "{sql}"')
    on(
        site,
        "db1",
        f"cp -a {HBA} /run/hba.kept; sed -i '1i {line}' {HBA}; systemctl reload 'postgresql@*-main.service'",
    )
    ssh(site, "db1", "sudo -n sh -c 'mv /etc/sudoers.d /etc/sudoers.kept'")
    try:
        site.path.write_text(known, encoding="utf-8")
        found = checked(load(site.path))
        states = {key[1]: one["state"] for key, one in found.items() if key[0] == "db1" and key[1].startswith("DB")}
        assert states["DB01"] == states["DB02"] == states["DB05"] == states["DB07"] == states["DB10"] == "pass"
        assert found["db1", "DB05", ""]["actual"] == "100"
        assert kept_nowhere(site, "only-for-looking-1")
        # sshd that forwards nothing: not measured, and it says why.
        on(
            site,
            "db1",
            "echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/00-no.conf; systemctl reload ssh; sleep 1",
        )
        shut = checked(load(site.path))
        assert (shut["db1", "DB02", ""]["state"], shut["db1", "DB02", ""]["note"]) == ("error", "reason.no_forward")
        # A server that is stopped is one line and one thing to do, not twelve.
        on(site, "db1", "rm /etc/ssh/sshd_config.d/00-no.conf; systemctl reload ssh; "
           "systemctl stop 'postgresql@*-main.service'; sleep 1")  # fmt: skip
        shown = implops("check", site.path, *(word for n in range(1, 14) for word in ("--only", f"DB{n:02}")), code=1)
        (line,) = (one for one in shown.stdout.splitlines() if one.startswith("db1 "))
        assert "DB01 DB02" in line
        assert shown.stdout.count("应有的数据库没有运行") == 3  # the table, what is to be done, the coverage
    finally:
        lab.enter(site, "db1", ["mv", "/etc/sudoers.kept", "/etc/sudoers.d"])
        assert site.database
        on(site, "db1", f"systemctl start postgresql@{site.database.major}-main.service; sleep 1")
        on(site, "db1", f"rm -f /etc/ssh/sshd_config.d/00-no.conf; systemctl reload ssh; cp -a /run/hba.kept {HBA}; "
           "systemctl reload 'postgresql@*-main.service'; cd /; runuser -u postgres -- psql -qX -d his -c "
           "'revoke connect on database his from his_check' -c 'drop role his_check'")  # fmt: skip
        site.path.write_text(kept, encoding="utf-8")


@pytest.fixture(scope="module")
def on_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def edit(text: str) -> str:
        for old, new in (
            ("engine: postgresql", "engine: mariadb"),
            ("  major: 15\n", "  major: 10\n"),
            ("listens: [5432]", "listens: [3306]"),
            ("  encoding: UTF8\n  locale: zh_CN.UTF-8\n", ""),
            ("data: /data/pg", "data: /data/mysql"),
        ):
            assert old in text, old
            text = text.replace(old, new, 1)
        return text.replace("release/schema/", "release/schema-mariadb/")

    site = write_demo(write_site(tmp_path_factory.mktemp("mariadb"), edit))
    schema = Path(__file__).parents[2] / "examples" / "his" / "schema-mariadb"
    (site.base / "release" / "schema-mariadb").mkdir(exist_ok=True)
    for path in schema.iterdir():
        (site.base / "release" / "schema-mariadb" / path.name).write_bytes(path.read_bytes())
    site = load(site.path)
    try:
        implops("lab", "up", site.path)
        implops("check", site.path)
        implops("bundle", "build", site.path, timeout=900)
        implops("deploy", site.path, "--yes", timeout=900)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


@pytest.mark.full
def test_mariadb_is_asked_as_well(on_mariadb: Site) -> None:
    site, address = on_mariadb, on_mariadb.hosts["app1"].address
    healthy = checked(site)
    assert {key for key in bad(healthy) if key[1] != "DNS05"} == set()
    assert healthy["app1", "DB09", "→ db1"]["actual"] == f"his_app@{address}"
    assert healthy["db1", "DB01", ""]["actual"] == "mariadb 10.11"
    faults = (
        "[mariadbd]\\nmax_connections=20\\ninnodb_flush_log_at_trx_commit=2\\nmax_allowed_packet=1M\\nsql_mode=\\n"
        "character_set_server=latin1\\ncollation_server=latin1_swedish_ci\\ndefault_time_zone=+00:00\\n"
    )
    conf = "/etc/mysql/mariadb.conf.d/99-fault.cnf"
    on(site, "db1", f"printf '{faults}' >{conf}; systemctl restart mariadb; mariadb -e \"rename user "
       f"his_app@'{address}' to his_app@localhost; truncate mysql.time_zone_name\"")  # fmt: skip
    try:
        found = checked(site)
    finally:
        on(site, "db1", f"rm {conf}; systemctl restart mariadb; mariadb -e \"rename user his_app@localhost to "
           f"his_app@'{address}'\"")  # fmt: skip
    wrong = {key: found[key]["actual"] for key in bad(found) if key[1] != "DNS05"}
    # Its words: not allowed to connect, or access denied.
    assert wrong.pop(("app1", "DB09", "→ db1"))
    assert wrong == {
        ("db1", "DB02", "character_set_server"): "latin1",
        ("db1", "DB03", "collation_server"): "latin1_swedish_ci",
        ("db1", "DB05", ""): "20",
        ("db1", "DB07", "innodb_flush_log_at_trx_commit"): "2",
        ("db1", "DB10", ""): "+00:00",
        ("db1", "DB10", "mysql.time_zone_name"): "0",
        ("db1", "DB11", "max_allowed_packet"): "1 MiB",
        ("db1", "DB11", "sql_mode"): "—",
    }


@pytest.mark.full
def test_mariadb_without_root_is_asked_over_a_tunnel(on_mariadb: Site) -> None:
    site, address, kept = on_mariadb, on_mariadb.hosts["db1"].address, on_mariadb.path.read_text(encoding="utf-8")
    secret = site.base / "secrets" / "db_check"
    secret.touch(mode=0o600)
    secret.write_text("only-for-looking-2\n", encoding="ascii")
    account = f"his_check@'{address}'"
    on(site, "db1", f"mariadb -e \"create user {account} identified by 'only-for-looking-2'; grant select on *.* to "
       f"{account}\"; mariadb-tzinfo-to-sql /usr/share/zoneinfo 2>/dev/null | mariadb mysql")  # fmt: skip
    ssh(site, "db1", "sudo -n sh -c 'mv /etc/sudoers.d /etc/sudoers.kept'")
    try:
        site.path.write_text(
            kept.replace("# check: {role: his_check", "  check: {role: his_check", 1), encoding="utf-8"
        )
        found = checked(load(site.path))
        states = {key[1]: one["state"] for key, one in found.items() if key[0] == "db1" and key[1].startswith("DB")}
        assert {id for id, state in states.items() if state in ("fail", "warn", "error")} == set()
        assert (found["db1", "DB01", ""]["actual"], found["db1", "DB05", ""]["actual"]) == ("mariadb 10.11", "100")
        assert states["DB08"] == "pass"
        assert kept_nowhere(site, "only-for-looking-2")
        on(site, "db1", "systemctl stop mariadb")
        stopped = checked(load(site.path))
        assert {stopped["db1", id, ""]["note"] for id in ("DB01", "DB05", "DB07")} == {"reason.no_server"}
    finally:
        lab.enter(site, "db1", ["mv", "/etc/sudoers.kept", "/etc/sudoers.d"])
        on(site, "db1", f'systemctl start mariadb; mariadb -e "drop user {account}"')
        site.path.write_text(kept, encoding="utf-8")
