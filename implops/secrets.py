"""Secrets are references in the site file (``env:`` ``file:`` ``prompt:`` ``command:``), never values.

A Secret prints as ``***``. A Redactor knows every secret resolved in this process and removes it from whatever is
about to be stored, logged or shown: redaction happens before writing, not before showing.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

from implops.errors import InputError

_REFERENCE = re.compile(r"(env|file|prompt|command):(.*)", re.DOTALL)


class Secret:
    """A secret value; only ``reveal()`` gives it away."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class SecretRef:
    """A reference as the site file writes it, with the folder that relative paths start from."""

    def __init__(self, text: str, base: Path) -> None:
        match = _REFERENCE.fullmatch(text)
        if not match or (match[1] != "prompt" and not match[2].strip()):
            raise ValueError("secret|***|env:NAME file:PATH prompt: command:COMMAND")
        self.kind, self.rest, self.base = match[1], match[2].strip(), base

    def __repr__(self) -> str:
        return f"{self.kind}:{self.rest}"

    @property
    def path(self) -> Path:
        """Where a ``file:`` secret lies."""
        return self.base / Path(self.rest).expanduser()

    def resolve(self) -> Secret:
        """The secret; InputError when it cannot be had. Every value resolved is known to ``redactor`` from then on."""
        value = getattr(self, f"_{self.kind}")()
        if not value:
            raise InputError("secrets.empty", ref=repr(self))
        redactor.add(value)
        return Secret(value)

    def _env(self) -> str:
        if self.rest not in os.environ:
            raise InputError("secrets.env", name=self.rest)
        return os.environ[self.rest]

    def _file(self) -> str:
        try:
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                raise InputError("secrets.mode", path=self.path)
            return self.path.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise InputError("secrets.file", path=self.path, why=error.strerror) from None
        except UnicodeDecodeError:
            raise InputError("secrets.file", path=self.path, why="UTF-8") from None

    def _prompt(self) -> str:
        if not sys.stdin.isatty():
            raise InputError("secrets.prompt", ref=repr(self))
        return getpass.getpass(f"{self.rest or 'password'}: ")

    def _command(self) -> str:
        name = (self.rest.split() or ["-"])[0]
        try:
            done = subprocess.run(shlex.split(self.rest), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except (OSError, ValueError):
            # No such program, a quote that is not closed, an answer that is no text: as a shell says it.
            raise InputError("secrets.command", command=name, code=127) from None
        if done.returncode:
            raise InputError("secrets.command", command=name, code=done.returncode)
        return done.stdout.rstrip("\n")


class Redactor:
    """Replaces every known secret by ``***`` and counts how often it had to."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self.count = 0

    def add(self, value: str) -> None:
        # Shorter words would blank innocent text everywhere.
        if len(value) >= 6:
            self._known.add(value)

    def known(self) -> list[str]:
        """Every known secret, for a process of ours that has to redact too (over a pipe, never an argument)."""
        return sorted(self._known)

    def text(self, text: str) -> str:
        for value in sorted(self._known, key=len, reverse=True):
            if value in text:
                self.count += text.count(value)
                text = text.replace(value, "***")
        return text

    def data(self, data: bytes) -> bytes:
        for value in sorted(self._known, key=len, reverse=True):
            raw = value.encode()
            if raw in data:
                self.count += data.count(raw)
                data = data.replace(raw, b"***")
        return data

    def value(self, value: object) -> object:
        """The same for a JSON value, at any depth; the value itself when nothing is found."""
        if isinstance(value, dict | list | tuple) and not self.finds(
            json.dumps(value, ensure_ascii=False, default=str)
        ):
            return value
        return self._replaced(value)

    def finds(self, document: str) -> bool:
        """Whether a JSON document (not ASCII alone) holds a known secret, as it is written there."""
        return any(json.dumps(one, ensure_ascii=False)[1:-1] in document for one in self._known)

    def _replaced(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._replaced(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._replaced(one) for one in value]
        return value


redactor = Redactor()
