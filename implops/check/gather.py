"""Ask every host: one script in one trip with one sudo, and a second trip for what it sees of the others."""

from __future__ import annotations

import importlib
import pkgutil
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from implops import facts, kit
from implops.errors import ImplopsError, InputError
from implops.facts.base import Fact, Unknown, attempt, build, known
from implops.facts.planned import Planned
from implops.facts.script import Probe, assemble, load_probe, parse, write
from implops.remote import Connection, ConnectionLost, Result, SudoRefused, connect, each
from implops.site import Host, Site

F = TypeVar("F", bound=Fact)
# Everything in a script that can hang has its own limit; this is the fence around the whole trip.
TRIP_SECONDS = 60.0
OUTPUT_LIMIT = 4 * 2**20


# What the record keeps of how a host was asked, so that its answers can be judged again (history.py).
ASKED = ("sudo", "login_ms", "trip_ms", "noise", "trips", "again", "sent", "received", "ahead",
         "open", "deep", "untested")  # fmt: skip


@dataclass
class Seen:
    """What one host answered. ``error`` is set when it could not be asked; times in milliseconds."""

    host: Host
    facts: dict[type[Fact], Fact | Unknown] = field(default_factory=dict)
    error: ImplopsError | None = None
    sudo: bool = True
    login_ms: int = 0
    trip_ms: int = 0
    noise: int = 0
    trips: int = 0
    # Trips that only read the clock once more, because the first one left too much open.
    again: int = 0
    # This machine's clock around the first trip, in microseconds: the host's own readings lie between.
    sent: int = 0
    received: int = 0
    # The host's clock minus ours, from the trip that leaves least open, and half of what it leaves open. Microseconds.
    ahead: int | None = None
    open: int = 0
    # Whether the tests of trip 3 were wanted, and why they were not made all the same: a reason and its detail.
    deep: bool = False
    untested: str = ""
    # Trip -> what came back.
    raw: dict[int, bytes] = field(default_factory=dict)
    # Held open for the users' own tests; who asked for that closes it.
    connection: Connection | None = None

    def fact(self, kind: type[F]) -> F | Unknown:
        found = self.facts.get(kind, Unknown("missing", kind.section))
        return found  # type: ignore[return-value]


def kinds() -> list[type[Fact]]:
    """Every fact of ``implops/facts``, and those of loaded check files; the clock readings first and last."""
    _import_facts()
    found = [one for one in _subclasses(Fact) if one.section]
    rank = {"start": -1, "finish": 1}
    return sorted(found, key=lambda one: (rank.get(one.section, 0), one.section))


@cache
def _import_facts() -> None:
    for info in pkgutil.iter_modules(facts.__path__):
        importlib.import_module(f"implops.facts.{info.name}")


def _subclasses(kind: type[Fact]) -> list[type[Fact]]:
    return [one for sub in kind.__subclasses__() for one in (sub, *_subclasses(sub))]


def gather(site: Site, planned: Sequence[Planned], hosts: Sequence[Host], *, hold: bool = False) -> dict[str, Seen]:
    """Facts by host name, all hosts side by side. A host that cannot be asked has an ``error``. With ``hold`` the
    connections stay open (``close``).

    Raises InputError (wrong sudo password, missing key) and KitError (a probe is missing).
    """
    mine: dict[str, list[Planned]] = {}
    for one in planned:
        mine.setdefault(one.host, []).append(one)
    prepared = {host.name: scripts_of(site, mine.get(host.name, ()), host, (1, 2)) for host in hosts}
    opened: list[Connection] = []
    answers = each(
        hosts,
        lambda host: ask_host(site, Seen(host), prepared[host.name], opened, hold=hold),
        ended=lambda: let_go(opened),
    )
    seen = {}
    for host in hosts:
        answer = answers[host.name]
        if isinstance(answer, InputError):
            raise answer
        seen[host.name] = Seen(host, error=answer) if isinstance(answer, ImplopsError) else answer
    return seen


Script = tuple[int, list[type[Fact]], list[Probe]]


def scripts_of(site: Site, planned: Sequence[Planned], host: Host, trips: Sequence[int]) -> list[Script]:
    """(trip, its facts, their probes) of one host. Raises KitError for a fact without a probe."""
    probes, mine = _probes(site.base), [one for one in planned if one.host == host.name]
    found = []
    for trip in trips:
        chosen = [kind for kind in kinds() if kind.trip == trip]
        found.append(
            (trip, chosen, [load_probe(kind.section, probes, _parameters(kind, site, host, mine)) for kind in chosen])
        )
    return found


@lru_cache(maxsize=4)
def _probes(base: Path) -> dict[str, Path]:
    """The probes of a kit, looked for once for all hosts."""
    return kit.files("checks/probes", base, "*.sh")


def _parameters(kind: type[Fact], site: Site, host: Host, planned: list[Planned]) -> dict[str, list[str]]:
    found = kind.parameters(site, host)
    more = getattr(kind, "planned_parameters", None)
    return {**found, **more(planned)} if more else found


def let_go(opened: Iterable[Connection]) -> None:
    """Close what is being asked: a check that the user ends does not wait for its answers."""
    for one in list(opened):
        one.close()


def close(seen: Iterable[Seen]) -> None:
    """Close the connections that were held open."""
    for one in seen:
        if one.connection is not None:
            one.connection.close()
            one.connection = None


