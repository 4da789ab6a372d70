"""Four bare hosts become the running system, whatever happens on the way; and a second run finds nothing to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kills import POINTS, compare, killed, share_secrets
from power import SECRETS, environment, implops, ssh, write_demo, write_site
from releases import files_of_parameters, page

from implops import lab
from implops.bundle import latest
from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bare(deployed: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own, checked, with its bundle; nothing is deployed yet. Later compared with an undisturbed one."""
    site = write_demo(write_site(tmp_path_factory.mktemp("story")))
    share_secrets(site, deployed)
    try:
        implops("lab", "up", site.path)
        assert "implops check" in implops("deploy", site.path, "--yes", code=5).stderr
        implops("check", site.path)
        implops("bundle", "build", site.path, timeout=900)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


def start(site: Site, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes", *options]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env=environment(), start_new_session=True)  # fmt: skip


def wait_for(site: Site, process: subprocess.Popen[bytes], step: str) -> None:
    """Until the journal says that ``step`` has begun in the last run; a moment later it is in the middle of it."""
    store = Store.of(site.state)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the deployment ended before it could be disturbed"
        last = store.last("deploy.started")
        if last and any(
            one.payload["step"] == step and one.sequence > last.sequence
            for one in store.events(kind="step.started", run=last.run)
        ):
            time.sleep(1.5)
            return
        time.sleep(0.1)
    raise AssertionError(f"{step} never began")


def finished(site: Site) -> dict[str, object]:
    event = Store.of(site.state).last("deploy.finished")
    assert event
    return event.payload


def sql(site: Site, query: str) -> str:
    done = ssh(site, "db1", f'cd / && sudo -n -u postgres psql -XAtq -d his -c "{query}"')
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_0_the_plan_of_bare_hosts_says_what_it_can(bare: Site) -> None:
    plan = implops("deploy", bare.path, "--dry-run", timeout=300).stdout
    assert "安装 PostgreSQL 软件包" in plan
    assert "执行到此之前不能确定" in plan
    assert '+zone "his.example"' in plan
    password = (bare.base / "secrets" / "db_app").read_text(encoding="ascii").strip()
    assert password not in plan
    assert ssh(bare, "db1", "ls /etc/postgresql /var/lib/implops/bundle").returncode != 0


def test_1_a_damaged_bundle_is_refused_and_nothing_happens(bare: Site) -> None:
    path = latest(bare)
    at = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    told = implops("deploy", bare.path, "--yes", code=1).stderr
    assert path.name in told
    assert Store.of(bare.state).events(kind="deploy.started") == []
    with path.open("r+b") as file:
        file.seek(at)
        file.write(byte)


def test_2_a_killed_run_leaves_its_record_and_keeps_others_out(bare: Site) -> None:
    process = start(bare)
    wait_for(bare, process, "postgresql@db1")
    # A second operator on the same machine meets the site's lock.
    assert "deploy" in implops("deploy", bare.path, "--yes", code=4).stderr
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = Store.of(bare.state)
    assert store.events(kind="deploy.finished") == []
    assert [one.payload["step"] for one in store.events(kind="step.finished")]
    # The lock on the hosts survives the killed run: who comes next is told to resume it.
    assert "--resume" in implops("deploy", bare.path, "--yes", code=4).stderr


def test_2a_killed_at_eight_records_it_goes_on_every_time(bare: Site) -> None:
    for when, number in POINTS:
        assert killed(bare, when, number)
    assert Store.of(bare.state).events(kind="deploy.finished") == []


def test_3_a_power_cut_in_the_resumed_run_is_told_and_resumed_again(bare: Site) -> None:
    process = start(bare, "--resume", "last")
    wait_for(bare, process, "tomcat@app1")
    lab.power_cut(bare, "app1")
    assert process.wait(180) == 3
    assert finished(bare)["conclusion"] == "fail"
    lab.boot(bare, "app1")
    done = implops("deploy", bare.path, "--yes", "--resume", "last", timeout=400)
    assert "部署合格" in done.stdout
    good = finished(bare)
    assert good["conclusion"] == "pass"
    assert {state for recipes in good["recipes"].values() for state in recipes.values()} == {"good"}  # type: ignore[attr-defined]
    assert [one["state"] for one in good["modules"]] == ["pass"] * 4  # type: ignore[attr-defined]
    assert good["backup_run"]


def test_4_a_second_run_changes_nothing_and_says_so(bare: Site) -> None:
    before = ssh(bare, "app1", "readlink /opt/implops/releases/his/current; systemctl show -p MainPID tomcat10").stdout
    done = implops("deploy", bare.path, "--yes", timeout=400, code=None)
    if done.returncode == 5:
        # app1 was started again since the check that opened the first run.
        implops("check", bare.path)
        done = implops("deploy", bare.path, "--yes", timeout=400)
    assert "无需改动" in done.stdout
    assert finished(bare)["changed"] == 0
    after = ssh(bare, "app1", "readlink /opt/implops/releases/his/current; systemctl show -p MainPID tomcat10").stdout
    assert before == after


def test_4a_and_the_hosts_are_as_if_nothing_had_happened(bare: Site, deployed: Site) -> None:
    compare(bare, deployed)


def test_4b_what_somebody_changed_since_is_seen_and_mended(bare: Site) -> None:
    # Everything is foreseen now: asked at once, before the first step.
    assert (bare.state / "asked.json").is_file()
    page, server = "/etc/nginx/sites-available/implops", "/etc/tomcat10/server.xml"
    spoil = f"echo '# by hand' | sudo -n tee -a {page} {server}; sudo -n systemctl stop tomcat10"
    assert ssh(bare, "app1", spoil).returncode == 0
    told = implops("deploy", bare.path, "--drift", code=1, timeout=400).stdout
    assert page in told
    assert server in told
    done = implops("deploy", bare.path, "--yes", timeout=400)
    assert "无需改动" not in done.stdout
    assert int(str(finished(bare)["changed"])) >= 3
    seen = ssh(bare, "app1", f"sudo -n grep -c 'by hand' {page} {server}; systemctl is-active tomcat10")
    assert seen.stdout.split() == [f"{page}:0", f"{server}:0", "active"]
    assert "无需改动" in implops("deploy", bare.path, "--yes", timeout=400).stdout


def test_5_the_database_is_as_declared(bare: Site) -> None:
    assert sql(bare, "show data_directory") == "/data/pg"
    about = "select pg_encoding_to_char(encoding), datcollate, pg_get_userbyid(datdba) from pg_database"
    assert sql(bare, f"{about} where datname = 'his'") == "UTF8|zh_CN.UTF-8|his_owner"
    assert sql(bare, "select count(*) from implops.schema_log") == "2"
    rights = "has_table_privilege('his_app', 'departments', '{}')"
    assert sql(bare, f"select {rights.format('select')}, {rights.format('truncate')}") == "t|f"
    assert sql(bare, "select has_schema_privilege('his_app', 'public', 'create')") == "f"
    password = (bare.base / "secrets" / "db_app").read_text(encoding="ascii").strip()
    # The application's password opens nothing from the database host itself, nor through the socket.
    for where in ("-h " + bare.hosts["db1"].address, ""):
        done = ssh(bare, "db1", f"PGPASSWORD={password} psql {where} -XAtqw -U his_app -d his -c 'select 1'")
        assert done.returncode != 0
        assert "pg_hba.conf" in done.stderr


def test_6_names_resolve_both_ways_on_every_host(bare: Site) -> None:
    for name in bare.hosts:
        for other in bare.hosts.values():
            asked = f"getent -s dns ahostsv4 {other.name}.his.example; getent -s dns hosts {other.address}"
            answer = ssh(bare, name, asked).stdout
            assert answer.startswith(other.address)
            assert f"{other.name}.his.example" in answer
    assert bare.hosts["app1"].address in ssh(bare, "db1", "getent -s dns ahostsv4 his.his.example").stdout


def test_7_no_secret_lies_where_it_does_not_belong(bare: Site) -> None:
    values = [(bare.base / "secrets" / name).read_text(encoding="ascii").strip() for name in SECRETS[:3]]
    here = [path for folder in (bare.state, bare.out) for path in folder.rglob("*") if path.is_file()]
    here = [path for path in here if "lab" not in path.relative_to(bare.base).parts[:2]]
    assert any(path.name == "records.db" for path in here)
    for path in here:
        body = path.read_bytes()
        assert not [path for value in values if value.encode() in body]
    for name in bare.hosts:
        for value in values:
            found = ssh(
                bare, name, f"sudo -n grep -rlF -e {value} /etc /var /opt /tmp /root /home 2>/dev/null; true"
            ).stdout
            for path in found.split():
                mode = ssh(bare, name, f"sudo -n stat -c %a {path}").stdout.strip()
                assert int(mode, 8) & 0o007 == 0, f"{name}:{path} {mode}"


def test_8_the_record_tells_the_whole_story(bare: Site) -> None:
    implops("record", "verify", bare.path)
    store = Store.of(bare.state)
    run = store.events(kind="deploy.started")[0].run
    kinds = [one.kind for one in store.events(run=run)]
    assert kinds.count("deploy.started") == 3 + len(POINTS)
    shown = json.loads(implops("document", "list", bare.path, "--json").stdout)
    assert "INST" in json.dumps(shown)
    page = next(path for path in Path(bare.out).glob("*INST-0001.html")).read_text(encoding="utf-8")
    assert "续跑" in page
    assert "连接中断" in page


def test_9_what_was_run_and_what_was_written_is_recorded_and_printed(deployed: Site) -> None:
    store = Store.of(deployed.state)
    run = store.events(kind="deploy.started")[0].run
    ops = [one.payload for one in store.events(kind="op.finished", run=run)]
    ran: dict[str, str] = {}
    for op in ops:
        ran[op["op"]] = " ".join([ran.get(op["op"], ""), *(one["text"] for one in op.get("commands", []))])
    assert "initdb -D /data/pg.implops-new" in ran["recipe.postgresql.initdb"]
    assert ran["recipe.nginx.packages"].strip() == "… apt-get -q -y --no-remove install -- nginx-light …"
    assert "nginx -q -t; } && systemctl reload nginx.service" in ran["recipe.nginx.reload"]
    assert "psql" in ran["recipe.postgresql.roles"]
    assert "SCRAM" not in ran["recipe.postgresql.roles"]
    told = json.dumps(ops, ensure_ascii=False)
    assert "flock" not in told
    assert not [name for name in SECRETS if (deployed.base / "secrets" / name).read_text("ascii").strip() in told]
    # A record is for keeping: what a first installation of four hosts adds to it.
    assert len(told) < 100_000
    files_of_parameters(deployed)
    shown = page(deployed, "INST", run)
    for word in ("D 附 命令", "实施人员提供(system.artifact)", "软件源 Debian", "端口可连接:", "3 项均符合",
                 "/etc/postgresql/15/main/postgresql.conf", "install -- nginx-light"):  # fmt: skip
        assert word in shown, word
