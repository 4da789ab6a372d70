"""The bundle file: an uncompressed tar that has exactly one valid form for its contents.

Order: manifest.json, SHA256SUMS, SHA256SUMS.sig where it is signed (``ssh-keygen -Y``, namespace implops-bundle), then
the files in the order of the manifest. Every header is the one that
``_header`` makes, padding is zero, so a changed byte anywhere in the file is found, in a header as well as in data.
Any tar program unpacks it, and ``sha256sum -c SHA256SUMS`` checks the result without implops.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from implops.errors import DataError, InputError

Kind = Literal["deb", "index", "artifact", "schema"]
_BLOCK = 2**20
_NAME = re.compile(r"[A-Z0-9]+-[0-9A-Za-z.+~_-]+-([0-9a-f]{12})\.tar")
_SUMS = "SHA256SUMS"
_SIGNATURE = "SHA256SUMS.sig"
# An armoured signature has some 300 bytes with an Ed25519 key, 1.2 kB with RSA of 4096 bits.
_SIGNATURE_LIMIT = 8192
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Item:
    """One file of a bundle: ``path`` inside it (``apt/…`` or ``files/…``), ``size`` in bytes."""

    path: str
    size: int
    sha256: str
    kind: Kind


@dataclass(frozen=True)
class Bundle:
    """A verified bundle file. ``digest`` is the SHA-256 of the manifest, ``sha256`` that of the whole file.

    ``signature`` is of ``sums`` (the text of SHA256SUMS), empty when there is none; who signed is for signed.py to say.
    """

    path: Path
    manifest: dict[str, Any]
    digest: str
    sha256: str
    size: int
    items: dict[str, Item]
    offsets: dict[str, int]
    sums: bytes
    signature: bytes

    def release_of(self, host: str) -> str:
        """Debian release that the host's part was built for: bookworm or trixie. Raises as ``for_host``."""
        return str(self.for_host(host)["release"])

    @property
    def releases(self) -> list[str]:
        return sorted({str(one["release"]) for one in self.manifest["hosts"].values()})

    @property
    def arch(self) -> str:
        return str(self.manifest["arch"])

    @property
    def versions(self) -> dict[str, str]:
        """Package name -> version of everything inside; versions of several releases are joined by a blank."""
        return dict(self.manifest["versions"])

    def for_host(self, host: str) -> dict[str, Any]:
        """``release``, ``packages`` (asked for), ``debs`` (the closure: paths) and ``files`` (paths) of a host.

        Raises InputError when the bundle was built without it.
        """
        found: dict[str, Any] | None = self.manifest["hosts"].get(host)
        if found is None:
            raise InputError("bundle.no_host", path=self.path.name, host=host)
        return found

    def read(self, path: str) -> bytes:
        """The bytes of one (small) file inside."""
        return b"".join(self.blocks(path))

    def blocks(self, path: str) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.offsets[path])
            left = self.items[path].size
            while left and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                yield block

    def tar(self, paths: Iterable[str]) -> IO[bytes]:
        """A stream of the files as a tar with their last name only (``name.deb``): read once, memory flat."""
        return io.BufferedReader(_Stream(self._parts(list(paths))), _BLOCK)

    def _parts(self, paths: list[str]) -> Iterator[bytes]:
        for path in paths:
            size = self.items[path].size
            yield _header(path.rpartition("/")[2], size)
            yield from self.blocks(path)
            yield _padding(size)
        yield _END


