"""Names: the hosts' resolvers, the site's name servers, and what these tell to whom."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from implops.check.registry import check
from implops.facts.base import Unknown
from implops.facts.names import NOBODY, NXDOMAIN, REFUSED, ROOT, Config, Names, Outside, Served, fqdns
from implops.facts.network import Network, Ports

_MOST_SERVERS = 3
_OURS = ("named", "unbound")
# What DNS04 says of a server that does not answer.
_SILENT = ("refused", "timeout", "no_route", "local")


def _resolver(case):
    return next(iter(case.plans("resolver")), None)


def _record(case, name):
    """What the site's primary name server is to say about a name and was not told by the last deployment; or None."""
    planned = case.planned("name", name, case.once(_primary))
    return planned if planned and not case.post(planned) else None


def _primary(scene):
    return scene.site.only("dns").name


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
    groups = {}
    for target, make in _resolved(case):
        if target:
            groups.setdefault(target, []).append(make)
        else:
            yield make()
    # What is good or still to come of many names is one result; every fault stands by itself.
    for target, made in groups.items():
        count, one = len(made), made[0]()
        there = 0 if one.state == "info" else count
        summed = replace(one, target=target, actual=f"{there} / {count}", required=str(count))
        yield summed if count > 1 else one


def _resolved(case):
    """A result a name, not made yet; in front of it what it is told together with ("" for a fault)."""
    resolved, planned, served = case.fact(Names).resolved, _resolver(case), {}
    servers = {host.address: host.name for host in case.site.with_role("dns")}
    for (server, name), one in case.fact(Served).answers.items():
        served.setdefault(name, {})[servers[server]] = one
    for name, address in fqdns(case.site).items():
        found, answers = resolved.get(name), served.get(name, {})
        if found != address:
            shown = found or "—"
            if to_come := _record(case, name) or planned:
                # Another address than ours is told, also while the recipe is still to come.
                group = "" if found or case.post(to_come) else to_come.recipe
                yield group, partial(case.will_be_set, to_come, shown, address, target=name)
            else:
                yield "", partial(case.bad, shown, address, target=name)
        elif result := _masked(case, name, address, answers):
            yield result.params["recipe"] if result.state == "info" else "", lambda result=result: result
        elif len(answers) < len(servers):
            yield "", partial(case.error, "missing", target=name, detail=name)
        elif answers and all(isinstance(one, Unknown) for one in answers.values()):
            # That no server answers is for DNS04; this name is known without them.
            yield "/etc/hosts", partial(case.good, found, address, target=name, note="from_hosts_file")
        else:
            yield case.site.dns.zone, partial(case.good, found, address, target=name)


def _masked(case, name, address, answers):
    """The host has the right address from its own /etc/hosts; a name server does not. None when none says otherwise."""
    for server, answer in answers.items():
        if isinstance(answer, Unknown):
            if answer.reason not in _SILENT:
                return case.error(answer.reason, target=name, detail=answer.detail)
            continue
        shown = " ".join(sorted(answer.records)) or f"rcode {answer.code}"
        if answer.code or answer.records != (address,):
            to_come = _record(case, name) or (
                None if _server_runs(case, server) else case.planned("port", "53", server)
            )
            if to_come:
                return case.will_be_set(to_come, shown, address, target=name)
            return case.bad(shown, address, target=name, note="hosts_file_masks", server=server)
    return None


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
        planned, target = _record(case, wanted) or case.planned("port", "53", server), f"→ {server}"
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
            yield (case.good if answer.code == NXDOMAIN else case.bad)(shown, "NXDOMAIN", target=f"→ {server}")


@check("DNS07", "srv.port53", roles=("dns",))
def port(case):
    """Port 53 is free for our server: also of stubs and forwarders that listen on a loopback address only."""
    if case.site.dns is None:
        return case.skip("no_dns")
    found = case.fact(Ports)
    holders = sorted({name for protocol in ("tcp", "udp") for one in found.on(53, protocol)
                      for name in one.processes or ("?",)})  # fmt: skip
    strangers = [name for name in holders if name not in _OURS]
    shown = " ".join(holders) or "—"
    return case.bad(shown, "—", note="port_taken") if strangers else case.good(shown, "—")


