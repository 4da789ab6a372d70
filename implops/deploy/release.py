"""Releases on an application host: ``/opt/implops/releases/NAME/VERSION-RUN`` with ``RELEASE.json``, and ``current``.

A release is the vendor's files and the configuration that goes with them, so that one rename of ``current`` brings both
forward or back. Its state: staged (in its place) -> active (``current`` points to it) -> good (every module answered
rightly) or bad. Only a good one is ever gone back to.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from implops.errors import HostError, InputError
from implops.remote import Connection
from implops.site import Site

RELEASES = "/opt/implops/releases"
STATES = ("staged", "active", "good", "bad")
_SECONDS = 60.0


@dataclass(frozen=True)
class Release:
    """One folder of a host. ``run`` made it (a ULID: it sorts by time); ``schema`` are the names and SHA-256 of the
    schema files that it was deployed with, ``files`` the SHA-256 of the vendor's files in it.
    """

    id: str
    version: str
    run: str
    state: str
    sha256: str
    schema: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()


@dataclass
class Releases:
    """What a host has, oldest first. ``current`` is an id, empty when nothing is active."""

    current: str = ""
    all: list[Release] = field(default_factory=list)

    def find(self, id: str) -> Release | None:
        return next((one for one in self.all if one.id == id), None)


def place(name: str) -> str:
    return f"{RELEASES}/{name}"


def digest(version: str, files: Mapping[str, str], config: Sequence[tuple[str, str]]) -> str:
    """What a release is: version, SHA-256 of each file, state of each configuration file. Equal means the same."""
    body = json.dumps([version, sorted(files.items()), sorted(config)], ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()


def of_site(site: Site) -> str:
    """SHA-256 of what the vendor delivers for this site: name, version, program, how it is started, schema files in
    their order, templates of its configuration.

    The same value at two sites means the same release; hosts, addresses and passwords do not count. Empty for a site
    without a system.
    """
    system = site.system
    if system is None:
        return ""
    sums = []
    for path in (system.artifact, *system.schema_, *(system.config[place] for place in sorted(system.config))):
        try:
            with path.open("rb") as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise InputError("deploy.no_artifact", path=path, why=error.strerror) from None
    start = [system.kind, system.start.main or "", system.start.command or ""]
    body = json.dumps([system.name, system.version, start, sorted(system.config), sums], ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()


def note(version: str, run: str, sha256: str, files: Mapping[str, str], schema: Sequence[Mapping[str, str]]) -> str:
    """RELEASE.json of a release that is just being staged, one line."""
    about = {
        "id": f"{version}-{run}", "version": version, "run": run, "state": "staged", "sha256": sha256,
        "files": dict(files), "schema": [[one["name"], one["sha256"]] for one in schema],
    }  # fmt: skip
    return json.dumps(about, ensure_ascii=False)


def mark_command(home: str, id: str, state: str, unless: Sequence[str] = ()) -> str:
    """Shell (as root): write the state into RELEASE.json, flushed and renamed; not over one of ``unless``."""
    path = shlex.quote(f"{home}/{id}/RELEASE.json")
    guard = "".join(f'grep -q \'"state": "{one}"\' {path} || ' for one in unless)
    return (
        f'{{ {guard}{{ umask 077; sed \'s/"state": "[a-z]*"/"state": "{state}"/\' {path} > {path}.part && '
        f"sync {path}.part && mv -f {path}.part {path} && sync {shlex.quote(f'{home}/{id}')}; }}; }}"
    )


def mark(connection: Connection, home: str, id: str, state: str) -> None:
    """Raises HostError when the state cannot be written."""
    result = connection.run(mark_command(home, id, state), timeout=_SECONDS, sudo=True)
    if result.rc:
        raise HostError("rollback.mark_failed", host=connection.name, release=id, why=_last(result.err))


def ask(connection: Connection, home: str) -> Releases:
    """What lies on the host. Raises HostError when it cannot be told."""
    where = shlex.quote(home)
    script = f"""readlink {where}/current 2>/dev/null || echo
for folder in {where}/*; do
  if [ ! -L "$folder" ] && [ -f "$folder/RELEASE.json" ]; then cat "$folder/RELEASE.json"; echo; fi
done
echo end
"""
    result = connection.run(script, timeout=_SECONDS, sudo=True)
    lines = result.text.splitlines()
    if result.rc or lines[-1:] != ["end"]:
        raise HostError("rollback.no_answer", host=connection.name, why=_last(result.err))
    found = Releases(lines[0].strip())
    for line in lines[1:-1]:
        if line.strip():
            try:
                found.all.append(_read(json.loads(line)))
            except (ValueError, KeyError, TypeError):
                raise HostError("rollback.no_answer", host=connection.name, why=line[:120]) from None
    found.all.sort(key=lambda one: one.run)
    return found


def _read(note: dict[str, Any]) -> Release:
    schema = tuple((str(name), str(sha256)) for name, sha256 in note["schema"])
    files = tuple(sorted(str(sha256) for sha256 in note["files"].values()))
    return Release(note["id"], note["version"], note["run"], note["state"], note["sha256"], schema, files)


def superfluous(releases: Releases, keep: int) -> list[str]:
    """Ids to remove: all that are older than the ``keep`` newest good ones beside the active one. A bad one never
    counts as one of them, and stays for whoever wants to know why until it is older than they are.
    """
    good = [one for one in releases.all if one.state == "good" and one.id != releases.current]
    if len(good) < keep or not releases.current:
        return []
    oldest = good[-keep]
    return [one.id for one in releases.all if one.run < oldest.run and one.id != releases.current]


def prune(connection: Connection, home: str, keep: int) -> list[str]:
    """Remove what ``superfluous`` names; the ids."""
    gone = superfluous(ask(connection, home), keep)
    if gone:
        words = " ".join(shlex.quote(f"{home}/{one}") for one in gone)
        result = connection.run(f"rm -rf -- {words} && sync {shlex.quote(home)}", timeout=_SECONDS, sudo=True)
        if result.rc:
            raise HostError("rollback.mark_failed", host=connection.name, release=gone[0], why=_last(result.err))
    return gone


def _last(err: bytes) -> str:
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return (lines or ["-"])[-1][:200]
