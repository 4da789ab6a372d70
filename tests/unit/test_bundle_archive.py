"""The bundle file has one valid form: any changed, missing or additional byte is refused, naming where it is."""

from __future__ import annotations

import hashlib
import io
import subprocess
from pathlib import Path
from typing import Any

import pytest

from implops.bundle import archive, verify
from implops.bundle.archive import Bundle
from implops.errors import DataError, InputError

CONTENTS = {
    "apt/Packages": b"Package: a\n\n",
    "apt/a_1_all.deb": bytes(range(256)) * 5,
    "files/his 一.war": b"PK\x03\x04" + b"w" * 700,
}


def manifest(contents: dict[str, bytes] = CONTENTS) -> dict[str, Any]:
    rows = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "kind": "deb"}
        for path, data in contents.items()
    ]
    hosts = {"app1": {"release": "bookworm", "packages": ["a"], "debs": ["apt/a_1_all.deb"], "files": []}}
    about = {"name": "HIS", "version": "1.0", "arch": "amd64", "versions": {"a": "1"}}
    return {**about, "files": rows, "hosts": hosts}


def written(folder: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    made = manifest(contents)
    path = folder / f"HIS-1.0-{hashlib.sha256(archive.dump(made)).hexdigest()[:12]}.tar"
    with path.open("wb") as file:
        archive.write(file, made, dict(contents))
    return path


def test_what_was_written_is_read_and_any_tar_program_unpacks_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    bundle = verify(path)
    assert {name: bundle.read(name) for name in bundle.items} == CONTENTS
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (bundle.size, bundle.release_of("app1"), bundle.arch) == (path.stat().st_size, "bookworm", "amd64")
    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_the_same_contents_make_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert written(tmp_path).read_bytes() == written(tmp_path / "b").read_bytes()


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    # Of the zeros that fill up blocks every 32nd stands for the others.
    for position in (at for at, byte in enumerate(whole) if byte or at % 32 == 0):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            verify(path)
    path.write_bytes(whole)
    assert verify(path).size == len(whole)


@pytest.mark.parametrize("name", ["manifest.json", *CONTENTS])
def test_the_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    data = archive.dump(manifest()) if name == "manifest.json" else CONTENTS[name]
    place = whole.index(data) + len(data) // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
    with pytest.raises(DataError) as raised:
        verify(path)
    assert raised.value.key == "bundle.corrupt"
    assert raised.value.params["file"] == name
    assert name in str(raised.value)


def test_a_cut_file_and_a_longer_one_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            verify(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError) as raised:
        verify(path)
    assert raised.value.key == "bundle.extra"


def test_another_bundle_under_this_name_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "other").mkdir()
    written(tmp_path / "other", {"apt/Packages": b""}).rename(path)
    with pytest.raises(DataError) as raised:
        verify(path)
    assert raised.value.params["file"] == "manifest.json"
    renamed = path.rename(tmp_path / "bundle.tar")
    with pytest.raises(InputError) as refused:
        verify(renamed)
    assert refused.value.key == "bundle.name"


def test_what_is_no_bundle_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "HIS-1.0-0123456789ab.tar"
    with pytest.raises(InputError) as missing:
        verify(path)
    assert missing.value.key == "bundle.unreadable"
    path.write_bytes(b"\xff" * 4096)
    with pytest.raises(DataError) as raised:
        verify(path)
    assert raised.value.key == "bundle.not_bundle"


def test_a_source_that_changes_while_it_is_written_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.deb"
    source.write_bytes(CONTENTS["apt/a_1_all.deb"][:-1] + b"?")
    with pytest.raises(DataError) as raised:
        archive.write(io.BytesIO(), manifest(), {**CONTENTS, "apt/a_1_all.deb": source})
    assert raised.value.params["path"] == source


def test_the_stream_to_a_host_holds_the_chosen_files_by_their_last_name(tmp_path: Path) -> None:
    bundle: Bundle = verify(written(tmp_path))
    target = tmp_path / "target"
    target.mkdir()
    stream = bundle.tar(["files/his 一.war", "apt/a_1_all.deb"])
    subprocess.run(["tar", "-xf", "-", "-C", target], input=stream.read(), check=True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "his 一.war": CONTENTS["files/his 一.war"],
        "a_1_all.deb": CONTENTS["apt/a_1_all.deb"],
    }


def test_a_host_that_the_bundle_does_not_know_is_refused(tmp_path: Path) -> None:
    bundle = verify(written(tmp_path))
    assert bundle.for_host("app1")["packages"] == ["a"]
    with pytest.raises(InputError) as raised:
        bundle.for_host("app2")
    assert raised.value.params["host"] == "app2"
