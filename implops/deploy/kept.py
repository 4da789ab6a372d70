# ruff: noqa: S608 - the site file refuses a database whose name is anything but a plain word
"""Whether the database of a site holds anything that a deployment could spoil, and whether it can be saved already."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from implops.bundle.apt import Change
from implops.errors import HostError
from implops.remote import Connection
from implops.site import Site

_SECONDS = 60.0
_CONFIG = "/etc/implops/backup/config.json"


def renewed(site: Site, changes: Sequence[Change]) -> bool:
    """Whether an installation on the database's host would bring the server to another version."""
    database = site.database
    if database is None or database.existing:
        return False
    server = "mariadb-server" if database.engine == "mariadb" else f"postgresql-{database.major}"
    return any(one.old and one.package.startswith(server) for one in changes)


def can_save(connection: Connection) -> bool:
    """Whether the host of the database has its backup jobs already. Raises HostError when it cannot be asked."""
    asked = connection.run(f"[ -s {_CONFIG} ] && echo yes; true", timeout=_SECONDS, sudo=True)
    if asked.rc:
        raise HostError("rollback.no_answer", host=connection.name, why=asked.err.decode("utf-8", "replace")[-200:])
    return asked.text.strip() == "yes"


def look(site: Site, connection: Connection) -> Literal["none", "some", "unknown"]:
    """``none``: no such database, or one without a single table; ``unknown``: its files are there, or a server that is
    not ours, but nobody who would tell (a server that answers from other files cannot).

    Raises HostError when the host cannot be asked.
    """
    database = site.database
    assert database
    data = shlex.quote(str(database.data))
    none = "none" if database.existing else "elsewhere"
    if database.engine == "mariadb":
        otherwise = f"if(trim(trailing '/' from @@datadir) = '{database.data}', 'none', '{none}')"
        query = (
            f"select if(count(*) > 0, 'some', {otherwise})"
            f" from information_schema.tables where table_schema in ('{database.name}', 'implops')"
        )
        script = f"""said=$(mariadb --no-defaults --socket=/run/mysqld/mysqld.sock -NB -e "{query}" 2>/dev/null)
case $said in some | none) echo "$said"; exit 0 ;; esac
"""
    else:
        query = (
            "select case when count(*) > 0 then 'some' else 'none' end from pg_class c join pg_namespace n "
            "on n.oid = c.relnamespace where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema)'"
        )
        there = (
            f"select case when count(*) > 0 then 'unknown' when current_setting('data_directory') = '{database.data}' "
            f"then 'none' else '{none}' end from pg_database where datname = '{database.name}'"
        )
        script = f"""cd /
psql="runuser -u postgres -- psql -XAtqw -p {database.port}"
said=$($psql -d {database.name} -c "{query}" 2>/dev/null) && {{ echo "$said"; exit 0; }}
there=$($psql -d postgres -c "{there}" 2>/dev/null)
case $there in none | unknown) echo "$there"; exit 0 ;; esac
"""
    if database.existing:
        script += "echo unknown\n"
    else:
        # No server that answers, or none at all (a host set up anew, its data disk kept): its files are asked.
        files = f"ls -A {data} 2>/dev/null | grep -vxF lost+found"
        script += f'if [ -n "$({files})" ]; then echo unknown; else echo none; fi\n'
    result = connection.run(script, timeout=_SECONDS, sudo=True)
    word = result.text.strip()
    if result.rc == 0:
        for known in ("none", "some", "unknown"):
            if word == known:
                return known
    why = (result.err.decode("utf-8", "replace").strip().splitlines() or ["-"])[-1][:200]
    raise HostError("rollback.no_schema", host=connection.name, why=why)
