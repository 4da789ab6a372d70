"""What a host sees of the others: flows, names, name servers, the size of packets. All of it is the second trip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from implops.facts import dnswire
from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Site

Seen = Literal["open", "refused", "timeout", "no_route", "local", "silent"]
_ERRORS: tuple[tuple[str, Seen], ...] = (
    ("Connection refused", "refused"),
    ("No route to host", "no_route"),
    ("Network is unreachable", "no_route"),
    ("Connection timed out", "timeout"),
    ("Permission denied", "local"),
    ("Invalid argument", "local"),
)
_TIMEOUT_CODES = (124, 137)


@dataclass(frozen=True)
class Path:
    """One resolved flow: from this host to ``address:port/protocol``; ``target`` is a host's name when it is ours."""

    address: str
    port: int
    protocol: str
    target: str
    why: str
    external: bool

    @property
    def key(self) -> str:
        return f"{self.address}:{self.port}:{self.protocol}"

    @property
    def subject(self) -> str:
        return f"{self.target}:{self.port}/{self.protocol}"


def paths_of(site: Site, host: Host) -> list[Path]:
    """The flows that begin at this host, without those to itself."""
    found: dict[str, Path] = {}
    for flow in site.all_flows():
        if host not in site.ends(flow.source):
            continue
        targets = (
            [(flow.target, flow.target)] if flow.external else [(h.address, h.name) for h in site.ends(flow.target)]
        )
        for address, name in targets:
            if name != host.name:
                path = Path(address, flow.port, flow.protocol, name, flow.why, flow.external)
                found.setdefault(path.key, path)
    return list(found.values())


@dataclass(frozen=True)
class Tried:
    seen: Seen | Unknown
    micros: int | None


@dataclass(frozen=True)
class Flows(Fact, section="flows", trip=2):
    tried: dict[str, Tried] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"FLOWS": [path.key for path in paths_of(site, host)]}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_tried(line) for line in section.all("flow"))))


def _tried(line: str) -> tuple[str, Tried]:
    key, code, *rest = line.split(" ", 2)
    told = rest[0] if rest else ""
    match = re.match(r"(open|silent) ([0-9]+) ([0-9]+)", told)
    if match:
        seen: Seen = "open" if match[1] == "open" else "silent"
        return key, Tried(seen, to_int(match[3], "flow") - to_int(match[2], "flow"))
    if to_int(code, "flow") in _TIMEOUT_CODES:
        return key, Tried("timeout", None)
    for words, meaning in _ERRORS:
        if words in told:
            return key, Tried(meaning, None)
    return key, Tried(Unknown("garbled", told[:80]), None)


@dataclass(frozen=True)
class Names(Fact, section="names", trip=2):
    """``resolved``: what the host's own resolver says. ``answers``: what each name server says to it."""

    resolved: dict[str, str] | Unknown  # name -> address, "" when it is not found
    answers: dict[tuple[str, str, str], dnswire.Answer | Unknown] | Unknown  # (server, protocol, question) ->

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        if site.dns is None:
            return {"NAMES": [], "QUERIES": []}
        queries = []
        for server in site.with_role("dns"):
            for protocol in ("udp", "tcp"):
                queries.append(_query(server.address, protocol, "SOA", site.dns.zone))
            queries.append(_query(server.address, "udp", "A", f"{NOBODY}.{site.dns.zone}"))
            if site.dns.reverse:
                queries.append(_query(server.address, "udp", "PTR", dnswire.reverse(host.address)))
        return {"NAMES": list(fqdns(site)), "QUERIES": queries}

    @classmethod
    def read(cls, section: Section) -> Self:
        def resolved() -> dict[str, str]:
            lines = [line.split(" ") for line in section.all("name")]
            return {name: address if code == "0" and address != "-" else "" for name, code, address in lines}

        return cls(attempt(resolved), attempt(lambda: dict(_answered(line) for line in section.all("answer"))))


# A label that nobody has: a server that answers it answers anything.
NOBODY = "implops-no-such-name"


def fqdns(site: Site) -> dict[str, str]:
    """Name in the site's zone -> the address that it must have."""
    if site.dns is None:
        return {}
    names = {name: host.address for name, host in site.hosts.items()}
    names |= {name: site.hosts[target].address for name, target in site.dns.names.items()}
    return {f"{name}.{site.dns.zone}": address for name, address in names.items()}


def _query(server: str, protocol: str, kind: str, name: str) -> str:
    wire = dnswire.query(name, kind)
    if protocol == "tcp":
        wire = len(wire).to_bytes(2, "big") + wire
    return f"{server}:{protocol}:{kind}/{name}:{wire.hex()}"


def _answered(line: str) -> tuple[tuple[str, str, str], dnswire.Answer | Unknown]:
    head, code, *rest = line.split(" ", 2)
    server, protocol, question = head.split(":", 2)
    told = rest[0] if rest else ""
    key = (server, protocol, question)
    if to_int(code, "names") in _TIMEOUT_CODES:
        return key, Unknown("timeout", question)
    for words, meaning in _ERRORS:
        if words in told:
            return key, Unknown(meaning, question)
    match = re.fullmatch(r"([0-9]+) ([0-9]+) ([0-9a-f]*) ?", told)
    if not match:
        return key, Unknown("garbled", question)
    wire = bytes.fromhex(match[3])
    if not wire:
        return key, Unknown("refused", question)  # an ICMP refusal of UDP reads as the end of the file
    try:
        micros = to_int(match[2], "names") - to_int(match[1], "names")
        return key, dnswire.parse(wire[2:] if protocol == "tcp" else wire, micros)
    except (ValueError, IndexError, NotMeasured):
        return key, Unknown("garbled", question)


@dataclass(frozen=True)
class Packets(Fact, section="paths", trip=2):
    """Whether a packet of the link's full size reaches a host unsplit: ``good``, ``big`` (too big), ``lost``."""

    seen: dict[str, str] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        ours = {path.address for path in paths_of(site, host) if not path.external}
        return {"PEERS": [f"{address}:1500" for address in sorted(ours)]}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: {line.split(" ")[0]: line.split(" ")[2] for line in section.all("path")}))
