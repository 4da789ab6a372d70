"""The vendor's WAR as ``releases/VERSION-RUN`` with ``current``, its data source beside it, never inside it."""

from __future__ import annotations

import hashlib
import shlex
from typing import Any

from implops.deploy import probes
from implops.errors import StepError
from implops.site import Host, Site

META = {"id": "app_war", "roles": ("app",), "needs": ("tomcat", "nginx", "schema", "resolver"), "timeout": 600}

RELEASES = "/opt/implops/releases"
FILES = "/var/lib/implops/bundle/files"


DRIVERS = {"postgresql": "org.postgresql.Driver", "mariadb": "org.mariadb.jdbc.Driver"}


def url(site: Site) -> str:
    """Where the application finds its database; MariaDB's driver has to be told to use TLS."""
    database = site.database
    assert database
    place = f"{site.only('db').address}:{database.port}/{database.name}"
    if database.engine == "mariadb":
        return f"jdbc:mariadb://{place}?useSsl=true&trustServerCertificate=true"
    return f"jdbc:postgresql://{place}"


def wanted(site: Site, host: Host) -> bool:
    return bool(site.system and site.system.kind == "war" and site.web)


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.system
    return [("directory", f"{RELEASES}/{site.system.name}", "root")]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.system and site.web
    with site.system.artifact.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    source = None
    if site.database:
        source = {
            "name": f"jdbc/{site.database.name}",
            "driver": DRIVERS[site.database.engine],
            "url": url(site),
            "user": site.database.app.role,
            "password": site.database.app.password.resolve(),
            "pool": site.pool,
        }
    return {
        "tomcat": f"tomcat{site.web.tomcat}",
        "system": site.system.name,
        "version": site.system.version,
        "artifact": site.system.artifact.name,
        "sha256": sha256,
        "source": source,
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    home, war = f"{RELEASES}/{d.system}", f"{d.system}.war"
    current = f"{home}/current"
    ops.folders([ops.Folder("/opt/implops"), ops.Folder(RELEASES), ops.Folder(home)], name="recipe.app_war.folders")
    # The release that runs stays when it is the same artifact of the same version: a second run changes nothing.
    target, _, sha256 = ops.fact(
        f"readlink {current}; cat {current}/{war} 2>/dev/null | sha256sum | cut -c1-64"
    ).partition("\n")
    if not sha256:
        target, sha256 = "", target
    if not (target.startswith(f"{d.version}-") and sha256.strip() == d.sha256):
        target = f"{d.version}-{d.run}"
        source = shlex.quote(f"{FILES}/{d.artifact}")
        folder, part = f"{home}/{target}", f"{home}/{target}.part"
        command = [
            f"echo {d.sha256} {source} | sha256sum --status -c -",
            f"rm -rf {part}",
            f"mkdir {part}",
            f"cp {source} {part}/{war}",
            f"chmod 644 {part}/{war}",
            f"sync {part}/{war} {part}",
            f"if [ -e {folder} ]; then rm -rf {folder}; fi",
            f"mv -T {part} {folder}",
            f"sync {home}",
        ]
        ops.bounded_shell(" && ".join(command), 120, name="recipe.app_war.release")
        ops.links([(current, target)], name="recipe.app_war.current")
    context = ops.template("app_war.context.j2", war=f"{current}/{war}", source=d.source)
    path = f"/etc/{d.tomcat}/Catalina/localhost/{d.system}.xml"
    if ops.fact(f"[ -e /var/lib/{d.tomcat}/webapps/{war} ] && echo yes; true"):
        raise StepError("recipe.app_war.in_the_way", host=host.name, path=f"/var/lib/{d.tomcat}/webapps/{war}")
    ops.write([ops.File(path, context, "640", group="tomcat")], name="recipe.app_war.context")
    ops.restart_if_stale(
        f"{d.tomcat}.service", [path, f"{current}/{war}"], mark=f"release-{d.system}", name="recipe.app_war.restart"
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.system and site.web
    file = f"{RELEASES}/{site.system.name}/current/{site.system.name}.war"
    return [
        probes.shell(f"release:{site.system.name}", f"[ -s {file} ]"),
        probes.active(f"tomcat{site.web.tomcat}.service"),
    ]
