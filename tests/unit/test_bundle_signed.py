"""Signed bundles, with real keys: whose signature counts is said by the site file, never by the bundle."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from implops import signing
from implops.bundle import Bundle, archive, diff, signer, source, verify
from implops.cli.main import main
from implops.errors import DataError, InputError
from implops.site import Site, load

FILES = {"apt/Packages": b"Package: a\n\n", "files/his.war": b"PK\x03\x04" + b"w" * 900}


def key(folder: Path, name: str) -> Path:
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def written(
    folder: Path, sign_with: Path | None = None, version: str = "1.0", files: dict[str, bytes] = FILES,
    more: dict[str, object] | None = None,
) -> Path:  # fmt: skip
    rows = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "kind": "artifact"}
        for name, data in files.items()
    ]
    hosts = {"app1": {"release": "bookworm", "packages": ["a"], "debs": [], "files": []}}
    manifest = {"name": "HIS", "version": version, "arch": "amd64", "versions": {"a": version},
                "files": rows, "hosts": hosts, **(more or {})}  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / f"HIS-{version}-{hashlib.sha256(archive.dump(manifest)).hexdigest()[:12]}.tar"
    sign = functools.partial(signing.sign, key=sign_with, namespace="implops-bundle") if sign_with else None
    with path.open("wb") as file:
        archive.write(file, manifest, dict(files), sign)
    return path


def demanding(example: Path, *public: Path) -> Site:
    """The example site with these keys as the only signers that count."""
    lines = [
        f'wang@vendor.example namespaces="implops-bundle" {one.with_suffix(".pub").read_text(encoding="ascii")}'
        for one in public
    ]
    (example.parent / "signers").write_text("".join(lines), encoding="ascii")
    with example.open("a", encoding="utf-8") as file:
        file.write("\nsignatures: {signers: signers}\n")
    return load(example)


def test_the_signer_is_named_and_any_tar_and_ssh_keygen_can_tell_too(tmp_path: Path, example: Path) -> None:
    mine = key(tmp_path, "mine")
    site, path = demanding(example, mine), written(tmp_path, mine)
    assert signer(site, verify(path)) == "wang@vendor.example"
    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "signers", "-I", "wang@vendor.example",
               "-n", "implops-bundle", "-s", tmp_path / "SHA256SUMS.sig"]  # fmt: skip
    subprocess.run(command, input=(tmp_path / "SHA256SUMS").read_bytes(), check=True, capture_output=True)


def test_the_record_knows_where_a_bundle_comes_from(tmp_path: Path, example: Path) -> None:
    mine = key(tmp_path, "mine")
    said = subprocess.run(["ssh-keygen", "-l", "-f", mine], check=True, capture_output=True, text=True).stdout
    about = {"tool": "0.1.0", "dated": "2026-11-25T02:22:30+00:00"}
    now = {**about, "origins": ["Debian bookworm"], "given": {"files/his.war": "system.artifact"}}
    found = source(demanding(example, mine), verify(written(tmp_path, mine, more=now)))
    assert (found["key"], found["signer"]) == (said.split()[1], "wang@vendor.example")
    (file,) = [one for one in found["files"] if one["name"] == "his.war"]
    assert file == {"name": "his.war", "sha256": hashlib.sha256(FILES["files/his.war"]).hexdigest(),
                    "size": 904, "kind": "artifact", "key": "system.artifact"}  # fmt: skip
    # One of before these were noted says so by saying nothing.
    old = source(load(example), verify(written(tmp_path / "old", mine, more=about)))
    assert (old["origins"], {one["key"] for one in old["files"]}) == ([], {""})


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN SSH SIGNATURE-----\nAAA\n", b"AAAA"])
def test_what_is_no_signature_names_no_key(text: bytes) -> None:
    assert signing.fingerprint(text) == ""


def test_signing_changes_neither_the_contents_nor_their_digest(tmp_path: Path) -> None:
    plain, signed = verify(written(tmp_path / "a")), verify(written(tmp_path / "b", key(tmp_path, "mine")))
    assert plain.digest == signed.digest and plain.path.name == signed.path.name
    assert {name: signed.read(name) for name in signed.items} == FILES
    assert diff(plain, signed) == []


def test_what_is_unsigned_or_signed_by_others_is_refused(tmp_path: Path, example: Path) -> None:
    mine, other = key(tmp_path, "mine"), key(tmp_path, "other")
    site = demanding(example, mine)
    with pytest.raises(DataError) as raised:
        signer(site, verify(written(tmp_path / "a")))
    assert raised.value.key == "bundle.unsigned"
    with pytest.raises(DataError) as raised:
        signer(site, verify(written(tmp_path / "b", other)))
    assert raised.value.key == "signing.unknown_signer"


def test_a_signature_of_other_contents_or_for_another_purpose_is_refused(tmp_path: Path, example: Path) -> None:
    mine = key(tmp_path, "mine")
    site = demanding(example, mine)
    bundle = verify(written(tmp_path, mine))
    other = verify(written(tmp_path, mine, version="1.1"))
    for signature in (other.signature, signing.sign(bundle.sums, mine, "implops-record"), b"no signature at all\n"):
        forged = Bundle(**{**vars(bundle), "signature": signature})
        with pytest.raises(DataError):
            signer(site, forged)


def test_a_flipped_bit_of_the_signature_or_its_frame_is_refused(tmp_path: Path, example: Path) -> None:
    mine = key(tmp_path, "mine")
    site, path = demanding(example, mine), written(tmp_path, mine)
    whole = path.read_bytes()
    start = whole.index(b"SHA256SUMS.sig\0")
    body = start + 512
    end = whole.index(b"-----END SSH SIGNATURE-----")
    for position in (start, start + 100, start + 124, body + 40, (body + end) // 2, end - 10, body + 511):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            signer(site, verify(path))


def test_a_key_that_is_not_there_and_a_list_that_is_not_there(tmp_path: Path, example: Path) -> None:
    with pytest.raises(InputError) as raised:
        signing.sign(b"x", tmp_path / "none", "implops-bundle")
    assert raised.value.key == "signing.key"
    mine = key(tmp_path, "mine")
    site = demanding(example, mine)
    (example.parent / "signers").unlink()
    with pytest.raises(InputError) as raised:
        signer(site, verify(written(tmp_path, mine)))
    assert raised.value.key == "signing.no_signers"


def test_differences_name_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = written(tmp_path)
    new = written(tmp_path, version="1.1", files={**FILES, "files/his.war": b"other", "files/001.sql": b"select 1;"})
    with pytest.raises(SystemExit) as ended:
        main(["bundle", "diff", str(old), str(new), "--json"])
    assert ended.value.code == 0
    found = {(one["kind"], one["name"]): (one["before"], one["after"])
             for one in json.loads(capsys.readouterr().out)["differences"]}  # fmt: skip
    assert found["deb", "a"] == ("1.0", "1.1")
    assert found["file", "files/001.sql"] == ("-", hashlib.sha256(b"select 1;").hexdigest()[:16])
    assert found["file", "files/his.war"][1] == hashlib.sha256(b"other").hexdigest()[:16]
    assert ("file", "apt/Packages") not in found
