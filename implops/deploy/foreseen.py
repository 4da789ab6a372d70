"""Questions known beforehand: what a run asks of a host that nothing is to be changed on, asked in one trip.

A recipe asks its host one thing after the other, and nearly all of a second run is the way there and back. What each
step asked is kept when a run has ended well; the next run puts all of it to a host at once, together with what the
verification of its steps asks. An answer stands for asking while this run has changed nothing on any host; from the
first command on that may change something, everything is asked when its turn comes. So is whatever was not foreseen,
did not succeed, or took too long.

The file holds commands that run as root on the hosts: it lies with the records, belongs to their owner, and is not read
when others may write to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "asked.json"
# One question may take so long, and no further one begins after so long in all; seconds.
EACH, ALL = 30, 60


@dataclass(frozen=True)
class Answer:
    """What a command that succeeded printed, and how long it took in milliseconds (the kernel's clock: tens of ms)."""

    text: str
    ms: int


def kept(folder: Path) -> dict[str, list[str]]:
    """Step -> what it asked when a run last ended well; nothing where no run has, or where others may write."""
    path = folder / FILE
    try:
        with path.open(encoding="utf-8") as file:
            state = os.fstat(file.fileno())
            if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o022:
                return {}
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    good = isinstance(found, dict) and all(
        isinstance(asked, list) and all(isinstance(one, str) for one in asked) for asked in found.values()
    )
    return found if good else {}


def keep(folder: Path, asked: Mapping[str, list[str]]) -> None:
    """Remember what the steps of a run asked. The file is the old or the new one whatever happens; on a disk that is
    full it is the old one: the run itself went well, and the next one asks in its turn what is not foreseen.
    """
    path = folder / FILE
    part = path.with_suffix(".part")
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asked, file, ensure_ascii=False)
        part.replace(path)


def script(commands: Iterable[str], nonce: str) -> str:
    """One sh script that asks everything; in front of each answer a line with the nonce, behind it how it ended."""
    lines = [
        "clock() { read -r up rest </proc/uptime; ms=${up%.*}${up#*.}0; }",
        f"clock; end=$((ms + {ALL * 1000}))",
        "ask() { clock; [ $ms -lt $end ] || return; began=$ms",
        f"printf '@{nonce} %s\\n' $1; timeout -k 2 {EACH} sh -c \"$2\" </dev/null 2>/dev/null; rc=$?; clock",
        f"printf '\\n@{nonce} end %s %s\\n' $rc $((ms - began)); }}",
    ]
    lines += [f"ask {number} {shlex.quote(command)}" for number, command in enumerate(commands)]
    return "\n".join([*lines, "exit 0"])


def read(output: bytes, commands: list[str], nonce: str) -> dict[str, Answer]:
    """The commands that were answered, with their answers. Anything unforeseen in the output is no answer."""
    found: dict[str, Answer] = {}
    mark = f"@{nonce} "
    number, lines = -1, list[str]()
    for line in output.decode("utf-8", "replace").split("\n"):
        if not line.startswith(mark):
            lines.append(line)
            continue
        words = line.removeprefix(mark).split(" ")
        if len(words) == 1 and words[0].isdecimal():
            number, lines = int(words[0]), []
        elif words[0] == "end" and len(words) == 3 and 0 <= number < len(commands) and words[2].isdecimal():
            if words[1] == "0":
                found[commands[number]] = Answer("\n".join(lines), int(words[2]))
            number = -1
    return found


class Foreseen:
    """What is known of the hosts before it is asked. ``commands``: host -> everything that is foreseen of it."""

    def __init__(self, commands: Mapping[str, list[str]]) -> None:
        self._left = {host: Counter(asked) for host, asked in commands.items()}
        self._answers: dict[str, dict[str, Answer]] = {}
        self._dropped = False

    def wanted(self, host: str) -> list[str]:
        """What is to be asked of this host now: each command once; nothing when it was asked or no longer counts."""
        if self._dropped or host in self._answers:
            return []
        return list(self._left.get(host, ()))

    def add(self, host: str, answers: dict[str, Answer]) -> None:
        if not self._dropped:
            self._answers[host] = answers

    def take(self, host: str, command: str) -> Answer | None:
        """The answer, as often as the question was foreseen: a recipe that asks until something has changed gets on."""
        answer = self._answers.get(host, {}).get(command)
        if answer is None or not self._left[host][command]:
            return None
        self._left[host][command] -= 1
        return answer

    def drop(self) -> None:
        """Something may change now: what is known of any host may be over."""
        self._dropped = True
        self._answers.clear()
