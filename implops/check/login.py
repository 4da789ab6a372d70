"""Real logins to the site's database over SSH forwards: as the application from every application host, and, where the
database's host gives no root, with the site's checking account from that host.

The password stays in this process. The server sees a connection from the host that forwards it, as it will see the
application's. A password goes to the server only in a form that does not give it away.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import paramiko
from paramiko.common import OPEN_FAILED_CONNECT_FAILED

from implops.check.gather import Seen, keep
from implops.errors import HostError, InputError
from implops.facts.base import NotMeasured, Unknown
from implops.facts.database import Login, Server, Tunnelled, questions
from implops.remote import Connection, connect, each
from implops.secrets import redactor
from implops.site import AppLogin, Database, Host, Site

SECONDS = 8
_MOST_WORDS = 160
_WHO = {
    "postgresql": "select session_user || '@' || host(inet_client_addr())",
    "mariadb": "select user()",
}


class Refused(Exception):
    """The server, or the way to it, said no; the words are in the argument."""


class NobodyListens(Refused):
    """The host refused the connection: no server is there."""


def ask_logins(site: Site, seen: Mapping[str, Seen]) -> None:
    """Login of the application hosts, and Tunnelled of the database hosts that need it. For a database that is due.

    A password that cannot be had (nobody to be asked for it) leaves these facts Unknown; the others are judged.
    """
    database = site.database
    assert database
    servers = [host for host in site.with_role("db") if host.name in seen and seen[host.name].error is None]
    if not site.with_role("db"):
        return
    target = site.only("db")
    clients = [host for host in site.with_role("app") if host.name in seen and seen[host.name].error is None]
    password = _password(database.app)

    def login(host: Host) -> list[tuple[str, str]]:
        if password is None:
            return _nothing("no_password")
        with connect(site, host) as connection:
            return _login(connection, database, target.address, password)

    for name, told in each(clients, login).items():
        keep(seen[name], Login, told if isinstance(told, list) else _nothing("lost"))
    unseen = [host for host in servers if _unseen(seen[host.name])]
    if database.check is None or not unseen:
        return
    secret = _password(database.check)

    def look(host: Host) -> list[tuple[str, str]]:
        if secret is None:
            return [("server!", "no_password")]
        with connect(site, host) as connection:
            return _look(connection, database, host.address, secret)

    for name, told in each(unseen, look).items():
        keep(seen[name], Tunnelled, told if isinstance(told, list) else [("server!", "lost")])


def _password(login: AppLogin) -> str | None:
    try:
        return login.password.resolve().reveal()
    except InputError:
        return None


def _unseen(seen: Seen) -> bool:
    found = seen.fact(Server)
    if isinstance(found, Unknown):
        return True
    try:
        return found.engine == "-"
    except NotMeasured:
        return True


def _nothing(reason: str) -> list[tuple[str, str]]:
    return [("account!", reason), ("refused!", reason)]


def _login(connection: Connection, database: Database, address: str, password: str) -> list[tuple[str, str]]:
    try:
        with forward(connection, address, database.port) as port:
            rows = _rows(database, port, database.app.role, password, [_WHO[database.engine]], database.name)
    except Refused as error:
        return [("account", ""), ("refused", str(error))]
    except HostError as error:
        return _nothing(f"no_forward {error.params['host']}")
    return [("account", rows[0]), ("refused", "")] if rows else _nothing("empty account")


def _look(connection: Connection, database: Database, address: str, password: str) -> list[tuple[str, str]]:
    assert database.check
    try:
        with forward(connection, address, database.port) as port:
            rows = _rows(database, port, database.check.role, password, questions(database), database.name)
    except NobodyListens:
        return [("server!", f"no_server {database.engine} {address}:{database.port}")]
    except Refused as error:
        return [("server!", f"command {error}")]
    except HostError as error:
        return [("server!", f"no_forward {error.params['host']}")]
    return [("server", database.engine), *(("told", row) for row in rows), ("told#", str(len(rows)))]


def _rows(
    database: Database, port: int, role: str, password: str, statements: list[str], name: str
) -> list[str]:  # fmt: skip
    """The rows of each statement as text; one that this account may not ask gives none. Raises Refused."""
    import sqlalchemy

    found: list[str] = []
    url = sqlalchemy.URL.create(
        "postgresql+psycopg" if database.engine == "postgresql" else "mysql+pymysql",
        role, password, "127.0.0.1", port, name,
    )  # fmt: skip
    more = {"connect_args": _POSTGRESQL} if database.engine == "postgresql" else {"creator": lambda: _mariadb(url)}
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", **more)
    try:
        with engine.connect() as session:
            for statement in statements:
                with contextlib.suppress(sqlalchemy.exc.DBAPIError, UnicodeDecodeError):
                    found += [_text(row[0]) for row in session.exec_driver_sql(statement)]
    except sqlalchemy.exc.DBAPIError as error:
        raise Refused(_words(str(error.orig))) from None
    finally:
        engine.dispose()
    return found


# Never the bare password: whoever listens there would have it.
# The encoding is named because a database without one (SQL_ASCII) would answer in bytes.
_POSTGRESQL = {
    "connect_timeout": SECONDS, "require_auth": "!password", "application_name": "implops-check",
    "client_encoding": "utf8",
}  # fmt: skip
_BARE = ("mysql_clear_password", "sha256_password", "caching_sha2_password", "dialog")


def _mariadb(url: Any) -> Any:
    """A connection with TLS where the server has it: it hides the traffic, it does not prove who the server is."""
    import ssl

    import pymysql

    class Careful(pymysql.connections.Connection):  # type: ignore[misc]
        """Gives a password away to no server that wants it as it is."""

        def _request_authentication(self) -> None:
            if self._auth_plugin_name in _BARE:
                raise pymysql.err.OperationalError(0, self._auth_plugin_name)
            if not self.server_capabilities & pymysql.constants.CLIENT.SSL:
                self.ssl = False
            super()._request_authentication()

    class Never:
        def __init__(self, connection: object) -> None:
            pass

        def authenticate(self, packet: object) -> None:
            raise pymysql.err.OperationalError(0, "auth_plugin")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Careful(
        host=url.host, port=url.port, user=url.username, password=url.password, database=url.database,
        charset="utf8mb4", ssl=context, connect_timeout=SECONDS, read_timeout=SECONDS,
        auth_plugin_map={name.encode(): Never for name in _BARE},
    )  # fmt: skip


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _words(said: str) -> str:
    """The server's own words in one line, without the ports of our forward."""
    # A client that was refused with TLS tries again without: both say the same.
    first = re.sub(r"^.*?port [0-9]+ failed: ", "", said.partition("\nconnection to server")[0])
    match = re.fullmatch(r"\((\d+), ['\"](.*)['\"]\)", first.strip(), re.DOTALL)
    return redactor.text(" ".join((match[2] if match else first).split())[:_MOST_WORDS])


