"""Addresses, interfaces, resolver, hosts file, and who listens on which port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.site import Host


@dataclass(frozen=True)
class Nic:
    name: str
    mac: str
    mtu: int
    speed: int  # Mb/s; 0 when the driver does not say
    duplex: str = "-"  # full, half; "-" when the driver does not say
    errors: int = 0  # received and sent, since the host started


@dataclass(frozen=True)
class Network(Fact, section="network"):
    addresses: dict[str, str] | Unknown  # address -> interface
    defaults: tuple[str, ...] | Unknown
    nics: tuple[Nic, ...] | Unknown
    servers: tuple[str, ...] | Unknown  # of resolv.conf
    hosts: dict[str, tuple[str, ...]] | Unknown  # name -> addresses of /etc/hosts, in order
    proxies: tuple[str, ...] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            addresses=attempt(lambda: _addresses(section)),
            defaults=attempt(lambda: section.all("default")),
            nics=attempt(lambda: tuple(_nic(line) for line in section.all("nic"))),
            servers=attempt(lambda: _servers(section)),
            hosts=attempt(lambda: _hosts(section)),
            proxies=attempt(lambda: section.all("proxy")),
        )


def carrier(network: Network, host: Host) -> str:
    """The interface that has the host's address; empty when none has."""
    addresses = network.ask("addresses")
    return "" if isinstance(addresses, Unknown) else str(addresses.get(host.address, "")).partition("@")[0]


def _addresses(section: Section) -> dict[str, str]:
    found = {}
    for line in section.all("address"):
        match = re.match(r"\d+:\s+(\S+)\s+inet ([0-9.]+)", line)
        if not match:
            raise NotMeasured(Unknown("garbled", "ip addr"))
        found[match[2]] = match[1]
    if not found:
        raise NotMeasured(Unknown("empty", "ip addr"))
    return found


def _nic(line: str) -> Nic:
    name, mac, mtu, speed, duplex, received, sent = line.split()
    known = re.fullmatch(r"[0-9]{1,9}", speed)
    errors = sum(to_int(one, "errors") for one in (received, sent) if one != "-")
    return Nic(name, mac, to_int(mtu, "mtu"), int(speed) if known else 0, duplex, errors)


def _servers(section: Section) -> tuple[str, ...]:
    lines = [line.partition("#")[0].split() for line in section.all("resolv")]
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


def _hosts(section: Section) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in section.all("hosts"):
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            if "." in address and ":" not in address:
                found[name] = (*found.get(name, ()), address)
    return found


@dataclass(frozen=True)
class Listener:
    protocol: str
    address: str
    port: int
    processes: tuple[str, ...]
    uids: tuple[int, ...]
    nofile: int | None

    @property
    def only_local(self) -> bool:
        return self.address.startswith("127.") or self.address == "[::1]"


@dataclass(frozen=True)
class Ports(Fact, section="ports"):
    listeners: tuple[Listener, ...] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: _listeners(section)))

    def on(self, port: int, protocol: str) -> list[Listener]:
        listeners = self.listeners
        assert not isinstance(listeners, Unknown)
        return [one for one in listeners if one.port == port and one.protocol == protocol]


def _listeners(section: Section) -> tuple[Listener, ...]:
    owners, limits = {}, {}
    for line in section.all("process"):
        match = re.fullmatch(r"/proc/([0-9]+)/(?:status:Uid: +([0-9]+) .*|limits:Max open files +(\S+) .*)", line)
        if match and match[2]:
            owners[match[1]] = to_int(match[2], "uid")
        elif match:
            limits[match[1]] = int(match[3]) if match[3].isdecimal() else 2**31
    about = {pid: (uid, limits[pid]) for pid, uid in owners.items() if pid in limits}
    found = []
    root = section.number("root") == 0
    for line in section.all("listen"):
        words = line.split(None, 6)
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            raise NotMeasured(Unknown("garbled", "ss"))
        address, _, port = words[4].rpartition(":")
        users = re.findall(r'\("([^"]*)",pid=([0-9]+)', words[6] if len(words) > 6 else "")
        names = tuple(dict.fromkeys(name for name, _ in users))
        known = [about[pid] for _, pid in users if pid in about]
        limit = min((one[1] for one in known), default=None)
        uids = tuple(dict.fromkeys(one[0] for one in known))
        found.append(Listener(words[0], address.partition("%")[0], to_int(port, "port"), names, uids, limit))
    # Our own SSH server listens: a list without any is the list of a broken ss, not of a quiet host.
    if not any(one.protocol == "tcp" for one in found):
        raise NotMeasured(Unknown("empty", "ss"))
    if not root and any(not one.processes for one in found):
        raise NotMeasured(Unknown("no_sudo", "ss"))
    return tuple(found)
