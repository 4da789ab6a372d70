"""The typed model of one installation. What the keys mean is written in docs/site.yml, the annotated example."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from implops.site.fields import (
    AbsolutePath,
    Address,
    Argument,
    Collation,
    Days,
    Domain,
    Duration,
    Encoding,
    GroupName,
    HostName,
    InsidePath,
    JavaName,
    Locale,
    LocalPath,
    Milliseconds,
    MountOption,
    Port,
    ProcessName,
    SecretField,
    Size,
    SqlName,
    UnitName,
    UrlPath,
    Version,
    Word,
    Zone,
)

# The architecture that everything here is proved on.
ARCH = "amd64"
TOMCAT_PORT = 8080
ROLES = ("db", "app", "dns", "storage")
Role = Literal["db", "app", "dns", "storage"]
# The applications' share of the database's connections; the rest is for psql, the import and administrators.
POOL_PERCENT = 60
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


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
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        # Not self._name: pydantic looks private names up by a chain of calls, and checks ask for this all the time.
        return str((self.__pydantic_private__ or {})["_name"])


class NeedWantSize(Part):
    need: Size
    want: Size | None = None


class NeedWantCount(Part):
    need: Annotated[int, Field(ge=1, le=4096)]
    want: Annotated[int, Field(ge=1, le=4096)] | None = None


class Mount(Part):
    size: Size
    want: Size | None = None
    fs: list[Literal["xfs", "ext4", "btrfs", "nfs", "nfs4", "cifs"]] = Field(default_factory=list)
    separate: bool = True
    # What the mount must show (STO01); matters for shares: hard, vers=4.2.
    options: list[MountOption] = Field(default_factory=list)


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


class Jdk(Part):
    major: Literal[8, 11, 17, 21]
    # A JDK that the engineer brings, instead of Debian's package.
    archive: LocalPath | None = None

    @property
    def home(self) -> str:
        """JAVA_HOME on the hosts."""
        return f"/opt/implops/jdk/{self.major}" if self.archive else f"/usr/lib/jvm/java-{self.major}-openjdk-{ARCH}"


class Tls(Part):
    """The certificate that users see: given files, or (``tls: generate``) one of an authority of the site's own."""

    cert: LocalPath | None = None
    key: SecretField | None = None
    generate: bool = False

    @model_validator(mode="before")
    @classmethod
    def _word(cls, given: Any) -> Any:
        return {"generate": True} if given == "generate" else given


class Web(Part):
    # Of a WAR; a program with a port of its own needs none.
    tomcat: Literal[9, 10, 11] | None = None
    # A Tomcat that the engineer brings, instead of Debian's package.
    archive: LocalPath | None = None
    heap: Size = 512 * 2**20
    proxy: Literal["nginx"] = "nginx"
    port: Port = 80
    tls: Tls | None = None
    tls_port: Port = 443
    # Connections that one application host keeps to the database; a share of max_connections when not named.
    pool: Annotated[int, Field(ge=1, le=5000)] | None = None


class AppLogin(Part):
    role: SqlName
    password: SecretField


class Database(Part):
    engine: Literal["postgresql", "mariadb"]
    # PostgreSQL 15, 17; MariaDB 10 (10.11), 11 (11.8): what Debian 12 and 13 have (links.py).
    major: Literal[10, 11, 15, 17]
    name: SqlName
    data: AbsolutePath
    port: Port
    encoding: Encoding
    locale: Locale
    # MariaDB's; by default equal means equal, as in PostgreSQL: no folding of case, accents or trailing blanks.
    collation: Collation = "utf8mb4_nopad_bin"
    owner: SqlName
    app: AppLogin
    import_: AppLogin = Field(alias="import")
    max_connections: Annotated[int, Field(ge=20, le=5000)] = 100
    # innodb_buffer_pool_size where the engine is MariaDB.
    shared_buffers: Size = 128 * 2**20
    # The customer's own server, set up by others: judged as it is, and no recipe touches it.
    existing: bool = False
    # PostgreSQL's extensions that the schema uses.
    extensions: list[SqlName] = Field(default_factory=list)
    # An account that may read the catalogue, for a server whose host gives us no root.
    check: AppLogin | None = None
    # PostgreSQL refuses to start without them then (MEM07).
    huge_pages: bool = False

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        """Port and encoding are those of the engine when the site file names none; MariaDB needs no locale."""
        if not isinstance(given, dict):
            return given
        if given.get("engine") == "mariadb":
            return {"port": 3306, "encoding": "utf8mb4", "locale": "C.UTF-8", **given}
        return {"port": 5432, "encoding": "UTF8", **given}


MODULE_KINDS = ("url", "tcp", "sql", "process", "systemd", "log")


class Expect(Part):
    status: Annotated[int, Field(ge=100, le=599)] = 200
    text: Text | None = None
    # Dotted names of a JSON answer and the values that must stand there.
    json_: dict[Text, str | int | bool | None] = Field(default_factory=dict, alias="json")
    time: Milliseconds | None = None


