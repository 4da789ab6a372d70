"""``--deep``: tests that load a host (disk, bandwidth) or take long, in one further trip, where the host can bear it.

The cost is known before anything is asked (``Fact.cost``) and capped; a busy host and a host with a running database
are left alone unless the operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from implops.check.gather import Seen, ask_host, kinds, let_go, scripts_of
from implops.check.limits import Limit, Limits
from implops.errors import ImplopsError, InputError
from implops.facts.base import Cost, Unknown, attempt
from implops.facts.network import Ports
from implops.facts.planned import Planned
from implops.facts.system import Cpu
from implops.remote import Connection, each
from implops.site import Host, Site

# Of all tests of one host together; each probe keeps to its share (our own figures).
MOST_SIZE = 4 * 2**30
MOST_SECONDS = 300
# Between the sum of what the probes allow themselves and the fence around the trip.
SLACK_SECONDS = 30.0
_DATABASES = ("postgres", "mysqld", "mariadbd")


def untested(seen: Seen, reason: str, detail: str = "") -> None:
    """Note in ``seen`` why its host was not tested: the facts of trip 3 are Unknown for that reason."""
    seen.deep, seen.untested = True, f"{reason} {detail}".strip()
    seen.facts.update({kind: Unknown(reason, detail) for kind in kinds() if kind.trip == 3})


def costs(site: Site, hosts: Iterable[Host]) -> dict[str, Cost]:
    """Host name -> the most that its tests may cost together. Raises InputError beyond the caps."""
    found = {}
    for host in hosts:
        each_one = [kind.cost(site, host) for kind in kinds() if kind.trip >= 3]
        total = Cost(sum(one.size for one in each_one), sum(one.seconds for one in each_one))
        if total.size > MOST_SIZE or total.seconds > MOST_SECONDS:
            raise InputError("check.deep_cost", host=host.name, seconds=total.seconds, most=MOST_SECONDS)
        found[host.name] = total
    return found


def refusal(seen: Seen, busy_percent: int | None) -> Unknown | None:
    """Why this host must not be loaded: busy beyond CPU04's bound, or a database runs on it. None: it may."""
    cpu, ports = seen.fact(Cpu), seen.fact(Ports)
    load = cpu if isinstance(cpu, Unknown) else cpu.ask("load_percent")
    listeners = ports if isinstance(ports, Unknown) else attempt(lambda: ports.listeners)
    if isinstance(load, Unknown) or isinstance(listeners, Unknown):
        return Unknown("load_unknown")
    if busy_percent is not None and load > busy_percent:
        return Unknown("busy", f"{load} %")
    running = sorted({name for one in listeners for name in one.processes if name in _DATABASES})
    return Unknown("live_database", " ".join(running)) if running else None


def _most_busy(limits: Limits, host: Host) -> int | None:
    """CPU04's bound on this host, percent of one processor."""
    check = limits.checks.get("CPU04")
    bound = limits.of(check, host) if check else Limit()
    most: int | None = bound.want if bound.need is None else bound.need
    return most


def deepen(
    site: Site, planned: Sequence[Planned], seen: Mapping[str, Seen], limits: Limits, *, force_io: bool = False
) -> None:
    """Ask trip 3 of every host that answered and may be loaded, all side by side; the answers join ``seen``.

    Raises InputError when a host's tests cost more than the caps allow.
    """
    chosen = []
    for one in seen.values():
        one.deep = True
        if one.error is not None:
            continue
        reason = None if force_io else refusal(one, _most_busy(limits, one.host))
        if reason is None:
            chosen.append(one.host)
        else:
            untested(one, reason.reason, reason.detail)
    seconds = {name: cost.seconds for name, cost in costs(site, chosen).items()}
    prepared = {host.name: scripts_of(site, planned, host, (3,)) for host in chosen}

    opened: list[Connection] = []

    def ask(host: Host) -> Seen:
        return ask_host(site, seen[host.name], prepared[host.name], opened, seconds[host.name] + SLACK_SECONDS)

    for name, answer in each(chosen, ask, ended=lambda: let_go(opened)).items():
        if isinstance(answer, InputError):
            raise answer
        if isinstance(answer, ImplopsError):
            # It answered a moment ago: what is known of it stays, only these tests are missing.
            untested(seen[name], "lost")
