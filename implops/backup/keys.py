"""One SSH key a host, made here and kept beside the site's other secrets: the storage host knows who writes."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from implops.errors import InputError
from implops.secrets import Secret, redactor
from implops.site import Host, Site


def _path(site: Site, host: Host) -> Path:
    return site.base / "secrets" / f"backup_{host.name}"


def private(site: Site, host: Host) -> Secret:
    """The key in OpenSSH's form; made (0600) when asked for the first time."""
    path = _path(site, host)
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    text = path.read_text(encoding="ascii")
    redactor.add(text)
    return Secret(text)


def public(site: Site, host: Host) -> str:
    """``ssh-ed25519 AAAA… implops-HOST``."""
    try:
        key = load_ssh_private_key(private(site, host).reveal().encode(), None)
    except ValueError:
        raise InputError("backup.bad_key", path=_path(site, host)) from None
    return f"{key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} implops-{host.name}"
