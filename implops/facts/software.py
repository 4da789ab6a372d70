"""What is installed and set up: packages, tools, Java, services, locales, accounts, hardening."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.facts.planned import Planned
from implops.facts.settings import UNLIMITED
from implops.facts.system import filled
from implops.site import Host, Site

# Needed by what implops does on a host besides the packages that it brings.
TOOLS = ("awk", "sed", "grep", "tar", "gzip", "sha256sum", "find", "flock", "systemctl", "ss", "ip", "apt-get", "dpkg",
         "bash", "timeout")  # fmt: skip
# What a planned server listens as (the value of its port) -> packages of the same software by any name, as patterns of
# dpkg-query. Clients, libraries and common files of it are none.
FAMILIES = {
    "postgres": ("postgresql", "postgresql-[0-9]", "postgresql-[0-9].[0-9]", "postgresql-[0-9][0-9]"),
    "mysql": ("mariadb-server", "mariadb-server-[0-9]*", "mysql-server*", "mysql-community-server*",
              "default-mysql-server*", "percona-server-server*"),
    "tomcat": ("tomcat[0-9]", "tomcat[0-9][0-9]"),
    "nginx": ("nginx", "nginx-core", "nginx-light", "nginx-full", "nginx-extras"),
    "named": ("bind9",),
}  # fmt: skip
TIME_UNITS = ("chrony", "chronyd", "ntp", "ntpsec", "ntpd", "systemd-timesyncd")
FIREWALLS = ("firewalld", "ufw", "nftables", "iptables")


@dataclass(frozen=True)
class Jdk:
    """What the ``release`` file of a JDK says. ``arch`` and ``vendor`` may be empty."""

    version: str
    arch: str
    vendor: str

    @property
    def major(self) -> int:
        """8 of ``1.8.0_392``, 17 of ``17.0.9``; 0 when it is no version."""
        numbers = re.findall(r"[0-9]+", self.version)
        at = 1 if numbers[:1] == ["1"] else 0
        return int(numbers[at]) if len(numbers) > at else 0

    @property
    def update(self) -> int:
        """161 of ``1.8.0_161``; 0 where versions are counted otherwise."""
        match = re.fullmatch(r"1\.[0-9]+\.[0-9]+_([0-9]+).*", self.version)
        return int(match[1]) if match else 0


@dataclass(frozen=True)
class Software(Fact, section="software"):
    manager: str | Unknown
    packages: dict[str, str] | Unknown  # installed ones of those that recipes ask for, and FAMILIES -> version
    tools: dict[str, bool] | Unknown
    jdks: dict[str, Jdk] | Unknown  # by folder
    java: str | Unknown
    java_homes: tuple[str, ...] | Unknown  # what the environment of every login says

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"TOOLS": list(TOOLS), "PACKAGES": []}

    @classmethod
    def planned_parameters(cls, planned: list[Planned]) -> dict[str, list[str]]:
        return {"PACKAGES": sorted({one.name for one in planned if one.kind == "package"} | set(families(planned)))}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            manager=attempt(lambda: filled(section, "manager")),
            packages=attempt(lambda: _packages(section)),
            tools=attempt(lambda: {name: value == "1" for name, value in section.pairs("tool").items()}),
            jdks=attempt(lambda: {folder: _jdk(text) for folder, text in section.pairs("jdk").items()}),
            java=attempt(lambda: filled(section, "java")),
            java_homes=attempt(lambda: tuple(map(_assigned, section.all("java_home")))),
        )


def families(planned: Iterable[Planned]) -> list[str]:
    """Patterns of packages that would be an earlier installation of a planned server."""
    return [one for plan in planned if plan.kind == "port" for one in FAMILIES.get(plan.value, ())]


def _jdk(text: str) -> Jdk:
    version, arch, vendor = (one.strip().strip('"') for one in text.split("|", 2))
    return Jdk(version, arch, vendor)


def _assigned(line: str) -> str:
    """The value of ``export JAVA_HOME="/opt/jdk"``."""
    return line.partition("JAVA_HOME=")[2].split(";")[0].strip().strip("\"'").rstrip("/")


def _packages(section: Section) -> dict[str, str]:
    found = {}
    for line in section.all("package"):
        state, name, version = line.split("|")
        if state.startswith("ii"):
            found[name] = version
    return found


@dataclass(frozen=True)
class Service:
    """A unit as systemd has it; limits are what its processes get (declared or default), UNLIMITED for none."""

    loaded: bool
    active: str
    nofile: int
    nofile_soft: int
    nproc: int
    tasks: int


@dataclass(frozen=True)
class Services(Fact, section="services"):
    units: dict[str, Service] | Unknown
    files: tuple[str, ...] | Unknown  # unit files of the administrator's folder

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"UNITS": [*TIME_UNITS, *FIREWALLS]}

    @classmethod
    def planned_parameters(cls, planned: list[Planned]) -> dict[str, list[str]]:
        names = {one.name for one in planned if one.kind == "service"}
        return {"UNITS": [*TIME_UNITS, *FIREWALLS, *sorted(names)]}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(attempt(lambda: _units(section)), attempt(lambda: section.all("file")))

    @property
    def active(self) -> dict[str, str]:
        units = self.units
        assert not isinstance(units, Unknown)
        return {name: one.active for name, one in units.items()}


def _units(section: Section) -> dict[str, Service]:
    blocks, names = section.text("show").strip().split("\n\n"), section.text("units").split()
    if len(blocks) != len(names):
        raise NotMeasured(Unknown("garbled", "systemctl"))
    return {name: _service(block) for name, block in zip(names, blocks, strict=True)}


def _service(block: str) -> Service:
    told = dict(line.split("=", 1) for line in block.splitlines())

    def number(key: str) -> int:
        # A timer has no limits of processes.
        value = told.get(key, "infinity")
        return UNLIMITED if value == "infinity" else min(to_int(value.strip(), "systemctl"), UNLIMITED)

    return Service(
        told["LoadState"] == "loaded", told["ActiveState"], number("LimitNOFILE"), number("LimitNOFILESoft"),
        number("LimitNPROC"), number("TasksMax"),
    )  # fmt: skip


@dataclass(frozen=True)
class Locales(Fact, section="locales"):
    available: frozenset[str] | Unknown
    lang: str | Unknown  # "" when none is set
    fonts: int | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        def lang() -> str:
            lines = section.all("lang")
            return lines[-1].partition("LANG=")[2].strip().strip("\"'") if lines else ""

        return cls(
            available=attempt(lambda: frozenset(section.all("locale"))),
            lang=attempt(lang),
            fonts=attempt(lambda: section.number("fonts")),
        )


@dataclass(frozen=True)
class Account:
    """Days until the password or the account ends; None when it does not."""

    days: int | None


@dataclass(frozen=True)
class Security(Fact, section="security"):
    selinux: str | Unknown  # "-" where there is none
    selinux_config: str | Unknown
    umask: str | Unknown
    fips: bool | Unknown
    crypto: str | Unknown
    users: dict[str, int] | Unknown  # name -> uid
    expiry: dict[str, Account] | Unknown
    sftp: str | Unknown
    booleans: frozenset[str] | Unknown  # of SELinux, those that are on
    firewalld: str | Unknown  # what it lets through; "-" when it does not run
    writers: dict[str, bool] | Unknown  # ACCOUNT:FOLDER that are both there -> may it write there

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"WRITERS": []}

    @classmethod
    def planned_parameters(cls, planned: list[Planned]) -> dict[str, list[str]]:
        folders = [one for one in planned if one.kind == "directory" and one.value not in ("", "root")]
        return {"WRITERS": [f"{one.value}:{one.name}" for one in folders]}

    @classmethod
    def read(cls, section: Section) -> Self:
        def umask() -> str:
            text = section.text("umask").split()
            return text[0] if text else "022"

        return cls(
            selinux=attempt(lambda: filled(section, "selinux")),
            selinux_config=attempt(lambda: filled(section, "selinux_config")),
            umask=attempt(umask),
            fips=attempt(lambda: section.flag("fips")),
            crypto=attempt(lambda: filled(section, "crypto")),
            users=attempt(lambda: _users(section)),
            expiry=attempt(lambda: _expiry(section)),
            sftp=attempt(lambda: section.text("sftp")),
            booleans=attempt(lambda: frozenset(section.all("boolean"))),
            firewalld=attempt(lambda: section.text("firewalld")),
            writers=attempt(lambda: {pair: may == "1" for pair, may in section.pairs("writer").items()}),
        )


def _users(section: Section) -> dict[str, int]:
    found = {}
    for line in section.all("passwd"):
        fields = line.split(":")
        if len(fields) >= 7:
            found[fields[0]] = to_int(fields[2], "passwd")
    if "root" not in found:
        raise NotMeasured(Unknown("garbled", "passwd"))
    return found


def _expiry(section: Section) -> dict[str, Account]:
    today = section.number("today") // 86400
    found = {}
    for line in section.all("shadow"):
        # name, last change, min, max, warn, inactive, expire
        fields = (line.split(":") + [""] * 7)[:7]
        ends = []
        if re.fullmatch(r"[0-9]+", fields[1]) and re.fullmatch(r"[0-9]+", fields[3]) and int(fields[3]) < 99999:
            ends.append(int(fields[1]) + int(fields[3]) - today)
        if re.fullmatch(r"[0-9]+", fields[6]):
            ends.append(int(fields[6]) - today)
        found[fields[0]] = Account(min(ends) if ends else None)
    return found
