"""Fixes as shell text: one script that a person reads and runs, with a section a host, or the part of one host that is
sent over our own connection. Both are the same text with another end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from implops.check.fixes import Planned
from implops.site import Site

State = Literal["done", "done-before", "failed", "failed-half", "unknown"]
_LINE = re.compile(r"^implops-fix\t([A-Za-z0-9_]+)\t(done|done-before|failed|failed-half)\t(.*)$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
STATE_FOLDER = "/var/lib/implops/fixes"


@dataclass(frozen=True)
class Applied:
    """What became of a fix. ``said``: the command that undoes it, or the last words of what failed."""

    planned: Planned
    state: State
    said: str


def for_people(site: Site, run: str, fixes: Sequence[Planned], says: Callable[[Planned], Sequence[str]],
               head: Sequence[str], usage: Sequence[str]) -> str:  # fmt: skip
    """The script of ``--fix-script``. ``says`` gives the comment lines of a fix; ``usage`` is printed for bad words.

    Without a word it changes nothing: ``sh FILE HOST`` lists, ``sh FILE HOST apply [KEY…]`` applies (without keys those
    of class safe), ``sh FILE HOST undo KEY…`` brings back.
    """
    hosts = list(dict.fromkeys(one.host for one in fixes))
    parts = ["#!/bin/sh", *_comments(head), "", _prelude(run)]
    for number, host in enumerate(hosts):
        mine = [one for one in fixes if one.host == host]
        # Functions of one host at a time: two hosts may have the same keys.
        parts += ["", f"# ===== {host}  {site.hosts[host].address}", f"host_{number}() {{", ""]
        parts += [*(_function(one, [*says(one)]) for one in mine), "}"]
    cases = []
    for number, host in enumerate(hosts):
        mine = [one for one in fixes if one.host == host]
        safe, last = (" ".join(one.key for one in mine if one.risk == risk) for risk in ("safe", "reboot"))
        keys = " ".join(one.key for one in mine)
        listed = "\n".join(
            line for one in mine for line in (f"{one.key}  {one.risk}", *(f"    {x}" for x in says(one)))
        )
        cases += [
            f"{host}) host_{number}; address={site.hosts[host].address}; safe={shlex.quote(safe)}; "
            f"all={shlex.quote(keys)}; last={shlex.quote(last)}; listed={shlex.quote(listed)} ;;"
        ]
    told = _words(usage)
    cases += [f"*) printf '%s\\n' {told} >&2; exit 2 ;;", "esac", _ENDING.replace("USAGE", told)]
    return "\n".join([*parts, "", 'case "${1-}" in', *cases])


_ENDING = """host=$1
action=${2-list}
shift; [ $# = 0 ] || shift
if [ "$action" = list ]; then printf '%s\\n' "$listed"; exit 0; fi
case $action in apply | undo) ;; *) printf '%s\\n' USAGE >&2; exit 2 ;; esac
if ! ip -4 -o addr | grep -qwF -- "$address" && [ -z "${FORCE-}" ]; then
  echo "this machine has no address $address: it is not $host (FORCE=1 to go on)" >&2; exit 1
fi
[ "$(id -u)" = 0 ] || { echo "must be root" >&2; exit 1; }
[ $# != 0 ] || [ "$action" = undo ] || set -- $safe
bad=0
# What restarts the host comes last: it would cut the others off.
for turn in first last; do for key in "$@"; do
  case " $last " in *" $key "*) [ $turn = last ] || continue ;; *) [ $turn = first ] || continue ;; esac
  case " $all " in *" $key "*) ;; *) echo "no fix $key here: $all" >&2; bad=1; continue ;; esac
  # Not "one … || bad=1": there the shell would ignore what fails inside (set -e).
  if [ "$action" = apply ]; then one "$key"; else sh "$state/$key/undo"; fi
  [ $? = 0 ] || bad=1
done; done
exit $bad
"""


def for_host(run: str, fixes: Sequence[Planned]) -> str:
    """The text that ``--apply`` runs as root on one host; it tells a line a fix (``read``)."""
    functions = [_function(one, []) for one in fixes]
    calls = [f"one {one.key}" for one in fixes]
    return "\n".join([_prelude(run), *functions, *calls, "exit 0", ""])


def read(text: str, fixes: Sequence[Planned]) -> list[Applied]:
    """What the host told; a fix without a line is unknown."""
    told: Mapping[str, tuple[str, str]] = {key: (state, said) for key, state, said in _LINE.findall(text)}
    found = []
    for one in fixes:
        state, said = told.get(one.key, ("unknown", ""))
        found.append(Applied(one, state, said.strip()))  # type: ignore[arg-type]
    return found


def _prelude(run: str) -> str:
    text = Path(__file__).with_name("mend.sh").read_text(encoding="utf-8")
    return f"state={STATE_FOLDER}/{shlex.quote(run)}\n{text}"


def _function(one: Planned, says: list[str]) -> str:
    fix, lines = one.fix, list[str]()
    for path, text in fix.write.items():
        # printf, not a here-document: its end word could stand in the text.
        lines.append(f"printf %s {shlex.quote(text)} | put {shlex.quote(path)}")
    lines += [f"edit {shlex.quote(path)} {shlex.quote(command)}" for path, command in fix.edit.items()]
    lines += [f"link {shlex.quote(path)} {shlex.quote(target)}" for path, target in fix.link.items()]
    lines += [f"save {shlex.quote(path)}" for path in fix.saves]
    bodies = {"fix": "\n".join(lines), "now": fix.now, "back": fix.back}
    defined = [f"{name}_{one.key}() {{\n{body or ':'}\n}}" for name, body in bodies.items()]
    return "\n".join([*_comments([f"{one.key}  {one.risk}", *says]), *defined, ""])


def _comments(lines: Sequence[str]) -> list[str]:
    """A value of a host cannot end its comment."""
    return [f"# {_CONTROL.sub(' ', line)}" for line in lines]


def _words(lines: Sequence[str]) -> str:
    return " ".join(shlex.quote(line) for line in lines)
