"""Operations that the recipes share, each at most one question and few commands a call. Used in the worker only.

Everything runs as root on the target. A command is ended by the target itself (``timeout``), waits for what an
earlier, cut-off run may still be doing (``flock``), and never carries a secret: file contents and passwords travel on
standard input. A file is written beside its place, flushed to disk and renamed over it, so a power cut leaves the old
or the new one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from pyinfra import host
from pyinfra.api import StringCommand, operation
from pyinfra.facts.server import Command

from implops.deploy.shell import (
    INSTALLING,
    JOB_SECONDS,
    STATE,
    guarded,
    job,
    q,
    states,
)
from implops.deploy.shell import SETTLED as SETTLED
from implops.deploy.shell import File as File
from implops.deploy.shell import Folder as Folder
from implops.deploy.shell import Want as Want
from implops.deploy.shell import mariadb as mariadb
from implops.deploy.shell import psql as psql
from implops.verify import logs

# What a unit had read when it was last started, by ``restart_if_stale``.
APPLIED = f"{STATE}/applied"


class Writing(StringCommand):
    """A command that brings files to their content; a plan shows what would differ."""

    files: tuple[File, ...] = ()

    def of(self, *files: File) -> Writing:
        self.files = files
        return self


def template(name: str, /, **values: Any) -> str:
    """``templates/NAME`` of the kit, filled. A value that is missing is an error, never an empty text."""
    text = Path(host.data.templates[name]).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=False,  # noqa: S701 - no HTML: what has to be escaped is escaped in the template
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(text).render(values)


def fact(command: str) -> str:
    """What a read-only command of the target prints; a command that fails stops the recipe."""
    known: str | None = host.connector.known(command)
    return _asked(command) if known is None else known


def holds(command: str) -> bool:
    """Whether a read-only command of the target succeeds."""
    if host.connector.known(command) is not None:
        return True
    return _asked(f"if {command}; then echo yes; else echo no; fi") == "yes"


def _asked(command: str) -> str:
    with host.connector.asking():
        return str(host.get_fact(Command, command) or "")


@operation()
def bounded_shell(
    command: str, seconds: int = 60, unless: str | None = None, stdin: str | None = None
) -> Iterator[StringCommand]:
    """Run ``command`` within ``seconds``. ``unless`` (a command that succeeds when there is nothing to do) makes it
    idempotent; without it the operation always counts as a change. ``stdin`` may hold secrets. More than a minute
    makes it a job that the host owns.
    """
    if unless is not None and holds(unless):
        return
    if stdin is not None:
        yield StringCommand(guarded(command, seconds), _stdin=stdin)
    else:
        yield StringCommand((job if seconds > JOB_SECONDS else guarded)(command, seconds))


@operation()
def write(files: Sequence[File]) -> Iterator[StringCommand]:
    """Bring files to their content, mode and owner; one question for all of them, one command for each that differs."""
    seen = fact(states(files)).splitlines() if files else []
    for one, state in zip(files, seen, strict=True):
        if state != one.state:
            yield _put(one)


def _put(file: File) -> StringCommand:
    part, folder = f"{file.path}.part", str(Path(file.path).parent)
    command = (
        f"umask 077; mkdir -p -m 755 {q(folder)}; base64 -d > {q(part)} && chown {q(f'{file.user}:{file.group}')} "
        f"{q(part)} && chmod {q(file.mode)} {q(part)} && sync {q(part)} && mv -fT {q(part, file.path)} "
        f"&& sync {q(folder)}"
    )
    text = base64.encodebytes(file.text.encode()).decode() or "\n"
    return Writing(guarded(command, 60), _stdin=text).of(file)


@operation()
def replace(files: Sequence[File], check: str) -> Iterator[StringCommand]:
    """Like ``write``, all or none, and only when ``check`` accepts them: sh, in which ``$1`` ``$2`` … are the new
    files beside their places. The program never sees a file that its own checker refuses.
    """
    seen = fact(states(files)).splitlines()
    if [one.state for one in files] == seen:
        return
    lines, moves, parts = ["set -e; umask 077"], [], []
    for one in files:
        part, folder = f"{one.path}.part", str(Path(one.path).parent)
        lines += [
            f'mkdir -p -m 755 {q(folder)}; IFS= read -r body; printf %s "$body" | base64 -d > {q(part)}',
            f"chown {q(f'{one.user}:{one.group}', part)}; chmod {q(one.mode, part)}; sync {q(part)}",
        ]
        moves.append(f"mv -fT {q(part, one.path)}; sync {q(folder)}")
        parts.append(part)
    lines += [f"set -- {q(*parts)}", f'if ! ({check}) </dev/null; then rm -f "$@"; exit 1; fi', *moves]
    body = "".join(f"{base64.b64encode(one.text.encode()).decode()}\n" for one in files)
    changed = [one for one, state in zip(files, seen, strict=True) if state != one.state]
    yield Writing(guarded("\n".join(lines), 60), _stdin=body).of(*changed)


@operation()
def links(links: Sequence[tuple[str, str]]) -> Iterator[StringCommand]:
    """Symbolic links (path, target), each switched by one rename: no reader ever finds the path missing."""
    asked = "; ".join(f"readlink {q(path)} || echo -" for path, _ in links)
    for (path, target), seen in zip(links, fact(asked).splitlines(), strict=True):
        if seen != target:
            part = f"{path}.part"
            yield StringCommand(
                guarded(f"rm -f {q(part)} && ln -s {q(target, part)} && mv -fT {q(part, path)} && "
                        f"sync {q(str(Path(path).parent))}", 60)
            )  # fmt: skip


@operation()
def folders(folders: Sequence[Folder]) -> Iterator[StringCommand]:
    """Make directories with mode and owner; one question, at most one command."""
    asked = "; ".join(f"stat -c '%F %a %U %G' {q(f.path)} 2>/dev/null || echo -" for f in folders)
    seen = fact(asked).splitlines()
    wrong = [
        one
        for one, state in zip(folders, seen, strict=True)
        if state != f"directory {int(one.mode, 8):o} {one.user} {one.group}"
    ]
    if wrong:
        command = " && ".join(
            f"mkdir -p -m 755 {q(f.path)} && chown {q(f'{f.user}:{f.group}')} {q(f.path)} && chmod {q(f.mode, f.path)}"
            for f in wrong
        )
        yield StringCommand(guarded(command, 60))


@operation()
def absent(paths: Sequence[str]) -> Iterator[StringCommand]:
    """Remove files and links (no directories)."""
    if fact("; ".join(f"if [ -e {q(p)} ] || [ -L {q(p)} ]; then echo there; fi" for p in paths) + "; true"):
        yield StringCommand(guarded(f"rm -f {q(*paths)}", 60))


@operation()
def install(packages: Mapping[str, str], seconds: int = 900) -> Iterator[StringCommand]:
    """Debian packages in the versions of the bundle, or newer ones that the host has (name -> version; without one any
    will do); also finishes what a power cut interrupted.
    """
    if not packages:
        return
    # dpkg takes an empty version for older than any.
    older = "\n".join(f"older {q(name, version)}" for name, version in packages.items())
    question = f"""older() {{
set -- "$1" "$2" $(dpkg-query -W -f='${{db:Status-Abbrev}} ${{Version}}\\n' "$1" 2>/dev/null)
case $3 in ?i) dpkg --compare-versions "$4" ge "$2" || echo "$1" ;; *) echo "$1" ;; esac; }}
{older}
dpkg --audit | wc -l; if [ -e {INSTALLING} ]; then echo cut; fi"""
    if fact(question).split() == ["0"]:
        return
    from implops.bundle.apt import install_command, reinstall_command

    # Nothing flushes what the packages' scripts make, nor their configuration files: after a power cut a package can be
    # "installed", its links gone and its configuration empty, which dpkg would keep as the customer's own change. So
    # what was installed before is noted, and what came since is unpacked again, with the configuration files that the
    # cut has emptied, dpkg's and ucf's. What an account program had only half written goes too.
    empty = hashlib.md5(b"", usedforsecurity=False).hexdigest()
    command = f"""export DEBIAN_FRONTEND=noninteractive
