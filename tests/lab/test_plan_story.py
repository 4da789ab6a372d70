"""A plan asks the hosts and changes nothing; what was changed by hand is found and named."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from power import SECRETS, implops, ssh

from implops import lab
from implops.site import Site
from implops.store import Store

pytestmark = pytest.mark.lab
CONF = "/etc/nginx/sites-available/implops"


@pytest.mark.full
def test_1_a_deployed_site_is_as_planned(deployed: Site) -> None:
    events = len(Store.of(deployed.state).events())
    done = implops("deploy", deployed.path, "--drift", timeout=400)
    assert "0 个步骤与计划不一致" in done.stdout
    assert "0 个问不清" in done.stdout
    # It leaves no record and takes no lock.
    assert len(Store.of(deployed.state).events()) == events


def test_2_a_file_changed_by_hand_is_found_and_named(deployed: Site) -> None:
    ssh(deployed, "app1", f"sudo -n cp -p {CONF} /root/kept; sudo -n sed -i 's/50m/51m/' {CONF}")
    ssh(deployed, "dns1", "sudo -n systemctl stop named")
    try:
        done = implops("deploy", deployed.path, "--drift", code=1, timeout=400)
        assert CONF in done.stdout
        assert "-    client_max_body_size 51m;" in done.stdout
        assert "+    client_max_body_size 50m;" in done.stdout
        assert "重启 named" in done.stdout
        assert "2 个步骤与计划不一致" in done.stdout
        # It only looked.
        assert "51m" in ssh(deployed, "app1", f"cat {CONF}").stdout
    finally:
        ssh(deployed, "dns1", "sudo -n systemctl start named")
        ssh(deployed, "app1", f"sudo -n cp -p /root/kept {CONF}")
    implops("deploy", deployed.path, "--drift", timeout=400)


@pytest.mark.full
def test_3_what_cannot_be_told_is_not_taken_for_the_same(deployed: Site) -> None:
    unit = "postgresql@15-main"
    ssh(deployed, "db1", f"sudo -n systemctl stop {unit}")
    try:
        done = implops("deploy", deployed.path, "--drift", code=1, timeout=400)
        assert "? " in done.stdout
        values = [(deployed.base / "secrets" / name).read_text(encoding="ascii").strip() for name in SECRETS[:3]]
        for path in (deployed.state / "spool").iterdir():
            assert not [one for one in values if one in path.read_text(encoding="utf-8")]
        assert not [one for one in values if one in done.stdout + done.stderr]
    finally:
        ssh(deployed, "db1", f"sudo -n systemctl start {unit}")


@pytest.mark.full
def test_4_a_package_older_than_the_bundles_is_renewed(deployed: Site, tmp_path: Path) -> None:
    """Installed is not enough: Debian 12 has a restic of its own, and so may a customer's host."""
    (tmp_path / "DEBIAN").mkdir()
    (tmp_path / "DEBIAN" / "control").write_text(
        "Package: restic\nVersion: 0.14.0-1\nArchitecture: all\nMaintainer: nobody <a@b.example>\nDescription: old\n",
        encoding="ascii",
    )
    subprocess.run(["dpkg-deb", "--build", tmp_path, tmp_path / "old.deb"], check=True, capture_output=True)
    body = base64.b64encode((tmp_path / "old.deb").read_bytes()).decode()
    put = "base64 -d > /root/old.deb && dpkg --force-downgrade -i /root/old.deb"
    done = lab.enter(deployed, "db1", ["sh", "-c", put], given=body)
    assert done.returncode == 0, done.stderr
    plan = json.loads(implops("deploy", deployed.path, "--drift", "--json", code=1, timeout=400).stdout)
    assert [one["step"] for one in plan["steps"] if one["state"] != "same"] == ["backup_jobs@db1"]
    implops("deploy", deployed.path, "--yes", timeout=400)
    assert "0.14.0-1" not in ssh(deployed, "db1", "dpkg-query -W restic").stdout
    assert ssh(deployed, "db1", "restic version").returncode == 0
    implops("deploy", deployed.path, "--drift", timeout=400)


@pytest.mark.full
def test_5_another_version_of_the_server_comes_after_a_backup(deployed: Site) -> None:
    """The host's dpkg takes its server for an older one: apt would renew it."""
    older = r"sed -i '/^Package: postgresql-15$/,/^$/s/^Version: .*/Version: 15.1-0+deb12u1/' /var/lib/dpkg/status"
    assert lab.enter(deployed, "db1", ["sh", "-c", older]).returncode == 0
    store = Store.of(deployed.state)
    before = store.events()[-1].sequence
    implops("deploy", deployed.path, "--yes", timeout=600)
    since = [one for one in store.events() if one.sequence > before]
    saved = next(one.sequence for one in since if one.kind == "database.saved")
    (renewed,) = [one for one in since if one.kind == "step.started" and one.payload["step"] == "postgresql@db1"]
    assert saved < renewed.sequence
    assert "15.1-0+deb12u1" not in ssh(deployed, "db1", "dpkg-query -W postgresql-15").stdout
    assert next(one.payload["gate"] for one in since if one.kind == "gate.passed") == "backup"
    implops("deploy", deployed.path, "--drift", timeout=400)
