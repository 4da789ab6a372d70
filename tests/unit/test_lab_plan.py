"""Names and addresses of a lab: short enough for the kernel, different for every site, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implops import kit
from implops.errors import InputError, SiteError
from implops.lab import plan, seed
from implops.site import Site, load


def _site(folder: Path, text: str | None = None) -> Site:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "site.yml"
    path.write_text(text or kit.annotated_site().read_text(encoding="utf-8"), encoding="utf-8")
    return load(path)


def test_two_folders_share_no_name(tmp_path: Path) -> None:
    one, two = plan.of(_site(tmp_path / "one")), plan.of(_site(tmp_path / "two"))
    names = [drawn.bridge for drawn in (one, two)]
    names += [place.link for drawn in (one, two) for place in drawn.places.values()]
    assert len(set(names)) == len(names) == 10
    assert plan.of(_site(tmp_path / "one")).bridge == one.bridge


# Names of links: at most 15 bytes (IFNAMSIZ 16 with the final zero).
@settings(max_examples=40)
@given(name=st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"))
def test_links_fit_the_kernel_whatever_a_host_is_called(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    text = kit.annotated_site().read_text(encoding="utf-8").replace("  db1:", f'  "{name}":').split("\nlab:")[0]
    text += "\nlab: {network: 10.77.1.0/24}\n"
    try:
        site = _site(tmp_path_factory.mktemp("name"), text)
    except SiteError:
        assert name in ("app1", "dns1", "sto1", "his")  # taken already
        return
    drawn = plan.of(site)
    assert len(drawn.bridge) <= 15
    assert all(len(place.link) <= 15 for place in drawn.places.values())


def test_addresses_and_disks(tmp_path: Path) -> None:
    drawn = plan.of(_site(tmp_path))
    assert drawn.gateway == "10.77.1.1/24"
    assert [(disk.path, disk.size) for disk in drawn.places["db1"].disks] == [("/data", 20 * 10**9)]
    assert drawn.places["app1"].disks == ()
    assert all(place.folder.is_relative_to(tmp_path / ".implops" / "lab") for place in drawn.places.values())


def test_a_site_without_lab_section_is_refused(tmp_path: Path) -> None:
    text = kit.annotated_site().read_text(encoding="utf-8").split("\nlab:")[0] + "\n"
    with pytest.raises(InputError, match="lab 段"):
        plan.of(_site(tmp_path, text))


def test_the_sites_own_time_servers_serve_and_the_others_ask(tmp_path: Path) -> None:
    drawn = plan.of(_site(tmp_path))
    assert "local stratum" in seed.chrony(drawn, "10.77.1.13")
    client = seed.chrony(drawn, "10.77.1.11")
    assert client.startswith("server 10.77.1.13 iburst") and "local" not in client


def test_a_host_says_nothing_of_its_neighbours_and_guards_its_secrets(tmp_path: Path) -> None:
    drawn = plan.of(_site(tmp_path))
    found = seed.files(drawn, drawn.places["db1"], b"PRIVATE", "ssh-ed25519 PUBLIC")
    assert found["etc/ssh/ssh_host_ed25519_key"] == (b"PRIVATE", 0o600)
    assert found["etc/sudoers.d/implops"] == (b"deploy ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    assert b"Gateway" not in found["etc/systemd/network/10-lab.network"][0]
    assert found["etc/fstab"][0].decode().split()[1:3] == ["/data", "xfs"]
    again = seed.files(drawn, drawn.places["db1"], b"PRIVATE", "ssh-ed25519 PUBLIC")
    assert found["etc/machine-id"] != again["etc/machine-id"]
    seed.write(tmp_path / "seed.tar", found)
    assert (tmp_path / "seed.tar").stat().st_mode & 0o777 == 0o600


def test_sudo_password_takes_away_nopasswd(tmp_path: Path) -> None:
    text = kit.annotated_site().read_text(encoding="utf-8").replace("# sudo_password:", "sudo_password:")
    drawn = plan.of(_site(tmp_path, text))
    found = seed.files(drawn, drawn.places["db1"], b"", "a b")
    assert found["etc/sudoers.d/implops"][0] == b"deploy ALL=(ALL:ALL) ALL\n"