list() {{ dpkg-query -W -f='${{binary:Package}} ${{Version}} ${{db:Status-Abbrev}}\\n' | grep ' ii *$'; }}
again= cut=
if [ -e {INSTALLING} ]; then cut=1
else list > {INSTALLING}.part && sync {INSTALLING}.part && mv {INSTALLING}.part {INSTALLING} && sync {STATE}; fi
if [ -n "$(dpkg --audit)" ]; then dpkg --configure -a --force-confold </dev/null; fi
if [ -n "$cut" ]; then
  again=$(list | grep -vxFf {INSTALLING} | cut -d ' ' -f 1)
  for package in $again; do
    dpkg-query -W -f='${{Conffiles}}\\n' "$package" | while read -r file sum rest; do
      [ "$sum" = {empty} ] || [ -s "$file" ] || rm -f "$file"
    done
    while read -r owner file; do
      [ "$owner" != "$package" ] || [ -s "$file" ] || grep -q "^{empty} *$file$" /var/lib/ucf/hashfile || rm -f "$file"
    done 2>/dev/null < /var/lib/ucf/registry
  done
  export UCF_FORCE_CONFFMISS=1
  rm -f /etc/.#passwd?????? /etc/.#group?????? /etc/.#shadow?????? /etc/.#gshadow??????
