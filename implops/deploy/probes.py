"""What a recipe's ``verify`` returns: questions that the target answers about itself, each with a deadline.

A probe holds when its shell command succeeds before the deadline and, with ``stable_s``, still succeeds that much
later and prints the same: a service that starts and dies is a failure, also one that is started again each time.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

_SAID = re.compile(r"(\d+)> (.*)")


@dataclass(frozen=True)
class Probe:
    """``id`` is a code such as ``tcp:10.1.2.3:5432``; ``shell`` runs as root on the target; times in whole seconds."""

    id: str
    shell: str
    deadline_s: int = 60
    stable_s: int = 0

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def active(unit: str, *, stable_s: int = 2, deadline_s: int = 60) -> Probe:
    """The systemd unit is active, and stays so without being started again."""
    name = shlex.quote(unit)
    return Probe(f"systemd:{unit}", f"systemctl is-active {name} && {since(name)}", deadline_s, stable_s)


def since(*units: str) -> str:
    """Shell: since when units are active, and how often systemd has restarted them by itself. The names are quoted."""
    return f"systemctl show -p ActiveEnterTimestampMonotonic -p NRestarts {' '.join(units)}"


def tcp(address: str, port: int, *, deadline_s: int = 60) -> Probe:
    """Something accepts connections there, asked from the host itself (bash is essential on Debian; nc is not)."""
    target = shlex.quote(f"exec 3<>/dev/tcp/{address}/{int(port)}")
    return Probe(f"tcp:{address}:{port}", f"timeout 3 bash -c {target} 2>/dev/null", deadline_s)


def shell(id: str, command: str, *, deadline_s: int = 30, stable_s: int = 0) -> Probe:
    """Any command; quote every value that comes from the site file."""
    return Probe(id, command, deadline_s, stable_s)


def http(address: str, port: int, path: str, *, status: int = 200, deadline_s: int = 90) -> Probe:
    """The server there answers ``GET path`` with ``status``; asked with bash alone (bare hosts have no curl)."""
    ask = (
        f"exec 3<>/dev/tcp/{address}/{int(port)} && "
        f"printf 'GET %s HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' {shlex.quote(path)} {shlex.quote(address)} >&3 && "
        f'IFS= read -r line <&3 && echo "$line" && [[ $line == "HTTP/1."?" {int(status)} "* ]]'
    )
    return Probe(f"http:{address}:{port}{path}", f"timeout 15 bash -c {shlex.quote(ask)} 2>&1", deadline_s)


def script(probes: list[dict[str, Any]], *, patient: bool, flush: bool = False) -> str:
    """One sh script that asks all probes: a line ``INDEX ok|bad MILLISECONDS`` each; exit status 1 when one is bad.

    ``patient`` waits for deadlines and stability (after an install); otherwise each probe is asked once (a skip). What
    has to stay good is asked a second time when all have been good once: it waits for itself while others wait.
    What a bad one printed goes to stderr (``said``).
    ``flush``: when all are good, everything that the host has not written to its disks yet is.
    """
    lines = ["bad=0", "clock() { awk '{print int($1 * 1000)}' /proc/uptime; }"]
    later = []
    for number, probe in enumerate(probes):
        ask = f"said=$(timeout 20 sh -c {shlex.quote(probe['shell'])} 2>&1)"
        deadline, stable = (probe["deadline_s"], probe["stable_s"]) if patient else (0, 0)
        tell = [
            f'echo "{number} $state $(($(clock) - began{number}))"',
            f'if [ "$state" = bad ]; then bad=1; printf "%.2000s\\n" "$said" | sed "s/^/{number}> /" >&2; fi',
        ]
        lines += [
            f"began{number}=$(clock); state=bad; end{number}=$((began{number} + {deadline * 1000}))",
            f"while :; do if {ask}; then state=ok; break; fi",
            f'  [ "$(clock)" -lt $end{number} ] || break; sleep 0.5; done',
        ]
        if not stable:
            lines += tell
            continue
        lines += [
            f"if [ $state = ok ]; then good{number}=$(clock); was{number}=$said",
            f"else good{number}=; {'; '.join(tell)}; fi",
        ]
        later += [
            f'if [ -n "$good{number}" ]; then',
            f"  left=$((good{number} + {stable * 1000} - $(clock)))",
            '  [ $left -le 0 ] || sleep "$(awk "BEGIN { print $left / 1000 }")"',
            f'  state=bad; while :; do if {ask} && [ "$said" = "$was{number}" ]; then state=ok; break; fi',
            f'    [ "$(clock)" -lt $end{number} ] || break; sleep 0.5',
            f"    if {ask}; then was{number}=$said; sleep {stable}; fi; done",
            *(f"  {one}" for one in tell),
            "fi",
        ]
    lines += later
    if flush:
        lines.append("[ $bad = 1 ] || sync")
    return "\n".join([*lines, "exit $bad"])


def said(stderr: str) -> tuple[dict[int, str], str]:
    """What each bad probe of a ``script`` printed, by its index; and the whole text for people."""
    found: dict[int, list[str]] = {}
    lines = []
    for line in stderr.splitlines():
        match = _SAID.fullmatch(line)
        lines.append(match[2] if match else line)
        if match and match[2].strip():
            found.setdefault(int(match[1]), []).append(match[2].strip())
    return {number: " / ".join(one) for number, one in found.items()}, "\n".join(lines)
