"""The customer's side of a site: project, hosts, network, time, storage, and what was agreed about them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, StringConstraints

from implops.site.fields import (
    AbsolutePath,
    Address,
    Days,
    Device,
    Domain,
    GroupName,
    HostName,
    LocalPath,
    MountOption,
    Port,
    SecretField,
    Size,
    Word,
    Zone,
)
from implops.site.part import Part, Role, Text


class Project(Part):
    name: Text
    contract: Text
    customer: Text
    site: Text = "-"
    environment: Literal["test", "pre-production", "production"]
    language: Literal["zh-Hans", "zh-Hant", "en"] = "zh-Hans"
    code: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{1,11}$")]


class Ssh(Part):
    user: Word
    key: LocalPath
    port: Port = 22
    sudo: bool = True
    sudo_password: SecretField | None = None


class Time(Part):
    zone: Zone
    ntp: list[Address] = Field(min_length=1)


class Host(Part):
    address: Address
    roles: list[Role] = Field(min_length=1)
    owner: Text = "-"
    # Room and rack, printed on the check sheet.
    place: Text = "-"
    port: Port | None = None
    # Software of ours is there already and is meant to be (OS12).
    existing: bool = False
    # Mount -> the disk that is put into use there: formatted when nothing is on it (deploy_recipes/mounts.py).
    disks: dict[AbsolutePath, Device] = Field(default_factory=dict)
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        # Not self._name: pydantic looks private names up by a chain of calls, and checks ask for this all the time.
        return str((self.__pydantic_private__ or {})["_name"])


class Account(Part):
    """An account of the vendor's people or programs: no password, and a login only with the key, if there is one."""

    hosts: list[str] = Field(min_length=1)
    # Public key of OpenSSH.
    key: LocalPath | None = None
    groups: list[Word] = Field(default_factory=list)
    shell: AbsolutePath = "/bin/bash"


class NeedWantSize(Part):
    need: Size
    want: Size | None = None


class NeedWantCount(Part):
    need: Annotated[int, Field(ge=1, le=4096)]
    want: Annotated[int, Field(ge=1, le=4096)] | None = None


# What a disk can be formatted with; the first one that a mount names is taken.
LOCAL_FS = ("xfs", "ext4")


class Mount(Part):
    size: Size
    want: Size | None = None
    fs: list[Literal["xfs", "ext4", "btrfs", "nfs", "nfs4", "cifs"]] = Field(default_factory=list)
    separate: bool = True
    # What the mount must show (STO01); matters for shares: hard, vers=4.2.
    options: list[MountOption] = Field(default_factory=list)

    @property
    def made_as(self) -> str:
        """What a blank disk for it is formatted with; empty where it is none of this host's own."""
        return next(iter(self.local), "") if self.fs else "ext4"

    @property
    def local(self) -> list[str]:
        """The filesystems of a disk of this host's own that it takes, in the order of the site file."""
        return [one for one in self.fs if one in LOCAL_FS] if self.fs else list(LOCAL_FS)


class RoleSpec(Part):
    cpus: NeedWantCount | None = None
    memory: NeedWantSize | None = None
    mounts: dict[AbsolutePath, Mount] = Field(default_factory=dict)
    listens: list[Port] | None = Field(default=None, min_length=1)
    # Volume groups and pools that keep room for snapshots (STO06); LUNs come by several paths (STO07).
    snapshots: list[GroupName] = Field(default_factory=list)
    multipath: bool = False
    checks: dict[str, dict[Literal["need", "want"], str | int | float | bool | list[str]]] = Field(default_factory=dict)


class Flow(Part):
    """A declared path. ``source`` and ``target`` are roles or hosts; an external target is an address."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    external: bool = False
    # Whether the other end must answer a TLS greeting; where the site file does not say, external ports 443 and 8443.
    tls: bool | None = None
    why: Text = "-"

    @property
    def greets(self) -> bool:
        return self.tls if self.tls is not None else self.external and self.port in (443, 8443)


class Dns(Part):
    zone: Domain
    reverse: bool = True
    names: dict[HostName, HostName] = Field(default_factory=dict)
    forwarders: list[Address] = Field(default_factory=list)


class Share(Part):
    """A directory that several hosts mount from one server. ``hosts`` are roles or hosts."""

    path: AbsolutePath
    hosts: list[str] = Field(min_length=1)
    user: Word
    # HOST:/PATH or ADDRESS:/PATH of the server that exports it.
    export: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+:(/[A-Za-z0-9._-]+)+$")] | None = None


class Storage(Part):
    shares: list[Share] = Field(default_factory=list)


class Waiver(Part):
    id: str
    host: str
    at: str
    reason: Text
    approver: Text
    until: date


class Signatures(Part):
    """SSH keys: ``key`` signs what is made here, ``signers`` (an allowed-signers file) says whose signature counts."""

    key: LocalPath | None = None
    signers: LocalPath | None = None


class Mend(Part):
    """Who puts right what a check finds, by its kind; otherwise the owner of the host. ``due``: days to do it."""

    network: Text | None = None
    system: Text | None = None
    storage: Text | None = None
    database: Text | None = None
    application: Text | None = None
    due: Days | None = None


class Attest(Part):
    """What no machine can measure; a person answers for it. ``required``: a missing or bad answer shuts the gate."""

    id: Annotated[str, StringConstraints(pattern=r"^M[0-9]{2}$")]
    title: Text
    hosts: list[HostName] = Field(default_factory=list)
    owner: Text = "-"
    required: bool = False
    valid: Days = 90


class Lab(Part):
    """Only in sites that exist in the lab; such a site's documents are stamped 演练."""

    network: Annotated[str, StringConstraints(pattern=r"^10\.([0-9]{1,3})\.([0-9]{1,3})\.0/24$")]
    release: Literal["bookworm", "trixie"] = "bookworm"
    # Hosts that run another release than the rest.
    releases: dict[str, Literal["bookworm", "trixie"]] = Field(default_factory=dict)
    # Mounted before anything else comes; `raw` ones are blank block devices of that name.
    disks: dict[str, dict[AbsolutePath, Size]] = Field(default_factory=dict)
    raw: dict[str, dict[Device, Size]] = Field(default_factory=dict)

    def release_of(self, host: str) -> str:
        return self.releases.get(host, self.release)
