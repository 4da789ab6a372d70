"""Put everything a site needs into one file: packages with their closure, the release of the business system.

Same inputs, same bytes: the manifest names the date of the package index, not the moment of building (that is in the
record), so an unchanged site finds its bundle again instead of writing it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implops import __version__, machine, signing, texts
from implops.bundle import archive, closure
from implops.bundle.archive import Bundle, Kind
from implops.bundle.closure import RELEASES, Closure, Deb, Say
from implops.errors import DataError, GateRefused, InputError, SiteError
from implops.site import Site, releases
from implops.site.part import ARCH
from implops.units import format_size


@dataclass(frozen=True)
class Artifact:
    """A file of the vendor's release: it goes as ``files/NAME`` to the hosts that have ``role``."""

    path: Path
    kind: Kind
    role: str
    key: str = "system"


def artifacts(site: Site) -> dict[str, Artifact]:
    """Name on the target (``/var/lib/implops/bundle/files/NAME``) -> file here, as the site file names them.

    Raises SiteError when a file is missing, is not a plain file, or two of them have the same name.
    """
    found: dict[str, Artifact] = {}
    listed = []
    if site.system:
        listed.append(Artifact(site.system.artifact, "artifact", "app", "system.artifact"))
        for number, path in enumerate(site.system.schema_):
            listed.append(Artifact(path, "schema", "db", f"system.schema[{number}]"))
    for key, part in (("jdk", site.jdk), ("web", site.web)):
        if part and part.archive:
            listed.append(Artifact(part.archive, "artifact", "app", f"{key}.archive"))
    for one in listed:
        place = f"{site.path.name} {one.key}"
        if not one.path.is_file():
            raise SiteError("bundle.no_artifact", place=place, path=one.path)
        if one.path.name in found:
            raise SiteError("bundle.same_name", place=place, path=one.path, other=found[one.path.name].path)
        found[one.path.name] = one
    return found


