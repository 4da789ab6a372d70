"""The bytes of a customer's file, from a folder or out of a zip, in blocks that end behind a line feed.

0A is never the second half of a character in any codec of CODECS but the 16-bit ones; those are decoded first and go on
as UTF-8, with every unit that means nothing kept, so that a bad one is still found in its line.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from implops.baseload.codec import SIXTEEN
from implops.baseload.mapping import Mapping
from implops.errors import InputError

BLOCK = 2**20
# What a zip may unpack to: a bomb must not fill this machine.
_LARGEST_RATIO = 1000
_GBK_FLAG = 0x800
# One file packed alone; its bytes are those of the file inside.
_UNPACKED: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}


class Bytes:
    """One pass over a mapping's file. ``sha256`` and ``size`` are those of the file's own bytes when it is over.

    ``blocks`` raises InputError for a file that cannot be read, or that holds no line feed within 1 MiB.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.mapping, self.name = mapping, shown(mapping)
        self._digest = hashlib.sha256()
        self.size = 0
        self.head = b""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def blocks(self, *, tail: bool = True) -> Iterator[bytes]:
        """With ``tail`` false, the lines at the end that the mapping skips come too."""
        skipped = self.mapping.source.skip[1] if tail else 0
        return _without_tail(self._blocks(), skipped) if skipped else self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        rest = b""
        for data in self._read():
            data = rest + data
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) >= BLOCK:
                raise InputError("import.no_line_feed", file=self.name)
            rest = data[cut:]
            if cut:
                yield data[:cut]
        if rest:
            yield rest

    def _read(self) -> Iterator[bytes]:
        source = self.mapping.source
        wide = _Wide(source.codec, self.name) if source.codec in SIXTEEN else None
        with opened(self.mapping) as file:
            while data := file.read(BLOCK):
                if not self.size:
                    self.head = data[:4]
                self._digest.update(data)
                self.size += len(data)
                if wide:
                    data = wide.text(data)
                if source.newline == "cr":
                    # 0D, like 0A, is never the second half of a character.
                    data = data.replace(b"\r", b"\n")
                yield data
        if wide:
            wide.end()

    def original(self, line: bytes) -> bytes:
        """A line of a block as the file has it, without its end."""
        codec = self.mapping.source.codec
        if codec not in SIXTEEN:
            return line
        exact = SIXTEEN[codec] or ("utf-16be" if self.head.startswith(b"\xfe\xff") else "utf-16le")
        return line.decode("utf-8", "surrogatepass").encode(exact, "surrogatepass")


class Originals:
    """The lines of a block as the file has them; cut only when somebody asks."""

    def __init__(self, block: bytes, first: int, source: Bytes) -> None:
        self.block, self.first, self.source = block, first, source
        self._lines: list[bytes] = []

    def line(self, number: int) -> bytes:
        return self.span(number, 1)

    def span(self, number: int, count: int) -> bytes:
        """``count`` lines from ``number`` on, without the last line feed."""
        return self.source.original(b"\n".join(self._cut()[number - self.first :][:count]))

    def rest(self, number: int) -> bytes:
        """The bytes of the block from line ``number`` to its end."""
        return b"\n".join(self._cut()[number - self.first :])

    def _cut(self) -> list[bytes]:
        if not self._lines:
            self._lines = self.block.split(b"\n")
        return self._lines


