"""Names: what a host's own resolver says, what each name server answers to it, and what it answers to an outsider."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.facts.peers import TIMEOUT_CODES, meaning_of
from implops.site import Host, Site

# A label that nobody has: a server that answers it answers anything.
NOBODY = "implops-no-such-name"
# The question that a forwarder is asked: whatever it answers, it is there.
ROOT = "NS/."
NXDOMAIN, REFUSED = 3, 5
_ID = 0x1D0C


@dataclass(frozen=True)
class Answer:
    """``code``: the rcode. ``recursion``: the server would ask others for us. ``records``: addresses, names, or a
    serial; of a transfer, the serial of its first record."""

    code: int
    recursion: bool
    records: tuple[str, ...]
    micros: int


@dataclass(frozen=True)
class Names(Fact, section="names", trip=2):
    """``resolved``: what the host's own resolver says. ``answers``: what each name server says to it."""

    resolved: dict[str, str] | Unknown  # name -> its address (several: by spaces), "" when it is not found
    answers: dict[tuple[str, str, str], Answer | Unknown] | Unknown  # (server, protocol, question) ->

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        if site.dns is None:
            return {"NAMES": [], "QUERIES": []}
        queries = []
        for server in site.with_role("dns"):
            for protocol in ("udp", "tcp"):
                queries.append(_query(server.address, protocol, "SOA", site.dns.zone))
            queries.append(_query(server.address, "udp", "A", f"{NOBODY}.{site.dns.zone}"))
            queries.append(_query(server.address, "tcp", "AXFR", site.dns.zone))
            if site.dns.reverse:
                queries.append(_query(server.address, "udp", "PTR", _reverse(host.address)))
        if "dns" in host.roles:
            queries += [_query(one, "udp", "NS", ".") for one in site.dns.forwarders]
        return {"NAMES": list(fqdns(site)), "QUERIES": queries}

    @classmethod
    def read(cls, section: Section) -> Self:
        def resolved() -> dict[str, str]:
            lines = [line.split(" ") for line in section.all("name")]
            return {
                name: found.replace(",", " ") if code == "0" and found != "-" else "" for name, code, found in lines
            }

        return cls(attempt(resolved), attempt(lambda: dict(_answered(line) for line in section.all("answer"))))


@dataclass(frozen=True)
class Served(Fact, section="served", trip=2):
    """What each name server says of the site's names to this host, whatever its /etc/hosts says."""

    answers: dict[tuple[str, str], Answer | Unknown] | Unknown  # (server, name) ->

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        servers = [one.address for one in site.with_role("dns")] if site.dns else []
        return {"SERVED_BY": servers, "NAMES": list(fqdns(site))}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_served(line) for line in section.all("served"))))


@dataclass(frozen=True)
class Config(Fact, section="named"):
    """What the name server's own program says of its configuration; ``tool``: "-" where no name server is installed."""

    tool: str | Unknown
    fault: str | Unknown  # its first complaint, "" without one

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"NAMED": ["1"] if "dns" in host.roles else []}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: section.text("tool")), attempt(lambda: section.text("fault")))


@dataclass(frozen=True)
class Outside(Fact, section="outside", trip=8):
    """What the name server of this host answers to the computer that implops runs on, which is no host of the site.

    ``transfer``: the rcode of a transfer of the zone, ``records`` what came of it.
    """

    asked: bool | Unknown
    recursion: bool | Unknown
    transfer: int | Unknown
    records: tuple[str, ...] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            attempt(lambda: section.flag("asked")), attempt(lambda: section.flag("recursion")),
            attempt(lambda: section.number("transfer")), attempt(lambda: section.all("record")),
        )  # fmt: skip


def fqdns(site: Site) -> dict[str, str]:
    """Name in the site's zone -> the address that it must have."""
    if site.dns is None:
        return {}
    names = {name: host.address for name, host in site.hosts.items()}
    names |= {name: site.hosts[target].address for name, target in site.dns.names.items()}
    return {f"{name}.{site.dns.zone}": address for name, address in names.items()}


