"""Disks that are put into use: what the site file may say, /etc/fstab, the plan, what a check says before."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import recordings as rec

from implops import kit
from implops.deploy import plan, recipes, shell
from implops.errors import SiteError
from implops.site import Site, load

DEVICE = "/dev/disk/by-id/scsi-36000c29f8e"
MOUNT = {"mount": "/backup", "device": DEVICE, "make": "xfs", "accepted": ["xfs"], "need": 1, "options": []}


def mounts() -> ModuleType:
    return kit.load(kit.shipped() / "deploy_recipes" / "mounts.py", "deploy_recipes")


def declared(example: Path, disks: str, *pairs: tuple[str, str]) -> Site:
    text = example.read_text(encoding="utf-8")
    for old, new in (("roles: [storage], owner: 信息科", f"roles: [storage], disks: {disks}"), *pairs):
        assert old in text, old
        text = text.replace(old, new, 1)
    example.write_text(text, encoding="utf-8")
    return load(example)


@pytest.fixture
def disk(example: Path) -> Site:
    return declared(example, f"{{/backup: {DEVICE}}}")


BACKUP = "      /backup: {size: 20 GB, separate: true}"


@pytest.mark.parametrize(
    ("mount", "disks", "fault"),
    [
        ("/backup: {size: 20 GB, separate: false}", "{/backup: /dev/vdb}", "site.disk_no_mount"),
        ("/backup: {size: 20 GB, fs: [nfs4, btrfs]}", "{/backup: /dev/vdb}", "site.disk_fs"),
        ("/backup: {size: 20 GB}\n      /b: {size: 1 GB}", "{/backup: /dev/vdb, /b: /dev/vdb}", "site.disk_twice"),
    ],
)
def test_a_disk_that_fits_no_mount_is_refused(example: Path, mount: str, disks: str, fault: str) -> None:
    with pytest.raises(SiteError) as caught:
        declared(example, disks, (BACKUP, f"      {mount}"))
    assert caught.value.key == fault
    assert "hosts.sto1.disks" in str(caught.value)


@pytest.mark.parametrize(
    ("fs", "made"), [("", "ext4"), (", fs: [nfs4, xfs, ext4]", "xfs"), (", fs: [btrfs, ext4]", "ext4")]
)
def test_the_first_local_filesystem_that_is_named_is_made(example: Path, fs: str, made: str) -> None:
    site = declared(example, "{/backup: /dev/vdb}", (BACKUP, f"      /backup: {{size: 20 GB{fs}}}"))
    assert mounts().params(site, site.hosts["sto1"])["disks"][0]["make"] == made


def test_everything_on_that_host_comes_behind_its_disks_and_nobody_else_waits(disk: Site) -> None:
    made = plan.make(disk, recipes.load(disk.base))
    for step in made.steps:
        assert ("mounts@sto1" in step.needs) == (step.host.name == "sto1" and step.recipe.id != "mounts"), step.id
    assert "xfsprogs" in made.step("mounts@sto1").packages
    assert recipes.load(None)["storage"].params(disk, disk.hosts["sto1"])["disk"] is True


def test_a_mount_within_another_comes_behind_it(example: Path) -> None:
    site = declared(
        example, "{/backup/a: /dev/vdb, /backup: /dev/vdc}", (BACKUP, f"{BACKUP}\n      /backup/a: {{size: 1 GB}}")
    )
    found = mounts().params(site, site.hosts["sto1"])["disks"]
    assert [one["mount"] for one in found] == ["/backup", "/backup/a"]


OTHERS = b"# \xb1\xb8\xb7\xdd /backup\nUUID=1 / ext4 errors=remount-ro 0 1\r\n\n#UUID=2 /backup xfs defaults 0 0\n"


@pytest.mark.parametrize("end", [b"", b"UUID=9 /backup2 xfs defaults 0 0", b"UUID=3\t/backup\txfs  ro 0 0\n"])
def test_fstab_keeps_every_other_byte(tmp_path: Path, end: bytes) -> None:
    fstab, new = tmp_path / "fstab", mounts().line("xfs", "4", MOUNT)
    fstab.write_bytes(OTHERS + end)
    fstab.chmod(0o640)
    for _ in range(2):
        subprocess.run(["sh", "-c", mounts().edit(str(fstab), "/backup", new)], check=True)
    kept = b"" if b"UUID=3" in end else end + b"\n" if end else b""
    assert fstab.read_bytes() == OTHERS + kept + b"UUID=4 /backup xfs defaults 0 0\n"
    assert fstab.stat().st_mode & 0o777 == 0o640
    subprocess.run(["sh", "-c", mounts().edit(str(fstab), "/backup", "")], check=True)
    assert fstab.read_bytes() == OTHERS + kept
    assert [path.name for path in tmp_path.iterdir()] == ["fstab"]


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("UUID=4 /backup xfs defaults 0 0", True),
        ("UUID=4 /backup xfs noatime,nofail 0 0  # ours", True),
        ("UUID=4 /backup xfs noauto 0 0", False),
        ("UUID=4 /backup ext4 defaults 0 0", False),
        ("# UUID=4 /backup xfs defaults 0 0", False),
        ("UUID=4 /backup xfs defaults 0 0\nUUID=4 /backup xfs defaults 0 0", False),
    ],
)
def test_a_line_of_the_customers_own_counts_when_it_brings_the_mount(line: str, holds: bool) -> None:
    assert mounts().holds(f"{line}\n", "xfs", "4", MOUNT) is holds


def test_declared_options_have_to_be_there() -> None:
    wanted = {**MOUNT, "options": ["noatime"]}
    assert mounts().line("ext4", "4", wanted) == "UUID=4 /backup ext4 noatime 0 2"
    assert not mounts().holds("UUID=4 /backup xfs defaults 0 0", "xfs", "4", wanted)
    assert mounts().holds("UUID=4 /backup xfs nofail,noatime 0 0", "xfs", "4", wanted)


@pytest.mark.parametrize("command", ["echo 'a b' \"$x\";\nfoo", "a; echo $? > b"])
def test_a_plan_shows_the_command_itself(command: str) -> None:
    assert shell.plain(shell.guarded(command, 60)) == command
    assert shell.plain(shell.job(command, 900)) == command
    assert shell.plain(command) == command


MOUNTED = ["/dev/vda / ext4 rw 0 0"]
ROOM = {"parent": ["/backup /", "/ /"], "dfk": ["/dev/vda 41152736 20000 39000000 1% /"] * 2,
        "dfi": ["/dev/vda 1000 10 990 1% /"] * 2}  # fmt: skip
GB = 10**9


def before(site: Site, device: str, **more: str | list[str] | None) -> rec.Scene:
    """The storage host with nothing mounted yet, and what its disk is."""
    edits = {"mount": MOUNTED, **ROOM, "dir": ["/backup -"], "fstab": [], "unit": [], "base": [], "queue": [],
             "device": [f"/backup {device}"], **more}  # fmt: skip
    return rec.scene(site, **rec.changed("bookworm", "sto1", "disks", edits))


@pytest.mark.parametrize(
    ("device", "state", "note"),
    [
        (f"block {20 * GB} 0 - -", "info", "will_be_set"),
        (f"block {20 * GB} 0 - xfs", "info", "will_be_set"),
        (f"block {20 * GB} 0 - ?", "info", "will_be_set"),
        ("missing 0 0 - -", "fail", "disk_missing"),
        ("other 0 0 - -", "fail", "disk_no_block"),
        (f"block {20 * GB} 1 - -", "fail", "disk_read_only"),
        (f"block {20 * GB} 0 children -", "fail", "disk_in_use"),
        (f"block {20 * GB} 0 /mnt ext4", "fail", "disk_in_use"),
        (f"block {20 * GB} 0 - btrfs", "fail", "disk_occupied"),
        (f"block {20 * GB} 0 - LVM2_member", "fail", "disk_occupied"),
        (f"block {20 * GB} 0 - data", "fail", "disk_occupied"),
    ],
)
def test_what_the_recipe_would_refuse_is_a_fault_before(disk: Site, device: str, state: str, note: str) -> None:
    found = rec.one(before(disk, device), "DSK01", "sto1", "/backup")
    assert (found.state, found.result.note) == (state, note)


def test_a_mount_point_with_something_in_it_is_a_fault_before(disk: Site) -> None:
    found = rec.one(before(disk, f"block {20 * GB} 0 - -", dir=["/backup 2 old"]), "DSK01", "sto1", "/backup")
    assert (found.state, found.result.note, found.result.actual) == ("fail", "disk_hides", "old")


@pytest.mark.parametrize(("size", "state"), [(20 * GB, "pass"), (19 * GB, "pass"), (18 * GB, "fail")])
def test_the_disk_itself_is_held_against_the_declared_size(disk: Site, size: int, state: str) -> None:
    assert rec.one(before(disk, f"block {size} 0 - -"), "DSK02", "sto1", "/backup").state == state


@pytest.mark.parametrize("id", ["DSK03", "DSK04", "DSK05", "DSK06", "DSK07", "DSK09"])
def test_the_disk_of_the_system_is_not_judged_in_its_place(disk: Site, id: str) -> None:
    target = "/backup/his" if id == "DSK09" else "/backup"
    made = before(disk, f"block {20 * GB} 0 - -", parent=["/backup /", "/ /"], dir=["/backup -", "/backup/his 3 x"])
    found = [one for one in rec.verdicts(made, id) if one.host == "sto1" and one.result.target in (target, "/backup")]
    assert {(one.state, one.result.note) for one in found} == {("info", "will_be_set")}, found


def test_what_another_disk_holds_there_is_a_fault(disk: Site) -> None:
    mounted = [*MOUNTED, "/dev/vdz /backup xfs rw 0 0"]
    found = rec.one(before(disk, f"block {20 * GB} 0 - -", mount=mounted), "DSK01", "sto1", "/backup")
    assert (found.state, found.result.note) == ("fail", "disk_other")


def test_once_it_is_mounted_the_usual_rules_hold(disk: Site) -> None:
    mounted = [*MOUNTED, "/dev/vdz /backup btrfs rw 0 0"]
    made = before(disk, f"block {20 * GB} 0 /backup btrfs", mount=mounted)
    assert rec.one(made, "DSK01", "sto1", "/backup").state == "pass"
    assert rec.one(made, "DSK07", "sto1", "/backup").state == "warn"


def test_a_disk_that_the_recipe_did_not_mount_is_a_fault_afterwards(disk: Site) -> None:
    made = before(disk, f"block {20 * GB} 0 - xfs")
    done = rec.Scene(disk, made.seen, made.planned, {"sto1": ["mounts"]}, made.limits)
    found = rec.one(done, "DSK01", "sto1", "/backup")
    assert (found.state, found.result.note) == ("fail", "recipe_did_not")
