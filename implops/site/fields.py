"""Field types of the site file: every value that reaches a shell, SQL or a path is held to a narrow form here.

Validators raise ValueError("CODE|VALUE|WHAT IS ALLOWED"); load.py turns that into a line of the catalogue.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from implops.secrets import SecretRef
from implops.units import parse_duration, parse_size


def _form(code: str, pattern: str, allowed: str) -> AfterValidator:
    form = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{code}|{text}|{allowed}")
        return text

    return AfterValidator(check)


# RFC 1123 label; also what systemd and BIND take for a host.
HostName = Annotated[str, _form("name", r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a-z 0-9 -")]
# A word that becomes a file name, a systemd unit or a Unix account.
Word = Annotated[str, _form("word", r"[a-z][a-z0-9_-]{0,30}", "a-z 0-9 _ -")]
# PostgreSQL and MariaDB identifiers that never need quoting; 63 bytes is PostgreSQL's limit.
SqlName = Annotated[str, _form("sql_name", r"[a-z_][a-z0-9_]{0,62}", "a-z 0-9 _")]
Version = Annotated[str, _form("version", r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,40}", "0-9 A-Z a-z . + ~ -")]
Domain = Annotated[str, _form("domain", r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", "his.example")]
AbsolutePath = Annotated[str, _form("path", r"(/(?!\.\.?(/|\Z))[A-Za-z0-9._-]+)+|/", "/data/pg")]
# Of the system or of packages: a recipe that made one its own would take it from them.
_SYSTEM_FOLDERS = re.compile(
    r"/|/(bin|boot|dev|etc|lib|lib64|proc|run|sbin|sys|usr)(/.*)?|/(home|media|mnt|opt|root|srv|tmp|var)(/(lib|log|cache))?"
)


def _own_folder(path: str) -> str:
    if _SYSTEM_FOLDERS.fullmatch(path):
        raise ValueError(f"folder|{path}|/data/pg /backup")
    return path


# A folder that a recipe makes and gives to an account.
OwnFolder = Annotated[AbsolutePath, AfterValidator(_own_folder)]
# A block device by any of its names; /dev/disk/by-id and by-path have colons, /dev/mapper has what users chose.
Device = Annotated[
    str, _form("device", r"/dev(/(?!\.)[A-Za-z0-9._:+@=-]+)+", "/dev/disk/by-id/scsi-36000c29f8e /dev/vg0/data")
]
UrlPath = Annotated[str, _form("url", r"/[A-Za-z0-9._~/%?&=+-]*", "/his/login")]
# A path inside a release: never absolute, never upwards.
InsidePath = Annotated[
    str, _form("inside", r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", "config/application.properties")
]
# One word of a start command; systemd's specifiers (%) and variables ($) are escaped by the recipe.
Argument = Annotated[str, _form("argument", r"[\x21-\x7e]{1,400}", "--spring.profiles.active=prod")]
JavaName = Annotated[str, _form("java_name", r"[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*", "nu.validator.servlet.Main")]
UnitName = Annotated[str, _form("unit", r"[A-Za-z0-9][A-Za-z0-9@._-]{0,100}", "nginx.service")]
ProcessName = Annotated[str, _form("process", r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,60}", "java")]
Locale = Annotated[str, _form("locale", r"[a-z]{2,3}_[A-Z]{2}\.(UTF-8|utf8)|C\.UTF-8", "zh_CN.UTF-8")]


def _known_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        raise ValueError(f"zone|{name}|Asia/Shanghai") from None
    return name


Zone = Annotated[str, _form("zone", r"[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}", "Asia/Shanghai"), AfterValidator(_known_zone)]
# Of utf8mb4 only: a collation of another character set cannot hold every character.
Collation = Annotated[str, _form("collation", r"utf8mb4_[a-z0-9_]{2,50}", "utf8mb4_nopad_bin")]
# As /proc/mounts shows it.
MountOption = Annotated[str, _form("option", r"[a-z_]+(=[A-Za-z0-9.:/-]+)?", "hard vers=4.2 nconnect=4")]
GroupName = Annotated[str, _form("group", r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}", "vg0 tank")]
Encoding = Annotated[str, _form("encoding", r"UTF8|utf8mb4", "UTF8 utf8mb4")]


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError(f"port|{value}|1-65535")
    return value


def _address(value: object) -> str:
    try:
        return str(ipaddress.IPv4Address(str(value)))
    except ValueError:
        raise ValueError(f"address|{value}|10.1.2.3") from None


def _size(value: object) -> int:
    return parse_size(value)


def _duration(value: object) -> float:
    return parse_duration(value)


def _days(value: object) -> int:
    days = parse_duration(value) / 86400
    if days != int(days) or not 1 <= days <= 3660:
        raise ValueError(f"days|{value}|5 d")
    return int(days)


def _milliseconds(value: object) -> int:
    return round(parse_duration(value) * 1000)


def _path(value: object, info: ValidationInfo) -> Path:
    """A path on this machine, relative to the site file."""
    if not isinstance(value, str) or not value or "\0" in value or "\n" in value:
        raise ValueError(f"file|{value}|release/his.war")
    return Path((info.context or {})["base"]) / Path(value).expanduser()


Port = Annotated[int, BeforeValidator(_port)]
Address = Annotated[str, BeforeValidator(_address)]
Size = Annotated[int, BeforeValidator(_size)]
Duration = Annotated[float, BeforeValidator(_duration)]
# Whole days, written as a duration: "5 d".
Days = Annotated[int, BeforeValidator(_days)]
# Whole milliseconds: a record holds no floats.
Milliseconds = Annotated[int, BeforeValidator(_milliseconds)]
LocalPath = Annotated[Path, BeforeValidator(_path)]


class SecretField(SecretRef):
    """A SecretRef that pydantic can build from the site file."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def build(value: object, info: core_schema.ValidationInfo) -> SecretField:
            if not isinstance(value, str):
                raise ValueError("secret|***|env:NAME file:PATH prompt: command:COMMAND")
            return cls(value, Path((info.context or {})["base"]))

        return core_schema.with_info_plain_validator_function(
            build, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )
