"""The network between the hosts."""

from __future__ import annotations

import ipaddress
import re

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.echo import Echo, Listening, confirmed
from implops.facts.names import fqdns
from implops.facts.network import Network, carrier
from implops.facts.peers import Flows, Packets, paths_of
from implops.units import format_seconds


def _one(case, path, tried):
    """One flow: open is good; refused is good while nothing is meant to listen there yet."""
    subject = f"→ {path.subject}"
    if tried is None:
        return case.error("missing", target=subject)
    if isinstance(tried.seen, Unknown):
        return case.error(tried.seen.reason, target=subject, detail=tried.seen.detail)
    took = format_seconds(tried.micros / 1_000_000) if tried.micros is not None else ""
    if tried.seen == "open":
        return case.good(f"open {took}".strip(), "open", target=subject, note=_proof(case, path, "connect_only"))
    if tried.seen == "refused" and _silent_yet(case, path):
        return case.good("refused", "open", target=subject, note=_proof(case, path, "nothing_listens_yet"))
    if tried.seen == "silent" and path.protocol == "udp":
        # UDP that says nothing: the name server is asked in its own words by DNS04.
        return case.info("silent", target=subject, note="udp_silent")
    note = "tls_silent" if tried.seen == "tls_silent" else f"flow_{tried.seen}"
    return case.bad(tried.seen, "open", target=subject, note=note)


def _proof(case, path, without):
    """That the target itself answered (--deep); ``without``: what is known when nobody asked it."""
    seen = case.scene.seen.get(path.target)
    listening = seen.fact(Listening) if seen is not None else Unknown("missing")
    return "echo_verified" if confirmed(case.seen.fact(Echo), listening, path) else without


def _silent_yet(case, path):
    """Nothing has to listen there yet: a recipe will bring it, or the site file declares it and nothing is deployed."""
    planned = case.planned("port", str(path.port), path.target)
    if planned is not None:
        return not case.post(planned)
    roles = case.site.hosts[path.target].roles if path.target in case.site.hosts else []
    listed = {port for role in roles if role in case.site.roles for port in case.site.roles[role].listens or []}
    return path.port in listed and not case.scene.done.get(path.target)


@check("NET01", "flow")
def flows(case):
    tried = case.fact(Flows).tried
    for path in paths_of(case.site, case.host):
        if not path.external:
            yield _one(case, path, tried.get(path.key))


