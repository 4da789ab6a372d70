"""A site's own certificate and key, read as files of this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from implops.secrets import SecretRef
from implops.site import Host, Site


@dataclass(frozen=True)
class Pair:
    """``names`` are those that the certificate stands for; ``seconds`` it has left (negative: expired)."""

    matches: bool
    names: tuple[str, ...]
    seconds: int

    def covers(self, name: str) -> bool:
        """A wildcard stands for one label (RFC 6125)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


def site_names(site: Site, host: Host) -> list[str]:
    """What users type to reach this host: its names in the site's zone, or its address where there is none."""
    if site.dns is None:
        return [host.address]
    aliases = [name for name, target in site.dns.names.items() if target == host.name]
    return [f"{name}.{site.dns.zone}" for name in aliases or [host.name]]


def read_pair(certificate: Path, key: SecretRef, now: datetime) -> Pair | str:
    """The pair, or the key of the note that says what is wrong with the files.

    Raises InputError when the key's secret cannot be resolved.
    """
    # Loaded only where a site has a certificate: it costs more than all other checks together.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        found = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError:
        return "cert_missing"
    except (ValueError, IndexError):
        return "cert_garbled"
    try:
        private = load_pem_private_key(key.resolve().reveal().encode(), password=None)
    except TypeError:
        return "cert_key_encrypted"
    except ValueError:
        return "cert_key_garbled"
    names: list[str] = []
    try:
        listed = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += listed.get_values_for_type(x509.DNSName)
        names += [str(one) for one in listed.get_values_for_type(x509.IPAddress) if _is_ipv4(one)]
    except x509.ExtensionNotFound:
        pass  # browsers have not looked at the common name for years: a certificate without names stands for none
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    matches = private.public_key().public_bytes(*form) == found.public_key().public_bytes(*form)
    return Pair(matches, tuple(names), int((found.not_valid_after_utc - now).total_seconds()))


def _is_ipv4(one: object) -> bool:
    return isinstance(one, ipaddress.IPv4Address)
