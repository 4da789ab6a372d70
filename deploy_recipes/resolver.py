"""Point a host's resolver at the site's own DNS servers, once they answer."""

from __future__ import annotations

from typing import Any

from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "resolver", "roles": "*", "needs": ("os_base", "bind9"), "timeout": 120}

# glibc reads no more than three.
SERVERS = 3
CONF, KEPT = "/etc/resolv.conf", "/etc/resolv.conf.before-implops"
RESOLVED = "/etc/systemd/resolved.conf.d/implops.conf"


def wanted(site: Site, host: Host) -> bool:
    return site.dns is not None


def _servers(site: Site) -> list[str]:
    return [one.address for one in site.with_role("dns")][:SERVERS]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [("resolver", address, "") for address in _servers(site)]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.dns
    return {"servers": _servers(site), "zone": site.dns.zone}


def files(site: Site, host: Host) -> dict[str, str | tuple[str, ...]]:
    return dict.fromkeys(("servers", "zone"), (CONF, RESOLVED))


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    if ops.fact(f"readlink -f {CONF} | grep '^/run/systemd/resolve/'; true"):
        text = f"[Resolve]\nDNS={' '.join(d.servers)}\nDomains={d.zone}\n"
        ops.write([ops.File(RESOLVED, text)], name="recipe.resolver.conf")
        ops.restart_if_stale("systemd-resolved.service", [RESOLVED], name="recipe.resolver.restart")
        return
    text = f"search {d.zone}\n" + "".join(f"nameserver {one}\n" for one in d.servers)
    text += "options timeout:2 attempts:2\n"
    ops.bounded_shell(
        f"if [ -e {CONF} ]; then cp -p {CONF} {KEPT}; else : > {KEPT}; fi",
        unless=f"[ -e {KEPT} ]",
        name="recipe.resolver.keep",
    )
    ops.write([ops.File(CONF, text)], name="recipe.resolver.conf")


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.dns
    name = f"{host.name}.{site.dns.zone}"
    # /etc/hosts knows the name too: ask the name servers themselves.
    ask = f"getent -s dns ahostsv4 {name} | grep -q '^{host.address} '"
    return [probes.shell(f"resolve:{name}", ask)]


def undo() -> None:
    """The resolver as it was before the site's own name servers."""
    from implops.deploy import ops

    ops.bounded_shell(
        f"rm -f {RESOLVED} {ops.APPLIED}/systemd-resolved.service && systemctl try-restart systemd-resolved.service",
        unless=f"[ ! -e {RESOLVED} ]",
        name="recipe.resolver.undo",
    )
    # Nothing was there when the copy is empty.
    ops.bounded_shell(
        f"if [ -s {KEPT} ]; then cp -p {KEPT} {CONF}; else rm -f {CONF}; fi && sync && rm {KEPT}",
        unless=f"[ ! -e {KEPT} ]",
        name="recipe.resolver.undo",
    )
