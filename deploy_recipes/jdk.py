"""Java in the major version that the site file declares: Debian's package, or an archive of the engineer's."""

from __future__ import annotations

import hashlib
from typing import Any

from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "jdk", "roles": ("app",), "needs": ("os_base",), "timeout": 900, "rolling": True}


def wanted(site: Site, host: Host) -> bool:
    return site.jdk is not None


def packages(site: Site, host: Host) -> list[str]:
    assert site.jdk
    return [] if site.jdk.archive else [f"openjdk-{site.jdk.major}-jdk-headless"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.jdk
    return [("jdk", str(site.jdk.major), ""), *(("package", name, "") for name in packages(site, host))]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.jdk
    found = {"home": site.jdk.home, "archive": "", "sha256": ""}
    if site.jdk.archive:
        with site.jdk.archive.open("rb") as file:
            found |= {"archive": site.jdk.archive.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return found


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops, release_ops

    d = host.data
    ops.install(d.packages, name="recipe.jdk.packages")
    java = f"{d.home}/bin/java"
    know = ""
    if d.archive:
        ops.folders([ops.Folder("/opt/implops"), ops.Folder("/opt/implops/jdk")], name="recipe.jdk.folders")
        release_ops.unpack(f"{d.bundle}/files/{d.archive}", d.sha256, d.home, name="recipe.jdk.unpack")
        know = f"update-alternatives --install /usr/bin/java java {java} 1 && "
    # A second Java on the host must not win over the declared one.
    ops.bounded_shell(
        f"{know}update-alternatives --set java {java}",
        unless=f'[ "$(readlink -f /usr/bin/java)" = "$(readlink -f {java})" ]',
        name="recipe.jdk.default",
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.jdk
    major = site.jdk.major
    # Java 8 calls itself 1.8.
    return [probes.shell(f"java:{major}", f"java -version 2>&1 | grep -Eq 'version \"(1[.])?{major}[.\"]'")]


def leaves(site: Site, host: Host) -> list[str]:
    assert site.jdk
    return [site.jdk.home]


def undo() -> None:
    """The system's own choice of a Java again; the declared one stays installed."""
    from implops.deploy import ops

    ops.bounded_shell(
        "update-alternatives --auto java",
        unless="! update-alternatives --query java 2>/dev/null | grep -qx 'Status: manual'",
        name="recipe.jdk.undo",
    )