def target_releases(site: Site, given: Sequence[str] = (), seen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Host -> its Debian release: as ``given`` (``RELEASE`` for all, ``HOST=RELEASE`` for one), else the lab's, else
    what the last check saw there (``seen``). Raises InputError for a host that nobody knows, an unknown release, or
    something in the site file that the release does not have.
    """
    named = dict(one.partition("=")[::2] for one in given if "=" in one)
    everywhere = [one for one in given if "=" not in one]
    for host in named:
        if host not in site.hosts:
            raise InputError("check.unknown_host", host=host, known=" ".join(site.hosts))
    found = {}
    for host in site.hosts:
        known = everywhere[-1] if everywhere else site.lab.release_of(host) if site.lab else (seen or {}).get(host)
        release = named.get(host, known)
        if release not in RELEASES:
            raise InputError("bundle.which_release", host=host, given=release or "-", known=" ".join(RELEASES))
        found[host] = release
    releases.require(site, found)
    return found


def folder(site: Site) -> Path:
    """``.implops/bundle/`` beside the site file."""
    place = site.state / "bundle"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def latest(site: Site) -> Path:
    """The bundle that was built last for this version of the system. Raises GateRefused when there is none."""
    version = site.system.version if site.system else "0"
    # Behind the version stands nothing but the digest: 1.0-rc1 is another version than 1.0.
    named = re.compile(rf"{re.escape(site.project.code)}-{re.escape(version)}-[0-9a-f]{{12}}\.tar")
    found = [path for path in folder(site).iterdir() if named.fullmatch(path.name)]
    found.sort(key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise GateRefused("bundle.none", site=site.path.name)
    return found[-1]


def require_current(site: Site, bundle: Bundle, packages: Mapping[str, list[str]]) -> None:
    """Raises GateRefused when the bundle is not what the site file would have built now: other packages for a host
    (``packages``, as for ``build``), or other bytes of the vendor's files.
    """
    wrong = [
        *(host for host, names in packages.items()
          if host not in bundle.manifest["hosts"] or not set(names) <= set(bundle.for_host(host)["packages"])),
        *(name for name, one in artifacts(site).items()
          if (item := bundle.items.get(f"files/{name}")) is None or item.sha256 != _sha256(one.path)),
    ]  # fmt: skip
    if wrong:
        raise GateRefused("bundle.other", path=bundle.path.name, what=" ".join(wrong), site=site.path.name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build(
    site: Site,
    packages: Mapping[str, list[str]],
    files: Mapping[str, Artifact],
    say: Say,
    *,
    release: Mapping[str, str] | None = None,
    refresh: bool = False,
) -> Bundle:
    """Build (or find again) the bundle of ``site``: Debian ``packages`` by host, ``files`` as ``artifacts`` gives them.

    ``say`` gets lines of progress for people. ``release``: host -> Debian release, as ``target_releases`` gives it.
    ``refresh`` fetches the package index anew. Raises SiteError, KitError (no such package), MachineError (disk, apt,
    network), InputError (no release).
    """
    suites = dict(release) if release else target_releases(site)
    wanted = {host: sorted(set(packages.get(host, []))) for host in site.hosts}
    resolved = []
    for suite in sorted(set(suites.values())):
        mine = {host: wanted[host] for host in site.hosts if suites[host] == suite}
        one = closure.resolve(suite, mine, say, refresh=refresh)
        size = sum(deb.size for deb in one.debs.values())
        say(texts.say("bundle.resolved", release=suite, count=len(one.debs), size=format_size(size), dated=one.dated))
        machine.ready(closure.cache(), disk=2 * size)
        say(texts.say("bundle.fetched", size=format_size(closure.download(one, say))))
        resolved.append(one)
    manifest, sources = _contents(site, suites, wanted, files, resolved)
    digest = hashlib.sha256(archive.dump(manifest)).hexdigest()
    path = folder(site) / f"{manifest['name']}-{manifest['version']}-{digest[:12]}.tar"
    key = site.signatures.key if site.signatures else None
    sign = functools.partial(signing.sign, key=key, namespace="implops-bundle") if key else None
    with _alone(path.parent):
        return _write(path, manifest, sources, sign)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One writer at a time in ``place``; what a killed one left half-written goes."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for part in place.glob("*.part"):
            part.unlink()
        yield
    finally:
        os.close(descriptor)


def _write(
    path: Path, manifest: dict[str, Any], sources: dict[str, Path | bytes], sign: Callable[[bytes], bytes] | None
) -> Bundle:
    if path.is_file():
        # A bundle that rotted on this disk is built again; anybody else who meets it is told.
        with contextlib.suppress(DataError):
            bundle = archive.verify(path)
            if bool(bundle.signature) == bool(sign):
                os.utime(path)
                return bundle
    total = sum(one["size"] for one in manifest["files"])
    machine.ready(path.parent, disk=total + total // 10)
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            archive.write(file, manifest, sources, sign)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return archive.verify(path)


def _contents(
    site: Site,
    suites: dict[str, str],
    packages: dict[str, list[str]],
    files: Mapping[str, Artifact],
    resolved: Sequence[Closure],
) -> tuple[dict[str, Any], dict[str, Path | bytes]]:
    # A file name of Debian's pool stands for one content, whatever the release that holds it.
    debs = {name: deb for one in resolved for name, deb in one.debs.items()}
    debs = dict(sorted(debs.items()))
    chosen = {host: names for one in resolved for host, names in one.hosts.items()}
    index = closure.index(list(debs.values()))
    rows = [_row("apt/Packages", len(index), hashlib.sha256(index).hexdigest(), "index")]
    sources: dict[str, Path | bytes] = {"apt/Packages": index}
    for deb in debs.values():
        rows.append(_row(f"apt/{deb.file}", deb.size, deb.sha256, "deb"))
        sources[f"apt/{deb.file}"] = closure.stored(deb)
    for name, one in sorted(files.items()):
        with one.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        rows.append(_row(f"files/{name}", one.path.stat().st_size, sha256, one.kind))
        sources[f"files/{name}"] = one.path
    hosts = {
        name: {
            "release": suites[name],
            "packages": packages[name],
            "debs": [f"apt/{file}" for file in chosen[name]],
            "files": [f"files/{file}" for file, one in sorted(files.items()) if one.role in host.roles],
        }
        for name, host in site.hosts.items()
    }
    manifest = {
        "name": site.project.code,
        "version": site.system.version if site.system else "0",
        "tool": __version__,
        "dated": max(one.dated for one in resolved),
        "origins": sorted({origin for one in resolved for origin in one.origins}),
        "given": {f"files/{name}": one.key for name, one in sorted(files.items())},
        "os": "debian",
        "arch": ARCH,
        "files": rows,
        "hosts": hosts,
        "versions": _versions(debs.values()),
    }
    return manifest, sources


def _versions(debs: Iterable[Deb]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for deb in debs:
        found.setdefault(deb.package, []).append(deb.version)
    return {package: " ".join(sorted(versions)) for package, versions in found.items()}


def _row(path: str, size: int, sha256: str, kind: Kind) -> dict[str, Any]:
    return {"path": path, "size": size, "sha256": sha256, "kind": kind}
