"""Certificates with one fault each, as files beside the site file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mutation.fault import Step

if TYPE_CHECKING:
    from mutation.bench import Bench

Wrong = Literal["", "key", "days", "name", "password"]


def certificate(wrong: Wrong) -> Step:
    """``tls/site.pem`` and ``tls/site.key``: of another key, for ten more days, of another name, with a password."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        folder = bench.site.base / "tls"
        folder.mkdir()
        key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        address, zone = bench.site.hosts[host].address, bench.site.dns.zone if bench.site.dns else "example"
        names = ["other.example"] if wrong == "name" else [f"his.{zone}", f"{host}.{zone}", host, address]
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - dt.timedelta(days=300))
            .not_valid_after(now + dt.timedelta(days=10 if wrong == "days" else 300))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        (folder / "site.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        how = serialization.BestAvailableEncryption(b"x") if wrong == "password" else serialization.NoEncryption()
        text = (other if wrong == "key" else key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
        )
        path = folder / "site.key"
        path.touch(mode=0o600)
        path.write_bytes(text)

        def undo() -> None:
            for one in folder.iterdir():
                one.unlink()
            folder.rmdir()

        return undo

    return Step(call=call, touches=frozenset(["site:tls"]))