@check("DNS08", "srv.conf", roles=("dns",))
def configuration(case):
    found = case.fact(Config)
    if found.tool == "-":
        return case.skip("not_installed")
    return case.bad(found.fault[:200], found.tool) if found.fault else case.good(found.tool, found.tool)


@check("DNS09", "srv.serial", scope="site")
def serials(case):
    """Name servers of one zone with different serials give different answers."""
    if case.site.dns is None or len(case.site.with_role("dns")) < 2:
        return
    servers = [host.name for host in case.site.with_role("dns")]
    found = {}
    for one in case.cases:
        said = one.seen.fact(Names)
        # A host that could not ask does not spoil what the others heard.
        if isinstance(said, Unknown) or isinstance(said.ask("answers"), Unknown):
            continue
        for (server, protocol, question), answer in _answers(one).items():
            if question.startswith("SOA/") and protocol == "udp" and not isinstance(answer, Unknown) and answer.records:
                found.setdefault(server, answer.records[0])
    for one in case.cases:
        if one.host.name not in servers:
            continue
        missing = [server for server in servers if server not in found]
        shown = " ".join(f"{server}={found[server]}" for server in servers if server in found)
        if not missing:
            same = len(set(found.values())) == 1
            yield one.host.name, (one.good if same else one.bad)(shown, "=")
        elif all(_server_runs(one, server) for server in missing):
            yield one.host.name, one.error("not_asked", detail=" ".join(missing))
        else:
            yield one.host.name, one.skip("not_installed")


@check("DNS10", "srv.axfr", severity="warn")
def transfer(case):
    """The other name servers fetch the zone from the first one, nobody else does: it is a map of the site."""
    if case.site.dns is None:
        return
    first, *others = [host.name for host in case.site.with_role("dns")]
    for (server, _, question), answer in _answers(case).items():
        if question.startswith("AXFR/") and not isinstance(answer, Unknown):
            mine = case.host.name in others and server == first
            yield _transferred(case, answer.code, answer.records, f"→ {server}", mine)
    if "dns" in case.host.roles and (outside := _outside(case)) is not None:
        yield _transferred(case, outside.transfer, outside.records, "← *", False)


def _transferred(case, code, records, target, wanted):
    given = code == 0 and bool(records)
    shown, required = f"SOA {records[0]}" if given else f"rcode {code}", "SOA" if wanted else f"rcode {REFUSED}"
    note = "transfer_open" if given and not wanted else "transfer_shut" if wanted and not given else ""
    return (case.bad if note else case.good)(shown, required, target=target, note=note)


def _outside(case):
    """What a server answers to this computer, which is no host of the site; None when it was not asked."""
    found = case.seen.fact(Outside)
    return None if isinstance(found, Unknown) or not found.asked else found


@check("DNS11", "srv.recursion", severity="warn")
def recursion(case):
    """For the site's hosts when there are forwarders, for nobody else; and the forwarders answer."""
    site = case.site
    if site.dns is None:
        return
    for (server, protocol, question), answer in _answers(case).items():
        if isinstance(answer, Unknown):
            if question == ROOT:
                yield case.bad(answer.reason, "NS", target=f"→ {server}", note="forwarders_silent")
        elif question == ROOT:
            yield case.good(f"rcode {answer.code}", "NS", target=f"→ {server}")
        elif question.startswith("SOA/") and protocol == "udp" and site.dns.forwarders:
            yield (case.good if answer.recursion else case.bad)("RA" if answer.recursion else "—", "RA",
                                                               target=f"→ {server}")  # fmt: skip
    if "dns" in case.host.roles and (outside := _outside(case)) is not None:
        if outside.recursion:
            yield case.bad("RA", "—", target="← *", note="recursion_open")
        else:
            yield case.good("—", "—", target="← *")
