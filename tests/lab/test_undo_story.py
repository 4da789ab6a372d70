"""What was deployed is taken away: nothing of it runs or starts again, no key is left, the data are all there."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import pytest
from power import implops, ssh
from releases import fresh, last, page

from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]
# Host -> units that a deployment starts there.
UNITS = {
    "db1": ["postgresql@15-main", "implops-backup@database.timer"],
    "app1": ["tomcat10", "nginx", "implops-backup@program.timer"],
    "dns1": ["named"],
}
COUNT = "cd /; sudo -n -u postgres psql -XAtqd his -c 'select count(*) from schema_marker'"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def edit(text: str) -> str:
        declared = "accounts:\n  vendor: {hosts: [app, dns1], key: vendor.pub, groups: [adm]}\n\nroles:"
        return text.replace("\nroles:", f"\n{declared}", 1)

    def arrange(site: Site) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", site.base / "vendor"], check=True)

    yield from fresh(tmp_path_factory.mktemp("undo"), edit, arrange)


def test_0_a_declared_account_logs_in_with_its_key_only(site: Site) -> None:
    mine = ["ssh", "-F", "none", "-i", site.base / "vendor", "-o", f"UserKnownHostsFile={site.known_hosts}",
            "-o", "BatchMode=yes", f"vendor@{site.hosts['app1'].address}", "id -nG"]  # fmt: skip
    done = subprocess.run(mine, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout.split() == ["vendor", "adm"], done.stderr
    assert ssh(site, "dns1", "sudo -n getent shadow vendor").stdout.split(":")[1] == "*"
    assert not ssh(site, "db1", "getent passwd vendor; true").stdout


def test_0b_the_system_writes_into_shared_and_nowhere_else_beside(site: Site) -> None:
    home = "/opt/implops/releases/his"
    inside = "sudo -n nsenter -m -t $(systemctl show -p MainPID --value tomcat10) runuser -u tomcat --"
    assert ssh(site, "app1", f"{inside} touch {home}/shared/report.pdf").returncode == 0
    assert "Read-only" in ssh(site, "app1", f"sudo -n nsenter -m -t $(systemctl show -p MainPID --value tomcat10) "
                                            f"env LC_ALL=C touch {home}/x").stderr  # fmt: skip


def test_0a_another_key_of_the_account_stays_beside_it(site: Site) -> None:
    file = "/home/vendor/.ssh/authorized_keys"
    # Without an end of line, as editors leave it.
    ssh(site, "app1", f"sudo -n sh -c \"printf 'ssh-ed25519 AAAAother somebody' > {file}\"")
    implops("deploy", site.path, "--yes", timeout=600)
    lines = ssh(site, "app1", f"sudo -n cat {file}; sudo -n stat -c '%a %U' {file}").stdout.splitlines()
    assert lines[0] == "ssh-ed25519 AAAAother somebody"
    assert lines[1:] == [(site.base / "vendor.pub").read_text(encoding="utf-8").strip(), "600 vendor"]


def test_1_a_step_that_another_needs_is_not_undone_alone(site: Site) -> None:
    done = implops("undo", site.path, "tomcat", "--reason", "演练", "--yes", code=2)
    assert "app_war@app1 还需要 tomcat@app1" in done.stderr
    assert "计划中没有 apache" in implops("undo", site.path, "apache", "--reason", "x", code=2).stderr
    assert "--reason" in implops("undo", site.path, "--yes", code=2).stderr
    assert Store.of(site.state).last("undo.started") is None
    assert ssh(site, "app1", "systemctl is-active tomcat10").stdout.strip() == "active"


def test_2_one_step_is_undone_and_comes_back(site: Site) -> None:
    implops("undo", site.path, "backup_jobs@db1", "--reason", "更换备份方式", "--yes")
    assert "repo-password" not in ssh(site, "db1", "sudo -n ls /etc/implops/backup").stdout
    assert "implops-backup@database" not in ssh(site, "db1", "systemctl list-timers --all").stdout
    # The other host goes on.
    assert "implops-backup@program" in ssh(site, "app1", "systemctl list-timers --all").stdout
    implops("check", site.path)
    done = implops("deploy", site.path, "--yes", timeout=600)
    assert "implops-backup@database" in ssh(site, "db1", "systemctl list-timers --all").stdout, done.stdout


def test_3_everything_is_undone_and_the_data_stay(site: Site) -> None:
    ssh(site, "db1", "cd /; sudo -n -u postgres psql -Xqd his -c 'create table schema_marker (a int); "
                     "insert into schema_marker select generate_series(1, 7)'")  # fmt: skip
    done = implops("undo", site.path, "--reason", "演练结束", "--yes", timeout=400)
    assert "/data/pg" in done.stdout
    for host, units in UNITS.items():
        for unit in units:
            states = ssh(site, host, f"systemctl is-active {unit}; systemctl is-enabled {unit}; true").stdout.split()
            assert not {"active", "enabled", "enabled-runtime"} & set(states), (host, unit, states)
    for host in site.hosts:
        left = ssh(site, host, "grep -c 'implops begin' /etc/hosts; sudo -n find /etc -name '60-implops*'").stdout
        assert left == "0\n", left
    secrets = ssh(site, "db1", "sudo -n find /etc/implops -type f").stdout
    assert not secrets.strip()
    # A host that comes up again does not bring them back.
    ssh(site, "db1", "sudo -n systemctl daemon-reload; sudo -n systemctl start multi-user.target")
    assert ssh(site, "db1", "systemctl is-active postgresql@15-main; true").stdout.strip() != "active"
    finished = last(site, "undo.finished")
    assert finished["conclusion"] == "pass"
    run = Store.of(site.state).last("undo.finished")
    assert run is not None
    html = page(site, "INST", run.run)
    assert "演练结束" in html
    assert "/data/pg" in html
    # Once more there is nothing to do; nothing can be imported into what is not there.
    implops("undo", site.path, "--reason", "再次确认", "--yes", timeout=400)
    assert last(site, "undo.finished")["changed"] == 0


def test_4_what_was_undone_is_deployed_again_over_its_data(site: Site) -> None:
    # What a deployment brings is "before" again.
    implops("check", site.path)
    implops("deploy", site.path, "--yes", timeout=900)
    assert ssh(site, "db1", COUNT).stdout.strip() == "7"
    implops("verify", site.path)
    # The data that lay there were saved before anything could touch them: what saves them was gone when it began.
    run = Store.of(site.state).last("deploy.finished")
    assert run is not None
    events = Store.of(site.state).events(run=run.run)
    saved = next(one for one in events if one.kind == "database.saved")
    touching = [one for one in events if one.kind == "step.started" and one.payload["recipe"] in ("schema", "app_war")]
    assert touching
    assert saved.sequence < touching[0].sequence
    member = Store.of(site.state).events(kind="backup.member", run=saved.payload["run"])[0].payload["members"][0]
    assert member["schema"] == [
        [one.name, hashlib.sha256(one.read_bytes()).hexdigest()] for one in (site.system.schema_ if site.system else [])
    ]
