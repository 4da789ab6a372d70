"""All hosts of a run at once: reached, told apart by boot id, locked; and let go whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from implops.deploy import hostlock
from implops.errors import HostError, ImplopsError
from implops.remote import Connection, connect, each
from implops.site import Host, Site


@dataclass
class Reached:
    """Open connections by host name; ``broken``: locks of others that were pushed aside; ``keep``: the hosts stay
    locked, for whoever takes this run up again.
    """

    open: dict[str, Connection] = field(default_factory=dict)
    boot_ids: dict[str, str] = field(default_factory=dict)
    broken: list[dict[str, str]] = field(default_factory=list)
    keep: bool = False


@contextmanager
def held(
    site: Site, hosts: Sequence[Host], run: str, operator: str, break_reason: str, verb: str, why: str
) -> Iterator[Reached]:
    """Connect to all hosts and lock them, or change nothing anywhere. The first host's error is raised.

    ``verb``, ``why``: what the lock says is being done, and on what ground.
    """
    reached = Reached()
    note = hostlock.note(run, operator, verb, why)
    locked: list[Connection] = []

    def reach(host: Host) -> None:
        connection = connect(site, host)
        reached.open[host.name] = connection
        # sudo is part of reaching a host: a wrong password must show before any lock is taken.
        answer = connection.run("cat /proc/sys/kernel/random/boot_id", timeout=30, sudo=True)
        if answer.rc:
            raise HostError("deploy.no_boot_id", host=host.name)
        reached.boot_ids[host.name] = answer.text.strip()

    def take(host: Host) -> None:
        connection = reached.open[host.name]
        pushed = hostlock.take(connection, note, break_reason=break_reason)
        locked.append(connection)
        if pushed is not None:
            reached.broken.append({"host": host.name, "held_by": pushed.get("operator", "?")})

    try:
        for ask in (reach, take):
            for answer in each(hosts, ask).values():
                if isinstance(answer, ImplopsError):
                    raise answer
        yield reached
    finally:
        if not reached.keep:
            hostlock.give_back_all(locked, run)
        for connection in reached.open.values():
            connection.close()