class LogPattern(Part):
    """A line that the end of the file must hold (extended regular expression)."""

    file: AbsolutePath
    pattern: Text
    # The pattern must *not* stand there.
    absent: bool = False


class Sql(Part):
    """One query of one value, asked on the database host as the owner of the schema, read only."""

    query: Text
    value: Annotated[str, StringConstraints(max_length=200)]


class Module(Part):
    """A part of the system that can be asked whether it works: exactly one of url, tcp, sql, process, systemd, log."""

    id: Word
    name: Text
    url: UrlPath | None = None
    expect: Expect = Expect()
    tcp: Port | None = None
    sql: Sql | None = None
    process: ProcessName | None = None
    systemd: UnitName | None = None
    log: LogPattern | None = None
    # Where it is asked; by default the application hosts, for sql the database host.
    role: Role | None = None
    deadline: Duration | None = None
    interval: Duration = 0.5
    stable_for: Duration = 2.0
    requirement: Text = "-"

    @property
    def kind(self) -> str:
        return next((kind for kind in MODULE_KINDS if getattr(self, kind) is not None), "")

    @property
    def asked_role(self) -> str:
        return self.role or ("db" if self.sql else "app")


class Start(Part):
    """How a jar or an archive is started. ``main``: a class instead of the jar's own; ``command``: in the archive."""

    main: JavaName | None = None
    command: InsidePath | None = None
    options: list[Argument] = Field(default_factory=list)
    arguments: list[Argument] = Field(default_factory=list)
    heap: Size | None = None


class System(Part):
    name: Word
    version: Version
    kind: Literal["war", "jar", "archive"]
    artifact: LocalPath
    # Of a jar or an archive: the port it listens on, and how it is started.
    port: Port | None = None
    start: Start = Start()
    # Path inside the release -> template here (Jinja2): configuration, rendered with the site's values.
    config: dict[InsidePath, LocalPath] = Field(default_factory=dict)
    schema_: list[LocalPath] = Field(default_factory=list, alias="schema")
    modules: list[Module] = Field(min_length=1)


class Deploy(Part):
    """How a release goes out, and when it may."""

    keep: Annotated[int, Field(ge=1, le=20)] = 3
    rollback: Literal["automatic", "manual"] = "automatic"
    batch: Annotated[int, Field(ge=1, le=100)] = 1
    window: Annotated[
        str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$")
    ] = ""
    promote_from: LocalPath | None = None


class Repository(Part):
    host: str
    path: AbsolutePath
    password: SecretField


Every = Annotated[
    str,
    StringConstraints(
        pattern=r"^(daily|weekly (mon|tue|wed|thu|fri|sat|sun)|monthly (0[1-9]|1[0-9]|2[0-8]))"
        r" ([01][0-9]|2[0-3]):[0-5][0-9]$"
    ),
]


class Keep(Part):
    daily: Annotated[int, Field(ge=1, le=366)]
    weekly: Annotated[int, Field(ge=0, le=104)] = 0
    monthly: Annotated[int, Field(ge=0, le=120)] = 0


class Share(Part):
    """A directory that several hosts mount from one server. ``hosts`` are roles or hosts."""

    path: AbsolutePath
    hosts: list[str] = Field(min_length=1)
    user: Word
    # HOST:/PATH or ADDRESS:/PATH of the server that exports it.
    export: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+:(/[A-Za-z0-9._-]+)+$")] | None = None


class Storage(Part):
    shares: list[Share] = Field(default_factory=list)


class BackupPolicy(Part):
    every: Every
    keep: Keep
    drill: Literal["weekly", "monthly", "never"] = "never"


class Backup(Part):
    repository: Repository
    database: BackupPolicy
    program: BackupPolicy


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
    disks: dict[str, dict[AbsolutePath, Size]] = Field(default_factory=dict)

    def release_of(self, host: str) -> str:
        return self.releases.get(host, self.release)


class Site(Part):
    project: Project
    profile: Word = "small"
    ssh: Ssh
    time: Time
    hosts: dict[HostName, Host] = Field(min_length=1)
    roles: dict[Role, RoleSpec] = Field(default_factory=dict)
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

    def mount_of(self, host: Host, path: str) -> str:
        """The declared mount of its own that a path of the host lies on, or empty."""
        specs = [self.roles[role] for role in host.roles if role in self.roles]
        mounts = [place for spec in specs for place, mount in spec.mounts.items() if mount.separate]
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

    def with_role(self, role: str) -> list[Host]:
        """The hosts of a role, in the order of the site file."""
        return [host for host in self.hosts.values() if role in host.roles]

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

    def ends(self, name: str) -> list[Host]:
        """The hosts that an end of a flow names: a host, or all hosts of a role, or ``*``."""
        if name == "*":
            return list(self.hosts.values())
        return [self.hosts[name]] if name in self.hosts else self.with_role(name)

    def all_flows(self) -> list[Flow]:
        """Declared flows plus those that follow: app to db, everyone to dns, backup sources to storage."""
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
