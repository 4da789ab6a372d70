"""Host keys: what answers now against what is pinned in the site's known_hosts. Nothing is trusted by itself.

A line of known_hosts is ``NAME TYPE BASE64``; lines of other names are kept as they are.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from implops import remote
from implops.errors import ImplopsError, InputError
from implops.site import Host, Site

State = Literal["new", "same", "changed", "absent"]


@dataclass(frozen=True)
class Seen:
    """A host's key: ``line`` is ``TYPE BASE64``, fingerprints are ``SHA256:…`` as ssh-keygen prints them."""

    host: str
    name: str  # as known_hosts names the host
    state: State
    line: str | None = None
    fingerprint: str | None = None
    pinned: str | None = None  # the fingerprint that known_hosts has
    error: ImplopsError | None = None


def name_of(site: Site, host: Host) -> str:
    return remote.known_hosts_name(host.address, host.port or site.ssh.port)


def look(site: Site, hosts: Sequence[Host]) -> list[Seen]:
    """Ask every host for its key, all at once, without logging in, and compare it with the pinned one.

    A host that does not answer is ``absent``. Raises InputError when its line in known_hosts is not a key.
    """
    known = read(site.known_hosts)
    answers = remote.each(hosts, lambda host: remote.host_key(host, host.port or site.ssh.port))
    seen = []
    for host in hosts:
        name, key = name_of(site, host), answers[host.name]
        pinned = known.get(name)
        try:
            print_of = fingerprint(pinned) if pinned else None
        except ValueError:
            raise InputError("trust.broken", path=site.known_hosts, name=name) from None
        if isinstance(key, ImplopsError):
            seen.append(Seen(host.name, name, "absent", pinned=print_of, error=key))
            continue
        line = f"{key.get_name()} {key.get_base64()}"
        state: State = "new" if pinned is None else "same" if pinned == line else "changed"
        seen.append(Seen(host.name, name, state, line, fingerprint(line), print_of))
    return seen


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a ``TYPE BASE64`` key, in the form of ssh-keygen (RFC 4648 without padding)."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def read(path: Path) -> dict[str, str]:
    """known_hosts name -> ``TYPE BASE64``; the first line of a name counts, as for ssh."""
    found: dict[str, str] = {}
    for line in _lines(path):
        parts = line.split()
        if len(parts) >= 3 and not line.startswith(("#", "@")):
            for name in parts[0].split(","):
                found.setdefault(name, f"{parts[1]} {parts[2]}")
    return found


def pin(path: Path, keys: Mapping[str, str]) -> None:
    """Write ``name -> TYPE BASE64`` into known_hosts (0600, whole or not at all), in place of older lines of a name."""
    unpin(path, keys)
    kept = _lines(path)
    _write(path, [*kept, *(f"{name} {key}" for name, key in keys.items())])


def unpin(path: Path, names: Mapping[str, str] | Sequence[str]) -> None:
    """Take names out of known_hosts; an empty file goes."""
    lines = []
    for line in _lines(path):
        head, _, rest = line.partition(" ")
        left = [name for name in head.split(",") if name not in names] if rest else [head]
        if left:
            lines.append(" ".join((",".join(left), rest)).rstrip())
    if not lines:
        path.unlink(missing_ok=True)
    elif lines != _lines(path):
        _write(path, lines)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _write(path: Path, lines: list[str]) -> None:
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".known_hosts.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
