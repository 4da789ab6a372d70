"""Hosts of one role that are not alike, without any configuration: what differs, and who is the odd one out.

A difference is no fault, and each host may pass alone; it is what somebody forgot on one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from implops.check.gather import Seen
from implops.facts.base import Fact, NotMeasured, Unknown
from implops.facts.clock import Clock
from implops.facts.network import Network, Nic, carrier
from implops.facts.software import Locales, Software
from implops.facts.storage import Disks, declared
from implops.facts.system import System
from implops.site import ROLES, Site

_FROM = 3
_GIB = 2**30


@dataclass(frozen=True)
class Difference:
    """``what`` of the hosts of ``role``: value -> hosts. ``odd`` are those beside the majority, from three hosts up."""

    role: str
    what: str
    values: dict[str, tuple[str, ...]]
    odd: tuple[str, ...]

    def payload(self) -> dict[str, Any]:
        return {"role": self.role, "what": self.what, "values": {v: list(h) for v, h in self.values.items()},
                "odd": list(self.odd)}  # fmt: skip


def find(site: Site, seen: Mapping[str, Seen]) -> list[Difference]:
    """Differences by role and subject, in a stable order. What could not be read on a host is not compared."""
    found = []
    for role in ROLES:
        mine = [one for one in seen.values() if role in one.host.roles and one.error is None]
        for what, ask in _ASKED.items():
            values: dict[str, list[str]] = {}
            for one in mine:
                try:
                    values.setdefault(ask(site, one), []).append(one.host.name)
                except NotMeasured:
                    continue
            if len(values) > 1:
                found.append(Difference(role, what, {v: tuple(h) for v, h in values.items()}, _odd(values)))
    return found


def _odd(values: dict[str, list[str]]) -> tuple[str, ...]:
    total, most = sum(map(len, values.values())), max(values.values(), key=len)
    if total < _FROM or 2 * len(most) <= total:
        return ()
    return tuple(host for hosts in values.values() if hosts is not most for host in hosts)


def _of(seen: Seen, kind: type[Fact]) -> Any:
    found = seen.fact(kind)
    if isinstance(found, Unknown):
        raise NotMeasured(found)
    return found


def _nic(seen: Seen) -> Nic:
    """The interface that carries the host's address."""
    network = _of(seen, Network)
    name = carrier(network, seen.host)
    for one in network.nics:
        if one.name == name:
            return one  # type: ignore[no-any-return]
    raise NotMeasured(Unknown("missing", "nic"))


def _layout(site: Site, seen: Seen) -> str:
    disks = _of(seen, Disks)
    rows = [(path, disks.mount_of(path), disks.room(path)) for path in declared(site, seen.host)]
    return " ".join(f"{path}={mount.target}:{mount.fs}:{room.size // _GIB}G" for path, mount, room in rows) or "—"


_ASKED: dict[str, Callable[[Site, Seen], str]] = {
    "kernel": lambda _, seen: str(_of(seen, System).kernel),
    "glibc": lambda _, seen: str(_of(seen, System).glibc),
    "release": lambda _, seen: str(_of(seen, System).os.get("PRETTY_NAME", "—")),
    "zone": lambda _, seen: str(_of(seen, Clock).zone),
    "lang": lambda _, seen: str(_of(seen, Locales).lang) or "—",
    "mtu": lambda _, seen: str(_nic(seen).mtu),
    "speed": lambda _, seen: str(_nic(seen).speed),
    "disks": _layout,
    "jdk": lambda _, seen: " ".join(sorted(one.version for one in _of(seen, Software).jdks.values())) or "—",
}
