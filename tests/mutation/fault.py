"""A fault: what is done to a healthy site, and what ``implops check`` has to say about it, no less and no more.

Three kinds. **R**: the condition is really there (host, network, site file). **S**: the source that the probe reads is
shadowed, because one kernel serves all hosts of the lab. **K**: recorded answers with a fault in them (recorded.py).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mutation.bench import Bench

Where = Literal["host", "net", "ipc"]
HOSTS = ("db1", "app1", "dns1", "sto1")


@dataclass(frozen=True)
class Step:
    """One thing that is done and undone, in the reverse order.

    ``host``: a shell inside the host as its root. ``net``, ``ipc``: a shell of this machine in the host's network or
    IPC namespace. ``@db1@`` in a script is that host's address, ``@gateway@`` this machine's. ``call`` does and undoes
    what a shell cannot: it returns the function that undoes it. ``edit``: texts of the site file, old -> new.
    ``touches``: two faults that touch the same thing never meet in one run.
    """

    do: str = ""
    undo: str = ""
    where: Where = "host"
    host: str = ""
    call: Callable[[Bench, str], Callable[[], None]] | None = None
    edit: tuple[tuple[str, str], ...] = ()
    touches: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fault:
    """``id`` reaches ``state`` with ``actual`` (a text, or a pattern that fits the whole of it) on ``host``, and on the
    ``others`` that see the same thing from their side. ``target``: None is any target of the check.

    ``follows``: what else changes because of it, with the reason: ``ID`` on the same hosts, ``HOST/ID`` elsewhere,
    ``*`` for everything on the host. ``whole``: nothing else may be done to this host meanwhile; ``alone``: to no host.
    ``scene``: the bare site, the deployed one, the one deployed with MariaDB. ``deep``: asked with ``--deep``.
    """

    id: str
    host: str
    what: str
    steps: tuple[Step, ...]
    state: str
    actual: str | re.Pattern[str]
    target: str | None = ""
    kind: Literal["R", "S"] = "R"
    others: tuple[str, ...] = ()
    follows: dict[str, str] = field(default_factory=dict)
    scene: Literal["bare", "deployed", "mariadb"] = "bare"
    deep: bool = False
    whole: bool = False
    alone: bool = False
    # Part of the short run that every change has to pass.
    short: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host, *self.others)

    @property
    def touches(self) -> frozenset[str]:
        return frozenset(
            one if one.startswith("site:") else f"{step.host or self.host}:{one}"
            for step in self.steps
            for one in step.touches
        )

    @property
    def edits(self) -> bool:
        return any(step.edit for step in self.steps)

    @property
    def expected(self) -> str:
        shown = self.actual if isinstance(self.actual, str) else f"/{self.actual.pattern}/"
        where = f" {self.target}" if self.target else ""
        return f"{self.host}{where} {self.state} {shown}"

    def fits(self, actual: str) -> bool:
        if isinstance(self.actual, str):
            return actual == self.actual
        return self.actual.fullmatch(actual) is not None


def _kept(path: str) -> str:
    return f"/run/mutation/{path.strip('/').replace('/', '+')}"


def shell(do: str, undo: str, host: str = "", touches: str = "") -> Step:
    return Step(do, undo, host=host, touches=frozenset(touches.split()))


def net(do: str, undo: str, host: str = "") -> Step:
    """In the host's network namespace, with the programs of this machine."""
    return Step(do, undo, where="net", host=host)


def kernel(path: str, value: str, host: str = "") -> Step:
    """A setting that the host has for itself: of its network (``/proc/sys/net``) or of its IPC namespace."""

    def call(bench: Bench, name: str) -> Callable[[], None]:
        was = bench.shell(name, f"cat {path}", where="ipc" if "/kernel/" in path else "host")

        def put(text: str) -> None:
            bench.shell(name, f"echo {shlex.quote(text)} > {path}", where="ipc" if "/kernel/" in path else "host")

        put(value)
        return lambda: put(was.strip())

    return Step(call=call, host=host, touches=frozenset([path]))


def shadow(path: str, text: str, host: str = "") -> Step:
    """Another text over a file of the kernel, or any other."""
    new = _kept(path)
    return Step(f"mkdir -p /run/mutation; printf '%s\\n' {shlex.quote(text)} > {new}; mount --bind {new} {path}",
                f"umount {path}; rm -f {new}", host=host, touches=frozenset([path]))  # fmt: skip


def edited(path: str, sed: str, host: str = "") -> Step:
    """A file of the kernel with some lines changed."""
    new = _kept(path)
    return Step(f"mkdir -p /run/mutation; sed -E {shlex.quote(sed)} {path} > {new}; mount --bind {new} {path}",
                f"umount {path}; rm -f {new}", host=host, touches=frozenset([path]))  # fmt: skip


def program(path: str, script: str, host: str = "") -> Step:
    """Another program in the place of one; ``$REAL`` is the real one, if there is any."""
    new, real = _kept(path), f"{_kept(path)}.real"
    text = f"#!/bin/sh\nREAL={real}\n{script}\n"
    do = (
        f"mkdir -p /run/mutation; printf '%s' {shlex.quote(text)} > {new}; chmod 755 {new}; "
        f"if [ -e {path} ]; then cp {path} {real}; mount --bind {new} {path}; else cp -p {new} {path}; fi"
    )
    undo = f"if [ -e {real} ]; then umount {path}; rm {real}; else rm {path}; fi; rm {new}"
    return Step(do, undo, host=host, touches=frozenset([path]))


def change(path: str, command: str, host: str = "", then: str = "", undone: str = "") -> Step:
    """A file changed by ``command`` (``$F`` is the file); ``then`` and ``undone`` make services read it."""
    kept = f"{_kept(path)}.kept"
    return Step(
        f"mkdir -p /run/mutation; cp -a {path} {kept}; F={path}; {command}" + (f"; {then}" if then else ""),
        f"cp -a {kept} {path}; rm {kept}" + (f"; {undone or then}" if undone or then else ""),
        host=host, touches=frozenset([path]),
    )  # fmt: skip


def site(*pairs: tuple[str, str]) -> Step:
    """The site file says something else; ``@db1@`` stands for an address here too."""
    return Step(edit=pairs, touches=frozenset(f"site:{old}" for old, _ in pairs))


def python(call: Callable[[Bench, str], Callable[[], None]], host: str = "", touches: str = "") -> Step:
    return Step(call=call, host=host, touches=frozenset(touches.split()))


def beside_site(path: str, text: str) -> Step:
    """A file of the kit beside the site file: it wins over the shipped one."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        file = bench.site.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file.unlink

    return Step(call=call, touches=frozenset([f"site:{path}"]))


def everywhere(make: Callable[[str], Step], hosts: tuple[str, ...] = HOSTS) -> tuple[Step, ...]:
    return tuple(make(host) for host in hosts)


def memory_of_machine() -> int:
    """Bytes that this machine, and with it every host of the lab, has."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    return int(text.split("MemTotal:")[1].split()[0]) * 1024
