"""nginx in front of the application server: the one port that users reach."""

from __future__ import annotations

from typing import Any

from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "nginx", "roles": ("app",), "needs": ("os_base",), "timeout": 600}

BACKEND_PORT = 8080


def wanted(site: Site, host: Host) -> bool:
    return site.web is not None


def packages(site: Site, host: Host) -> list[str]:
    return ["nginx-light"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.web
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "www-data", ""),
        ("port", str(site.web.port), "nginx"),
        ("service", "nginx", ""),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.web
    aliases = [name for name, target in site.dns.names.items() if target == host.name] if site.dns else []
    names = [f"{name}.{site.dns.zone}" for name in [*aliases, host.name]] if site.dns else []
    return {
        "address": host.address,
        "port": site.web.port,
        "backend": BACKEND_PORT,
        "names": [*names, host.name, host.address],
        "home": site.system.name if site.system else "",
    }


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, d.bundle, name="recipe.nginx.packages")
    place, link = "/etc/nginx/sites-available/implops", "/etc/nginx/sites-enabled/implops"
    text = ops.template("nginx.site.j2", address=d.address, port=d.port, backend=d.backend, names=d.names, home=d.home)
    ops.write([ops.File(place, text)], name="recipe.nginx.conf")
    ops.links([(link, place)], name="recipe.nginx.link")
    # Debian's welcome page would answer for every name that is not ours.
    ops.absent(["/etc/nginx/sites-enabled/default"], name="recipe.nginx.default")
    ops.service(["nginx.service"], name="recipe.nginx.enabled")
    paths = ["/etc/nginx/nginx.conf", place]
    ops.restart_if_stale("nginx.service", paths, check="nginx -q -t", name="recipe.nginx.restart")


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.web
    return [probes.active("nginx.service"), probes.tcp(host.address, site.web.port)]
