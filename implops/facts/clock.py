"""Clocks: two readings around the whole script, the time service, zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from implops.facts.base import Fact, NotMeasured, Section, Unknown, attempt
from implops.facts.system import filled, shaped


@dataclass(frozen=True)
class Start(Fact, section="start"):
    """The host's clock when the script began, in microseconds."""

    at: int | Unknown

    @classmethod
    def read(cls, section: Section) -> Self:
        # busybox prints a literal N: that is no time.
        return cls(attempt(lambda: int(shaped(section, "epoch_ns", r"[0-9]{18,19}")) // 1000))


@dataclass(frozen=True)
class Finish(Start, section="finish"):
    """The host's clock when everything else had been asked."""


@dataclass(frozen=True)
class Source:
    """A server of chrony: ``state`` as chronyc prints it (``*`` is the chosen one)."""

    state: str
    address: str
    reach: int


@dataclass(frozen=True)
class Clock(Fact, section="clock"):
    offset: str | Unknown  # +0800
    zone: str | Unknown  # Asia/Shanghai; "-" when /etc/localtime is no link into the zone files
    rtc: str | Unknown
    synchronised: bool | Unknown
    reference: str | Unknown
    offset_us: int | Unknown  # to its own reference
    sources: tuple[Source, ...] | Unknown
    guest: bool | Unknown  # the guest tools of a virtual machine set the clock as well

    @classmethod
    def read(cls, section: Section) -> Self:
        def zone() -> str:
            _, found, name = section.text("localtime").rpartition("/zoneinfo/")
            return name if found and name else "-"

        return cls(
            offset=attempt(lambda: shaped(section, "offset", r"[+-][0-9]{4}")),
            zone=attempt(zone),
            rtc=attempt(lambda: filled(section, "rtc")),
            synchronised=attempt(lambda: _synchronised(section)),
            reference=attempt(lambda: _tracking(section)[1] or _tracking(section)[0]),
            offset_us=attempt(lambda: _offset(section)),
            sources=attempt(lambda: tuple(_source(line) for line in section.all("source"))),
            guest=attempt(lambda: shaped(section, "guest", "-|Enabled|Disabled") == "Enabled"),
        )


def _tracking(section: Section) -> list[str]:
    fields = filled(section, "tracking").split(",")
    if len(fields) != 14 or not re.fullmatch(r"[0-9A-F]{8}", fields[0]):
        raise NotMeasured(Unknown("garbled", "chronyc tracking"))
    return fields


def _leap(section: Section) -> str:
    leap = _tracking(section)[13]
    if leap not in ("Normal", "Insert second", "Delete second", "Not synchronised"):
        raise NotMeasured(Unknown("garbled", "chronyc tracking"))
    return leap


def _synchronised(section: Section) -> bool:
    """Of the service that answers: chrony, ntpd, else systemd. A container's systemd shows the machine's kernel."""
    chrony = attempt(lambda: _leap(section))
    if not isinstance(chrony, Unknown):
        return chrony != "Not synchronised"
    ntpq = attempt(lambda: section.text("ntpq"))
    if not isinstance(ntpq, Unknown):
        match = re.search(r"leap=([0-3]{2})", ntpq)
        if not match:
            raise NotMeasured(Unknown("garbled", "ntpq"))
        return match[1] != "11"
    if chrony.reason == "command":
        return False  # chronyc is there and its daemon does not answer
    return shaped(section, "ntp_synchronized", "yes|no") == "yes"


def _offset(section: Section) -> int:
    text = _tracking(section)[4]
    if not re.fullmatch(r"-?[0-9]+\.[0-9]+", text):
        raise NotMeasured(Unknown("garbled", "chronyc tracking"))
    return round(float(text) * 1_000_000)


def _source(line: str) -> Source:
    fields = line.split(",")
    if len(fields) != 10:
        raise NotMeasured(Unknown("garbled", "chronyc sources"))
    return Source(fields[1], fields[2], int(fields[5], 8))
