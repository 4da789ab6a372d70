"""The certificate that users see: the customer's, held against its key before anything changes, or one of our making.

``tls: generate`` makes an authority of the site's own once (``secrets/tls_ca.key``, ``tls/ca.pem``), and with it a
certificate for the names and addresses of the application. Whoever trusts ``tls/ca.pem`` trusts the site, nothing else.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from implops.errors import InputError
from implops.secrets import Secret, redactor
from implops.site import Site

# Browsers refuse longer lives (CA/Browser Forum: 398 days); the authority may live as long as a system.
LEAF_DAYS, CA_DAYS = 397, 3650
# A generated one is made anew when less is left.
RENEW_DAYS = 60


@dataclass(frozen=True)
class Certificate:
    """``chain``: PEM as a server sends it, the leaf first. ``leaf``: DER, what a client gets to see."""

    chain: str
    key: Secret
    leaf: bytes


def names(site: Site) -> list[str]:
    """Every name and address under which users and hosts may ask for the application."""
    apps = site.with_role("app")
    found = [one.name for one in apps]
    if site.dns:
        aliases = [name for name, target in site.dns.names.items() if target in found]
        found = [*aliases, *found, *(f"{name}.{site.dns.zone}" for name in [*aliases, *found])]
    return [*dict.fromkeys(found), *(one.address for one in apps)]


def of(site: Site) -> Certificate:
    """The site's certificate. Raises InputError for files that do not fit: key of another, expired, not PEM."""
    assert site.web and site.web.tls
    tls = site.web.tls
    if tls.generate:
        return _generated(site)
    assert tls.cert and tls.key
    try:
        chain = tls.cert.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("recipe.nginx.cert_unreadable", path=tls.cert, why=type(error).__name__) from None
    return check(chain, tls.key.resolve(), tls.cert)


def check(chain: str, key: Secret, path: Path) -> Certificate:
    """The pair as a Certificate. Raises InputError when nginx would refuse it, or every browser would."""
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    except (ValueError, IndexError):
        raise InputError("recipe.nginx.cert_unreadable", path=path, why="PEM") from None
    try:
        private = serialization.load_pem_private_key(key.reveal().encode(), None)
    except (ValueError, TypeError):
        raise InputError("recipe.nginx.key_unreadable", path=path) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise InputError("recipe.nginx.key_of_another", path=path)
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise InputError("recipe.nginx.cert_expired", path=path, until=f"{leaf.not_valid_after_utc:%Y-%m-%d}")
    return Certificate(chain, key, leaf.public_bytes(serialization.Encoding.DER))


def _generated(site: Site) -> Certificate:
    place, path = site.base / "tls", site.base / "tls" / "generated.pem"
    key_path = site.base / "secrets" / "tls_site.key"
    if path.exists() and key_path.exists():
        made = check(path.read_text(encoding="ascii"), _secret(key_path), path)
        leaf = x509.load_der_x509_certificate(made.leaf)
        left = leaf.not_valid_after_utc - datetime.now(UTC)
        if left > timedelta(days=RENEW_DAYS) and _named(leaf) == set(names(site)):
            return made
    authority, authority_key = _authority(site)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(f"{site.project.code} {names(site)[0]}", key, authority.subject, LEAF_DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general, names(site)))), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = builder.sign(authority_key, hashes.SHA256())
    place.mkdir(exist_ok=True)
    # The key first: a certificate that is there has its key.
    _write(key_path, _private_pem(key), 0o600)
    _write(path, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return check(path.read_text(encoding="ascii"), _secret(key_path), path)


def _authority(site: Site) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = site.base / "tls" / "ca.pem", site.base / "secrets" / "tls_ca.key"
    if path.exists() and key_path.exists():
        key = serialization.load_pem_private_key(_secret(key_path).reveal().encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    subject = f"{site.project.code} {site.project.environment} CA"
    builder = _builder(subject, key, None, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False)  # fmt: skip
    builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
    made = builder.sign(key, hashes.SHA256())
    path.parent.mkdir(exist_ok=True)
    _write(key_path, _private_pem(key), 0o600)
    _write(path, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return made, key


def _builder(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None, days: int
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    # A host whose clock is a little behind shall take it too.
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(leaf: x509.Certificate) -> set[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in found}


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _secret(path: Path) -> Secret:
    text = path.read_text(encoding="ascii")
    redactor.add(text)
    return Secret(text)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
