"""What is configured to last beyond a reboot, and what runs at the moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt

# systemd-sysctl: of two files of one name the one of the first folder is read; then all in the order of their names.
# /etc/sysctl.conf counts where a link in sysctl.d names it (Debian 12 has 99-sysctl.conf, Debian 13 has none).
_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
UNLIMITED = 2**31


@dataclass(frozen=True)
class Configured:
    """A setting as a file has it."""

    value: str
    path: str


@dataclass(frozen=True)
class Settings(Fact, section="settings"):
    sysctls: dict[str, Configured] | Unknown  # name with dots -> what the next boot will set
    limits: tuple[tuple[str, str, str, int], ...] | Unknown  # (account, soft|hard|-, nofile|nproc, number), in order

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            sysctls=attempt(lambda: _sysctls(section.all("sysctl"))),
            limits=attempt(lambda: _limits(section.all("limit"))),
        )


def _sysctls(lines: tuple[str, ...]) -> dict[str, Configured]:
    files: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        path, _, text = line.partition(":")
        files.setdefault(PurePosixPath(path).name, {}).setdefault(path, []).append(text)
    found = {}
    for _, same in sorted(files.items()):
        path = min(same, key=_rank)
        for text in same[path]:
            name, equals, value = text.partition("=")
            if equals:
                key = name.strip().removeprefix("-").strip().replace("/", ".")
                found[key] = Configured(" ".join(value.split()), path)
    return found


def _rank(path: str) -> int:
    folder = str(PurePosixPath(path).parent)
    return _FOLDERS.index(folder) if folder in _FOLDERS else -1


def _limits(lines: tuple[str, ...]) -> tuple[tuple[str, str, str, int], ...]:
    """As pam_limits reads them: it passes over a line that it does not understand."""
    found = []
    for line in lines:
        text = line.partition(":")[2].partition("#")[0]
        match = re.fullmatch(
            r"\s*(\S+)\s+(soft|hard|-)\s+(nofile|nproc)\s+([0-9]{1,18}|unlimited|infinity|-1)\s*", text
        )
        if match:
            number = int(match[4]) if match[4].isdigit() else UNLIMITED
            found.append((match[1], match[2], match[3], number))
    return tuple(found)


@dataclass(frozen=True)
class Running(Fact, section="running"):
    """Processes with memory of their own: name (as the kernel keeps it, 15 characters) -> resident bytes together."""

    processes: dict[str, int] | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        def processes() -> dict[str, int]:
            page, found = section.number("page"), dict[str, int]()
            for line in section.all("process"):
                match = re.fullmatch(r"([0-9]{1,12}) (.+)", line)
                if not match:
                    raise NotMeasured(Unknown("garbled", "/proc"))
                found[match[2]] = found.get(match[2], 0) + int(match[1]) * page
            if not found:
                raise NotMeasured(Unknown("empty", "/proc"))
            return found

        return cls(attempt(processes))
