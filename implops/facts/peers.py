"""What a host sees of the others, in the second trip: flows, size and loss of packets, addresses in use."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Literal, Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host, Site

Seen = Literal["open", "refused", "timeout", "no_route", "local", "silent", "no_name", "tls_silent"]
_ERRORS: tuple[tuple[str, Seen], ...] = (
    # A name that is not found ends as an invalid argument: the first words count.
    ("Name or service not known", "no_name"),
    ("Temporary failure in name resolution", "no_name"),
    ("Connection refused", "refused"),
    ("No route to host", "no_route"),
    ("Network is unreachable", "no_route"),
    ("Connection timed out", "timeout"),
    ("Permission denied", "local"),
    ("Operation not permitted", "local"),
    ("Invalid argument", "local"),
)
TIMEOUT_CODES = (124, 137)


def meaning_of(told: str) -> Seen | None:
    """What the words of a failed connection mean; None for any others: never guessed."""
    return next((meaning for words, meaning in _ERRORS if words in told), None)


@dataclass(frozen=True)
class Path:
    """One resolved flow: from this host to ``address:port/protocol``; ``target`` is a host's name when it is ours."""

    address: str
    port: int
    protocol: str
    target: str
    why: str
    external: bool
    tls: bool = False

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
        if not site.is_end(flow.source, host):
            continue
        targets = (
            [(flow.target, flow.target)] if flow.external else [(h.address, h.name) for h in site.ends(flow.target)]
        )
        for address, name in targets:
            if name != host.name:
                path = Path(address, flow.port, flow.protocol, name, flow.why, flow.external, flow.greets)
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
        paths = paths_of(site, host)
        return {"FLOWS": [f"{one.key}:{_greeting(one.address)}" if one.tls else one.key for one in paths]}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: dict(_tried(line) for line in section.all("flow"))))


def _greeting(name: str) -> str:
    """A TLS client's first message in hex. An address is no server name."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    server = None if re.fullmatch(r"[0-9.]+", name) else name
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read().hex()


def _tried(line: str) -> tuple[str, Tried]:
    key, code, *rest = line.split(" ", 2)
    told = rest[0] if rest else ""
    match = re.match(r"(open|silent|tls_silent)((?: [0-9]+ [0-9]+)+)", told)
    if match:
        times = [to_int(word, "flow") for word in match[2].split()]
        took = sorted(end - start for start, end in zip(times[::2], times[1::2], strict=True))
        return key, Tried(match[1], took[len(took) // 2])  # type: ignore[arg-type]
    if to_int(code, "flow") in TIMEOUT_CODES:
        return key, Tried("timeout", None)
    if meaning := meaning_of(told):
        return key, Tried(meaning, None)
    return key, Tried(Unknown("garbled", told[:80]), None)


@dataclass(frozen=True)
class Packet:
    """What pings to a host showed. ``mtu``: of the own interface; ``whole``: a packet of that size passes unsplit.

    ``big``: the network says that it does not; ``lost``: nothing comes back.
    """

    mtu: int
    whole: Literal["good", "big", "lost"]
    sent: int
    received: int


@dataclass(frozen=True)
class Packets(Fact, section="paths", trip=2):
    """``seen``: address -> its packets. ``holders``: an address that must be free -> who has it, "" for nobody."""

    seen: dict[str, Packet] | Unknown
    holders: dict[str, str] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        ours = {path.address for path in paths_of(site, host) if not path.external}
        return {"PEERS": sorted(ours), "VIPS": site.vips}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            attempt(lambda: dict(_packet(line) for line in section.all("path"))),
            attempt(lambda: {line.split(" ")[0]: _holder(line) for line in section.all("vip")}),
        )


def _packet(line: str) -> tuple[str, Packet]:
    address, mtu, whole, sent, received = line.split(" ")
    if whole not in ("good", "big", "lost"):
        raise NotMeasured(Unknown("garbled", "ping"))
    return address, Packet(to_int(mtu, "mtu"), whole, to_int(sent, "ping"), to_int(received, "ping"))  # type: ignore[arg-type]


def _holder(line: str) -> str:
    """The hardware address, or "ping" where only an answer came; a host behind a router shows no more."""
    _, code, neighbour = line.split(" ")
    if re.fullmatch(r"[0-9a-f:]{17}", neighbour):
        return neighbour
    return "ping" if code == "0" else ""
