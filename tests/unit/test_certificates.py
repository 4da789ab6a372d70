"""Certificates: what nginx or a browser would refuse is refused here, before anything changes."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from implops import certificates, kit
from implops.errors import InputError, SiteError
from implops.secrets import Secret
from implops.site import Site, load


def site_with(folder: Path, tls: str) -> Site:
    text = kit.annotated_site().read_text(encoding="utf-8")
    (folder / "site.yml").write_text(text.replace("port: 80}", f"port: 80, tls: {tls}}}"), encoding="utf-8")
    return load(folder / "site.yml")


def pair(folder: Path, name: str, *, days: int = 30) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(end - timedelta(days=60)).not_valid_after(end)
    cert, private = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    private.chmod(0o600)
    return cert, private


def test_a_generated_certificate_names_everything_and_is_made_once(tmp_path: Path) -> None:
    site = site_with(tmp_path, "generate")
    made = certificates.of(site)
    leaf = x509.load_der_x509_certificate(made.leaf)
    named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(named.get_values_for_type(x509.DNSName)) == {"his", "app1", "his.his.example", "app1.his.example"}
    assert named.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.77.1.12")]
    authority = x509.load_pem_x509_certificate((tmp_path / "tls" / "ca.pem").read_bytes())
    leaf.verify_directly_issued_by(authority)
    assert certificates.of(site).leaf == made.leaf
    for path in (tmp_path / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    text = site.path.read_text(encoding="utf-8").replace("names: {his: app1}", "names: {his: app1, lis: app1}")
    site.path.write_text(text, encoding="utf-8")
    again = certificates.of(load(site.path))
    assert again.leaf != made.leaf
    x509.load_der_x509_certificate(again.leaf).verify_directly_issued_by(authority)


def test_a_given_pair_is_taken_as_it_is(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "site")
    found = certificates.of(site_with(tmp_path, "{cert: site.pem, key: file:site.key}"))
    assert (found.chain, found.key.reveal()) == (cert.read_text(), key.read_text().rstrip("\n"))


@pytest.mark.parametrize(
    ("days", "key", "fault"),
    [(30, "other", "key_of_another"), (-1, "site", "cert_expired"), (30, "site.pem", "key_unreadable")],
)
def test_a_pair_that_does_not_fit_is_refused(tmp_path: Path, days: int, key: str, fault: str) -> None:
    cert, _ = pair(tmp_path, "site", days=days)
    pair(tmp_path, "other")
    text = (tmp_path / (key if "." in key else f"{key}.key")).read_text()
    with pytest.raises(InputError) as caught:
        certificates.check(cert.read_text(), Secret(text), cert)
    assert caught.value.key == f"recipe.nginx.{fault}"
    assert "site.pem" in str(caught.value)


@pytest.mark.parametrize("tls", ["{cert: a.pem}", "{generate: true, cert: a.pem, key: file:k}", "{}"])
def test_half_a_pair_is_refused_with_its_line(tmp_path: Path, tls: str) -> None:
    with pytest.raises(SiteError) as caught:
        site_with(tmp_path, tls)
    assert caught.value.key == "site.tls_form"
