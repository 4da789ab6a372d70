"""BIND: the site's zone with all its hosts and names, and the way back from address to name.

The first dns host is the primary; the others are secondaries and fetch the zones from it, they alone.
"""

from __future__ import annotations

from typing import Any

from implops.deploy import probes
from implops.facts.names import fqdns
from implops.site import Host, Site

META = {"id": "bind9", "roles": ("dns",), "needs": ("os_base",), "timeout": 600}

FOLDER, CONF = "/var/lib/bind", "/etc/bind/named.conf"


def wanted(site: Site, host: Host) -> bool:
    return site.dns is not None


def packages(site: Site, host: Host) -> list[str]:
    return ["bind9", "bind9-dnsutils"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("port", "53", "named"),
        ("user", "bind", ""),
        ("service", "named", ""),
        *(("name", name, address) for name, address in fqdns(site).items()),
    ]


def zones(site: Site) -> dict[str, list[str]]:
    """Zone -> its records besides SOA and NS, one a line."""
    assert site.dns
    domain = site.dns.zone
    names = {one.name: one.address for one in site.hosts.values()}
    names |= {name: site.hosts[target].address for name, target in site.dns.names.items()}
    found = {domain: [f"{name} IN A {address}" for name, address in names.items()]}
    for one in site.hosts.values() if site.dns.reverse else ():
        a, b, c, last = one.address.split(".")
        found.setdefault(f"{c}.{b}.{a}.in-addr.arpa", []).append(f"{last} IN PTR {one.name}.{domain}.")
    return found


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.dns
    primary, *secondaries = site.with_role("dns")
    return {
        "primary": "" if host.name == primary.name else primary.address,
        "secondaries": [one.address for one in secondaries],
        "zones": zones(site),
        "servers": [f"{one.name}.{site.dns.zone}." for one in site.with_role("dns")],
        "hostmaster": f"hostmaster.{site.dns.zone}.",
        "address": host.address,
        "clients": [one.address for one in site.hosts.values()],
        "forwarders": site.dns.forwarders,
    }


def files(site: Site, host: Host) -> dict[str, str]:
    found = dict.fromkeys(("primary", "secondaries", "address", "clients", "forwarders"), CONF)
    if host.name == site.only("dns").name:
        found |= {f"zones.{zone}": f"{FOLDER}/{zone}.zone" for zone in zones(site)}
    return found


def serial(old: str, same: bool, today: str) -> int:
    """``old`` while the zone is the same; else a greater one, ``YYYYMMDD01`` when that is greater than the next."""
    number = int(old) if old.isdigit() else 0
    return number if same and number else max(number + 1, int(f"{today}01"))


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.bind9.packages")
    files = [] if d.primary else _zones(d)
    # What a secondary fetched lies where its cache lies: only BIND may write there.
    folder = "/var/cache/bind" if d.primary else FOLDER
    conf = ops.template(
        "bind9.conf.j2",
        address=d.address,
        clients=d.clients,
        forwarders=d.forwarders,
        primary=d.primary,
        secondaries=d.secondaries,
        zones=[[zone, f"{folder}/{zone}.zone"] for zone in d.zones],
    )
    named = ops.File(CONF, conf, group="bind")
    ops.replace([named], 'named-checkconf -z "$1"', name="recipe.bind9.conf")
    ops.service(["named.service"], name="recipe.bind9.enabled")
    paths = [named.path, "/etc/bind/named.conf.local", *files]
    ops.restart_if_stale("named.service", paths, check="named-checkconf -z >/dev/null", name="recipe.bind9.restart")


def _zones(d: Any) -> list[str]:
    from implops.deploy import ops

    files = []
    for zone, records in d.zones.items():
        path = f"{FOLDER}/{zone}.zone"
        there = ops.fact(f"cat {path} 2>/dev/null; true")
        old = next((line.split()[0] for line in there.splitlines() if line.endswith("; serial")), "")

        def text(number: int, zone: str = zone, records: list[str] = records) -> str:
            return ops.template(
                "bind9.zone.j2", zone=zone, serial=number, records=records, servers=d.servers, hostmaster=d.hostmaster
            )

        same = old.isdigit() and text(int(old)).split() == there.split()
        files.append(ops.File(path, text(serial(old, same, ops.fact("date +%Y%m%d")))))
    check = " && ".join(f'named-checkzone -q {zone} "${number}"' for number, zone in enumerate(d.zones, 1))
    ops.replace(files, check, name="recipe.bind9.zones")
    return [one.path for one in files]


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.dns
    ask = f"dig +short +time=2 +tries=1 @{host.address}"
    found = [probes.active("named.service")]
    # A secondary that was up first asks again when the primary's notice comes, or after a while.
    wait = {"deadline_s": 30 if host.name == site.only("dns").name else 180}
    for one in site.hosts.values():
        name = f"{one.name}.{site.dns.zone}"
        found.append(probes.shell(f"dns:{name}", f'[ "$({ask} {name} A)" = {one.address} ]', **wait))
        if site.dns.reverse:
            found.append(probes.shell(f"dns:{one.address}", f'[ "$({ask} -x {one.address})" = {name}. ]', **wait))
    for alias, target in site.dns.names.items():
        name = f"{alias}.{site.dns.zone}"
        found.append(probes.shell(f"dns:{name}", f'[ "$({ask} {name} A)" = {site.hosts[target].address} ]', **wait))
    return found


def leaves(site: Site, host: Host) -> list[str]:
    return [FOLDER]


def undo() -> None:
    from implops.deploy import ops

    ops.withdraw(["named.service"], name="recipe.bind9.undo")
