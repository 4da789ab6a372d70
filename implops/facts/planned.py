"""What a recipe says it will set on a host. ``check`` judges a bare host with it: "will be set by RECIPE"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["package", "locale", "zone", "lang", "jdk", "user", "sysctl", "limit", "timesync", "resolver", "hosts",
               "port", "directory", "service", "font", "name", "mount"]  # fmt: skip


# The processes behind the account or name that a recipe declares for a port.
PROCESSES = {"postgres": ("postgres",), "mysql": ("mariadbd", "mysqld"), "tomcat": ("java",), "nginx": ("nginx",),
             "named": ("named",)}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """``recipe`` sets ``name`` of ``kind`` to ``value`` on ``host``.

    Examples: ("postgresql", "db1", "port", "5432", "postgres") · ("os_base", "db1", "locale", "zh_CN.utf8", "") ·
    ("os_base", "db1", "zone", "Asia/Shanghai", "") · ("jdk", "app1", "jdk", "17", "").
    """

    recipe: str
    host: str
    kind: Kind
    name: str
    value: str = ""
