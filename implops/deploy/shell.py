"""Shell text for the target and what recipes describe with it: files, folders, states of a database. Pure.

A command is ended by the target itself (``timeout``), waits for what an earlier, cut-off run may still be doing
(``flock``), and never carries a secret: file contents and passwords travel on standard input.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

STATE = "/var/lib/implops"
# One changing command a host at a time, also beside one that a killed run left behind.
GUARD = f"{STATE}/running"
# In front of a question whose answer a command of a cut-off run may be changing right now: waits for its end.
SETTLED = f"flock -w 1000 {GUARD} true"
# Commands that the host owns: they outlive our connection, and who comes next waits for the one that runs.
JOBS = f"{STATE}/jobs"
# What takes longer than this is such a job.
JOB_SECONDS = 60
# There while packages are being installed; holds what was installed before.
INSTALLING = f"{STATE}/installing"
# What ``guarded`` and ``job`` put around a command.
_GUARDED = re.compile(rf"flock -w \d+ {GUARD} timeout -k \d+ \d+ sh -c (.*)", re.DOTALL)
_JOB = re.compile(rf"j={JOBS}/\S+\n.*\n  setsid sh -c (.*) > \$j/out 2>&1 </dev/null &\n  echo \$! .*", re.DOTALL)
_ENDED = re.compile(rf"; echo \$\? > ({JOBS}/\w+)/rc\.part; mv \1/rc\.part \1/rc$")


@dataclass(frozen=True)
class File:
    """A file of the target with its whole content. ``mode`` octal as text."""

    path: str
    text: str
    mode: str = "644"
    user: str = "root"
    group: str = "root"

    @property
    def state(self) -> str:
        sha256 = hashlib.sha256(self.text.encode()).hexdigest()
        return f"{sha256} {int(self.mode, 8):o} {self.user} {self.group}"


@dataclass(frozen=True)
class Want:
    """A state of the database: ``holds`` is an SQL condition, ``do`` the statements that bring it about."""

    holds: str
    do: str


@dataclass(frozen=True)
class Folder:
    """A directory of the target; its parents are made as 755 root."""

    path: str
    mode: str = "755"
    user: str = "root"
    group: str = "root"


def q(*words: str) -> str:
    """The words as one text of the shell."""
    return " ".join(shlex.quote(word) for word in words)


def guarded(command: str, seconds: int) -> str:
    """``command`` ended by the target after ``seconds``, alone on its host."""
    return f"flock -w {seconds + 60} {GUARD} timeout -k 10 {seconds} sh -c {shlex.quote(command)}"


def job(command: str, seconds: int) -> str:
    """``guarded``, but owned by the host: it goes on when the connection or this program is gone, and the same command
    given again while it runs waits for its end instead of starting another.

    Once it has ended its result is told to whoever waits, and never again: the next one asks the host how things are,
    and runs it anew if that is needed. A host that was started again has no job any more, whatever its folder says.
    """
    folder = f"{JOBS}/{hashlib.sha256(command.encode()).hexdigest()[:16]}"
    inner = f"{guarded(command, seconds)}; echo $? > {folder}/rc.part; mv {folder}/rc.part {folder}/rc"
    return f"""j={folder}
alive() {{ [ "$(cat $j/boot 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ] &&
  p=$(cat $j/pid 2>/dev/null) && [ -n "$p" ] && kill -0 "$p" 2>/dev/null; }}
mkdir -p -m 700 {JOBS}
for old in {JOBS}/*/rc; do [ ! -e "$old" ] || rm -rf "${{old%/rc}}"; done
alive || rm -rf $j
if mkdir -m 700 $j 2>/dev/null; then
  cat /proc/sys/kernel/random/boot_id > $j/boot
  setsid sh -c {shlex.quote(inner)} > $j/out 2>&1 </dev/null &
  echo $! > $j/pid
fi
while [ ! -e $j/rc ]; do
  alive || {{ sleep 1; [ -e $j/rc ] || {{ echo 'interrupted' >&2; exit 99; }}; }}
  sleep 0.1
done
tail -c 20000 $j/out
exit $(cat $j/rc)"""


def plain(command: str) -> str:
    """The command that ``guarded`` or ``job`` was given; any other as it is."""
    if found := _JOB.fullmatch(command):
        return plain(_unquoted(found[1]))
    if found := _GUARDED.fullmatch(_ENDED.sub("", command)):
        return _unquoted(found[1])
    return command


def _unquoted(word: str) -> str:
    return " ".join(shlex.split(word))


def psql(database: str, port: int, *arguments: str) -> str:
    """psql as the server's superuser through the host's own socket; stops at the first error."""
    options = q("-p", str(port), "-d", database, *arguments)
    return f"cd / && runuser -u postgres -- psql -XAtqw -v ON_ERROR_STOP=1 {options}"


def mariadb(*arguments: str) -> str:
    """The client as the server's root through the host's own socket; stops at the first error."""
    options = "--no-defaults --socket=/run/mysqld/mysqld.sock --default-character-set=utf8mb4 -NB"
    return f"mariadb {options} {q(*arguments)}"


def states(files: Sequence[File]) -> str:
    """A question that each file answers with a line like ``File.state``."""
    return "; ".join(
        f"if [ -f {q(f.path)} ] && [ ! -L {q(f.path)} ]; then echo $(sha256sum < {q(f.path)} | cut -c1-64) "
        f"$(stat -c '%a %U %G' {q(f.path)}); else echo -; fi"
        for f in files
    )
