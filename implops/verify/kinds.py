"""Questions to a module that is no web page: a port, a query, a process, a service, a line in a log.

All but the port are asked on the host itself in one trip, as root, and change nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import paramiko

from implops.errors import HostError
from implops.remote import Connection, Result
from implops.site import Site
from implops.site.software import Module
from implops.verify import logs

SECONDS = 15
# The end of a log is what tells about now.
LOG_BYTES = 2**20
_MISSING, _NOT_THERE = 3, 4


def subject(module: Module, address: str) -> str:
    """What is asked, for people: ``tcp 10.1.2.3:8888`` · ``process java`` · ``log /var/log/x: READY``."""
    if module.tcp:
        return f"tcp {address}:{module.tcp}"
    if module.sql:
        return f"sql {module.sql.query}"
    if module.log:
        return f"log {module.log.file}: {module.log.pattern}"
    return f"{module.kind} {getattr(module, module.kind)}"


def ask(site: Site, connection: Connection, module: Module) -> dict[str, Any] | str | None:
    """The fault ``{key, params}`` of a module that does not hold now; None, or a text that stays the same for as
    long as it is the same start of a service. Raises HostError when it could not be asked.
    """
    return _tcp(connection, module) if module.tcp else _KINDS[module.kind](site, connection, module)


def fault(code: str, **params: Any) -> dict[str, Any]:
    return {"key": f"verify.reason.{code}", "params": params}


def _tcp(connection: Connection, module: Module) -> dict[str, Any] | None:
    assert module.tcp
    address = connection.host.address
    try:
        channel = connection.transport.open_channel(
            "direct-tcpip", (address, module.tcp), ("127.0.0.1", 0), timeout=SECONDS
        )
    except paramiko.ChannelException as error:
        if error.code == 1:
            raise HostError("verify.no_forwarding", host=connection.name) from None
        return fault("no_connection", address=address, port=module.tcp)
    except (paramiko.SSHException, EOFError, OSError):
        _ = connection.transport  # raises ConnectionLost when that is why
        return fault("timeout", seconds=SECONDS)
    channel.close()
    return None


def _run(connection: Connection, script: str) -> Result:
    return connection.run(f"timeout {SECONDS} sh -c {shlex.quote(script)}", timeout=SECONDS + 15, sudo=True)


def _sql(site: Site, connection: Connection, module: Module) -> dict[str, Any] | None:
    """As the owner of the schema, who comes in through the host's own socket; read only."""
    assert module.sql and site.database
    database = site.database
    if database.engine == "mariadb":
        client = "mariadb --no-defaults -S /run/mysqld/mysqld.sock --default-character-set=utf8mb4 --sandbox -NB"
        before = f"set session transaction read only; set session max_statement_time = {SECONDS}; "
        command = f"runuser -u {database.owner} -- {client} {database.name}"
    else:
        options = f"-c default_transaction_read_only=on -c statement_timeout={SECONDS}s"
        client = f"psql -XAtqw -v ON_ERROR_STOP=1 -p {database.port} -U {database.owner} -d {database.name} -f -"
        command, before = f"runuser -u postgres -- env PGOPTIONS={shlex.quote(options)} {client}", ""
    query = f"{before}{module.sql.query.rstrip().removesuffix(';')};\n"
    result = _run(connection, f"cd / && printf %s {shlex.quote(query)} | {command}")
    if result.rc:
        lines = [line for line in result.err.decode("utf-8", "replace").splitlines() if line.strip()]
        return fault("sql_error", why=(lines or ["-"])[0][:200])
    found = result.text.rstrip("\n")
    return None if found == module.sql.value else fault("sql_value", found=found[:80], expected=module.sql.value)


def _process(_site: Site, connection: Connection, module: Module) -> dict[str, Any] | None:
    """By the name that the kernel keeps (15 characters of it) or the file it was started from."""
    name = shlex.quote(module.process or "")
    script = f"""name={name}
for one in /proc/[0-9]*; do
  read -r comm < "$one/comm" && [ -e "$one/exe" ] || continue
  file=$(readlink "$one/exe"); [ "$comm" = "$(printf %.15s "$name")" ] || [ "${{file##*/}}" = "$name" ] || continue
  exit 0
done 2>/dev/null
exit {_MISSING}"""
    return None if _run(connection, script).rc == 0 else fault("no_process", name=module.process)


def _systemd(_site: Site, connection: Connection, module: Module) -> dict[str, Any] | str:
    unit = shlex.quote(module.systemd or "")
    since = "systemctl show -p ActiveEnterTimestampMonotonic"
    result = _run(connection, f"systemctl is-active -- {unit} && {since} -- {unit}")
    if result.rc == 0:
        return result.text
    return fault("not_active", unit=module.systemd, state=result.text.split("\n")[0] or "-")


def _log(_site: Site, connection: Connection, module: Module) -> dict[str, Any] | None:
    assert module.log
    file, pattern = shlex.quote(module.log.file), shlex.quote(module.log.pattern)
    script = (
        f"[ -f {file} ] || exit {_MISSING}\n"
        f"{{ {logs.since(module.log.file, LOG_BYTES)}; }} | grep -Eq -e {pattern}\n"
        f"case $? in 0) exit 0 ;; 1) exit {_NOT_THERE} ;; esac\nexit 5"
    )
    rc = _run(connection, script).rc
    if rc == _MISSING:
        return fault("no_log", path=module.log.file)
    if rc not in (0, _NOT_THERE):
        return fault("log_pattern_bad", pattern=module.log.pattern)
    if (rc == 0) == module.log.absent:
        return fault("log_present" if module.log.absent else "log_absent", pattern=module.log.pattern)
    return None


_KINDS: dict[str, Callable[[Site, Connection, Module], dict[str, Any] | str | None]] = {
    "sql": _sql,
    "process": _process,
    "systemd": _systemd,
    "log": _log,
}
