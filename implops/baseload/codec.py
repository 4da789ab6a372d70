"""Encodings under the names that customers use, and the Python codec that reads each exactly.

Source: import design, codec map (every two-byte code compared with both servers). ``big5`` and ``shift_jis`` of Python
lack characters that Windows writes, so the Windows code pages stand for them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

_EURO = "implops-gbk-euro"
# The name that is shown -> (Python codec, error handler, other names).
CODECS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "utf-8": ("utf-8", "strict", ("utf8", "utf-8-sig")),
    "gb18030": ("gb18030", "strict", ("gb18030-2000", "gb18030-2005")),
    "gbk": ("gbk", _EURO, ("cp936", "936", "ms936")),
    "gb2312": ("gb2312", "strict", ("euc-cn", "euccn")),
    "big5": ("cp950", "strict", ("cp950", "950", "big-5")),
    "big5-hkscs": ("big5hkscs", "strict", ("big5hkscs", "hkscs")),
    "shift-jis": ("cp932", "strict", ("cp932", "sjis", "shift_jis", "932", "ms932", "windows-31j")),
    "euc-jp": ("euc_jp", "strict", ("eucjp", "ujis")),
    "euc-kr": ("cp949", "strict", ("euckr", "cp949", "uhc", "949", "ks-c-5601-1987")),
    "cp1252": ("cp1252", "strict", ("windows-1252", "1252", "latin-1", "latin1", "iso-8859-1")),
    "utf-16": ("utf-16", "strict", ("utf16", "unicode")),
    "utf-16le": ("utf-16le", "strict", ("utf-16-le", "utf16le")),
    "utf-16be": ("utf-16be", "strict", ("utf-16-be", "utf16be")),
}
# Codecs whose text is not cut at bytes -> the byte order; empty: the mark at the start of the file says it.
SIXTEEN = {"utf-16": "", "utf-16le": "utf-16le", "utf-16be": "utf-16be"}
# What a character set of MariaDB or PostgreSQL stores: its codec, "bmp" for utf8mb3, empty for all.
STORED = {
    "utf8": "", "utf8mb4": "", "utf8mb3": "bmp", "ucs2": "bmp", "utf16": "", "utf32": "", "latin1": "cp1252",
    "ascii": "ascii", "gbk": "gbk", "gb2312": "gb2312", "big5": "big5", "sjis": "shift_jis", "cp932": "cp932",
    "ujis": "euc_jp", "eucjpms": "euc_jp", "euckr": "euc_kr", "euc_cn": "gb2312", "euc_jp": "euc_jp",
    "euc_kr": "euc_kr", "sql_ascii": "ascii", "win1252": "cp1252",
}  # fmt: skip
_NAMES = {name: codec for codec, (_, _, others) in CODECS.items() for name in (codec, *others)}
# Lead bytes alone (80, A0, FD to FF) that code page 932 maps to C1 and to private use: never text.
REFUSED = {"cp932": "\x80\xa0\uf8f0\uf8f1\uf8f2\uf8f3"}


def _euro(error: UnicodeError) -> tuple[str, int]:
    """Windows writes the euro sign as 80 in code page 936; Python's codec does not know it."""
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    raise error


codecs.register_error(_EURO, _euro)


def name_of(text: str) -> str | None:
    """The name that is shown for an encoding, or None when it is not supported."""
    return _NAMES.get(text.strip().lower().replace("_", "-")) or _NAMES.get(text.strip().lower())


def visible(text: str) -> str:
    """A text of a customer's file as a terminal may print it: controls, line ends, direction marks and what is no
    character as code points.
    """
    return "".join(one if one.isprintable() else f"<U+{ord(one):04X}>" for one in text)


def unstorable(text: str, charset: str) -> str:
    """The characters of ``text`` that a character set of the database has no place for; it would write ``?``."""
    codec = STORED.get(charset.lower(), "ascii") if charset else ""
    if not codec:
        return ""
    if codec == "bmp":
        return "".join(one for one in text if one > "\uffff")
    try:
        text.encode(codec)
        return ""
    except UnicodeEncodeError:
        return "".join(one for one in text if not _fits(one, codec))


def _fits(one: str, codec: str) -> bool:
    try:
        one.encode(codec)
        return True
    except UnicodeEncodeError:
        return False


def reading_codec(codec: str) -> str:
    """The codec of a file's blocks (source.py): 16-bit text is read as UTF-8."""
    return "utf-8" if codec in SIXTEEN else codec


def codec_of(text: str) -> str | None:
    """The Python codec of an encoding, or None."""
    name = name_of(text)
    return CODECS[name][0] if name else None


def decoder(codec: str) -> Callable[[bytes], str]:
    """Strict decoding: every byte means something or UnicodeDecodeError is raised."""
    errors = next(handler for python, handler, _ in CODECS.values() if python == codec)
    return lambda data: data.decode(codec, errors)


# Between cells that several characters part, and where it cannot be told at which of them a cell ends: no characters of
# any text, refused wherever a file has them.
PARTED, DOUBTFUL = "\uffff", "\ufffe"


def parting(decode: Callable[[bytes], str], delimiter: str | None) -> Callable[[bytes], str]:
    """``decode`` with ``PARTED`` in place of a delimiter of several characters; what stood there before stays refused.

    ``甲|^|^|乙`` may be ``甲`` and ``^|乙`` or ``甲|^`` and ``乙``: both cells get ``DOUBTFUL``, and are refused.
    """
    if delimiter is None or len(delimiter) < 2:
        return decode
    whole = re.escape(delimiter)
    # What makes another delimiter of the end of one.
    rests = [delimiter[n:] for n in range(1, len(delimiter)) if delimiter[:n] == delimiter[-n:]]
    doubtful = re.compile(f"{whole}((?!{whole})(?={'|'.join(map(re.escape, rests))}))?")

    def read(data: bytes) -> str:
        text = decode(data).replace(PARTED, "\ufffd").replace(DOUBTFUL, "\ufffd")
        if any(delimiter + rest in text for rest in rests):
            return doubtful.sub(lambda found: PARTED if found[1] is None else DOUBTFUL + PARTED + DOUBTFUL, text)
        return text.replace(delimiter, PARTED)

    return read


def together(text: str, delimiter: str | None) -> str:
    """A text that ``parting`` has read, for people."""
    return text.replace(DOUBTFUL, "").replace(PARTED, delimiter) if delimiter and len(delimiter) > 1 else text
