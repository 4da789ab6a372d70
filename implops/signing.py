"""Signatures of files by SSH keys: ``ssh-keygen -Y``, offline, with the key that the engineer already has.

A signature names what it is for (the namespace): a signed record cannot pass for a bundle. Who may sign is an
allowed-signers file (ssh-keygen(1), ALLOWED SIGNERS), installed beforehand and never taken from what is checked::

    wang@vendor.example namespaces="implops-bundle" ssh-ed25519 AAAA…
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from implops.errors import DataError, InputError, MachineError

Namespace = Literal["implops-bundle", "implops-record"]
_SECONDS = 120


def sign(data: bytes, key: Path, namespace: Namespace) -> bytes:
    """The armoured signature of ``data``. ``key``: a private key, or the public one of a key that the agent holds.

    ssh-keygen asks for a passphrase on the terminal. Raises InputError when the key cannot be used.
    """
    done = _keygen(["sign", "-f", str(key), "-n", namespace], data)
    if done.returncode or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise InputError("signing.key", path=key, why=_said(done))
    return done.stdout


def fingerprint(signature: bytes) -> str:
    """``SHA256:…`` of the key that an armoured signature names, as ``ssh-keygen -l`` prints it (PROTOCOL.sshsig); empty
    for what is no signature. Whether that key made it is for ``verify`` to say.
    """
    lines = [one for one in signature.splitlines() if one and not one.startswith(b"-----")]
    try:
        blob = base64.b64decode(b"".join(lines))
    except ValueError:
        return ""
    if not blob.startswith(b"SSHSIG"):
        return ""
    # "SSHSIG", a version of four bytes, the public key behind its length.
    size = int.from_bytes(blob[10:14], "big")
    digest = hashlib.sha256(blob[14 : 14 + size]).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def verify(data: bytes, signature: bytes, signers: Path, namespace: Namespace, what: str) -> str:
    """The signer's name from ``signers``. ``what`` is named in the error.

    Raises InputError (no such file of signers), DataError (altered, or signed by a key that is not listed).
    """
    if not signers.is_file():
        raise InputError("signing.no_signers", path=signers)
    with tempfile.NamedTemporaryFile(prefix="implops-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        found = _keygen(["find-principals", "-s", file.name, "-f", str(signers)], b"")
        name = found.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
        if found.returncode or not name:
            raise DataError("signing.unknown_signer", what=what, path=signers)
        arguments = ["verify", "-f", str(signers), "-I", name, "-n", namespace, "-s", file.name]
        if _keygen(arguments, data).returncode:
            raise DataError("signing.bad", what=what, signer=name)
    return name


def _keygen(arguments: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", "-q", "-Y", *arguments], input=data, capture_output=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise MachineError("signing.no_tool") from None
    except subprocess.TimeoutExpired:
        raise InputError("signing.key", path=arguments[2], why=f"{_SECONDS} s") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in lines if line.strip()), f"ssh-keygen {done.returncode}")
