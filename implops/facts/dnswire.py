"""A DNS question and its answer as bytes: bare hosts have no ``dig``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_TYPES = {"A": 1, "SOA": 6, "PTR": 12}
_ID = 0x1D0C


@dataclass(frozen=True)
class Answer:
    """``code``: 0 is no error, 3 is NXDOMAIN, 5 is REFUSED. ``records``: addresses, names, or the SOA's serial."""

    code: int
    authoritative: bool
    recursion: bool
    records: tuple[str, ...]
    micros: int


def reverse(address: str) -> str:
    return ipaddress.IPv4Address(address).reverse_pointer


def query(name: str, kind: str) -> bytes:
    head = _ID.to_bytes(2, "big") + b"\x01\x00" + b"\0\1" + b"\0\0" * 3
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return head + labels + b"\0" + _TYPES[kind].to_bytes(2, "big") + b"\0\1"


def parse(wire: bytes, micros: int) -> Answer:
    """Raises ValueError or IndexError for what is no answer to one of our questions."""
    if len(wire) < 12 or int.from_bytes(wire[:2], "big") != _ID or not wire[2] & 0x80:
        raise ValueError("no answer")
    count = int.from_bytes(wire[6:8], "big")
    at = 12
    for _ in range(int.from_bytes(wire[4:6], "big")):
        _, at = _name(wire, at)
        at += 4
    records = []
    for _ in range(count):
        _, at = _name(wire, at)
        kind, length = int.from_bytes(wire[at : at + 2], "big"), int.from_bytes(wire[at + 8 : at + 10], "big")
        at += 10
        if at + length > len(wire):
            raise ValueError("cut")
        if kind == _TYPES["A"]:
            records.append(str(ipaddress.IPv4Address(wire[at : at + 4])))
        elif kind == _TYPES["PTR"]:
            records.append(_name(wire, at)[0])
        elif kind == _TYPES["SOA"]:
            _, after = _name(wire, at)
            _, after = _name(wire, after)
            records.append(str(int.from_bytes(wire[after : after + 4], "big")))
        at += length
    return Answer(wire[3] & 15, bool(wire[2] & 4), bool(wire[3] & 0x80), tuple(records), micros)


def _name(wire: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    after = -1
    for _ in range(64):
        size = wire[at]
        if size == 0:
            return ".".join(labels), after if after >= 0 else at + 1
        if size & 0xC0:
            after = after if after >= 0 else at + 2
            at = int.from_bytes(wire[at : at + 2], "big") & 0x3FFF
        else:
            labels.append(wire[at + 1 : at + 1 + size].decode("ascii"))
            at += 1 + size
    raise ValueError("loop")
