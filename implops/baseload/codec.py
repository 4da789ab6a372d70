"""Encodings under the names that customers use, and the Python codec that reads each exactly.

Source: import design, codec map (every two-byte code compared with both servers). ``big5`` and ``shift_jis`` of Python
lack characters that Windows writes, so the Windows code pages stand for them.
"""

from __future__ import annotations

import codecs
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
    "cp1252": ("cp1252", "strict", ("windows-1252", "1252")),
}
_NAMES = {name: codec for codec, (_, _, others) in CODECS.items() for name in (codec, *others)}
# Lead bytes alone that code page 932 maps to C1 and to a no-break space: never text.
REFUSED = {"cp932": "\x80\xa0"}


def _euro(error: UnicodeError) -> tuple[str, int]:
    """Windows writes the euro sign as 80 in code page 936; Python's codec does not know it."""
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    raise error


codecs.register_error(_EURO, _euro)


def name_of(text: str) -> str | None:
    """The name that is shown for an encoding, or None when it is not supported."""
    return _NAMES.get(text.strip().lower().replace("_", "-")) or _NAMES.get(text.strip().lower())


def codec_of(text: str) -> str | None:
    """The Python codec of an encoding, or None."""
    name = name_of(text)
    return CODECS[name][0] if name else None


def decoder(codec: str) -> Callable[[bytes], str]:
    """Strict decoding: every byte means something or UnicodeDecodeError is raised."""
    errors = next(handler for python, handler, _ in CODECS.values() if python == codec)
    return lambda data: data.decode(codec, errors)
