"""Where packages come from: this machine's own Debian mirror lines, with the suite of the target's release.

No host is named here. A mirror that serves the machine's own release serves the others beside it under the same
addresses (``debian/dists/bookworm``, ``debian/dists/trixie``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from implops.errors import MachineError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ONE_LINE = re.compile(r"deb(?:\s+\[([^\]]*)\])?\s+(\S+)\s+(\S+)\s+(.+)")
_SUFFIXES = ("", "-updates", "-security")


@dataclass(frozen=True)
class Source:
    """An archive that this machine uses: ``suffix`` is what follows the name of the release in its suite."""

    uri: str
    suffix: str

    def line(self, release: str) -> str:
        return f"deb [signed-by={KEYRING}] {self.uri} {release}{self.suffix} main"


def configured(etc: Path = Path("/etc/apt"), os_release: Path = Path("/etc/os-release")) -> list[Source]:
    """The Debian archives of this machine's apt. Raises MachineError when it has none, or no Debian keys."""
    found = re.search(r'^VERSION_CODENAME="?([a-z]+)"?$', os_release.read_text(encoding="utf-8"), re.MULTILINE)
    own = found[1] if found else ""
    entries: list[tuple[str, str, list[str], str]] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix == ".list":
            entries += _one_line(path.read_text(encoding="utf-8"))
        elif path.is_file() and path.suffix == ".sources":
            entries += _deb822(path.read_text(encoding="utf-8"))
    sources = {
        Source(uri.rstrip("/"), suite.removeprefix(own))
        for uri, suite, components, key in entries
        # A vendor's archive may use Debian's suite names; it is not signed by Debian.
        if "main" in components
        and suite in [own + suffix for suffix in _SUFFIXES]
        and "debian-archive" in (key or KEYRING.name)
    }
    if not own or not any(source.suffix == "" for source in sources):
        raise MachineError("bundle.no_sources", path=etc)
    if not KEYRING.is_file():
        raise MachineError("bundle.no_keyring", path=KEYRING)
    return sorted(sources, key=lambda source: (_SUFFIXES.index(source.suffix), source.uri))


def _one_line(text: str) -> list[tuple[str, str, list[str], str]]:
    entries = []
    for line in text.splitlines():
        if match := _ONE_LINE.fullmatch(line.partition("#")[0].strip()):
            key = re.search(r"signed-by=(\S+)", match[1] or "")
            entries.append((match[2], match[3], match[4].split(), key[1] if key else ""))
    return entries


def _deb822(text: str) -> list[tuple[str, str, list[str], str]]:
    entries = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = {
            name.lower(): value.split() for name, value in re.findall(r"^(\S+):((?:.|\n[ \t])*)", stanza, re.MULTILINE)
        }
        if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
            entries += [
                (uri, suite, fields.get("components", []), " ".join(fields.get("signed-by", [])))
                for uri in fields.get("uris", [])
                for suite in fields.get("suites", [])
            ]
    return entries