def with_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block, and whether it is the last one."""
    held: bytes | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


class _Wide:
    """UTF-16 to UTF-8, lone surrogates kept. Raises InputError without a mark where the byte order needs one."""

    def __init__(self, codec: str, file: str) -> None:
        self.codec, self.file = codec, file
        self._decoder: codecs.IncrementalDecoder | None = None

    def text(self, data: bytes) -> bytes:
        if self._decoder is None:
            exact = SIXTEEN[self.codec]
            if not exact:
                if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
                    raise InputError("import.no_mark", file=self.file)
                exact = "utf-16le" if data[:2] == b"\xff\xfe" else "utf-16be"
            if data[:2] == "\ufeff".encode(exact):
                data = data[2:]
            self._decoder = codecs.getincrementaldecoder(exact)("surrogatepass")
        return self._decoder.decode(data).encode("utf-8", "surrogatepass")

    def end(self) -> None:
        if self._decoder is None:
            return
        left = self._decoder.getstate()[0]
        if left:
            raise InputError("import.odd_bytes", file=self.file, hex=left.hex(" "))


@contextmanager
def opened(mapping: Mapping) -> Iterator[IO[bytes]]:
    """The file's bytes. Raises InputError when it, or the member of the zip, cannot be read."""
    path = mapping.file
    try:
        suffix = path.suffix.lower()
        if suffix != ".zip":
            with _UNPACKED.get(suffix, Path.open)(path, "rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive, archive.open(_member(mapping, archive)) as inner:
            yield inner
    except OSError as error:
        raise InputError("import.unreadable", file=path, why=error.strerror or error) from None
    except (zipfile.BadZipFile, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError("import.bad_zip", file=path.name, why=error) from None


def exact_codec(mapping: Mapping) -> str:
    """The codec of the file's bytes; for UTF-16 with the byte order that its mark says."""
    codec = mapping.source.codec
    if codec not in SIXTEEN:
        return codec
    if SIXTEEN[codec]:
        return SIXTEEN[codec]
    with opened(mapping) as file:
        return "utf-16be" if file.read(2) == b"\xfe\xff" else "utf-16le"


def digest(mapping: Mapping) -> tuple[int, str]:
    """(bytes, SHA-256) of the file."""
    with opened(mapping) as file:
        total, size = hashlib.sha256(), 0
        while data := file.read(BLOCK):
            total.update(data)
            size += len(data)
    return size, total.hexdigest()


def _member(mapping: Mapping, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The member that the mapping names, or the only file. Names are read as GBK where the zip does not say UTF-8."""
    files = {name_of_member(one): one for one in archive.infolist() if not one.is_dir()}
    file, wanted = mapping.file.name, mapping.source.member
    for name in files:
        parts = PurePosixPath(name.replace("\\", "/"))
        # Nothing is unpacked, yet such a zip was made to do harm and is not taken.
        if parts.is_absolute() or ".." in parts.parts or name[1:2] == ":":
            raise InputError("import.zip_slip", file=file, name=name)
    listed = " ".join(sorted(files)[:20])
    if wanted is None and len(files) != 1:
        raise InputError("import.zip_member", file=file, place=mapping.path.name, known=listed)
    found = files.get(wanted) if wanted else next(iter(files.values()))
    if found is None:
        raise InputError("import.zip_no_member", file=file, name=wanted, known=listed)
    if found.flag_bits & 1:
        raise InputError("import.zip_encrypted", file=file, name=wanted or listed)
    if found.file_size > _LARGEST_RATIO * max(found.compress_size, 1):
        raise InputError("import.zip_bomb", file=file, name=wanted or listed)
    return found


def name_of_member(info: zipfile.ZipInfo) -> str:
    """The name as its writer meant it: Chinese Windows writes GBK without saying so."""
    if info.flag_bits & _GBK_FLAG:
        return info.filename
    raw = info.orig_filename.encode("cp437", "replace")
    for codec in ("utf-8", "gb18030"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return info.filename


def shown(mapping: Mapping) -> str:
    """The file's name for people; with its member when it lies in a zip."""
    member = mapping.source.member
    return f"{mapping.file.name}/{member}" if member else mapping.file.name


def _without_tail(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """All but the last ``count`` lines that are not blank (totals), and the blank ones around them."""
    held = b""
    for block in blocks:
        held += block
        cut = _tail(held, count)
        if cut:
            yield held[:cut]
            held = held[cut:]
    # What is left are the lines to be skipped.


def _tail(data: bytes, count: int) -> int:
    """Where the last ``count`` lines that are not blank begin; 0 when there are not more."""
    end, seen = len(data), 0
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if data[start:end].strip():
            seen += 1
            if seen == count:
                return start
        end = start
    return 0
