"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, 7677): the server never gets to see a password."""

from __future__ import annotations

import base64
import hashlib
import hmac

# PostgreSQL's own default; a server accepts any.
ITERATIONS = 4096
SALT_BYTES = 16


def acceptable(password: str) -> bool:
    """Printable ASCII: the form that every client hashes alike (SASLprep changes nothing in it)."""
    return bool(password) and all(" " <= char <= "~" for char in password)


def verifier(password: str, salt: bytes) -> str:
    """``SCRAM-SHA-256$4096:SALT$STORED-KEY:SERVER-KEY``, what ``alter role … password`` takes as already hashed."""

    def mac(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, hashlib.sha256).digest()

    def b64(data: bytes) -> str:
        return base64.b64encode(data).decode()

    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(mac(salted, b"Client Key")).digest()
    return f"SCRAM-SHA-256${ITERATIONS}:{b64(salt)}${b64(stored)}:{b64(mac(salted, b'Server Key'))}"
