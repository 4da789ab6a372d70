"""The one script that a host is asked with, and the reader of its answer.

The script is POSIX sh (dash, busybox sh, bash 4.2). It writes nothing on the target: no here-document (bash puts those
into /tmp), no temporary file. Every section runs in a subshell of its own; the whole answer is captured first and
printed with its SHA-256, so that noise in the middle is seen. Format, with NONCE new for every trip:

    @NONCE begin
    @NONCE section NAME
    key<TAB>value          newline, tab and backslash in a value stand as \\n \\t \\\\
    @NONCE end NAME LINES
    @NONCE done SHA256|-   of everything between begin and done

``tell`` reads with cat: the shell's own ``read`` asks byte by byte, and files of /proc/sys answer only the first.
``tells KEY FILE KEY FILE …`` reads the first line of many with one grep: a process each would be most of the time.

Bytes before ``begin`` are noise of the login shell. Without ``done`` the answer is cut: sections that ended count, the
rest is Unknown("truncated"). With a wrong digest, or without ``begin``, everything is Unknown("foreign").
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from implops.errors import KitError
from implops.facts.base import Section, Unknown

_PRELUDE = r"""
LC_ALL=C; export LC_ALL; unset LANG LANGUAGE BASH_ENV ENV CDPATH
PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin; export PATH
PATH=/usr/sbin:/sbin:/usr/bin:/bin:$PATH
set -f; set +e; umask 077; cd /
NL='
'; TAB='	'; IFS=" $TAB$NL"
have() { command -v "$1" >/dev/null 2>&1; }
if have timeout; then within() { timeout -k 1 "$@"; }; else within() { shift; "$@"; }; fi
kv() {
  case $2 in
    *[\\"$NL$TAB"]*) set -- "$1" "$(printf '%s.' "$2" | sed -e ':a' -e '$!{N;ba' -e '}' \
      -e 's/\\/\\\\/g' -e "s/$TAB/\\\\t/g" -e 's/\n/\\n/g')"; set -- "$1" "${2%.}";;
  esac
  n=$((n+1)); printf '%s\t%s\n' "$1" "$2"
}
no() { kv "$1!" "$2"; }
tell() { if [ -r "$2" ] && v=$(cat "$2"); then kv "$1" "$v"; else no "$1" "unreadable $2"; fi; v=; }
tells() {
  a=; k=$*
  while [ $# -gt 1 ]; do a="$a $2"; shift 2; done
  o=$NL$(grep -H "" $a)$NL
  set -- $k
  while [ $# -gt 1 ]; do
    case $o in
      *"$NL$2:"*) v=${o#*"$NL$2:"}; kv "$1" "${v%%"$NL"*}";;
      *) no "$1" "unreadable $2";;
    esac
    shift 2
  done; v=; o=
}
rows() {
  set -f; c=0; l=$IFS; IFS=$NL
  for v in $2; do kv "$1" "$v"; c=$((c+1)); done
  IFS=$l; kv "$1#" "$c"; v=
}
lines() { if [ -r "$2" ]; then rows "$1" "$(cat "$2")"; else no "$1#" "unreadable $2"; fi; }
asked() {
  k=$1; s=$2; shift 2
  if have "$1"; then
    v=$(within "$s" "$@"); r=$?
    case $r in 0) kv "$k" "$v";; 124|137) no "$k" "timeout $1";; *) no "$k" "command $1:$r";; esac
  else no "$k" "tool $1"; fi; v=
}
"""


@dataclass(frozen=True)
class Probe:
    """One section: its name, the sh text that prints it, the shell variables it reads."""

    section: str
    text: str
    parameters: Mapping[str, list[str]]


@dataclass(frozen=True)
class Answer:
    """What came back. ``noise``: bytes printed before the first marker."""

    sections: dict[str, Section | Unknown]
    noise: int


def load_probe(section: str, files: Mapping[str, Path], parameters: Mapping[str, list[str]]) -> Probe:
    """The probe file of a section. Raises KitError("check.no_probe")."""
    path = files.get(f"{section}.sh")
    if path is None:
        raise KitError("check.no_probe", section=section)
    return Probe(section, _slim(path, path.stat().st_mtime_ns), parameters)


@cache
def _slim(path: Path, changed: int) -> str:
    """A probe's text without comment lines and indentation: the script should fit one window of the channel. Read once
    for all hosts; ``changed`` is the file's time.
    """
    kept = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in kept if line and not line.startswith("#")) + "\n"


def assemble(probes: Iterable[Probe], nonce: str) -> str:
    """The script of one trip to one host. Parameters are quoted; nothing of them is evaluated."""
    parts = [_PRELUDE, f"M=@{nonce}\n"]
    names, given = [], dict[str, list[str]]()
    for probe in probes:
        for name, words in probe.parameters.items():
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name) or re.search(r"\s", "".join(words)):
                raise ValueError(name)
            # All probes of a trip share one shell: a name of two meanings would have the later one in both.
            if given.setdefault(name, words) != words:
                raise ValueError(name)
            parts.append(f"{name}={shlex.quote(' '.join(words))}\n")
        names.append(probe.section)
        parts.append(f"s_{probe.section}() {{\n{probe.text}}}\n")
    listed = " ".join(names)
    parts.append(
        f'all() {{ for S in {listed}; do ( n=0; printf "%s section %s\\n" "$M" $S; s_$S; '
        'printf "%s end %s %s\\n" "$M" $S $n ); done; }\n'
        # The shell reads this text from its standard input, piece by piece: only when the last line is read may the
        # commands get another one.
        "run() { exec 2>/dev/null </dev/null; U=$(id -u)\n"
        'printf "%s begin\\n" "$M"\n'
        "out=$(all)\n"
        'if have sha256sum; then sum=$(printf "%s\\n" "$out" | sha256sum); sum=${sum%% *}; else sum=-; fi\n'
        'printf "%s\\n%s done %s\\n" "$out" "$M" "$sum"; }\nrun\n'
    )
    return "".join(parts)


def write(nonce: str, sections: Mapping[str, Iterable[tuple[str, str]]]) -> bytes:
    """An answer in the same form, of what this side saw itself: kept and judged again like a host's."""
    out = ""
    for name, lines in sections.items():
        told = [f"{key}\t{_encode(value)}\n" for key, value in lines]
        out += f"@{nonce} section {name}\n{''.join(told)}@{nonce} end {name} {len(told)}\n"
    body = out.encode()
    return f"@{nonce} begin\n".encode() + body + f"@{nonce} done {hashlib.sha256(body).hexdigest()}\n".encode()


