"""apt on a target, fed by the bundle only: sources, lists and cache of our own; the customer's stay untouched.

What stays the host's: the dpkg database and its lock, which packages were installed automatically, and its apt hooks.
Services of Debian packages start when they are installed (Debian's rule; a ``policy-rc.d`` of the customer is obeyed);
a recipe that must prevent this configures the package before, as for ``create_main_cluster`` of PostgreSQL.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from implops.errors import GateRefused
from implops.remote import Connection

PLACE = "/var/lib/implops"
BUNDLE = f"{PLACE}/bundle"
STATE = f"{PLACE}/apt"
SIMULATE_SECONDS = 120.0
# confdef/confold: a configuration file that the customer changed is kept, nobody is there to be asked.
_QUIET = "DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l"
_KEEP = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
_INSTALL = f"-o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 {_KEEP}"
_CHANGE = re.compile(r"^Inst (\S+) (?:\[(\S+)\] )?\((\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """What an installation would do: ``old`` is the installed version, empty for a new package."""

    package: str
    old: str
    new: str


def options(state: str = STATE) -> str:
    """apt options that make it see the sources under ``state`` and nothing else."""
    settings = {
        "Dir::Etc::sourcelist": f"{state}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": f"{state}/lists",
        "Dir::Cache": f"{state}/cache",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return " ".join(f"-o {name}={value}" for name, value in settings.items())


def update_command(folder: str = f"{BUNDLE}/apt", state: str = STATE) -> str:
    """Shell: make apt know the packages in ``folder``. It trusts them: all were checked against the bundle's sums."""
    return (
        f"mkdir -p {state}/lists/partial {state}/cache/archives/partial && "
        f"printf 'deb [trusted=yes] file:%s ./\\n' {folder} >{state}/sources.list && "
        f"LC_ALL=C apt-get {options(state)} update -qq </dev/null"
    )


def reinstall_command(variable: str) -> str:
    """Shell (as root): unpack and configure once more the packages that the shell variable names, if it names any.

    Configuration files that are missing come back.
    """
    missing = "-o Dpkg::Options::=--force-confmiss"
    apt = f"env {_QUIET} apt-get {options()} {_INSTALL} {missing} -q -y --no-remove install --reinstall"
    return f'{{ [ -z "${variable}" ] || {apt} -- ${variable} </dev/null; }}'


def install_command(packages: Sequence[str]) -> str:
    """Shell (as root): install ``packages`` from the pushed bundle without a question, or change nothing.

    Never removes a package (``--no-remove``), waits two minutes for another apt to end, keeps changed configuration
    files, first finishes an installation that was cut off (``--fix-broken``). Exit status: apt's.
    """
    apt = f"env {_QUIET} apt-get {options()} {_INSTALL} -q -y --no-remove"
    return f"{apt} --fix-broken install </dev/null && {apt} install -- {shlex.join(packages)} </dev/null"


def simulate_command(packages: Sequence[str], state: str = STATE) -> str:
    """Shell: say what ``install_command`` would do. Packages that a cut left half-way count as not installed."""
    return (
        f"awk -v RS= -v ORS='\\n\\n' '!/\\nStatus: [a-z -]* (unpacked|half-installed|half-configured)\\n/' "
        f"/var/lib/dpkg/status >{state}/status && "
        f"LC_ALL=C apt-get {options(state)} -o Dir::State::status={state}/status "
        f"-s -q -y --no-remove install -- {shlex.join(packages)} </dev/null 2>&1"
    )


def complaint(text: str) -> str:
    """Why apt refused, in its own words: packages it cannot find, dependencies it cannot meet, else its errors."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    nowhere = re.compile(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate")
    missing = [found[1] or found[2] for line in lines if (found := nowhere.search(line))]
    wants = [line for line in lines if re.search(r"(Depends|Conflicts|Breaks): ", line)]
    errors = [line for line in lines if line.startswith("E:")]
    return "; ".join(missing + wants or errors or lines)[:500] or "apt-get"


def changes(host: str, rc: int, text: str) -> list[Change]:
    """Read the answer of ``simulate_command``. Raises GateRefused naming what is missing or would be removed."""
    if rc:
        if removed := re.search(r"will be REMOVED:\n((?:  .*\n)+)", text):
            raise GateRefused("bundle.would_remove", host=host, packages=" ".join(removed[1].split()))
        raise GateRefused("bundle.unmet", host=host, why=complaint(text))
    return [Change(name, old, new) for name, old, new in _CHANGE.findall(text)]


def simulate(connection: Connection, packages: Sequence[str]) -> list[Change]:
    """What installing ``packages`` from the bundle on this host would do, asked from its own apt; changes nothing.

    Raises GateRefused naming a missing dependency, or a package of the customer's that would have to go.
    """
    if not packages:
        return []
    result = connection.run(simulate_command(packages), timeout=SIMULATE_SECONDS, sudo=True)
    return changes(connection.name, result.rc, result.text)
