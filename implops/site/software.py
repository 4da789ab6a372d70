"""What is installed and kept: runtime, database, the business system with its modules, backups."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from implops.site.fields import (
    AbsolutePath,
    Argument,
    Collation,
    Duration,
    Encoding,
    InsidePath,
    JavaName,
    Locale,
    LocalPath,
    Milliseconds,
    OwnFolder,
    Port,
    ProcessName,
    SecretField,
    Size,
    SqlName,
    UnitName,
    UrlPath,
    Version,
    Word,
)
from implops.site.part import ARCH, Part, Role, Text


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
    data: OwnFolder
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

    @property
    def logs(self) -> list[str]:
        """Logs of the application hosts that modules read."""
        return sorted({one.log.file for one in self.modules if one.log and one.asked_role == "app"})


class Deploy(Part):
    """How a release goes out, and when it may."""

    keep: Annotated[int, Field(ge=1, le=20)] = 3
    rollback: Literal["automatic", "manual"] = "automatic"
    batch: Annotated[int, Field(ge=1, le=100)] = 1
    # The longest that requests of users who are on a host are waited for before it is changed.
    drain: Annotated[Duration, Field(le=600)] = 30.0
    window: Annotated[
        str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$")
    ] = ""
    promote_from: LocalPath | None = None


class Repository(Part):
    host: str
    path: OwnFolder
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


class BackupPolicy(Part):
    every: Every
    keep: Keep
    drill: Literal["weekly", "monthly", "never"] = "never"


class Backup(Part):
    repository: Repository
    database: BackupPolicy
    program: BackupPolicy
