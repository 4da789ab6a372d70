"""The typed model of one installation. What the keys mean is written in docs/site.yml, the annotated example."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import Field, PrivateAttr

from implops.site.environment import (
    Account,
    Attest,
    Dns,
    Flow,
    Host,
    Lab,
    Mend,
    Mount,
    Project,
    RoleSpec,
    Share,
    Signatures,
    Ssh,
    Storage,
    Time,
    Waiver,
)
from implops.site.fields import (
    Address,
    HostName,
    LocalPath,
    Word,
)
from implops.site.part import POOL_PERCENT, TOMCAT_PORT, Part, Role
from implops.site.software import (
    Backup,
    Database,
    Deploy,
    Jdk,
    System,
    Web,
)


class Site(Part):
    project: Project
    profile: Word = "small"
    ssh: Ssh
    time: Time
    hosts: dict[HostName, Host] = Field(min_length=1)
    roles: dict[Role, RoleSpec] = Field(default_factory=dict)
    accounts: dict[Word, Account] = Field(default_factory=dict)
    flows: list[Flow] = Field(default_factory=list)
    # Addresses that will belong to a service and move with it: nobody may have them yet.
    vips: list[Address] = Field(default_factory=list)
    dns: Dns | None = None
    jdk: Jdk | None = None
    web: Web | None = None
    database: Database | None = None
    system: System | None = None
    deploy: Deploy = Deploy()
    data: list[LocalPath] = Field(default_factory=list)
    storage: Storage = Storage()
    backup: Backup | None = None
    waive: list[Waiver] = Field(default_factory=list)
    signatures: Signatures | None = None
    mend: Mend = Mend()
    attest: list[Attest] = Field(default_factory=list)
    lab: Lab | None = None

    _path: Path = PrivateAttr(Path())
    _digest: str = PrivateAttr("")

    @property
    def path(self) -> Path:
        """The site file."""
        return self._path

    @property
    def base(self) -> Path:
        """The folder of the site file: relative paths start here."""
        return self._path.parent

    @property
    def state(self) -> Path:
        """``.implops/`` beside the site file, made with mode 0700 when first asked for."""
        folder = self.base / ".implops"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def out(self) -> Path:
        """``out/`` beside the site file: the documents."""
        return self.base / "out"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    @property
    def is_lab(self) -> bool:
        return self.lab is not None

    @cached_property
    def model_sha256(self) -> str:
        """SHA-256 of the resolved model; comments and the order of keys do not count.

        check/ adds the profile and the kit to it: that is the site hash of the gate.
        """
        data = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
        # Paths are resolved against the folder of the site file, which may move between the check and the deploy.
        return hashlib.sha256(data.replace(str(self.base), ".").encode()).hexdigest()

    def mounts_of(self, host: Host) -> dict[str, Mount]:
        """The mounts that the host's roles declare."""
        specs = [self.roles[role] for role in host.roles if role in self.roles]
        return {place: mount for spec in specs for place, mount in spec.mounts.items()}

    def mount_of(self, host: Host, path: str) -> str:
        """The declared mount of its own that a path of the host lies on, or empty."""
        mounts = [place for place, mount in self.mounts_of(host).items() if mount.separate]
        return max((one for one in mounts if PurePosixPath(path).is_relative_to(one)), key=len, default="")

    @property
    def jdbc_url(self) -> str:
        """Where the application finds its database; MariaDB's driver has to be told to use TLS."""
        assert self.database
        engine, options = self.database.engine, ""
        if engine == "mariadb":
            options = "?useSsl=true&trustServerCertificate=true"
        return f"jdbc:{engine}://{self.only('db').address}:{self.database.port}/{self.database.name}{options}"

    @property
    def backend_port(self) -> int:
        """Where the business system itself listens on its host; users come through the proxy."""
        return (self.system.port if self.system else None) or TOMCAT_PORT

    def __copy__(self) -> Self:
        """Without what was worked out: the copy may be given other hosts (``model_copy``)."""
        made = super().__copy__()
        for name in ("model_sha256", "_of_role", "_all_flows"):
            made.__dict__.pop(name, None)
        return made

    def with_role(self, role: str) -> list[Host]:
        """The hosts of a role, in the order of the site file."""
        return list(self._of_role.get(role, ()))

    # Asked for every host: looking through all hosts each time is quadratic.
    @cached_property
    def _of_role(self) -> dict[str, list[Host]]:
        found: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            for role in dict.fromkeys(host.roles):
                found.setdefault(role, []).append(host)
        return found

    def only(self, role: str) -> Host:
        """The first host of a role. load() has refused a site that needs the role and lacks it."""
        return self.with_role(role)[0]

    @property
    def pool(self) -> int:
        """Connections to the database that one application host may keep open."""
        if self.web is not None and self.web.pool is not None:
            return self.web.pool
        if self.database is None or not self.with_role("app"):
            return 0
        return max(5, self.database.max_connections * POOL_PERCENT // 100 // len(self.with_role("app")))

    def sharing(self, share: Share) -> list[Host]:
        """The hosts that mount a share, in the order of the site file."""
        named = {host.name for name in share.hosts for host in self.ends(name)}
        return [host for host in self.hosts.values() if host.name in named]

    def accounts_on(self, host: Host) -> dict[str, Account]:
        """The declared accounts of a host by name."""
        return {
            name: one
            for name, one in self.accounts.items()
            if any(host.name == end.name for word in one.hosts for end in self.ends(word))
        }

    def ends(self, name: str) -> list[Host]:
        """The hosts that an end of a flow names: a host, or all hosts of a role, or ``*``."""
        if name == "*":
            return list(self.hosts.values())
        return [self.hosts[name]] if name in self.hosts else self.with_role(name)

    def is_end(self, name: str, host: Host) -> bool:
        """Whether ``host`` is among ``ends(name)``."""
        return name in ("*", host.name) or (name not in self.hosts and name in host.roles)

    def all_flows(self) -> list[Flow]:
        """Declared flows plus those that follow: app to db, everyone to dns, backup sources to storage."""
        return list(self._all_flows)

    @cached_property
    def _all_flows(self) -> list[Flow]:
        flows = list(self.flows)

        def add(source: str, target: str, port: int, protocol: str, why: str) -> None:
            flow = Flow.model_validate({"from": source, "to": target, "port": port, "protocol": protocol, "why": why})
            if not any((f.source, f.target, f.port, f.protocol) == (source, target, port, protocol) for f in flows):
                flows.append(flow)

        if self.database and self.with_role("app") and self.with_role("db"):
            add("app", "db", self.database.port, "tcp", "JDBC")
        if self.dns and self.with_role("dns"):
            add("*", "dns", 53, "udp", "DNS")
            add("*", "dns", 53, "tcp", "DNS")
        if self.backup:
            for role in ("db", "app"):
                if self.with_role(role):
                    target = self.backup.repository.host
                    add(role, target, self.hosts[target].port or self.ssh.port, "tcp", "SFTP")
        return flows

    def document(self) -> dict[str, Any]:
        """The model as JSON for a record: secrets are references, so nothing has to be removed."""
        return self.model_dump(mode="json", by_alias=True)