@check("NET03", "flow.rtt", severity="warn", unit="ms", ceiling=True)
def times(case):
    tried = case.fact(Flows).tried
    for path in paths_of(case.site, case.host):
        one = tried.get(path.key)
        if path.protocol == "tcp" and not path.external and one is not None and one.micros is not None:
            yield case.most(one.micros // 1000, target=f"→ {path.subject}")


def _peers(case):
    """(name of the host, what pings to it showed)."""
    names = {host.address: host.name for host in case.site.hosts.values()}
    return [(names.get(address, address), found) for address, found in case.fact(Packets).seen.items()]


@check("NET04", "loss", severity="warn", unit="percent", ceiling=True)
def loss(case):
    for name, found in _peers(case):
        if found.received == 0:
            # Some firewalls drop every ping: then nothing is known.
            yield case.info("—", target=f"→ {name}", note="ping_lost")
        else:
            lost = -(-100 * (found.sent - found.received) // found.sent)
            yield case.most(lost, target=f"→ {name}")


@check("NET05", "mtu")
def packets(case):
    """Equal at both ends, and a packet of that size arrives whole: where it does not, long answers hang."""
    for name, found in _peers(case):
        target = f"→ {name}"
        seen = case.scene.seen.get(name)
        peer = seen.fact(Network) if seen is not None and seen.error is None else Unknown("not_asked", name)
        theirs = _mtu(peer, case.site.hosts[name].address) if name in case.site.hosts else None
        if theirs is not None and theirs != found.mtu:
            yield case.bad(theirs, found.mtu, target=target, note="mtu_differs", mtu=found.mtu)
        elif found.whole == "good":
            yield case.good(found.mtu, found.mtu, target=target)
        elif found.whole == "lost" and found.received == 0:
            yield case.info("—", target=target, note="ping_lost")
        else:
            yield case.bad(f"< {found.mtu}", found.mtu, target=target)


def _mtu(network, address):
    """Of the interface that has the address; None when the host did not say."""
    addresses = network if isinstance(network, Unknown) else network.ask("addresses")
    nics = network if isinstance(network, Unknown) else network.ask("nics")
    if isinstance(addresses, Unknown) or isinstance(nics, Unknown):
        return None
    # A virtual link shows as NAME@PEER in one list and as NAME in the other.
    name = addresses.get(address, "").partition("@")[0]
    return next((nic.mtu for nic in nics if nic.name == name), None)


@check("NET09", "vip.free")
def free(case):
    """An address that will move between hosts answers nobody yet, and is on none of our hosts."""
    holders = case.fact(Packets).holders
    for address in case.site.vips:
        if address in case.fact(Network).addresses:
            yield case.bad(case.host.name, "—", target=address, note="vip_answers")
        elif address not in holders:
            yield case.error("missing", target=address)
        elif holders[address]:
            yield case.bad(holders[address], "—", target=address, note="vip_answers")
        else:
            yield case.good("—", "—", target=address)


@check("NET08", "route", severity="warn")
def routes(case):
    found = case.fact(Network).defaults
    shown = " / ".join(line.removeprefix("default ") for line in found) or "—"
    return case.bad(shown, "≤ 1") if len(found) > 1 else case.good(shown, "≤ 1")


@check("NET10", "hosts", severity="warn")
def hosts_file(case):
    """Names of the site in /etc/hosts must not point elsewhere."""
    found, planned = case.fact(Network).hosts, case.planned("hosts", "/etc/hosts")
    wanted = dict(fqdns(case.site))
    wanted |= {host.name: host.address for host in case.site.hosts.values()}
    wrong = {name: found[name][0] for name, address in wanted.items() if name in found and found[name][0] != address}
    shown = " ".join(f"{name}={address}" for name, address in sorted(wrong.items()))
    if not wrong:
        return case.good(f"{sum(name in found for name in wanted)}/{len(wanted)}", "=")
    return case.will_be_set(planned, shown, "=") if planned else case.bad(shown, "=")


@check("NET11", "proxy", severity="warn")
def proxy(case):
    """A proxy in everybody's environment is in the way of the site's own hosts, unless they are left out of it."""
    found = case.fact(Network).proxies
    if not found:
        return case.good("—", "—")
    said = [line.partition("=")[2].strip().strip("\"'") for line in found if _LEFT_OUT.match(line)]
    entries = [one.strip() for line in said for one in line.split(",") if one.strip()]
    bare = [host.name for host in case.site.hosts.values() if not any(_covers(one, host.address) for one in entries)]
    if not bare:
        return case.good(" ".join(found)[:100], "no_proxy")
    return case.bad(" ".join(found)[:100], "no_proxy", note="not_left_out", hosts=" ".join(bare))


_LEFT_OUT = re.compile(r"(?i)\s*(export\s+)?no_proxy=")


def _covers(entry, address):
    if entry in ("*", address):
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return entry.endswith((".", ".*")) and address.startswith(entry.rstrip("*"))


@check("NET13", "external")
def external(case):
    tried = case.fact(Flows).tried
    for path in paths_of(case.site, case.host):
        if path.external:
            yield _one(case, path, tried.get(path.key))


@check("NET07", "nic", severity="warn")
def links(case):
    """Speed, duplex and errors of each interface; and as fast as those of the other hosts."""
    said = False
    for nic in case.fact(Network).nics:
        # Bridges, tunnels and virtual interfaces without a speed have no cable.
        if nic.name == "lo" or (nic.speed <= 0 and nic.errors == 0):
            continue
        said = True
        shown = f"{nic.speed or '?'} Mb/s {nic.duplex} {nic.errors}"
        slow = 0 < nic.speed < 1000 or nic.duplex == "half"
        if slow or nic.errors:
            yield case.bad(shown, "≥ 1000 Mb/s full 0", target=nic.name)
        elif nic.name == carrier(case.fact(Network), case.host) and nic.speed < case.once(_fastest):
            yield case.bad(shown, f"{case.once(_fastest)} Mb/s", target=nic.name, note="slower_than_others")
        else:
            yield case.good(shown, "≥ 1000 Mb/s full 0", target=nic.name)
    if not said:
        yield case.skip("no_speed")


def _fastest(scene):
    """The fastest interface that carries a host's address, of all hosts that say."""
    found = [0]
    for one in scene.seen.values():
        network = one.fact(Network)
        nics = network if isinstance(network, Unknown) else network.ask("nics")
        if not isinstance(nics, Unknown):
            found += [nic.speed for nic in nics if nic.name == carrier(network, one.host)]
    return max(found)
