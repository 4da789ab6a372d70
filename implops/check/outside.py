"""What the site's name servers answer to a computer that is no host of the site: this one. Two questions over TCP."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from implops.check.gather import Seen, keep
from implops.facts.names import Outside
from implops.remote import each
from implops.site import Host, Site

SECONDS = 2.0
_PORT = 53


def ask_outside(site: Site, seen: Mapping[str, Seen]) -> None:
    """Outside of every name server that answered; "not asked" where none listens yet, or where this is a host of it."""
    if site.dns is None:
        return
    zone = site.dns.zone
    ours = {host.address for host in site.hosts.values()}

    def ask(host: Host) -> list[tuple[str, str]] | None:
        return None if _source(host.address) in ours else _asked(host.address, zone)

    servers = [host for host in site.with_role("dns") if host.name in seen and seen[host.name].error is None]
    for name, told in each(servers, ask).items():
        keep(seen[name], Outside, told if isinstance(told, list) else [("asked", "0")])


def _source(address: str) -> str:
    """The address that this computer would ask from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect((address, _PORT))
        except OSError:
            return ""
        found: str = one.getsockname()[0]
        return found


def _asked(address: str, zone: str) -> list[tuple[str, str]] | None:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query

    try:
        soa = dns.query.tcp(dns.message.make_query(zone, "SOA"), address, timeout=SECONDS)
        # The first message of a transfer says whether it is granted; the rest is not fetched.
        transfer = dns.query.tcp(dns.message.make_query(zone, "AXFR"), address, timeout=SECONDS, one_rr_per_rrset=True)
    except (dns.exception.DNSException, OSError, EOFError):
        return None
    serials = [str(one[0].serial) for one in transfer.answer if one.rdtype.name == "SOA"][:1]
    return [
        ("asked", "1"), ("recursion", str(int(bool(soa.flags & dns.flags.RA)))),
        ("transfer", str(int(transfer.rcode()))), *(("record", serial) for serial in serials),
        ("record#", str(len(serials))),
    ]  # fmt: skip
