"""Blank disks are put into use; what may hold somebody's data is refused, and is the same afterwards byte for byte."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from power import environment, implops, leftovers, write_site

from implops import lab
from implops.site import Site

pytestmark = pytest.mark.lab

SITE = """project: {{code: HIS, name: 备份, contract: HT-1, customer: 某某医院, environment: test}}
ssh: {{user: deploy, key: secrets/id_ed25519}}
time: {{zone: Asia/Shanghai, ntp: [{net}14]}}
hosts:
  sto1: {{address: {net}14, roles: [storage], disks: {{/backup: /dev/vdb, /arch: /dev/vdc}}}}
roles:
  storage:
    mounts:
      /backup: {{size: 400 MB, fs: [xfs, ext4]}}
      /arch: {{size: 250 MB, options: [noatime]}}
backup:
  repository: {{host: sto1, path: /backup/his, password: file:secrets/restic}}
  database: {{every: daily 02:00, keep: {{daily: 7}}, drill: weekly}}
  program: {{every: daily 03:00, keep: {{daily: 7}}}}
lab:
  network: {net}0/24
  raw: {{sto1: {{/dev/vdb: 500 MB, /dev/vdc: 300 MB, /dev/vdd: 300 MB}}}}
"""
# The declaration of a third disk, which the story fills with what must be refused.
THIRD = (
    ("/arch: /dev/vdc}}", "/arch: /dev/vdc, /extra: /dev/vdd}}"),
    ("[noatime]}}", "[noatime]}}\n      /extra: {{size: 250 MB}}"),
)
# Stands before the real program: makes the filesystem, and then the power goes before anybody is told.
SLOW = '#!/bin/sh\n/usr/sbin/mkfs.xfs "$@"; sync; touch /run/making; sleep 600\n'


def edit(text: str) -> str:
    found = re.search(r"10\.77\.\d+\.", text)
    assert found
    return SITE.format(net=found[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = write_site(tmp_path_factory.mktemp("mounts"), edit)
    try:
        implops("lab", "up", site.path)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)
    assert not leftovers(site)


def run(site: Site, script: str, code: int = 0) -> str:
    """On the host as root, past its SSH server."""
    done = lab.enter(site, "sto1", ["sh", "-c", script])
    assert done.returncode == code, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def sums(site: Site, *devices: str) -> str:
    return run(site, f"sync; echo 3 > /proc/sys/vm/drop_caches 2>/dev/null; cd /dev && sha256sum {' '.join(devices)}")


def declare_third(site: Site) -> None:
    text = site.path.read_text(encoding="utf-8")
    if "/extra" not in text:
        for old, new in THIRD:
            assert old.format() in text
            text = text.replace(old.format(), new.format())
        site.path.write_text(text, encoding="utf-8")


def restart(site: Site) -> None:
    """systemd mounts no devices in a container: ``mount -a`` does what the lines of /etc/fstab say."""
    lab.boot(site, "sto1")
    run(site, "mount -a")


def test_1_a_blank_disk_is_information_and_the_plan_says_that_it_is_formatted(site: Site) -> None:
    # An archive of somebody's: to be used as it is.
    run(site, "mkfs.ext4 -q /dev/vdc && mkdir /m && mount /dev/vdc /m && echo kept > /m/old && umount /m && rmdir /m")
    before = sums(site, "vdb", "vdc")
    told = implops("check", site.path).stdout
    assert "将由配方 mounts 设置" in told or "环境检查合格" in told
    implops("bundle", "build", site.path, timeout=900)
    plan = implops("deploy", site.path, "--dry-run").stdout
    assert "【危险】格式化空白磁盘" in plan
    assert re.search(r"mkfs\.xfs .*/dev/vdb", plan), plan
    assert not re.search(r"mkfs\.ext4 .*/dev/vdc", plan), plan
    assert sums(site, "vdb", "vdc") == before


def test_2_a_power_cut_while_it_is_formatted_is_made_good(site: Site) -> None:
    run(site, f"printf %s '{SLOW}' > /usr/local/sbin/mkfs.xfs; chmod 755 /usr/local/sbin/mkfs.xfs; sync")
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes"]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as tool:
        deadline = time.monotonic() + 120
        while lab.enter(site, "sto1", ["test", "-e", "/run/making"]).returncode:
            assert tool.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        lab.power_cut(site, "sto1")
        restart(site)
        tool.communicate(timeout=120)
        assert tool.returncode != 0
    begun = run(site, "rm /usr/local/sbin/mkfs.xfs; tail -n 1 /var/lib/implops/formatting/*")
    assert run(site, "blkid -p -s UUID -o value /dev/vdb") == begun
    run(site, "! mountpoint -q /backup")
    implops("check", site.path)
    implops("deploy", site.path, "--resume", "last", "--yes", timeout=300)
    assert run(site, "findmnt -n -o FSTYPE,UUID -M /backup").split() == ["xfs", begun]
    assert run(site, "ls /var/lib/implops/formatting") == ""
    assert run(site, "stat -c %U /backup/his") == "implops-backup"


@pytest.mark.full
def test_3_an_old_filesystem_is_used_as_it_is_and_nothing_is_left_to_do(site: Site) -> None:
    assert run(site, "cat /arch/old") == "kept"
    assert "noatime" in run(site, "findmnt -n -o OPTIONS -M /arch")
    lines = run(site, "cat /etc/fstab").splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["/arch", "ext4", "noatime", "0", "2"], ["/backup", "xfs", "defaults", "0", "0"]
    ]  # fmt: skip
    assert "均无需改动" in implops("deploy", site.path, "--yes").stdout
    implops("deploy", site.path, "--drift")
    implops("check", site.path)


def test_4_the_host_comes_up_again_with_its_disks(site: Site) -> None:
    run(site, "echo new > /backup/file; sync")
    lab.stop(site, "sto1")
    restart(site)
    assert run(site, "cat /backup/file /arch/old").split() == ["new", "kept"]


def test_5_a_line_that_was_taken_away_is_found_and_comes_back(site: Site) -> None:
    # In the customer's own encoding, and without an end of line.
    run(site, "printf '# \\261\\270\\267\\335\\n' > /etc/fstab.new; grep -v /backup /etc/fstab >> /etc/fstab.new; "
              "printf 'tmpfs /t tmpfs noauto 0 0' >> /etc/fstab.new; cp /etc/fstab.new /etc/fstab; sync")  # fmt: skip
    assert "磁盘与挂载" in implops("deploy", site.path, "--drift", code=1).stdout
    implops("check", site.path)
    implops("deploy", site.path, "--yes")
    made = run(site, "head -c -1 /etc/fstab | od -An -c | head -n 1; grep -c /backup /etc/fstab; "
                     "cmp -n $(stat -c %s /etc/fstab.new) /etc/fstab.new /etc/fstab")  # fmt: skip
    assert "261" in made and made.splitlines()[1] == "1", made
    implops("deploy", site.path, "--drift")


FOREIGN = {
    "raw data without a signature": ("printf DATA | dd of=/dev/vdd bs=1 seek=2000000 conv=notrunc", "清零"),
    "raw data at its end": ("printf DATA | dd of=/dev/vdd bs=1 seek=299999000 conv=notrunc", "清零"),
    "another filesystem": ("mkswap -q /dev/vdd", "swap"),
    "a partition table": (
        "{ head -c 446 /dev/zero; printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\10\\0\\0\\0\\20\\0\\0'; "
        "head -c 48 /dev/zero; printf '\\125\\252'; } > /dev/vdd",
        "wipefs",
    ),
    "a mounted one": ("mkfs.ext4 -q /dev/vdd; mkdir -p /m; mount -o ro /dev/vdd /m", "/m"),
    "a mount point in use": ("mkdir -p /extra; touch /extra/x", "盖住"),
}

FIRST = next(iter(FOREIGN))


@pytest.mark.parametrize(
    "what", [FIRST, *(pytest.param(one, marks=pytest.mark.full) for one in FOREIGN if one != FIRST)]
)
def test_6_what_may_be_data_is_refused_and_untouched(site: Site, what: str) -> None:
    declare_third(site)
    make, word = FOREIGN[what]
    run(site, "blkdiscard -zf /dev/vdd || dd if=/dev/zero of=/dev/vdd bs=1M; sync")
    run(site, f"{make} && sync")
    before = sums(site, "vdd")
    assert "DSK01" in implops("check", site.path, code=1).stdout
    plan = implops("deploy", site.path, "--dry-run", code=3).stdout
    assert "/dev/vdd" in plan and word in plan, plan
    assert sums(site, "vdd") == before
    run(site, "! mountpoint -q /m || umount /m; rm -rf /extra; ! mountpoint -q /extra")


def test_6b_a_disk_that_is_too_small_is_refused(site: Site) -> None:
    declare_third(site)
    run(site, "dd if=/dev/zero of=/dev/vdd bs=1M; sync")
    text = site.path.read_text(encoding="utf-8")
    site.path.write_text(text.replace("/extra: {size: 250 MB}", "/extra: {size: 2 GB}"), encoding="utf-8")
    try:
        plan = implops("deploy", site.path, "--dry-run", code=3).stdout
        assert "/dev/vdd" in plan and "1.8" in plan, plan
    finally:
        site.path.write_text(text, encoding="utf-8")


def test_7_a_disk_that_is_filled_after_the_check_is_refused_by_the_step(site: Site) -> None:
    run(site, "dd if=/dev/zero of=/dev/vdd bs=1M; sync")
    implops("check", site.path)
    run(site, "printf DATA | dd of=/dev/vdd bs=1 seek=2000000 conv=notrunc; sync")
    before = sums(site, "vdd")
    done = implops("deploy", site.path, "--yes", code=1)
    assert "/dev/vdd" in done.stdout + done.stderr
    assert "清零" in done.stdout + done.stderr
    assert sums(site, "vdd") == before
    assert run(site, "grep -c /extra /etc/fstab", 1) == "0"
    run(site, "dd if=/dev/zero of=/dev/vdd bs=1M; sync")
    implops("deploy", site.path, "--resume", "last", "--yes")
    assert run(site, "findmnt -n -o FSTYPE -M /extra") == "ext4"


def test_8_undone_what_holds_data_stays_mounted(site: Site) -> None:
    done = implops("undo", site.path, "--reason", "演练", "--yes")
    assert "/arch" in done.stdout
    assert run(site, "cat /arch/old /backup/file").split() == ["kept", "new"]
    run(site, "! mountpoint -q /extra")
    assert run(site, "awk '{print $2}' /etc/fstab | grep ^/").split() == ["/arch", "/t", "/backup"]