fi
{install_command(list(packages))} && {reinstall_command("again")} && sync && rm -f {INSTALLING} && sync {STATE}"""
    yield StringCommand(job(command, seconds))


@operation()
def sql(wants: Sequence[Want], database: str, port: int, transaction: bool = True) -> Iterator[StringCommand]:
    """Bring a PostgreSQL database to a state: one question for all conditions, one command for those that do not hold.

    The statements travel on standard input: a password's verifier may be among them.
    """
    # One -c a condition: before version 15 psql prints only the last result of several statements in one -c.
    asked = [word for one in wants for word in ("-c", f"select coalesce(({one.holds}), false)")]
    seen = fact(psql(database, port, *asked)).split()
    do = [one.do for one, holds in zip(wants, seen, strict=True) if holds != "t"]
    if do:
        alone = ["-1"] if transaction else []
        yield StringCommand(guarded(psql(database, port, *alone, "-f", "-"), 120), _stdin="\n".join(do) + "\n")


@operation()
def maria(wants: Sequence[Want]) -> Iterator[StringCommand]:
    """The same for MariaDB, where a statement about the schema cannot be taken back by a transaction."""
    asked = "; ".join(f"select if(coalesce(({one.holds}), false), 't', 'f')" for one in wants)
    seen = fact(mariadb("-e", asked)).split()
    do = [one.do for one, holds in zip(wants, seen, strict=True) if holds != "t"]
    if do:
        yield StringCommand(guarded(mariadb(), 120), _stdin="\n".join(do) + "\n")


@operation()
def service(units: Sequence[str], enabled: bool = True) -> Iterator[StringCommand]:
    """Units that start with the host (or, ``enabled=False``, are stopped and stay so)."""
    if enabled:
        state, command = "enabled", f"systemctl enable -q {q(*units)}"
    else:
        state, command = "disabled", f"systemctl disable -q --now {q(*units)}"
    asked = "; ".join(
        f"if systemctl is-enabled -q {q(u)} 2>/dev/null; then echo enabled; "
        f"elif systemctl is-active -q {q(u)}; then echo running; else echo disabled; fi"
        for u in units
    )
    if any(one != state for one in fact(asked).splitlines()):
        yield StringCommand(guarded(command, 60))


@operation()
def withdraw(units: Sequence[str], files: Sequence[str] = ()) -> Iterator[StringCommand]:
    """Stop units, keep them from starting with the host, remove files of ours (no directories) that made them, and the
    notes of what they had read (``APPLIED``): who comes back later starts anew.
    """
    files = [*files, *(f"{APPLIED}/{one}" for one in units)]
    asked = [
        *(f"if systemctl is-enabled -q {q(u)} 2>/dev/null || systemctl is-active -q {q(u)}; then echo {q(u)}; fi"
          for u in units),
        *(f"if [ -e {q(p)} ] || [ -L {q(p)} ]; then echo there; fi" for p in files),
        "true",
    ]  # fmt: skip
    seen = fact("; ".join(asked)).splitlines()
    if not seen:
        return
    lines = ["set -e"]
    if running := [one for one in units if one in seen]:
        lines.append(f"systemctl disable -q --now {q(*running)}")
    if files:
        lines.append(f"rm -f {q(*files)}")
    yield StringCommand(guarded("\n".join([*lines, "systemctl daemon-reload", "sync"]), 180))


@operation()
def restart_if_stale(
    unit: str, paths: Sequence[str], seconds: int = 120, check: str = "true", mark: str = "", reload: bool = False,
    clean: Sequence[str] = (), watched: Sequence[str] = (),
) -> Iterator[StringCommand]:  # fmt: skip
    """Restart a unit that is down or was started before one of the files it reads last changed, whoever changed it.

    Not "restart because this run wrote the file": a run killed between writing and restarting would leave the old
    configuration in memory for ever. List every file that the process reads, its unit included. ``check`` (the
    service's own test of its configuration) must succeed first: otherwise the old service goes on running. ``mark``
    names the note of what was applied, for a unit that several recipes restart. ``reload``: the files are read anew
    without a restart. ``clean``: caches of the old state, removed while the unit is down. ``watched``: logs that are
    read afterwards for what this start writes.
    """
    verb = f"{'reload' if reload else 'restart'} {q(unit)}"
    if clean or watched:
        between = [f"rm -rf -- {q(*clean)}"] if clean else []
        between += [f"{{ {logs.note(watched)}; }}"] if watched else []
        verb = f"stop {q(unit)} && {' && '.join(between)} && systemctl start {q(unit)}"
    # systemd only says that it failed: the program's own last words say why.
    said = f"journalctl -q -o cat -n 4 --no-pager _SYSTEMD_UNIT={q(unit)} >&2"
    applied = f"{APPLIED}/{mark or unit}"
    digest = f"cat {q(*paths)} 2>/dev/null | sha256sum | cut -c1-64"
    now, _, seen = fact(
        f"{digest}; systemctl is-active -q {q(unit)} && cat {q(applied)} 2>/dev/null || echo stale"
    ).partition("\n")
    if seen == now:
        return
    yield StringCommand(
        guarded(
            f"systemctl daemon-reload && {{ {check}; }} && {{ systemctl {verb} || {{ {said}; false; }}; }} "
            f"&& mkdir -p {APPLIED} && echo {now} > {q(applied)}.part && sync {q(applied)}.part "
            f"&& mv -f {q(f'{applied}.part', applied)}",
            seconds,
        )
    )
