"""Java from Debian's own packages, in the major version that the site file declares."""

from __future__ import annotations

from typing import Any

from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "jdk", "roles": ("app",), "needs": ("os_base",), "timeout": 900, "rolling": True}


def wanted(site: Site, host: Host) -> bool:
    return site.jdk is not None


def packages(site: Site, host: Host) -> list[str]:
    assert site.jdk
    return [f"openjdk-{site.jdk.major}-jdk-headless"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.jdk
    return [("jdk", str(site.jdk.major), ""), *(("package", name, "") for name in packages(site, host))]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.jdk
    return {"major": site.jdk.major}


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, d.bundle, name="recipe.jdk.packages")
    # A second Java on the host must not win over the declared one.
    java = f"/usr/lib/jvm/java-{d.major}-openjdk-$(dpkg --print-architecture)/bin/java"
    ops.bounded_shell(
        f"update-alternatives --set java {java}",
        unless=f'[ "$(readlink -f /usr/bin/java)" = "$(readlink -f {java})" ]',
        name="recipe.jdk.default",
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.jdk
    major = site.jdk.major
    # Java 8 calls itself 1.8.
    return [probes.shell(f"java:{major}", f"java -version 2>&1 | grep -Eq 'version \"(1[.])?{major}[.\"]'")]
