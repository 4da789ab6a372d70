"""implops itself on a laptop without any network but the customer's: from the one file, with Debian's bare python3."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from power import OPERATOR

from implops.lab import plan
from implops.site import Site

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Laptop:
    """A minimal Debian system whose only cable leads to the customer's hosts."""

    root: Path
    space: str

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command there; its standard output, and on a surprise everything it said."""
        inside = ["chroot", str(self.root), "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                  "LANG=C.UTF-8", "HOME=/root", f"IMPLOPS_OPERATOR={OPERATOR}", *command]  # fmt: skip
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
        done = subprocess.run(["ip", "netns", "exec", self.space, *apart, *inside], capture_output=True, text=True)
        assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + ("" if code == 0 else done.stderr)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, unpacked."""
    subprocess.run([ROOT / ".ci" / "offline-kit"], check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("kit")
    [packed] = sorted((ROOT / "dist").glob("implops-offline-*.tar.gz"))
    with tarfile.open(packed) as file:
        file.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    return unpacked


@pytest.fixture(scope="module")
def laptop(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    root = tmp_path_factory.mktemp("laptop") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm", root]
    subprocess.run(command, check=True)
    drawn = plan.of(site)
    space, cable = f"lt{drawn.bridge[2:]}", f"lt{drawn.bridge[2:]}"
    address = f"{drawn.network.network_address + 250}/24"
    for words in (
        f"netns add {space}",
        f"link add {cable} type veth peer name eth0 netns {space}",
        f"link set {cable} master {drawn.bridge} up",
        f"-n {space} address add {address} dev eth0",
        f"-n {space} link set eth0 up",
        f"-n {space} link set lo up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    try:
        yield Laptop(root, space)
    finally:
        subprocess.run(["ip", "link", "delete", cable], check=True)
        subprocess.run(["ip", "netns", "delete", space], check=True)
        shutil.rmtree(root)


def test_a_check_runs_from_a_laptop_that_was_never_online(site: Site, laptop: Laptop, kit: Path) -> None:
    routes = subprocess.run(["ip", "-n", laptop.space, "route"], capture_output=True, text=True, check=True).stdout
    assert "default" not in routes
    shutil.copytree(kit, laptop.root / "media" / kit.name)
    folder = laptop.root / "root" / "site"
    shutil.copytree(site.base, folder, ignore=shutil.ignore_patterns("lab", "records.db*", "out"))

    wheel = next((laptop.root / "media" / kit.name / "wheels").glob("click-*.whl"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = laptop.run(f"/media/{kit.name}/install", code=1)
    assert wheel.name in said and not (laptop.root / "opt" / "implops-cli").exists()
    wheel.write_bytes(whole)

    assert "done" in laptop.run(f"/media/{kit.name}/install")
    shown = json.loads(laptop.run("implops", "check", "/root/site/site.yml", "--json"))
    assert shown["conclusion"] in ("pass", "conditional")
    assert {one["host"] for one in shown["verdicts"]} == set(site.hosts)
    assert sorted(path.suffix for path in (folder / "out").iterdir()) == [".docx", ".html", ".xlsx"]

    # Again, as an update is installed: the programs still work, nothing of the old folder is left.
    laptop.run(f"/media/{kit.name}/install")
    assert "implops" in laptop.run("implops", "--version")
    assert [path.name for path in (laptop.root / "opt").iterdir()] == ["implops-cli"]
