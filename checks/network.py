"""The network between the hosts, and names."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.network import Network
from implops.facts.peers import NOBODY, Flows, Names, Packets, fqdns, paths_of
from implops.units import format_seconds

_MOST_SERVERS = 3


def _one(case, path, tried):
    """One flow: open is good; refused is good while nothing is meant to listen there yet."""
    subject = f"→ {path.subject}"
    if tried is None:
        return case.error("missing", target=subject)
    if isinstance(tried.seen, Unknown):
        return case.error(tried.seen.reason, target=subject, detail=tried.seen.detail)
    took = format_seconds(tried.micros / 1_000_000) if tried.micros is not None else ""
    if tried.seen == "open":
        return case.good(f"open {took}".strip(), "open", target=subject, note="connect_only")
    if tried.seen == "refused" and _silent_yet(case, path):
        return case.good("refused", "open", target=subject, note="nothing_listens_yet")
    if tried.seen == "silent" and path.protocol == "udp":
        # UDP that says nothing: the name server is asked in its own words by DNS04.
        return case.info("silent", target=subject, note="udp_silent")
    return case.bad(tried.seen, "open", target=subject, note=f"flow_{tried.seen}")


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


@check("NET05", "mtu")
def packets(case):
    names = {host.address: host.name for host in case.site.hosts.values()}
    for address, found in case.fact(Packets).seen.items():
        target = f"→ {names.get(address, address)}"
        if found == "lost":
            # Some firewalls drop every ping: then nothing is known about sizes.
            yield case.info("—", target=target, note="ping_lost")
        else:
            yield (case.good if found == "good" else case.bad)(
                "1500" if found == "good" else "< 1500", "1500", target=target
            )


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
    found = case.fact(Network).proxies
    return case.bad(" ".join(found)[:100], "—") if found else case.good("—", "—")


@check("NET13", "external")
def external(case):
    tried = case.fact(Flows).tried
    for path in paths_of(case.site, case.host):
        if path.external:
            yield _one(case, path, tried.get(path.key))


def _resolver(case):
    return next(iter(case.plans("resolver")), None)


@check("DNS01", "resolvers")
def servers(case):
    if case.site.dns is None:
        return case.skip("no_dns")
    wanted = [host.address for host in case.site.with_role("dns")][:_MOST_SERVERS]
    found, planned = list(case.fact(Network).servers), _resolver(case)
    shown = " ".join(found) or "—"
    if found == wanted:
        return case.good(shown, " ".join(wanted))
    return case.will_be_set(planned, shown, " ".join(wanted)) if planned else case.bad(shown, " ".join(wanted))


@check("DNS02", "fwd")
def forward(case):
    if case.site.dns is None:
        yield case.skip("no_dns")
        return
    resolved, planned = case.fact(Names).resolved, _resolver(case)
    for name, address in fqdns(case.site).items():
        found = resolved.get(name)
        if found == address:
            yield case.good(found, address, target=name)
        elif planned:
            yield case.will_be_set(planned, found or "—", address, target=name)
        else:
            yield case.bad(found or "—", address, target=name)


def _answers(case):
    """(server's host, protocol, question) -> answer; None for a site without a zone, or before its servers run."""
    servers = {host.address: host.name for host in case.site.with_role("dns")}
    return {(servers.get(server, server), protocol, question): answer
            for (server, protocol, question), answer in case.fact(Names).answers.items()}  # fmt: skip


def _server_runs(case, server):
    planned = case.planned("port", "53", server)
    return planned is None or case.post(planned)


@check("DNS03", "rev", severity="warn")
def backward(case):
    """The host's own address back to its name, asked of each name server."""
    if case.site.dns is None or not case.site.dns.reverse:
        yield case.skip("no_dns")
        return
    wanted = f"{case.host.name}.{case.site.dns.zone}"
    for (server, _, question), answer in _answers(case).items():
        if not question.startswith("PTR/"):
            continue
        planned, target = case.planned("port", "53", server), f"→ {server}"
        found = "—" if isinstance(answer, Unknown) else " ".join(answer.records) or f"rcode {answer.code}"
        if found == wanted:
            yield case.good(found, wanted, target=target)
        elif planned and not case.post(planned):
            yield case.will_be_set(planned, found, wanted, target=target)
        elif isinstance(answer, Unknown):
            yield case.error(answer.reason, target=target, detail=answer.detail)
        else:
            yield case.bad(found, wanted, target=target)


@check("DNS04", "each.ns")
def each_server(case):
    if case.site.dns is None:
        yield case.skip("no_dns")
        return
    for (server, protocol, question), answer in _answers(case).items():
        if not question.startswith("SOA/"):
            continue
        target = f"→ {server}:53/{protocol}"
        planned = case.planned("port", "53", server)
        if isinstance(answer, Unknown):
            before = planned is not None and not case.post(planned)
            if before and (answer.reason == "refused" or (answer.reason == "timeout" and protocol == "udp")):
                # Nothing listens yet; a kernel does not answer every UDP packet with "refused" (icmp_ratelimit).
                yield case.will_be_set(planned, answer.reason, "SOA", target=target)
            elif answer.reason in ("refused", "timeout", "no_route", "local"):
                yield case.bad(answer.reason, "SOA", target=target, note=f"flow_{answer.reason}")
            else:
                yield case.error(answer.reason, target=target, detail=answer.detail)
        elif answer.code or not answer.records:
            yield case.bad(f"rcode {answer.code}", "SOA", target=target)
        else:
            yield case.good(f"SOA {answer.records[0]}", "SOA", target=target)


@check("DNS05", "dns.time", severity="warn", unit="ms", ceiling=True)
def query_time(case):
    for (server, protocol, question), answer in _answers(case).items() if case.site.dns else ():
        if question.startswith("SOA/") and protocol == "udp" and not isinstance(answer, Unknown):
            yield case.most(answer.micros // 1000, target=f"→ {server}")


@check("DNS06", "nxdomain", severity="warn")
def nobody(case):
    for (server, _, question), answer in _answers(case).items() if case.site.dns else ():
        if question.startswith(f"A/{NOBODY}.") and not isinstance(answer, Unknown):
            shown = " ".join(answer.records) or f"rcode {answer.code}"
            yield (case.good if answer.code == 3 else case.bad)(shown, "NXDOMAIN", target=f"→ {server}")


@check("NET07", "nic", severity="warn")
def links(case):
    for nic in case.fact(Network).nics:
        if nic.name == "lo" or nic.speed <= 0:
            continue
        yield (case.good if nic.speed >= 1000 else case.bad)(f"{nic.speed} Mb/s", "≥ 1000 Mb/s", target=nic.name)


@check("DNS09", "srv.serial", scope="site")
def serials(case):
    """Name servers of one zone with different serials give different answers."""
    if case.site.dns is None or len(case.site.with_role("dns")) < 2:
        return
    one = case.cases[0]
    found = {}
    for (server, protocol, question), answer in _answers(one).items():
        if question.startswith("SOA/") and protocol == "udp" and not isinstance(answer, Unknown) and answer.records:
            found[server] = answer.records[0]
    shown = " ".join(f"{server}={serial}" for server, serial in found.items())
    yield one.host.name, (one.good if len(set(found.values())) <= 1 else one.bad)(shown or "—", "=")
