"""Tomcat: heap, one HTTP connector on the host's address, no automatic deployment.

From Debian's package, or from the archive that the engineer brings, laid out as Debian does it: the rest is the same.
"""

from __future__ import annotations

import hashlib
from typing import Any

from implops.deploy import probes
from implops.site import Host, Site
from implops.site.part import TOMCAT_PORT

META = {"id": "tomcat", "roles": ("app",), "needs": ("jdk",), "timeout": 900, "rolling": True}

OPEN_FILES = 65535
# Engine -> Debian package of the JDBC driver, its file.
DRIVERS = {
    "postgresql": ("libpostgresql-jdbc-java", "/usr/share/java/postgresql.jar"),
    "mariadb": ("libmariadb-java", "/usr/share/java/mariadb-java-client.jar"),
}


def wanted(site: Site, host: Host) -> bool:
    return site.web is not None and site.web.tomcat is not None and site.jdk is not None


def _name(site: Site) -> str:
    assert site.web
    return f"tomcat{site.web.tomcat}"


def packages(site: Site, host: Host) -> list[str]:
    assert site.web
    own = [] if site.web.archive else [_name(site)]
    return [*own, *([DRIVERS[site.database.engine][0]] if site.database else [])]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "tomcat", ""),
        ("port", str(TOMCAT_PORT), "tomcat"),
        ("service", _name(site), ""),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.web and site.jdk
    sha256 = ""
    if site.web.archive:
        with site.web.archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "tomcat": _name(site),
        "archive": site.web.archive.name if site.web.archive else "",
        "sha256": sha256,
        "java_home": site.jdk.home,
        "heap_mib": site.web.heap // 2**20,
        "address": host.address,
        "port": TOMCAT_PORT,
        "zone": site.time.zone,
        "driver": DRIVERS[site.database.engine][1] if site.database else "",
    }


def files(site: Site, host: Host) -> dict[str, str]:
    name = _name(site)
    return {
        **dict.fromkeys(("java_home", "heap_mib", "zone"), f"/etc/default/{name}"),
        **dict.fromkeys(("address", "port"), f"/etc/{name}/server.xml"),
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.tomcat.packages")
    unit, etc = f"{d.tomcat}.service", f"/etc/{d.tomcat}"
    group = {"group": "tomcat"}
    own = _unpacked(d) if d.archive else []
    # Whoever comes first would make it otherwise: Tomcat for its own account, or the recipe of the system for root.
    ops.folders([ops.Folder(f"{etc}/Catalina/localhost", "2750", "root", "tomcat")], name="recipe.tomcat.contexts")
    files = [
        ops.File(f"{etc}/server.xml", ops.template("tomcat.server.j2", address=d.address, port=d.port), "640", **group),
        ops.File(
            f"/etc/default/{d.tomcat}",
            ops.template("tomcat.default.j2", home=d.java_home, heap=d.heap_mib, zone=d.zone),
        ),
        ops.File(
            f"/etc/systemd/system/{unit}.d/implops.conf",
            f"# Written by implops.\n[Service]\nLimitNOFILE={OPEN_FILES}\n",
        ),
        *own,
    ]
    ops.write(files, name="recipe.tomcat.conf")
    if d.driver:
        # The container opens the connections, so the driver belongs to it and not to the WAR.
        ops.links(
            [(f"/usr/share/{d.tomcat}/lib/{d.driver.rpartition('/')[2]}", d.driver)],
            name="recipe.tomcat.driver",
        )
    ops.service([unit], name="recipe.tomcat.enabled")
    # A Java or a driver that was renewed is used only by a process that was started after it.
    read = [*(one.path for one in files), f"{d.java_home}/release", *([d.driver] if d.driver else [])]
    ops.restart_if_stale(unit, read, name="recipe.tomcat.restart")


def _unpacked(d: Any) -> list[Any]:
    """The places that Debian's package has, for a Tomcat of another origin; the unit that starts it."""
    from implops.deploy import ops, release_ops

    home, share, var = f"/opt/implops/{d.tomcat}", f"/usr/share/{d.tomcat}", f"/var/lib/{d.tomcat}"
    ops.bounded_shell(
        f"useradd --system --user-group --no-create-home --home-dir {var} --shell /usr/sbin/nologin tomcat",
        unless="getent passwd tomcat >/dev/null",
        name="recipe.tomcat.account",
    )
    ops.folders([ops.Folder("/opt/implops")], name="recipe.tomcat.folder")
    release_ops.unpack(f"{d.bundle}/files/{d.archive}", d.sha256, home, name="recipe.tomcat.unpack")
    ops.folders(
        [
            ops.Folder(f"/etc/{d.tomcat}"),
            ops.Folder(f"/etc/{d.tomcat}/Catalina"),
            ops.Folder(var),
            *(ops.Folder(f"{place}", "750", "tomcat", "tomcat")
              for place in (f"{var}/webapps", f"{var}/work", f"{var}/temp", f"/var/log/{d.tomcat}")),
        ],
        name="recipe.tomcat.folders",
    )  # fmt: skip
    ops.links([(share, home), (f"{var}/conf", f"/etc/{d.tomcat}"), (f"{var}/logs", f"/var/log/{d.tomcat}")],
              name="recipe.tomcat.places")  # fmt: skip
    names = "catalina.properties context.xml logging.properties web.xml"
    ops.bounded_shell(
        f"cd {home}/conf && for one in {names}; do [ -e /etc/{d.tomcat}/$one ] || cp $one /etc/{d.tomcat}/; done",
        unless=f"cd /etc/{d.tomcat} && ls {names} >/dev/null 2>&1",
        name="recipe.tomcat.defaults",
    )
    return [ops.File(f"/etc/systemd/system/{d.tomcat}.service", ops.template("tomcat.service.j2", tomcat=d.tomcat))]


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.web
    name = _name(site)
    # An archive of another major would go unnoticed until a page needs what it lacks.
    major = f"java -cp /usr/share/{name}/lib/catalina.jar org.apache.catalina.util.ServerInfo"
    version = probes.shell(f"tomcat:{site.web.tomcat}", f"{major} | grep -q '^Server number: *{site.web.tomcat}[.]'")
    return [
        *([version] if site.web.archive else []),
        probes.active(f"{name}.service"),
        probes.tcp(host.address, TOMCAT_PORT, deadline_s=120),
    ]


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    assert site.web
    return {"tomcat": _name(site), "own_unit": bool(site.web.archive)}


def leaves(site: Site, host: Host) -> list[str]:
    return [f"/etc/{_name(site)}", f"/var/log/{_name(site)}"]


def undo() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    unit = f"{d.tomcat}.service"
    files = [f"/etc/systemd/system/{unit}.d/implops.conf"]
    files += [f"/etc/systemd/system/{unit}"] if d.own_unit else []
    ops.withdraw([unit], files, name="recipe.tomcat.undo")
