"""What a machine can mend, declared beside the checks: ``checks/fixes/*.py``, or in the file of the check itself::

    @fix("LIM07", risk="safe")
    def backlog(case, found):
        return sysctl({"net.core.somaxconn": case.limit.want}, "LIM07")

The function gets the Case of its check and the Result that is to be mended, and returns a Fix, or None when this one is
for a person. A fix sets the running value and the lasting one (a file of its own where the system reads such files);
script.py adds the copy of every touched file and the way back. Only class ``safe`` is ever run by implops.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from implops import kit
from implops.check.judge import Case, Scene
from implops.check.model import Result, Verdict
from implops.check.registry import FOLDER, Check
from implops.errors import KitError

# safe: nothing that runs notices. restart, reboot: a service or the host stops for a moment. customer-owned: theirs to
# decide. never: no machine does this (deleting, moving, formatting).
Risk = Literal["safe", "restart", "reboot", "customer-owned", "never"]
RISKS: tuple[Risk, ...] = get_args(Risk)
_MENDED = ("fail", "warn")


@dataclass(frozen=True)
class Fix:
    """Shell text, run as root, in this order.

    ``back`` prints, before anything is changed, the commands that bring the running value back. ``write``: files that
    are ours alone, path -> text. ``edit``: files of the system, path -> a filter from old text to new. ``link``:
    symbolic links, path -> target. ``saves``: files that ``now`` changes by itself. ``now`` sets what runs; it may
    ``put PATH`` a file that only the host can name.
    """

    write: Mapping[str, str] = field(default_factory=dict)
    edit: Mapping[str, str] = field(default_factory=dict)
    link: Mapping[str, str] = field(default_factory=dict)
    saves: tuple[str, ...] = ()
    now: str = ""
    back: str = ""


@dataclass(frozen=True)
class Remedy:
    """A declared fix. ``function`` is None for class ``never``."""

    id: str
    risk: Risk
    function: Callable[[Case, Result], Fix | None] | None
    path: Path = Path()


@dataclass(frozen=True)
class Planned:
    """One fix on one host: ``key`` names it (the id, with a number when an id has several targets)."""

    host: str
    key: str
    verdict: Verdict
    risk: Risk
    fix: Fix


def fix(id: str, *, risk: Risk) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as the fix of a check."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.fix = Remedy(id, risk, function)  # type: ignore[attr-defined]
        return function

    return mark


def sysctl(values: Mapping[str, object], id: str) -> Fix:
    """Kernel settings: now, and in a drop-in of their own. Its name comes after those of the system, also after
    99-sysctl.conf, by which Debian 12 reads /etc/sysctl.conf.
    """
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    now = [f"sysctl -q -w {shlex.quote(f'{name}={value}')}" for name, value in values.items()]
    # Setting the value that is there already may be refused too (a container): then there is nothing to bring back.
    back = [
        f'printf \'[ "$(sysctl -n %s)" = "%s" ] || sysctl -q -w %s="%s"\\n\' '
        f'{name} "$(sysctl -n {name})" {name} "$(sysctl -n {name})"'
        for name in values
    ]
    path = f"/etc/sysctl.d/99-zz-implops-{id}.conf"
    return Fix({path: lines}, now="\n".join(now), back="\n".join(back))


def sysfs(path: str, value: str, id: str) -> Fix:
    """A file of /sys (a pattern is allowed): now, and at every start by systemd-tmpfiles."""
    now = f'for f in {path}; do printf %s {shlex.quote(value)} >"$f"; done'
    # Of a choice such as "always [madvise] never" the word in brackets is the one that counts.
    old = "$(sed -E 's/.*\\[([^]]*)\\].*/\\1/' \"$f\")"
    line = '[ "$(cat %s)" = "%s" ] || printf %%s "%s" >%s'
    back = f'for f in {path}; do printf \'{line}\\n\' "$f" "$(cat "$f")" "{old}" "$f"; done'
    return Fix({f"/etc/tmpfiles.d/implops-{id}.conf": f"w {path} - - - - {value}\n"}, now=now, back=back)


def drop_in(unit: str, values: Mapping[str, object], id: str) -> Fix:
    """Settings of a systemd service; it is restarted when it runs. The name comes after override.conf, which is what
    ``systemctl edit`` writes.
    """
    name = unit if "." in unit else f"{unit}.service"
    text = "[Service]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
    quoted = shlex.quote(name)
    again = f"systemctl daemon-reload; ! systemctl -q is-active {quoted} || systemctl restart {quoted}"
    path = f"/etc/systemd/system/{name}.d/zz-implops-{id}.conf"
    return Fix({path: text}, now=again, back=f"echo {shlex.quote(again)}")


def load(base: Path | None, checks: Mapping[str, Check]) -> dict[str, Remedy]:
    """Fixes by id of the check. Raises KitError for one of an unknown check or class, or for two of one id."""
    found: dict[str, Remedy] = {}
    folder = f"{FOLDER}/fixes"
    paths = [*kit.files(folder, base).values(), *dict.fromkeys(one.path for one in checks.values())]
    for path in paths:
        module = kit.load(path, "fixes" if path.parent.name == "fixes" else FOLDER)
        declared = [one for value in vars(module).values() if isinstance(one := getattr(value, "fix", None), Remedy)]
        declared += [Remedy(id, "never", None) for id in getattr(module, "NEVER", ())]
        for one in declared:
            if one.id not in checks:
                raise KitError("check.unknown_id", place=path, id=one.id)
            if one.risk not in RISKS:
                raise KitError("fix.bad_risk", place=path, id=one.id, risk=one.risk, known=" ".join(RISKS))
            if one.id in found:
                raise KitError("check.two_files", id=one.id, path=path, other=found[one.id].path)
            found[one.id] = Remedy(one.id, one.risk, one.function, path)
    return found


def plan(
    scene: Scene, checks: Mapping[str, Check], remedies: Mapping[str, Remedy], verdicts: Sequence[Verdict]
) -> list[Planned]:
    """A fix for every fault that a machine can mend, in the order of the verdicts. A fix that cannot be made (its facts
    are missing, its author erred) is left out: its fault stays for a person."""
    found: list[Planned] = []
    for verdict in verdicts:
        remedy = remedies.get(verdict.id)
        if verdict.state not in _MENDED or remedy is None or remedy.function is None:
            continue
        try:
            made = remedy.function(Case(scene, checks[verdict.id], scene.seen[verdict.host]), verdict.result)
        except (Exception, SystemExit):  # noqa: S112 - the code of a kit's author; nothing may be half told
            continue
        if made is not None:
            again = sum((one.host, one.verdict.id) == (verdict.host, verdict.id) for one in found)
            key = f"{verdict.id}_{again + 1}" if again else verdict.id
            found.append(Planned(verdict.host, key, verdict, remedy.risk, made))
    return found
