"""Whether data lie on a host: a server that cannot be asked never means that there are none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from implops.bundle.apt import Change
from implops.deploy import kept
from implops.site import Site, load


class Here:
    """This machine in the place of a host, without any database client."""

    name = "here"

    def run(self, script: str, *, timeout: float, sudo: bool) -> Any:
        absent = "psql() { false; }; runuser() { false; }; mariadb() { false; }"
        done = subprocess.run(["sh", "-c", f"{absent}\n{script}"], capture_output=True, timeout=timeout)
        return SimpleNamespace(rc=done.returncode, text=done.stdout.decode(), err=done.stderr)


def site_with(site: Site, data: Path, more: str = "") -> Site:
    text = site.path.read_text(encoding="utf-8")
    assert "  data: /data/pg\n" in text
    site.path.write_text(text.replace("  data: /data/pg\n", f"  data: {data}\n{more}", 1), encoding="utf-8")
    return load(site.path)


@pytest.mark.parametrize(("files", "more", "found"), [
    ([], "", "none"),
    (["lost+found"], "", "none"),
    # A host that was set up anew, its data disk kept.
    (["lost+found", "PG_VERSION"], "", "unknown"),
    # The customer's own server keeps its files wherever it likes.
    ([], "  existing: true\n", "unknown"),
])  # fmt: skip
def test_who_cannot_be_asked_may_have_data(site: Site, tmp_path: Path, files: list[str], more: str, found: str) -> None:
    data = tmp_path / "data-pg"
    data.mkdir()
    for name in files:
        (data / name).touch()
    assert kept.look(site_with(site, data, more), Here()) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(("package", "old", "renews"), [
    ("postgresql-15", "15.1-0+deb12u1", True),
    # New on the host: there is no data of this server yet.
    ("postgresql-15", "", False),
    ("postgresql-client-common", "248", False),
    ("mariadb-server", "1:10.11.3-1", False),
])  # fmt: skip
def test_a_server_of_another_version_is_told_by_what_apt_would_do(
    site: Site, package: str, old: str, renews: bool
) -> None:
    assert kept.renewed(site, [Change("restic", "0.14", "0.18"), Change(package, old, "9")]) is renews
