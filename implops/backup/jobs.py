"""What is backed up where: the configuration of the program on each host. Retention comes from the site file alone."""

from __future__ import annotations

from typing import Any

from implops.site import Host, Site

# Roles whose hosts hold something that a new deployment would not bring back.
SOURCES = ("db", "app")
OBJECTS = ("database", "program")


def sources(site: Site) -> list[Host]:
    """Hosts with backup jobs, in the order of the site file; none without ``backup:``."""
    if site.backup is None:
        return []
    return [host for host in site.hosts.values() if set(SOURCES) & set(host.roles)]


def jobs(site: Site, host: Host) -> dict[str, dict[str, Any]]:
    """Job name (``database``, ``program``) -> its part of the host's configuration."""
    if site.backup is None or host not in sources(site):
        return {}
    found: dict[str, dict[str, Any]] = {}
    if site.database and "db" in host.roles:
        found["database"] = {
            "engine": site.database.engine,
            "database": site.database.name,
            "port": site.database.port,
            "major": site.database.major,
            "locale": site.database.locale,
            "keep": site.backup.database.keep.model_dump(),
        }
    found["program"] = {"engine": "files", "paths": _paths(site, host), "keep": site.backup.program.keep.model_dump()}
    return found


def _paths(site: Site, host: Host) -> list[str]:
    paths = ["/etc/hosts", "/etc/systemd/system", "/opt/implops/lib"]
    if site.database and "db" in host.roles:
        place = {"postgresql": f"/etc/postgresql/{site.database.major}/main", "mariadb": "/etc/mysql"}
        paths.append(place[site.database.engine])
    if "app" in host.roles:
        if site.web and site.web.tomcat:
            paths += [f"/etc/tomcat{site.web.tomcat}", f"/etc/default/tomcat{site.web.tomcat}"]
        if site.web:
            paths.append("/etc/nginx")
        if site.system:
            paths.append(f"/opt/implops/releases/{site.system.name}")
    return paths


def place(site: Site, host: Host) -> str:
    """The host's own repository on the storage host: ``/backup/his/db1``."""
    assert site.backup
    return f"{site.backup.repository.path}/{host.name}"


def calendar(every: str) -> str:
    """``daily 02:00`` · ``weekly mon 02:00`` · ``monthly 01 02:00`` as systemd's OnCalendar."""
    unit, *rest = every.split()
    clock = f"{rest[-1]}:00"
    if unit == "daily":
        return f"*-*-* {clock}"
    return f"{rest[0].capitalize()} *-*-* {clock}" if unit == "weekly" else f"*-*-{rest[0]} {clock}"


def drill_calendar(every: str, drill: str) -> str:
    """The drill follows two hours after the backup's hour: on Sundays, or on the first Sunday of a month."""
    hour = (int(every.split()[-1].partition(":")[0]) + 2) % 24
    day = "Sun *-*-*" if drill == "weekly" else "Sun *-*-01..07"
    return f"{day} {hour:02}:{every[-2:]}:00"
