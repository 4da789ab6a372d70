"""The system's schema files: each once, in their order, as the owner, in one transaction, recorded in the database."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from implops.deploy import probes
from implops.errors import InputError, StepError
from implops.site import Host, Site

META = {"id": "schema", "roles": ("db",), "needs": ("postgresql",), "timeout": 1800}

SECONDS = 1500
LOG = """create schema if not exists implops;
create table if not exists implops.schema_log (
    position    integer     primary key,
    name        text        not null unique,
    sha256      text        not null,
    run         text        not null,
    executed_at timestamptz not null default now()
);"""
# What a statement is made of besides its words: comments, strings, quoted names, dollar-quoted bodies, COPY's data.
_QUOTED = re.compile(
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$"
    r"|(?<=;)\n(?P<copy>(?:[^\n]*\n)*?\\\.(?=\n|$))",
    re.DOTALL,
)
_COPY = re.compile(r"\bcopy\b[^;]*\bfrom\s+stdin\b[^;]*$", re.IGNORECASE)
# One file is one transaction: a file that ends it half-way could not be undone.
_CONTROL = {"begin", "start", "commit", "end", "rollback", "abort", "prepare", "savepoint", "release"}
_META = {"\\.", "\\restrict", "\\unrestrict"}


def wanted(site: Site, host: Host) -> bool:
    return bool(site.system and site.system.schema_)


def control(text: str) -> tuple[int, str] | None:
    """Line and word of the first statement that ends a transaction, or psql command, that a schema file may not have."""
    position, statement = 0, ""
    start = 1

    def judge() -> str:
        words = statement.split()
        return words[0].lower() if words and words[0].lower() in _CONTROL else ""

    while position < len(text):
        match = _QUOTED.match(text, position)
        if match and (match["copy"] is None):
            statement += " "
            position = match.end()
            continue
        char = text[position]
        if char == "\\":
            word = re.match(r"\\\S*", text[position:])
            assert word
            if word[0] not in _META:
                return text.count("\n", 0, position) + 1, word[0]
            position = (text + "\n").index("\n", position)
            statement = ""
            continue
        if char == ";":
            if found := judge():
                return start, found
            position += 1
            if _COPY.search(statement) and match is None:
                end = re.compile(r"^\\\.$", re.MULTILINE).search(text, position)
                position = end.end() if end else len(text)
            statement = ""
            continue
        if not statement.strip() and not char.isspace():
            start = text.count("\n", 0, position) + 1
        statement += char
        position += 1
    return (start, found) if (found := judge()) else None
