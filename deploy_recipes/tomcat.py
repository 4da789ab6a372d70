"""Tomcat from Debian's package: heap, one HTTP connector on the host's address, no automatic deployment."""

from __future__ import annotations

from typing import Any

from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "tomcat", "roles": ("app",), "needs": ("jdk",), "timeout": 900}

PORT = 8080
OPEN_FILES = 65535
# Engine -> Debian package of the JDBC driver, its file.
DRIVERS = {
    "postgresql": ("libpostgresql-jdbc-java", "/usr/share/java/postgresql.jar"),
    "mariadb": ("libmariadb-java", "/usr/share/java/mariadb-java-client.jar"),
}


def wanted(site: Site, host: Host) -> bool:
    return site.web is not None and site.jdk is not None


def _name(site: Site) -> str:
    assert site.web
    return f"tomcat{site.web.tomcat}"


def packages(site: Site, host: Host) -> list[str]:
    return [_name(site), *([DRIVERS[site.database.engine][0]] if site.database else [])]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "tomcat", ""),
        ("port", str(PORT), "tomcat"),
        ("service", _name(site), ""),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.web and site.jdk
    return {
        "tomcat": _name(site),
        "jdk": site.jdk.major,
        "heap_mib": site.web.heap // 2**20,
        "address": host.address,
        "port": PORT,
        "zone": site.time.zone,
        "driver": DRIVERS[site.database.engine][1] if site.database else "",
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, d.bundle, name="recipe.tomcat.packages")
    unit, etc = f"{d.tomcat}.service", f"/etc/{d.tomcat}"
    group = {"group": "tomcat"}
    arch = ops.fact("dpkg --print-architecture").strip()
    files = [
        ops.File(f"{etc}/server.xml", ops.template("tomcat.server.j2", address=d.address, port=d.port), "640", **group),
        ops.File(
            f"/etc/default/{d.tomcat}",
            ops.template(
                "tomcat.default.j2", home=f"/usr/lib/jvm/java-{d.jdk}-openjdk-{arch}", heap=d.heap_mib, zone=d.zone
            ),
        ),
        ops.File(
            f"/etc/systemd/system/{unit}.d/implops.conf",
            f"# Written by implops.\n[Service]\nLimitNOFILE={OPEN_FILES}\n",
        ),
    ]
    ops.write(files, name="recipe.tomcat.conf")
    if d.driver:
        # The container opens the connections, so the driver belongs to it and not to the WAR.
        ops.links(
            [(f"/usr/share/{d.tomcat}/lib/{d.driver.rpartition('/')[2]}", d.driver)],
            name="recipe.tomcat.driver",
        )
    ops.service([unit], name="recipe.tomcat.enabled")
    ops.restart_if_stale(unit, [one.path for one in files], name="recipe.tomcat.restart")


def verify(site: Site, host: Host) -> list[probes.Probe]:
    return [probes.active(f"{_name(site)}.service"), probes.tcp(host.address, PORT, deadline_s=120)]
