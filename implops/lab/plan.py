"""Names, addresses and places of a site's lab: pure, the same every time.

Several labs run on one machine at once, so every name carries a hash of the site's folder. A link name has at most
15 characters (IFNAMSIZ less the final zero); systemd-nspawn names a host's link ``vb-`` plus the machine's name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from implops.errors import InputError
from implops.site import Host, Site

ROOT_SIZE = 40 * 10**9  # the system disk of every host, sparse: bytes
# XFS keeps its log out of the room that df shows; so much is added, and a "20 GB" disk then has 20 GB for files.
LOG_SIZE = 64 * 2**20
# mkfs.xfs refuses less than 300 MB as unwise, which a disk that a test fills up is meant to be.
SMALL, SMALL_LOG_SIZE = 300 * 10**6, 8 * 2**20


def link_of(machine: str) -> str:
    """The bridge's end of a host's cable, as systemd-nspawn names it."""
    return f"vb-{machine}"


@dataclass(frozen=True)
class Disk:
    """A data disk: where it is mounted in the host, its size in bytes, its image on this machine."""

    path: str
    size: int
    image: Path


@dataclass(frozen=True)
class Raw:
    """A blank block device: its name in the host, its size in bytes."""

    device: str
    size: int


@dataclass(frozen=True)
class Place:
    """Where one host of the lab lives on this machine."""

    host: Host
    port: int
    machine: str
    release: str
    folder: Path
    disks: tuple[Disk, ...]
    raw: tuple[Raw, ...] = ()

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def shape(self) -> str:
        """What cannot change in the site file while the host exists."""
        about = (f"{self.host.address}:{self.port}", self.release)
        return " ".join((*about, *(f"{disk.path}={disk.size}" for disk in self.disks),
                         *(f"{raw.device}={raw.size}" for raw in self.raw)))  # fmt: skip

    @property
    def link(self) -> str:
        return link_of(self.machine)

    @property
    def root_image(self) -> Path:
        return self.folder / "root.img"

    @property
    def mounts(self) -> Path:
        """Seen with something in it only in the mount namespace of the host's own process."""
        return self.folder / "ns"


@dataclass(frozen=True)
class Plan:
    """The whole lab of a site."""

    site: Site
    folder: Path
    bridge: str
    network: ipaddress.IPv4Network
    places: dict[str, Place]

    @property
    def gateway(self) -> str:
        """Our own end of the network, on the bridge. The hosts are told of no gateway."""
        return f"{self.network.network_address + 1}/{self.network.prefixlen}"


def lab_folder(site: Site) -> Path:
    """``.implops/lab/`` beside the site file; made when the lab first needs it."""
    return site.state / "lab"


def of(site: Site) -> Plan:
    """The plan of ``site``. Raises InputError when the site file has no ``lab:`` section."""
    if site.lab is None:
        raise InputError("lab.no_section", path=site.path.name)
    folder = lab_folder(site)
    seed = os.fsencode(site.base.resolve())
    places = {}
    for name, host in site.hosts.items():
        home = folder / name
        disks = site.lab.disks.get(name, {})
        places[name] = Place(
            host=host,
            port=host.port or site.ssh.port,
            machine="l" + hashlib.sha256(seed + b"\0" + name.encode()).hexdigest()[:10],
            release=site.lab.release_of(name),
            folder=home,
            disks=tuple(
                Disk(path, size, home / f"data{number}.img") for number, (path, size) in enumerate(disks.items())
            ),
            raw=tuple(Raw(device, size) for device, size in site.lab.raw.get(name, {}).items()),
        )
    return Plan(
        site=site,
        folder=folder,
        bridge="il" + hashlib.sha256(seed).hexdigest()[:10],
        network=ipaddress.IPv4Network(site.lab.network),
        places=places,
    )