def ask_host(
    site: Site, seen: Seen, scripts: list[Script], opened: list[Connection], seconds: float | None = None, *,
    hold: bool = False,
) -> Seen:  # fmt: skip
    """The answers of one host join ``seen``; its connection joins ``opened``, which may be closed meanwhile."""
    with ExitStack() as stack:
        connection = stack.enter_context(connect(site, seen.host))
        opened.append(connection)
        if not seen.trips:
            seen.login_ms = round(connection.connect_seconds * 1000)
        for trip, wanted, probes in scripts:
            nonce = secrets.token_hex(8)
            text = assemble(probes, nonce)
            try:
                result = _trip(connection, seen, text, seconds or TRIP_SECONDS)
            except ConnectionLost as error:
                # What the first trip told still counts.
                if trip == 1:
                    raise
                reason = Unknown("timeout" if error.key == "remote.deadline" else "lost")
                seen.facts.update(dict.fromkeys(wanted, reason))
                break
            answer = parse(result.out, nonce, [kind.section for kind in wanted])
            if trip == 1:
                seen.sent, seen.received = result.sent, result.received
                seen.trip_ms, seen.noise = round(result.seconds * 1000), answer.noise
            seen.raw[trip] = result.out
            seen.facts.update({kind: build(kind, answer.sections[kind.section]) for kind in wanted})
            if trip == 1:
                _compare_clocks(connection, seen)
        seen.trips += connection.trips
        if hold:
            seen.connection = connection
            stack.pop_all()
    return seen


# A clock that is read with this much left open says nothing about differences that matter (TIM03: 100 ms).
_OPEN_MICROS = 150_000
_AGAIN = 3


def _compare_clocks(connection: Connection, seen: Seen) -> None:
    """The host's clock against ours: from the first trip; on a busy line by itself, and the best reading counts."""
    from implops.facts.clock import Finish, Start

    start, finish = attempt(lambda: known(seen.fact(Start)).at), attempt(lambda: known(seen.fact(Finish)).at)
    if isinstance(start, Unknown) or isinstance(finish, Unknown):
        return
    _closer(seen, start, finish, seen.sent, seen.received)
    while seen.open > _OPEN_MICROS // 2 and seen.again < _AGAIN:
        seen.again += 1
        try:
            result = connection.run("date +%s%N", timeout=TRIP_SECONDS)
        except ConnectionLost:
            return
        text = result.text.strip()
        if re.fullmatch(r"[0-9]{18,19}", text, re.ASCII):
            _closer(seen, int(text) // 1000, int(text) // 1000, result.sent, result.received)


def _closer(seen: Seen, first: int, last: int, sent: int, received: int) -> None:
    """Between ``sent`` and ``received`` of ours lie ``first`` and ``last`` of the host's."""
    half = max(0, received - sent - (last - first)) // 2
    if seen.ahead is None or half < seen.open:
        seen.ahead, seen.open = (first + last) // 2 - (sent + received) // 2, half


def _trip(connection: Connection, seen: Seen, script: str, seconds: float) -> Result:
    """With sudo; without it when sudo is refused: then only what root alone may see is missing."""
    if seen.sudo:
        try:
            return connection.run(script, timeout=seconds, sudo=True, limit=OUTPUT_LIMIT)
        except SudoRefused:
            seen.sudo = False
    return connection.run(script, timeout=seconds, limit=OUTPUT_LIMIT)


def keep(seen: Seen, kind: type[Fact], told: list[tuple[str, str]]) -> None:
    """A fact that this side made of what it saw: kept in the form of a host's answer, and read back like one."""
    nonce = secrets.token_hex(8)
    seen.raw[kind.trip] = write(nonce, {kind.section: told})
    seen.facts[kind] = build(kind, parse(seen.raw[kind.trip], nonce, [kind.section]).sections[kind.section])


def about(seen: Seen) -> dict[str, Any]:
    """Who answered, for the record: what the gate compares and what the form prints. Values that are not known: "—"."""
    from implops.facts.system import Cpu, Memory, System

    system, cpu, memory = seen.fact(System), seen.fact(Cpu), seen.fact(Memory)

    def of(fact: Fact | Unknown, name: str) -> Any:
        value = fact if isinstance(fact, Unknown) else fact.ask(name)
        return "—" if isinstance(value, Unknown) else value

    release = of(system, "os")
    return {
        "boot_id": of(system, "boot_id"), "machine_id": of(system, "machine_id"), "kernel": of(system, "kernel"),
        "virt": of(system, "virt"), "cpus": of(cpu, "count"), "memory": of(memory, "total"),
        "disks": _sizes(seen),
        "os": release.get("PRETTY_NAME", "—") if isinstance(release, dict) else "—",
        "release": release.get("VERSION_CODENAME", "—") if isinstance(release, dict) else "—",
        "address": seen.host.address, "roles": list(seen.host.roles),
        "asked": {**{name: getattr(seen, name) for name in ASKED}, "raw": list(seen.raw)},
        "error": {"key": seen.error.key, "params": {k: str(v) for k, v in seen.error.params.items()}}
        if seen.error
        else None,
    }  # fmt: skip


def _sizes(seen: Seen) -> dict[str, int]:
    """Mounted filesystems that the site speaks of -> their size in bytes; empty when not measured."""
    from implops.facts.storage import Disks

    disks = seen.fact(Disks)
    rooms = {} if isinstance(disks, Unknown) else disks.ask("rooms")
    return {} if isinstance(rooms, Unknown) else {room.target: room.size for room in rooms.values()}
