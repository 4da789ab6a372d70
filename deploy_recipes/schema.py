"""The system's schema files: each once, in their order, as the owner, in one transaction, recorded in the database."""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import Any

from implops.deploy import probes
from implops.errors import InputError, StepError
from implops.site import Host, Site

META = {"id": "schema", "roles": ("db",), "needs": ("postgresql",), "timeout": 1800}

SECONDS = 1500
FILES = "/var/lib/implops/bundle/files"
# What is not a statement of its own: comments, strings, quoted names, dollar-quoted bodies.
_QUOTED = re.compile(
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
# One file is one transaction: a file that ends it half-way could not be undone.
_CONTROL = {"begin", "start", "commit", "end", "rollback", "abort", "prepare", "savepoint", "release"}


def wanted(site: Site, host: Host) -> bool:
    return bool(site.database and site.system and site.system.schema_)


def refused(text: str) -> tuple[int, str] | None:
    """Line and word of the first thing a schema file may not have: the end of a transaction, or a psql command."""
    bare = _QUOTED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
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
        if bad := refused(text):
            raise InputError("recipe.schema.refused", place=f"{path}:{bad[0]}", word=bad[1])
        files.append({"name": path.name, "sha256": hashlib.sha256(body).hexdigest()})
    database = site.database
    return {"files": files, "database": database.name, "port": database.port, "owner": database.owner}


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
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
    done = [line.split(" ", 2) for line in ops.fact(ops.psql(d.database, d.port, "-c", query)).splitlines()]
    for number, (position, sha256, name) in enumerate(done):
        same = number < len(d.files) and d.files[number] == {"name": name, "sha256": sha256}
        if int(position) != number or not same:
            raise StepError("recipe.schema.changed", host=host.name, file=name, sha256=sha256[:12])
    logged = "select 1 from implops.schema_log where position"
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
            # Asked once more: what a cut-off run left behind may have ended meanwhile.
            unless=f'[ "$({ops.psql(d.database, d.port, "-c", f"{logged} = {number}")})" = 1 ]',
            name="recipe.schema.file",
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.system and site.database
    database, count = site.database, len(site.system.schema_)
    query = "select count(*) from implops.schema_log"
    psql = f"runuser -u postgres -- psql -XAtqw -p {database.port} -d {database.name}"
    ask = f'[ "$(cd / && {psql} -c "{query}")" = {count} ]'
    return [probes.shell(f"schema:{database.name}", ask)]
