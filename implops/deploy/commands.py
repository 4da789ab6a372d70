"""What an operation did to its host, for the record: its commands without our wrapper and without secrets, its files.

Bounded: a deployment's record stays small, whatever its recipes run. Bodies and standard input are never part of it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from typing import Any

from implops.deploy.shell import INSTALLING, STATE, File, plain
from implops.secrets import redactor

# Of one operation; of one command its beginning and, for what a script comes to, its end.
COMMANDS, FILES, HEAD, TAIL = 8, 64, 400, 240
# What our operations add and nobody looks for: the places of apt's files, the notes of what a unit has read and of
# what its logs hold, how it says why it did not start; of an installation only the packages count.
_CUT = "…"
_OPTION = re.compile(r" -o (?:Dir|APT|Acquire|DPkg|Dpkg)::\S+")
_NOTE = re.compile(rf" && mkdir -p {STATE}/applied && echo \w+ > .*", re.DOTALL)
_LAST_WORDS = re.compile(r"(?:\{ true; \} && )?\{ (systemctl .*?) \|\| \{ journalctl [^}]*; false; \}; \}", re.DOTALL)
_LOGS = re.compile(rf"\{{ mkdir -p {STATE}/applied; .*?; \}}(?= && systemctl start )", re.DOTALL)
_PACKAGES = re.compile(r"apt-get [^|<>&;]* install -- [^<]*(?= </dev/null)")
# Something encoded: not for people, and it might hold what the redactor cannot know in this form.
_BODY = re.compile(r"[A-Za-z0-9+/]{100,}={0,2}")


def recorded(sent: Sequence[Any]) -> dict[str, Any]:
    """``commands`` as ``{text, cut, sha256}``, ``files`` as ``{path, mode, owner, sha256}``, ``more``: how many of both
    were left out. A key is missing where there is nothing.

    A command that brings files to their content (``.files``) stands as these files. ``cut``: so many characters of the
    (redacted) command are not shown, ``sha256`` is that of the whole then; of a file it is there where everybody may
    read it: another's would tell whoever guesses a password in it that the guess is right.
    """
    files = [_file(one) for command in sent for one in getattr(command, "files", ())]
    commands = [_command(str(one)) for one in sent if not getattr(one, "files", ())]
    more = len(commands[COMMANDS:]) + len(files[FILES:])
    found = {"commands": commands[:COMMANDS], "files": files[:FILES], "more": more}
    return {name: value for name, value in found.items() if value}


def _command(text: str) -> dict[str, Any]:
    text = _BODY.sub("…", _blanked(plain(text)))
    shown = _gist(text)
    if len(shown) > HEAD + TAIL:
        shown = f"{shown[:HEAD]} {_CUT} {shown[-TAIL:]}"
    if shown == text:
        return {"text": text, "cut": 0, "sha256": ""}
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return {"text": shown, "cut": len(text) - len(shown), "sha256": sha256}


def _gist(text: str) -> str:
    text = _NOTE.sub(f" {_CUT}", _LOGS.sub(_CUT, _OPTION.sub("", text)))
    text = _LAST_WORDS.sub(r"\1", text)
    if INSTALLING in text and (found := _PACKAGES.search(text)):
        return f"{_CUT} {found[0]} {_CUT}"
    return text


def _blanked(text: str) -> str:
    # A secret with a quote in it is written in another way in a command.
    for one in redactor.known():
        text = text.replace(shlex.quote(one), "***")
    return redactor.text(text)


def _file(file: File) -> dict[str, str]:
    shared = int(file.mode, 8) & 0o004
    sha256 = hashlib.sha256(file.text.encode()).hexdigest() if shared else ""
    return {"path": file.path, "mode": file.mode, "owner": f"{file.user}:{file.group}", "sha256": sha256}
