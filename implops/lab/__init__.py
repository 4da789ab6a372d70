"""The lab: the hosts of a site file as real Debian systems on this machine (systemd-nspawn), without any route out.

``up`` may be repeated (it brings up what is missing); ``down`` removes exactly what ``up`` made, also after a crash.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from implops import machine
from implops.errors import HostError, ImplopsError, InputError
from implops.lab import base, host, network, plan, seed, tools
from implops.lab.plan import Place, Plan
from implops.lab.state import State, uptime_seconds
from implops.site import Site
from implops.trust import read, unpin

__all__ = [
    "HostStatus", "boot", "cut_network", "down", "enter", "folder", "leader", "mend_network", "power_cut", "status",
    "stop", "up",
]  # fmt: skip


@dataclass(frozen=True)
class HostStatus:
    """One host of the lab; ``ssh``: its server answers; ``uptime`` in seconds."""

    host: str
    address: str
    state: Literal["running", "stopped", "none"]
    ssh: bool
    uptime: int | None
    pid: int | None


# Bytes that a base image and a freshly booted host take on this machine (236 MB and 70-140 MB were seen).
DISK_BASE, DISK_A_HOST = 500 * 10**6, 150 * 10**6

Say = Callable[[str, dict[str, Any]], None]


def _open(site: Site) -> tuple[Plan, State]:
    drawn = plan.of(site)
    return drawn, State(drawn.folder)


def _place(drawn: Plan, state: State, name: str) -> Place:
    if name not in drawn.places:
        raise InputError("lab.no_such_host", host=name, known=" ".join(drawn.places))
    if name not in state.hosts:
        raise HostError("lab.not_running", host=name)
    return drawn.places[name]


def folder(site: Site) -> Path:
    """``.implops/lab/`` beside the site file, made when it is not there: state, disks, logs, the lock."""
    found = plan.lab_folder(site)
    if not found.exists():
        plan.of(site)  # refuses a site that is not the lab's before anything is made
    found.mkdir(mode=0o700, exist_ok=True)
    return found


def up(site: Site, say: Say = lambda key, params: None) -> list[HostStatus]:
    """Bring up the hosts that are not running, all at once, and return when every one answers.

    ``say(key, params)`` tells the story: base (being built), answered (host, ms). Raises MachineError (a program
    missing, disk short, network taken), InputError (the site file changed under a running lab), HostError (a host did
    not answer: the first of them).
    """
    drawn, state = _open(site)
    tools.require()
    for place in drawn.places.values():
        if state.shape(place.name) not in (None, place.shape):
            raise InputError("lab.changed", host=place.name)
    new = [place for place in drawn.places.values() if not place.root_image.exists()]
    machine.ready(drawn.folder, disk=DISK_BASE + DISK_A_HOST * len(new))
    started = time.monotonic()
    releases = sorted({place.release for place in drawn.places.values()})
    images = {one: base.image(one, lambda release: say("base", {"release": release})) for one in releases}
    key = seed.user_key(site.ssh.key)
    state.bridge = drawn.bridge
    network.make_bridge(drawn)
    network.raise_inotify(state.path, len(drawn.places))
    for place in drawn.places.values():
        state.plan_host(place.name, place.machine, place.shape)

    def one(place: Place) -> str:
        host.prepare(drawn, place, state)
        host.start(drawn, place, images[place.release], state, key)
        host.wait_for_answer(place, state)
        return place.name

    faults: list[ImplopsError] = []
    with ThreadPoolExecutor(max_workers=max(8, len(drawn.places))) as pool:
        futures = [pool.submit(one, place) for place in drawn.places.values()]
        for future in as_completed(futures):
            try:
                name = future.result()
            except ImplopsError as error:
                faults.append(error)
                continue
            address = drawn.places[name].host.address
            say("answered", {"host": name, "address": address, "ms": int((time.monotonic() - started) * 1000)})
    host.pin_keys(drawn, state)
    if faults:
        raise faults[0]
    return status(site)


def down(site: Site, say: Say = lambda key, params: None) -> list[str]:
    """Remove exactly what ``up`` made (of this or an earlier run) and return the names of the hosts removed.

    ``say`` tells: stopped (host). The disks of the hosts are gone afterwards; records and documents stay.
    """
    home = plan.lab_folder(site)  # not the plan: the site file may have lost its lab section since
    tools.require({name: package for name, package in tools.PACKAGES.items() if name == "ip"})
    state = State(home)
    names = state.hosts

    def one(name: str) -> str:
        # Its disks are thrown away: nothing is won by an orderly shutdown.
        host.kill(name, state)
        host.clear(name, home / name, state)
        return name

    with ThreadPoolExecutor(max_workers=max(8, len(names))) as pool:
        for name in pool.map(one, names):
            say("stopped", {"host": name})
    known = read(site.known_hosts)
    unpin(site.known_hosts, [pair[0] for name in names if (pair := state.key(name)) and known.get(pair[0]) == pair[1]])
    if state.bridge:
        network.remove_link(state.bridge)
    state.remove()
    network.lower_inotify(state.path)
    return names


def status(site: Site) -> list[HostStatus]:
    """Every host of the site file, asked now, all at once."""
    drawn, state = _open(site)

    def one(place: Place) -> HostStatus:
        pid = state.pid(place.name)
        known: Literal["running", "stopped", "none"] = (
            "running" if pid else "stopped" if place.root_image.exists() else "none"
        )
        return HostStatus(
            host=place.name,
            address=place.host.address,
            state=known,
            ssh=pid is not None and host.answers(place),
            uptime=int(uptime_seconds(pid)) if pid else None,
            pid=pid,
        )

    with ThreadPoolExecutor(max_workers=max(8, len(drawn.places))) as pool:
        return list(pool.map(one, drawn.places.values()))


def boot(site: Site, name: str) -> None:
    """Start a host that was stopped or lost its power; returns when it answers."""
    drawn, state = _open(site)
    place = _place(drawn, state, name)
    image = base.image(place.release, lambda release: None)
    host.start(drawn, place, image, state, seed.user_key(site.ssh.key))
    host.wait_for_answer(place, state)


def stop(site: Site, name: str) -> None:
    """Shut a host down in order."""
    drawn, state = _open(site)
    host.stop(name, _place(drawn, state, name).folder, state)


def power_cut(site: Site, name: str) -> None:
    """Cut a host's power: what it had not synced is lost. ``boot`` starts it again."""
    drawn, state = _open(site)
    host.power_cut(_place(drawn, state, name), state)


def leader(site: Site, name: str) -> int:
    """The process (on this machine) that is number 1 inside the host."""
    return host.leader(_open(site)[1], name)


def enter(site: Site, name: str, argv: Sequence[str], *, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command inside the host as root, past its SSH server (tests and faults)."""
    return host.enter(_open(site)[1], name, argv, given=given)


def cut_network(site: Site, name: str) -> None:
    """Pull the host's cable."""
    drawn, state = _open(site)
    tools.call(["ip", "link", "set", _place(drawn, state, name).link, "down"])


def mend_network(site: Site, name: str) -> None:
    """Plug it in again."""
    drawn, state = _open(site)
    tools.call(["ip", "link", "set", _place(drawn, state, name).link, "up"])
