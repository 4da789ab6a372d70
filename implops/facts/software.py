"""What is installed and set up: packages, tools, Java, services, locales, accounts, hardening."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt, to_int
from implops.facts.planned import Planned
from implops.facts.system import filled
from implops.site import Host, Site

# Needed by what implops does on a host besides the packages that it brings.
TOOLS = ("awk", "sed", "grep", "tar", "gzip", "sha256sum", "find", "flock", "systemctl", "ss", "ip", "apt-get", "dpkg",
         "bash", "timeout")  # fmt: skip
TIME_UNITS = ("chrony", "chronyd", "ntp", "ntpsec", "ntpd", "systemd-timesyncd")
FIREWALLS = ("firewalld", "ufw", "nftables", "iptables")


@dataclass(frozen=True)
class Software(Fact, section="software"):
    manager: str | Unknown
    packages: dict[str, str] | Unknown  # installed ones of those that recipes ask for -> version
    tools: dict[str, bool] | Unknown
    jdks: dict[str, str] | Unknown  # folder -> version
    java: str | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"TOOLS": list(TOOLS), "PACKAGES": []}

    @classmethod
    def planned_parameters(cls, planned: list[Planned]) -> dict[str, list[str]]:
        return {"PACKAGES": sorted({one.name for one in planned if one.kind == "package"})}

    @classmethod
    def read(cls, section: Section) -> Self:
        return cls(
            manager=attempt(lambda: filled(section, "manager")),
            packages=attempt(lambda: _packages(section)),
            tools=attempt(lambda: {name: value == "1" for name, value in section.pairs("tool").items()}),
            jdks=attempt(lambda: {p: v.strip('"') for p, v in section.pairs("jdk").items()}),
            java=attempt(lambda: filled(section, "java")),
        )


def _packages(section: Section) -> dict[str, str]:
    found = {}
    for line in section.all("package"):
        state, name, version = line.split("|")
        if state.startswith("ii"):
            found[name] = version
    return found


@dataclass(frozen=True)
class Services(Fact, section="services"):
    active: dict[str, str] | Unknown

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"UNITS": [*TIME_UNITS, *FIREWALLS]}

    @classmethod
    def planned_parameters(cls, planned: list[Planned]) -> dict[str, list[str]]:
        names = {one.name for one in planned if one.kind == "service"}
        return {"UNITS": [*TIME_UNITS, *FIREWALLS, *sorted(names)]}

    @classmethod
    def read(cls, section: Section) -> Self:
        def active() -> dict[str, str]:
            states, units = section.all("active"), section.text("units").split()
            if len(states) != len(units):
                raise NotMeasured(Unknown("garbled", "systemctl"))
            return dict(zip(units, states, strict=True))

        return cls(attempt(active))


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

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        return {"USERS": [site.ssh.user]}

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
