"""The system's schema files: each once, in their order, as the owner, recorded in the database.

PostgreSQL runs a file in one transaction. MariaDB cannot take back a statement about the schema: there a file is noted
as begun before it runs, and one that did not come to its end is never run again behind anybody's back.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import Any

from implops.deploy import probes
from implops.errors import InputError, StepError
from implops.site import Host, Site

META = {"id": "schema", "roles": ("db",), "needs": ("postgresql", "mariadb"), "timeout": 1800}

SECONDS = 1500
FILES = "/var/lib/implops/bundle/files"
# What is not a statement of its own: comments, strings, quoted names, dollar-quoted bodies.
_QUOTED = re.compile(
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_QUOTED_MARIADB = re.compile(
    r"--[ \t][^\n]*|--$|#[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`",
    re.DOTALL | re.MULTILINE,
)
# One file is one transaction: a file that ends it half-way could not be undone.
_CONTROL = {"begin", "start", "commit", "end", "rollback", "abort", "prepare", "savepoint", "release"}
# Words of MariaDB's client, which reads them at the beginning of a line; "use" would leave the system's database.
_CLIENT = re.compile(
    r"^[ \t]*(use|source|system|tee|notee|pager|connect|charset)\b|\\\S*", re.IGNORECASE | re.MULTILINE
)


def wanted(site: Site, host: Host) -> bool:
    return bool(site.database and site.system and site.system.schema_)


def refused(text: str, engine: str = "postgresql") -> tuple[int, str] | None:
    """Line and word of the first thing a schema file may not have: the end of a transaction, or a client's command."""
    quoted = _QUOTED_MARIADB if engine == "mariadb" else _QUOTED
    bare = quoted.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    if engine == "mariadb":
        first = _CLIENT.search(bare)
        return (bare.count("\n", 0, first.start()) + 1, first[0].strip()) if first else None
    found = [(bare.count("\n", 0, match.start()) + 1, match[0]) for match in re.finditer(r"\\\S*", bare)]
    position = 0
    for statement in bare.split(";"):
        word = re.match(r"\s*([a-zA-Z]+)", statement)
        if word and word[1].lower() in _CONTROL:
            found.append((bare.count("\n", 0, position + word.start(1)) + 1, word[1]))
        position += len(statement) + 1
    return min(found, default=None)


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.system and site.database
    files = []
    for path in site.system.schema_:
        body = path.read_bytes()
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            line = body.count(b"\n", 0, error.start) + 1
            raise InputError("recipe.schema.not_utf8", place=f"{path}:{line}") from None
        if bad := refused(text, site.database.engine):
            raise InputError("recipe.schema.refused", place=f"{path}:{bad[0]}", word=bad[1])
        files.append({"name": path.name, "sha256": hashlib.sha256(body).hexdigest()})
    database = site.database
    about = {"engine": database.engine, "database": database.name, "port": database.port, "owner": database.owner}
    return {"files": files, **about}


def install() -> None:
    from pyinfra import host

    if host.data.engine == "mariadb":
        _mariadb(host, host.data)
    else:
        _postgresql(host, host.data)


def _same(host: str, files: list[dict[str, str]], done: list[list[str]]) -> None:
    """What was executed stands at the beginning of the list, unchanged."""
    for number, (position, sha256, name) in enumerate(done):
        same = number < len(files) and files[number] == {"name": name, "sha256": sha256}
        if int(position) != number or not same:
            raise StepError("recipe.schema.changed", host=host, file=name, sha256=sha256[:12])


def _postgresql(host: Any, d: Any) -> None:
    from implops.deploy import ops

    log = f"""set local role {d.owner};
create schema if not exists implops;
create table implops.schema_log (
    position    integer     primary key,
    name        text        not null unique,
    sha256      text        not null,
    run         text        not null,
    executed_at timestamptz not null default now()
);"""
    there = "to_regclass('implops.schema_log') is not null"
    ops.sql([ops.Want(there, log)], d.database, d.port, name="recipe.schema.log")
    query = "select position || ' ' || sha256 || ' ' || name from implops.schema_log order by position"
    done = [
        line.split(" ", 2)
        for line in ops.fact(f"{ops.SETTLED}; {ops.psql(d.database, d.port, '-c', query)}").splitlines()
    ]
    _same(host.name, d.files, done)
    for number, file in list(enumerate(d.files))[len(done) :]:
        path = shlex.quote(f"{FILES}/{file['name']}")
        insert = (
            "insert into implops.schema_log (position, name, sha256, run) "
            f"values ({number}, {_literal(file['name'])}, '{file['sha256']}', '{d.run}')"
        )
        run = ops.psql(d.database, d.port, "-U", d.owner, "-1", "-f", "-", "-c", insert)
        ops.bounded_shell(
            f"echo {file['sha256']} {path} | sha256sum --status -c - && {{ {run}; }} < {path}",
            SECONDS,
            name="recipe.schema.file",
        )


def _mariadb(host: Any, d: Any) -> None:
    from implops.deploy import ops

    log = """create table implops.schema_log (
    position integer primary key, name varchar(255) not null unique, sha256 char(64) not null,
    run varchar(64) not null,
    executed_at timestamp(6) not null default current_timestamp(6), finished_at timestamp(6) null
) engine = InnoDB;"""
    there = (
        "exists (select 1 from information_schema.tables where table_schema = 'implops' and table_name = 'schema_log')"
    )
    ops.maria([ops.Want(there, log)], name="recipe.schema.log")
    query = "select concat_ws(' ', position, sha256, name) from implops.schema_log order by position"
    done = [line.split(" ", 2) for line in ops.fact(f"{ops.SETTLED}; {ops.mariadb('-e', query)}").splitlines()]
    _same(host.name, d.files, done)
    begun = ops.fact(ops.mariadb("-e", "select name from implops.schema_log where finished_at is null limit 1")).strip()
    if begun:
        raise StepError("recipe.schema.half", host=host.name, file=begun)
    for number, file in list(enumerate(d.files))[len(done) :]:
        path = shlex.quote(f"{FILES}/{file['name']}")
        begin = (
            "insert into implops.schema_log (position, name, sha256, run) "
            f"values ({number}, {_literal(file['name'])}, '{file['sha256']}', '{d.run}')"
        )
        end = f"update implops.schema_log set finished_at = current_timestamp(6) where position = {number}"
        # Its own account, and a client that runs no commands: a schema file is not a program for the host.
        run = f"cd / && runuser -u {d.owner} -- {ops.mariadb('--sandbox', d.database)}"
        ops.bounded_shell(
            f"echo {file['sha256']} {path} | sha256sum --status -c - && {ops.mariadb('-e', begin)} && "
            f"{{ {run}; }} < {path} && {ops.mariadb('-e', end)}",
            SECONDS,
            name="recipe.schema.file",
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.system and site.database
    database, count = site.database, len(site.system.schema_)
    query = "select count(*) from implops.schema_log"
    client = f"runuser -u postgres -- psql -XAtqw -p {database.port} -d {database.name} -c"
    if database.engine == "mariadb":
        client, query = (
            "mariadb --no-defaults -S /run/mysqld/mysqld.sock -NBe",
            f"{query} where finished_at is not null",
        )
    ask = f'[ "$(cd / && {client} "{query}")" = {count} ]'
    return [probes.shell(f"schema:{database.name}", ask)]


def undo() -> None:
    """Nothing: what SQL files have done to the data only a backup takes back."""
