"""Java and Tomcat as the engineer brings them, not as Debian does: the same system runs on both."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import implops, ssh, write_demo, write_site

from implops import lab
from implops.bundle import closure
from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]

JDK = ("openjdk-17-jre-headless", "openjdk-17-jdk-headless")
TOMCAT = ("tomcat10", "tomcat10-common", "libtomcat10-java", "libtomcat10-embed-java", "libeclipse-jdt-core-java")


def repack(folder: Path, name: str, packages: tuple[str, ...], parts: dict[str, str]) -> Path:
    """A tar with one folder ``NAME/`` from Debian's packages: ``parts`` maps places in them to places in it."""
    found = closure.resolve("bookworm", {"x": list(packages)}, print)
    closure.download(found, print)
    root, made = folder / f"{name}-root", folder / name
    for deb in found.debs.values():
        subprocess.run(["dpkg-deb", "-x", closure.stored(deb), root], check=True)
    for source, target in parts.items():
        shutil.copytree(root / source, made / target, symlinks=True, dirs_exist_ok=True)
    # Debian's jasper.jar finds its compiler beside itself, in /usr/share/java.
    for jar in (
        (root / "usr/share/java").glob("eclipse-jdt-core*.jar") if (made / "lib" / "jasper.jar").is_symlink() else ()
    ):
        shutil.copy(jar, made / "lib")
    # A vendor's archive points nowhere outside itself.
    for link in [path for path in made.rglob("*") if path.is_symlink()]:
        target = link.readlink()
        place = root / str(target).lstrip("/") if target.is_absolute() else root / "usr/share/java" / target.name
        if target.is_absolute() or not (link.parent / target).exists():
            link.unlink()
            if place.exists():
                (shutil.copytree if place.is_dir() else shutil.copy)(place, link)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(made, name)
    return folder / f"{name}.tar.gz"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("archives")
    release = folder / "site" / "release"
    release.mkdir(parents=True)
    java = "usr/lib/jvm/java-17-openjdk-amd64"
    shutil.copy(repack(folder, "jdk-17", JDK, {java: "."}), release)
    tomcat = {"usr/share/tomcat10": ".", "etc/tomcat10": "conf", "usr/share/tomcat10/etc": "conf"}
    shutil.copy(repack(folder, "tomcat-10", TOMCAT, tomcat), release)

    def edit(text: str) -> str:
        text = text.replace("jdk: {major: 17}", "jdk: {major: 17, archive: release/jdk-17.tar.gz}")
        return text.replace("web: {tomcat: 10,", "web: {tomcat: 10, archive: release/tomcat-10.tar.gz,")

    made = write_demo(write_site(folder / "site", edit))
    try:
        implops("lab", "up", made.path)
        implops("check", made.path)
        implops("bundle", "build", made.path, timeout=900)
        yield made
    finally:
        implops("lab", "down", made.path, code=None)


def test_the_system_runs_on_java_and_tomcat_of_the_engineer(site: Site) -> None:
    # No room where Java is unpacked: nothing half stands in its place.
    place = "/opt/implops/jdk"
    lab.enter(site, "app1", ["sh", "-ec", f"mkdir -p {place}; mount -t tmpfs -o size=20m tmpfs {place}"])
    assert "No space left on device" in implops("deploy", site.path, "--yes", code=1, timeout=900).stderr
    assert [one for one in ssh(site, "app1", f"ls {place}").stdout.split() if not one.endswith(".part")] == []
    lab.enter(site, "app1", ["umount", place])
    implops("deploy", site.path, "--yes", "--resume", "last", timeout=900)
    event = Store.of(site.state).last("deploy.finished")
    assert event
    assert [one["state"] for one in event.payload["modules"]] == ["pass"] * 4
    installed = ssh(site, "app1", "dpkg-query -W -f '${Package}\\n'").stdout.split()
    assert not [one for one in installed if one.startswith(("openjdk", "tomcat"))]
    assert ssh(site, "app1", "readlink -f /usr/bin/java").stdout.startswith("/opt/implops/jdk/17-")
    assert "-Xmx512m" in ssh(site, "app1", "tr '\\0' ' ' < /proc/$(pgrep -u tomcat java)/cmdline").stdout
    implops("check", site.path)
    assert "无需改动" in implops("deploy", site.path, "--yes", timeout=900).stdout
