"""Where a rollback goes, and what it can and cannot undo. Pure, but for the one question to the database.

The target is the newest release that every application host holds as good. A bad one is never chosen, and what is left
behind becomes bad: going back twice does not end where it began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from implops.deploy.release import Release, Releases
from implops.errors import HostError, InputError
from implops.remote import Connection
from implops.site import Site

_MARIADB = """command -v mariadb >/dev/null 2>&1 || exit 0
ask() { mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --default-character-set=utf8mb4 -NB -e "$1"; }
there="select count(*) from information_schema.tables where table_schema = 'implops' and table_name = 'schema_log'"
[ "$(ask "$there")" = 1 ] || { ask 'select 1' >/dev/null; exit $?; }
echo schema
ask "select concat_ws(' ', name, sha256) from implops.schema_log order by position"
"""
Schema = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Way:
    """``leaving``: host -> the release that is active there now; ``hosts`` have to be switched, the others have it."""

    release: Release
    leaving: dict[str, str]
    hosts: tuple[str, ...]


def choose(found: Mapping[str, Releases], to: str = "", *, failed_run: bool = False) -> Way:
    """The way back. ``to``: an id that the user names. ``failed_run``: the last deployment or rollback failed, so that
    a good release everywhere means that it never got as far as switching.

    Raises InputError when there is nothing to go back to, or nothing to go back from.
    """
    good = _good_everywhere(found)
    currents = {host: one.current for host, one in found.items()}
    if to:
        # Of a version that was deployed several times the newest is meant.
        target = next((one for one in reversed(good) if to in (one.id, one.version)), None)
        if target is None:
            raise InputError("rollback.not_good", release=to, known=" ".join(one.id for one in good) or "-")
    else:
        same = len(set(currents.values())) == 1
        now = next((one for one in good if same and one.id in currents.values()), None)
        if now is not None and failed_run:
            raise InputError("rollback.nothing", release=now.id)
        candidates = [one for one in good if now is None or one.run < now.run]
        if not candidates:
            raise InputError("rollback.none", current=" ".join(sorted(set(currents.values()))) or "-")
        target = candidates[-1]
    hosts = tuple(host for host, current in currents.items() if current != target.id)
    return Way(target, currents, hosts)


def _good_everywhere(found: Mapping[str, Releases]) -> list[Release]:
    """Oldest first; the same release on every host. Its configuration is each host's own, so what is compared is what
    the vendor delivered.
    """
    first = next(iter(found.values()), Releases())
    return [
        one
        for one in first.all
        if all((same := other.find(one.id)) and same.state == "good" and _delivered(same) == _delivered(one)
               for other in found.values())
    ]  # fmt: skip


def _delivered(release: Release) -> tuple[object, ...]:
    return release.version, release.files, release.schema


def executed(site: Site, connection: Connection) -> Schema | None:
    """The schema files that the database itself says were executed, in order; None when there is no such database.

    Raises HostError when it cannot be told.
    """
    database = site.database
    assert database
    if database.engine == "mariadb":
        return _read(connection, _MARIADB)
    query = "select name || ' ' || sha256 from implops.schema_log order by position"
    there = "select to_regclass('implops.schema_log') is not null"
    psql = f"runuser -u postgres -- psql -XAtqw -v ON_ERROR_STOP=1 -p {database.port} -d {database.name}"
    script = f"""cd /
command -v psql >/dev/null 2>&1 && id -u postgres >/dev/null 2>&1 || exit 0
there=$({psql} -c "{there}" 2>&1) || {{ case $there in *'does not exist'*) exit 0 ;; esac; echo "$there" >&2; exit 1; }}
[ "$there" = t ] || exit 0
echo schema
{psql} -c "{query}"
"""
    return _read(connection, script)


def _read(connection: Connection, script: str) -> Schema | None:
    result = connection.run(script, timeout=60, sudo=True)
    if result.rc:
        why = result.err.decode("utf-8", "replace").strip().splitlines()
        raise HostError("rollback.no_schema", host=connection.name, why=(why or ["-"])[-1][:200])
    lines = result.text.splitlines()
    if lines[:1] != ["schema"]:
        return None
    rows = [line.rpartition(" ") for line in lines[1:] if line]
    return tuple((name, sha256) for name, _, sha256 in rows)


def unlike(release: Schema, backup: Schema | None) -> list[str]:
    """Names of the schema files that only one of the two knows: program and tables would not belong together. Nothing
    where the backup does not say what it holds.
    """
    if backup is None or backup == release:
        return []
    return sorted({name for name, _ in set(release) ^ set(backup)}) or [name for name, _ in backup]


def since(target: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]]) -> list[str]:
    """Names of the schema files that the database has and the release did not: only a backup undoes them."""
    known = set(target)
    return [name for name, sha256 in now if (name, sha256) not in known]