@contextlib.contextmanager
def forward(connection: Connection, address: str, port: int) -> Iterator[int]:
    """A port of this computer's loopback that leads through the host to ``address:port`` while the block runs.

    Raises HostError when the host's SSH server forwards nothing, NobodyListens when the other end cannot be reached.
    """
    transport = connection.transport

    def reach() -> paramiko.Channel:
        return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=SECONDS)

    try:
        first = reach()
    except paramiko.ChannelException as error:
        if error.code == OPEN_FAILED_CONNECT_FAILED:
            raise NobodyListens(error.text) from None
        raise HostError("remote.lost", host=connection.name) from None
    except (paramiko.SSHException, OSError):
        raise HostError("remote.lost", host=connection.name) from None
    with contextlib.closing(first), socket.create_server(("127.0.0.1", 0), backlog=4) as server:
        server.settimeout(SECONDS)
        threading.Thread(target=_accept, args=(server, first, reach), daemon=True).start()
        yield int(server.getsockname()[1])


def _accept(server: socket.socket, first: paramiko.Channel, reach: Callable[[], paramiko.Channel]) -> None:
    """One channel a connection: a client that was refused with TLS tries again without. Ends with the socket."""
    channel: paramiko.Channel | None = first
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while True:
            plain, _ = server.accept()
            threading.Thread(target=_pump, args=(plain, channel or reach()), daemon=True).start()
            channel = None


def _pump(plain: socket.socket, channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException), plain, contextlib.closing(channel):
        while not channel.closed:
            both: list[Any] = [plain, channel]
            ready, _, _ = select.select(both, [], [], 1.0)
            if plain in ready:
                block = plain.recv(32768)
                channel.sendall(block)
            elif channel in ready:
                block = channel.recv(32768)
                plain.sendall(block)
            if ready and not block:
                return
