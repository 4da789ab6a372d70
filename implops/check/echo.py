"""``--deep``: prove the declared paths between the hosts of a site with temporary listeners on the real ports.

A connection that is made proves only that somebody answered: a proxy, a redirect, another host. So every target gets a
listener (checks/probes/listen.pl), every source calls it, and what comes back carries a token that only that target
knows. A listener makes no file, ends with the connection that started it, and with its lease when nobody renews it.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from implops import kit
from implops.check.gather import OUTPUT_LIMIT, TRIP_SECONDS, Seen, keep, let_go
from implops.errors import ImplopsError
from implops.facts.base import Fact, Unknown, build
from implops.facts.echo import FLOOD_BYTES, FLOOD_SECONDS, Bandwidth, Echo, Idle, Listening, floods, proved
from implops.facts.peers import Path
from implops.facts.script import Probe, assemble, load_probe, parse
from implops.remote import Connection, Held, Result, SudoRefused, connect, each
from implops.site import Host, Site

LEASE_SECONDS = 30
RENEW_SECONDS = 8.0
# The longest that --deep lets connections rest (our own figure).
MOST_IDLE_SECONDS = 900
_SLACK_SECONDS = 40.0


def prove(site: Site, seen: Mapping[str, Seen], idle_seconds: int = 0, *, flood: bool = True) -> None:
    """Ask Listening, Echo, Bandwidth (when ``flood``) and Idle (when ``idle_seconds``); the answers join ``seen``.

    A host that could not listen or call has Unknown facts that say why; a host that may not be loaded sends no flood.
    """
    hosts = [one.host for one in seen.values() if one.error is None]
    there = {host.name for host in hosts}
    # A host that is away is called too: whatever answers in its place is found out.
    paths = {host.name: [path for path in proved(site, host) if path.target in seen] for host in hosts}
    targets = {p.target: site.hosts[p.target] for mine in paths.values() for p in mine if p.target in there}
    wanted = {
        name: sorted({f"{p.port}/{p.protocol}" for mine in paths.values() for p in mine if p.target == name})
        for name in targets
    }
    nonce = secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        held = _listen(site, seen, targets, wanted, nonce, stack)
        stack.enter_context(_renewed(held))
        callers = _connected(site, hosts, seen, stack)
        probe = load_probe("echo", kit.files("checks/probes", site.base, "*.sh"), {})

        def call(kind: type[Fact], name: str, chosen: Sequence[Path], mode: str, seconds: float) -> None:
            keys = [path.key for path in chosen if _bound(seen[path.target], path)]
            words = {"ECHO": keys, "NONCE": [nonce], "MODE": mode.split()}
            asked = replace(probe, section=kind.section, parameters=words)
            _call(callers[name], seen[name], kind, asked, seconds)

        names = {name: seen[name].host for name in callers}

        def ended() -> None:
            let_go(callers.values())

        each(
            list(names.values()),
            lambda host: call(Echo, host.name, paths[host.name], "echo", TRIP_SECONDS),
            ended=ended,
        )
        for name, host in names.items() if flood else ():
            # One after the other: two floods at a time would measure each other.
            chosen = [path for path in floods(site, host) if path.target in there and not seen[path.target].untested]
            if chosen and not seen[name].untested:
                seconds = FLOOD_SECONDS * len(chosen) + _SLACK_SECONDS
                call(Bandwidth, name, chosen, f"flood {FLOOD_BYTES}", seconds)
        if idle_seconds:
            rest = min(idle_seconds, MOST_IDLE_SECONDS)
            quiet = {name: [path for path in paths[name] if path.protocol == "tcp"] for name in names}
            each(
                [host for host in names.values() if quiet[host.name]],
                lambda host: call(Idle, host.name, quiet[host.name], f"idle {rest}", rest + _SLACK_SECONDS),
                ended=ended,
            )


def _bound(target: Seen, path: Path) -> bool:
    if target.error is not None:
        return True
    found = target.fact(Listening)
    failed = found if isinstance(found, Unknown) else found.ask("failed")
    return isinstance(failed, dict) and failed.get(f"{path.port}/{path.protocol}") == ""


def _listen(
    site: Site, seen: Mapping[str, Seen], targets: Mapping[str, Host], wanted: Mapping[str, list[str]], nonce: str,
    stack: contextlib.ExitStack,
) -> list[Held]:  # fmt: skip
    """Start a listener on every target; Listening says which ports it got."""
    program = kit.files("checks/probes", site.base, "listen.pl")["listen.pl"].read_text(encoding="utf-8")

    def start(host: Host) -> Held | None:
        one, token = seen[host.name], secrets.token_hex(8)
        words = [host.address, nonce, token, str(LEASE_SECONDS), *wanted[host.name]]
        script = (
            "PATH=/usr/sbin:/sbin:/usr/bin:/bin; LC_ALL=C; export PATH LC_ALL; cd /\n"
            "command -v perl >/dev/null 2>&1 || { echo 'tool perl'; echo ready; exit; }\n"
            f"exec perl -e {shlex.quote(program)} {shlex.join(words)} 2>/dev/null\n"
        )
        connection = connect(site, host)
        stack.callback(connection.close)
        held = _held(connection, one, script)
        stack.callback(held.close)
        lines = held.said.decode("ascii", "replace").splitlines()
        ports = [line for line in lines if line.startswith(("bound ", "failed "))]
        told = [("token", token), *(("port", line) for line in ports), ("port#", str(len(ports)))]
        if "tool perl" in lines:
            told = [("token!", "tool perl"), ("port#!", "tool perl")]
        keep(one, Listening, told)
        one.trips += connection.trips
        return held

    found = each(list(targets.values()), start)
    for name, answer in found.items():
        if isinstance(answer, ImplopsError):
            seen[name].facts[Listening] = Unknown("lost")
    return [one for one in found.values() if isinstance(one, Held)]


def _held(connection: Connection, seen: Seen, script: str) -> Held:
    if seen.sudo:
        try:
            return connection.hold(script, ready=b"ready", timeout=TRIP_SECONDS, sudo=True)
        except SudoRefused:
            seen.sudo = False
    return connection.hold(script, ready=b"ready", timeout=TRIP_SECONDS)


@contextlib.contextmanager
def _renewed(held: Sequence[Held]) -> Iterator[None]:
    """Tell the listeners again and again that we are there, until the block ends."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            for one in held:
                one.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _connected(
    site: Site, hosts: Sequence[Host], seen: Mapping[str, Seen], stack: contextlib.ExitStack
) -> dict[str, Connection]:
    found = each(hosts, lambda host: connect(site, host))
    callers = {}
    for name, answer in found.items():
        if isinstance(answer, ImplopsError):
            seen[name].facts[Echo] = Unknown("lost")
        else:
            stack.callback(answer.close)
            callers[name] = answer
    return callers


def _call(connection: Connection, seen: Seen, kind: type[Fact], probe: Probe, seconds: float) -> None:
    nonce = secrets.token_hex(8)
    before = connection.trips
    try:
        result: Result = connection.run(assemble([probe], nonce), timeout=seconds, limit=OUTPUT_LIMIT)
    except ImplopsError:
        seen.facts[kind] = Unknown("lost")
        return
    finally:
        seen.trips += connection.trips - before
    seen.raw[kind.trip] = result.out
    seen.facts[kind] = build(kind, parse(result.out, nonce, [kind.section]).sections[kind.section])