def read_answer(wire: bytes, micros: int, id: int | None = _ID) -> Answer:
    """Raises NotMeasured for what is no answer to one of our questions; with ``id`` None, its number was looked at."""
    number, asked, answer = _message(wire)
    if id not in (None, number) or asked is None:
        raise NotMeasured(Unknown("garbled", "DNS"))
    return replace(answer, micros=micros)


@lru_cache(maxsize=4096)
def _message(wire: bytes) -> tuple[int, tuple[str, ...] | None, Answer]:
    """A message's number, the names that it was asked for (None: it is no answer), and what it says. Every host asks
    the servers for every name, and gets the same bytes: they are read once.

    Raises NotMeasured for what is no message.
    """
    import dns.exception
    import dns.flags
    import dns.message

    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise NotMeasured(Unknown("garbled", type(error).__name__)) from None
    records = []
    for one in (rrset[0] for rrset in message.answer):
        if one.rdtype.name in ("A", "PTR"):
            records.append(one.to_text().rstrip("."))
        elif one.rdtype.name == "SOA":
            records.append(str(one.serial))
    asked = tuple(one.name.to_text(omit_final_dot=True).lower() for one in message.question)
    answer = Answer(int(message.rcode()), bool(message.flags & dns.flags.RA), tuple(records), 0)
    return message.id, asked if message.flags & dns.flags.QR else None, answer


@lru_cache(maxsize=4096)
def question(kind: str, name: str) -> bytes:
    """The bytes of a question that asks for recursion too."""
    import dns.message

    return dns.message.make_query(name, kind, id=_ID).to_wire()


@lru_cache(maxsize=1024)
def _reverse(address: str) -> str:
    import dns.reversename

    return dns.reversename.from_address(address).to_text(omit_final_dot=True)


def _query(server: str, protocol: str, kind: str, name: str) -> str:
    wire = question(kind, name)
    if protocol == "tcp":
        wire = len(wire).to_bytes(2, "big") + wire
    return f"{server}:{protocol}:{kind}/{name}:{wire.hex()}"


def _served(line: str) -> tuple[tuple[str, str], Answer | Unknown]:
    server, name, told = line.split(" ", 2)
    key = (server, name)
    if told == "timeout":
        return key, Unknown("timeout", name)
    if meaning := meaning_of(told):
        return key, Unknown(meaning, name)
    if not re.fullmatch("(?:[0-9a-f]{2})+", told):
        return key, Unknown("garbled", name)
    return key, attempt(lambda: _about(bytes.fromhex(told), name))


def _about(wire: bytes, name: str) -> Answer:
    """The answer, when it is one about this name. Raises NotMeasured."""
    _, asked, answer = _message(wire)
    if asked is None:
        raise NotMeasured(Unknown("garbled", "DNS"))
    if asked != (name.lower(),):
        raise NotMeasured(Unknown("garbled", name))
    return answer


def _answered(line: str) -> tuple[tuple[str, str, str], Answer | Unknown]:
    head, code, *rest = line.split(" ", 2)
    server, protocol, asked = head.split(":", 2)
    told = rest[0] if rest else ""
    key = (server, protocol, asked)
    if to_int(code, "names") in TIMEOUT_CODES:
        return key, Unknown("timeout", asked)
    if meaning := meaning_of(told):
        return key, Unknown(meaning, asked)
    match = re.fullmatch(r"([0-9]+) ([0-9]+) ([0-9a-f]*) ?", told)
    if not match:
        return key, Unknown("garbled", asked)
    wire = bytes.fromhex(match[3])
    if not wire:
        return key, Unknown("refused", asked)  # an ICMP refusal of UDP reads as the end of the file
    micros = to_int(match[2], "names") - to_int(match[1], "names")
    return key, attempt(lambda: read_answer(wire[2:] if protocol == "tcp" else wire, micros))