class _Stream(io.RawIOBase):
    """An iterator of blocks as a readable file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._parts, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


_END = bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    """Root's, 0644, of 1970: who built the bundle, and when, must not change its digest."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    info.uname = info.gname = "root"
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def dump(value: object) -> bytes:
    """JSON with one form: the digest of a manifest depends on its contents only."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"


def write(
    target: IO[bytes],
    manifest: dict[str, Any],
    sources: dict[str, Path | bytes],
    sign: Callable[[bytes], bytes] | None = None,
) -> None:
    """Write a bundle of ``manifest["files"]``; their bytes come from ``sources`` by path inside. ``sign`` makes the
    signature of SHA256SUMS.

    Raises DataError("bundle.changed") when a source no longer has the digest that the manifest says.
    """
    body = dump(manifest)
    lines = [f"{hashlib.sha256(body).hexdigest()}  {_MANIFEST}"]
    lines += [f"{one['sha256']}  {one['path']}" for one in manifest["files"]]
    sums = "\n".join(lines).encode() + b"\n"
    first = [(_MANIFEST, body), (_SUMS, sums)] + ([(_SIGNATURE, sign(sums))] if sign else [])
    for name, data in first:
        target.write(_header(name, len(data)) + data + _padding(len(data)))
    for one in manifest["files"]:
        target.write(_header(one["path"], one["size"]))
        source, total, written = sources[one["path"]], hashlib.sha256(), 0
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
                written += target.write(block)
        if written != one["size"] or total.hexdigest() != one["sha256"]:
            raise DataError("bundle.changed", path=source if isinstance(source, Path) else one["path"])
        target.write(_padding(written))
    target.write(_END)


class _Reader:
    """Reads a bundle front to back, hashing all of it; every surprise is a DataError that names the file."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path, self.file, self.place, self.offset = path, file, _MANIFEST, 0
        self.total = hashlib.sha256()

    def bad(self, fault: str = "corrupt") -> DataError:
        return DataError(f"bundle.{fault}", path=self.path, file=self.place)

    def take(self, size: int) -> bytes:
        data = self.file.read(size)
        self.offset += len(data)
        self.total.update(data)
        if len(data) != size:
            raise self.bad("short")
        return data

    def expect(self, data: bytes) -> None:
        if self.take(len(data)) != data:
            raise self.bad()

    def sha256(self, size: int) -> str:
        one = hashlib.sha256()
        while size:
            block = self.take(min(size, _BLOCK))
            one.update(block)
            size -= len(block)
        return one.hexdigest()

    def signature(self) -> bytes:
        """The signature, if one stands here. Its text is for ssh-keygen to judge; its frame must be the one form."""
        if self.file.peek(len(_SIGNATURE))[: len(_SIGNATURE) + 1] != _SIGNATURE.encode() + b"\0":
            return b""
        self.place = _SIGNATURE
        header = self.take(tarfile.BLOCKSIZE)
        try:
            size = tarfile.TarInfo.frombuf(header, "utf-8", "strict").size
        except (tarfile.TarError, UnicodeDecodeError):
            raise self.bad() from None
        if size > _SIGNATURE_LIMIT or header != _header(_SIGNATURE, size):
            raise self.bad()
        body = self.take(size)
        self.expect(_padding(size))
        return body

    def manifest(self) -> bytes:
        """The first file; its size is the only thing here that is believed before it is checked."""
        header = self.take(tarfile.BLOCKSIZE)
        try:
            size = tarfile.TarInfo.frombuf(header, "utf-8", "strict").size
        except (tarfile.TarError, UnicodeDecodeError):
            raise self.bad("not_bundle") from None
        if size > 2**26 or header != _header(_MANIFEST, size):
            raise self.bad("not_bundle")
        body = self.take(size)
        self.expect(_padding(size))
        return body


def verify(path: Path) -> Bundle:
    """Check every byte of a bundle and return it.

    Raises InputError when there is no such bundle, DataError naming the file inside that is damaged, missing or extra.
    """
    named = _NAME.fullmatch(path.name)
    if not named:
        raise InputError("bundle.name", path=path)
    try:
        with path.open("rb") as file:
            return _verify(_Reader(path, file), named[1])
    except OSError as error:
        raise InputError("bundle.unreadable", path=path, why=error.strerror) from None


def _verify(reader: _Reader, wanted: str) -> Bundle:
    body = reader.manifest()
    digest = hashlib.sha256(body).hexdigest()
    if digest[:12] != wanted:
        raise reader.bad()
    try:
        manifest = json.loads(body)
        items = {one["path"]: Item(**one) for one in manifest["files"]}
    except (ValueError, KeyError, TypeError):
        raise reader.bad() from None
    reader.place = _SUMS
    sums = [f"{digest}  {_MANIFEST}", *(f"{one.sha256}  {one.path}" for one in items.values())]
    data = "\n".join(sums).encode() + b"\n"
    reader.expect(_header(_SUMS, len(data)) + data + _padding(len(data)))
    signature = reader.signature()
    offsets = {}
    for item in items.values():
        reader.place = item.path
        reader.expect(_header(item.path, item.size))
        offsets[item.path] = reader.offset
        if reader.sha256(item.size) != item.sha256:
            raise reader.bad()
        reader.expect(_padding(item.size))
    reader.place = "-"
    reader.expect(_END)
    if reader.file.read(1):
        raise reader.bad("extra")
    return Bundle(
        reader.path, manifest, digest, reader.total.hexdigest(), reader.offset, items, offsets, data, signature
    )
