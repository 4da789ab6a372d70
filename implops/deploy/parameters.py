"""What each step was given, for the record: values that people read, and of secrets only whether they are the same.

A secret is recorded as ``***#`` and a keyed digest. The key lies beside the records and is in none of them: a record
that is handed out says whether a password was changed, and gives nobody anything to guess it by.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

from implops.deploy.plan import Plan
from implops.secrets import Secret

# A longer value is a file of its own, not a parameter: its digest is kept.
_SHORT = 160
_DIGITS = 16
_NAME = "parameters.key"
HIDDEN, LONG = "***#", "sha256:"


def key(state: Path) -> bytes:
    """32 bytes of this site, made when there are none (mode 0600, flushed, renamed)."""
    path = state / _NAME
    try:
        return path.read_bytes()
    except FileNotFoundError:
        part = path.with_suffix(".part")
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(os.urandom(32))
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
        return path.read_bytes()


def of(made: Plan, secret: bytes) -> dict[str, dict[str, str]]:
    """Step -> dotted name -> value: a short one as text, a long text as ``sha256:`` and digest, a secret as above."""
    return {one.id: _flat(one.recipe.params(made.site, one.host), secret) for one in made.steps}


def files(made: Plan) -> dict[str, dict[str, list[str]]]:
    """Step -> parameter -> the file of the host that holds it, or those of which the step writes one."""
    found = {one.id: one.recipe.files(made.site, one.host) for one in made.steps}
    return {step: one for step, one in found.items() if one}


def _flat(value: Any, secret: bytes, name: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for inner, one in value.items():
            found |= _flat(one, secret, f"{name}.{inner}" if name else str(inner))
        return found
    return {name: _short(_text(value, secret))}


def _text(value: Any, secret: bytes) -> str:
    if isinstance(value, Secret):
        return HIDDEN + hmac.new(secret, value.reveal().encode(), hashlib.sha256).hexdigest()[:_DIGITS]
    if isinstance(value, dict):
        return " ".join(f"{name}={_text(one, secret)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_text(one, secret) for one in value)
    return str(value)


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else LONG + hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
