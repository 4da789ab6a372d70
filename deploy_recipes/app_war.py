"""The vendor's WAR as ``releases/VERSION-RUN`` with ``current``, its data source beside it, never inside it."""

from __future__ import annotations

import hashlib
from typing import Any

from implops.deploy import probes
from implops.deploy.release import RELEASES
from implops.errors import StepError
from implops.site import Host, Site

META = {
    "id": "app_war", "roles": ("app",), "needs": ("tomcat", "nginx", "schema", "resolver"), "timeout": 600,
    "system": True,
}  # fmt: skip

FILES = "/var/lib/implops/bundle/files"


DRIVERS = {"postgresql": "org.postgresql.Driver", "mariadb": "org.mariadb.jdbc.Driver"}


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
            "url": site.jdbc_url,
            "user": site.database.app.role,
            "password": site.database.app.password.resolve(),
            "pool": site.pool,
        }
    schema = [{"name": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in site.system.schema_]
    return {
        **rollback_params(site, host),
        "version": site.system.version,
        "artifact": site.system.artifact.name,
        "sha256": sha256,
        "source": source,
        "schema_files": schema,
    }


def files(site: Site, host: Host) -> dict[str, str]:
    assert site.system
    current = f"{RELEASES}/{site.system.name}/current"
    war = f"{current}/{site.system.name}.war"
    found = {"version": f"{current}/RELEASE.json", "schema_files": f"{current}/RELEASE.json"}
    found |= {"artifact": war, "sha256": war}
    return found | ({"source": f"{current}/context.xml"} if site.database else {})


def rollback_params(site: Site, host: Host) -> dict[str, Any]:
    """What switching to another release needs: nothing of the vendor's files, and no secret."""
    assert site.system and site.web
    return {
        "tomcat": f"tomcat{site.web.tomcat}",
        "system": site.system.name,
        "logs": site.system.logs,
    }


def undo_params(site: Site, host: Host) -> dict[str, Any]:
    return rollback_params(site, host)


def units(site: Site, host: Host) -> list[str]:
    """The services that hold the database open."""
    assert site.web
    return [f"tomcat{site.web.tomcat}.service"]


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops, release_ops

    d = host.data
    home, war = f"{RELEASES}/{d.system}", f"{d.system}.war"
    ops.folders(
        [
            ops.Folder("/opt/implops"),
            ops.Folder(RELEASES),
            ops.Folder(home),
            # What the system writes and every release sees: Tomcat may write nowhere else under /opt.
            ops.Folder(f"{home}/shared", "750", "tomcat", "tomcat"),
        ],
        name="recipe.app_war.folders",
    )
    ops.write(
        [ops.File(_drop_in(d), f"# Written by implops.\n[Service]\nReadWritePaths=-{home}/shared\n")],
        name="recipe.app_war.shared",
    )
    if ops.fact(f"[ -e /var/lib/{d.tomcat}/webapps/{war} ] && echo yes; true"):
        raise StepError("recipe.app_war.in_the_way", host=host.name, path=f"/var/lib/{d.tomcat}/webapps/{war}")
    context = ops.template("app_war.context.j2", war=f"{home}/current/{war}", source=d.source)
    release = release_ops.Release(
        d.system,
        d.version,
        d.run,
        [(f"{FILES}/{d.artifact}", war, d.sha256)],
        [ops.File("context.xml", context, "640", group="tomcat")],
        d.schema_files,
    )
    id = release_ops.release_id(release)
    release_ops.stage(release, id, name="recipe.app_war.release")
    _switch(d, id)


def _drop_in(d: Any) -> str:
    return f"/etc/systemd/system/{d.tomcat}.service.d/implops-{d.system}.conf"


def rollback() -> None:
    from pyinfra import host

    _switch(host.data, host.data.release)


def _switch(d: Any, id: str) -> None:
    from implops.deploy import ops, release_ops

    home, war = f"{RELEASES}/{d.system}", f"{d.system}.war"
    path = f"/etc/{d.tomcat}/Catalina/localhost/{d.system}.xml"
    release_ops.activate(home, id, name="recipe.app_war.current")
    # Through ``current``: program and data source go forward and back with one rename.
    ops.links([(path, f"{home}/current/context.xml")], name="recipe.app_war.context")
    # Tomcat keeps the compiled pages of a WAR whose entries have the same dates: those of the old release.
    pages = f"/var/lib/{d.tomcat}/work/Catalina/localhost/{d.system}"
    ops.restart_if_stale(
        f"{d.tomcat}.service", [path, f"{home}/current/{war}", _drop_in(d)], mark=f"release-{d.system}", clean=[pages],
        watched=d.logs, name="recipe.app_war.restart",
    )  # fmt: skip


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.system and site.web
    file = f"{RELEASES}/{site.system.name}/current/{site.system.name}.war"
    # Pages of this host are asked next, for two seconds on end: nobody has to watch the same server for as long before.
    watched = any(one.url and one.asked_role == "app" and one.stable_for >= 2 for one in site.system.modules)
    return [
        probes.shell(f"release:{site.system.name}", f"[ -s {file} ]"),
        probes.active(f"tomcat{site.web.tomcat}.service", stable_s=0 if watched else 2),
    ]


def leaves(site: Site, host: Host) -> list[str]:
    assert site.system
    return [f"{RELEASES}/{site.system.name}"]


def undo() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    link, current = f"/etc/{d.tomcat}/Catalina/localhost/{d.system}.xml", f"{RELEASES}/{d.system}/current"
    ops.bounded_shell(
        f"rm -f {link} {current} {_drop_in(d)} {ops.APPLIED}/release-{d.system} && sync && systemctl daemon-reload && "
        f"systemctl try-restart {d.tomcat}.service",
        120,
        unless=f"[ ! -L {link} ] && [ ! -L {current} ] && [ ! -e {_drop_in(d)} ]",
        name="recipe.app_war.undo",
    )
