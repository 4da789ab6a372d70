"""Facts are frozen dataclasses read from one section of the probe's answer.

What could not be read is Unknown(reason), never an empty value. Reading an unknown field raises NotMeasured, so a check
cannot mistake "don't know" for "none": the judge turns it into ``error``.

A fact is one class (``implops/facts/TOPIC.py``, or beside a check in the user's own kit) and one probe
(``checks/probes/SECTION.sh``): the probe prints ``key TAB value`` lines, ``read`` makes typed values of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

if TYPE_CHECKING:
    from implops.site import Host, Site

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Unknown:
    """Not measured. ``reason`` is a key of ``check.reason.…`` (no_sudo, tool, timeout, truncated …)."""

    reason: str
    detail: str = ""


class NotMeasured(Exception):
    """A fact that could not be read was asked for."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason, unknown.detail)
        self.unknown = unknown


def known(value: T | Unknown) -> T:
    """The value itself; raises NotMeasured for an Unknown."""
    if isinstance(value, Unknown):
        raise NotMeasured(value)
    return value


@dataclasses.dataclass(frozen=True)
class Section:
    """The ``key TAB value`` lines of one section, in order. ``key!`` lines say why a key could not be read."""

    lines: tuple[tuple[str, str], ...]

    def all(self, key: str) -> tuple[str, ...]:
        """Every value of a key that may repeat; none is an answer only when the probe says ``key# N`` too.

        Raises NotMeasured when the probe did not print the count, or the count does not fit.
        """
        values = tuple(value for name, value in self.lines if name == key)
        count = self.text(f"{key}#")
        if count != str(len(values)):
            raise NotMeasured(Unknown("garbled", key))
        return values

    def text(self, key: str) -> str:
        """The value of a key that stands there once. Raises NotMeasured."""
        values = [value for name, value in self.lines if name == key]
        if len(values) == 1:
            return values[0]
        if len(values) > 1:
            raise NotMeasured(Unknown("garbled", key))
        for name, value in self.lines:
            if name == f"{key}!":
                reason, _, detail = value.partition(" ")
                raise NotMeasured(Unknown(reason, detail))
        raise NotMeasured(Unknown("missing", key))

    def number(self, key: str) -> int:
        """An integer ≥ 0. Raises NotMeasured also for text that is none."""
        return to_int(self.text(key), key)

    def flag(self, key: str) -> bool:
        """``1`` or ``0``. Raises NotMeasured for anything else."""
        text = self.text(key)
        if text not in ("0", "1"):
            raise NotMeasured(Unknown("garbled", key))
        return text == "1"

    def pairs(self, key: str) -> dict[str, str]:
        """``NAME VALUE`` lines of a repeating key; the name has no blank."""
        return {line.partition(" ")[0]: line.partition(" ")[2] for line in self.all(key)}


_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


def to_int(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NotMeasured(Unknown("garbled", what))
    return int(text)


def attempt(read: Callable[[], T]) -> T | Unknown:
    """``read()`` or the Unknown that it met."""
    try:
        return read()
    except NotMeasured as error:
        return error.unknown


@dataclasses.dataclass(frozen=True)
class Cost:
    """The most that asking a fact may put on a host: bytes written to disk or sent, and seconds."""

    size: int = 0
    seconds: int = 0


@dataclasses.dataclass(frozen=True)
class Fact:
    """Base of all facts. A subclass names its probe: ``class Memory(Fact, section="memory")``."""

    section: ClassVar[str] = ""
    # 1: one answer of the host's own; 2: what the host sees of others (flows, name servers); 3: what loads the host or
    # takes long (disk, bandwidth), asked only with --deep. Sections of one trip run in the order of their names.
    trip: ClassVar[int] = 1

    def __init_subclass__(cls, section: str, trip: int = 1, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.section, cls.trip = section, trip

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if isinstance(value, Unknown):
            raise NotMeasured(value)
        return value

    def ask(self, name: str) -> Any:
        """A field that may be Unknown, without raising."""
        return object.__getattribute__(self, name)

    @classmethod
    def parameters(cls, site: Site, host: Host) -> dict[str, list[str]]:
        """Shell variables that the probe reads: name -> words (no blanks or newlines in a word)."""
        return {}

    @classmethod
    def cost(cls, site: Site, host: Host) -> Cost:
        """What a fact of trip 3 may cost at most; printed before it is asked, and held by the probe itself."""
        return Cost()

    @classmethod
    def read(cls, section: Section) -> Self:
        """The typed fact. One field at a time, each through ``attempt``: one unreadable key spoils one field."""
        raise NotImplementedError


def build(kind: type[Fact], section: Section | Unknown) -> Fact | Unknown:
    """The fact of a section. Anything unforeseen in the answer is Unknown("garbled"), never an exception."""
    if isinstance(section, Unknown):
        return section
    try:
        return kind.read(section)
    except NotMeasured as error:
        return error.unknown
    except (ValueError, IndexError, KeyError, TypeError):
        return Unknown("garbled", kind.section)