def parse(output: bytes, nonce: str, names: Iterable[str]) -> Answer:
    """The sections of an answer; every asked section is there, as a Section or an Unknown."""
    names = list(names)
    begin = f"@{nonce} begin\n".encode()
    start = output.find(begin)
    if start < 0:
        return Answer(dict.fromkeys(names, Unknown("foreign" if output else "truncated")), len(output))
    body = output[start + len(begin) :]
    done = re.search(rb"(?m)^@" + nonce.encode() + rb" done ([0-9a-f]{64}|-)\n", body)
    if done:
        body = body[: done.start()]
        if done[1] != b"-" and hashlib.sha256(body).hexdigest().encode() != done[1]:
            return Answer(dict.fromkeys(names, Unknown("foreign")), start)
    found = _sections(body, nonce)
    lost = Unknown("garbled" if done else "truncated")
    return Answer({name: found.get(name, lost) for name in names}, start)


def _sections(body: bytes, nonce: str) -> dict[str, Section | Unknown]:
    found: dict[str, Section | Unknown] = {}
    name, lines = "", list[tuple[str, str]]()
    mark = f"@{nonce} "
    for line in body.decode("utf-8", "replace").split("\n"):
        if line.startswith(mark):
            words = line.split(" ")
            if words[1] == "section" and len(words) == 3:
                name, lines = words[2], []
            elif words[1:3] == ["end", name] and len(words) == 4 and name:
                good = words[3] == str(len(lines)) and name not in found
                found[name] = Section(tuple(lines)) if good else Unknown("garbled")
                name = ""
        elif name:
            key, tab, value = line.partition("\t")
            # A line without a tab is noise; it spoils the count, and with it the section.
            lines.append((key, _decode(value)) if tab else ("", line))
    return found


def _encode(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _decode(value: str) -> str:
    if "\\" not in value:
        return value
    return re.sub(r"\\([\\nt])", lambda match: {"\\": "\\", "n": "\n", "t": "\t"}[match[1]], value)
