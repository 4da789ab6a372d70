"""Rows of the INSERT statements of a SQL file. Nothing of the file is ever run: values are parsed and meet every rule.

So a file may hold INSERT … VALUES, comments and session settings, and nothing that expects to be executed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from implops.baseload.codec import CODECS, reading_codec
from implops.baseload.column import KEPT
from implops.baseload.mapping import Mapping
from implops.baseload.records import Fit, Record
from implops.baseload.rules import Fault
from implops.baseload.source import Bytes, shown
from implops.errors import InputError

_GRAMMAR = r"""(?P<space>\s+|--[^\n]*\n|\#[^\n]*\n|/\*.*?\*/)
      | (?P<escaped>[Ee]'(?:[^'\\]|\\.|'')*')
      | (?P<text>[Nn]?'(?:TEXT|'')*')
      | (?P<name>"(?:[^"]|"")*" | `(?:[^`]|``)*`)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z_.]))
      | (?P<word>[^\W0-9][\w$]*)
      | (?P<sign>[(),;.])
      | (?P<other>.)"""
# In PostgreSQL's strings a backslash is a letter.
_TOKENS = {
    dialect: re.compile(_GRAMMAR.replace("TEXT", text), re.X | re.S)
    for dialect, text in (("mysql", r"[^'\\]|\\."), ("postgresql", "[^']"), (None, "[^']"))
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a", "%": "\\%", "_": "\\_"}
# Settings of a session and locks: dumps begin and end with them, and they concern nobody who runs nothing.
_HARMLESS = ("SET", "LOCK", "UNLOCK", "USE")
_LONGEST = 2**22


class _Text:
    """Tokens of the decoded file, with the line where each begins."""

    def __init__(self, mapping: Mapping, source: Bytes) -> None:
        self.mapping, self.file, self.dialect = mapping, shown(mapping), mapping.source.dialect
        codec = reading_codec(mapping.source.codec)
        errors = next(errors for python, errors, _ in CODECS.values() if python == codec)
        self._decoder = codecs.getincrementaldecoder(codec)(errors)
        self._blocks, self._over = source.blocks(), False
        self._tokens = _TOKENS[self.dialect]
        self.text, self.place, self.line, self._read = "", 0, 1, 1

    def _more(self) -> bool:
        """Append the next block. False at the end of the file."""
        if self._over:
            return False
        block = next(self._blocks, None)
        try:
            new = self._decoder.decode(block or b"", block is None)
        except UnicodeDecodeError as error:
            line = self._read + (block or b"").count(b"\n", 0, error.start)
            raise InputError("import.sql_bytes", file=self.file, line=line,
                             hex=error.object[error.start : error.end].hex(" ")) from None  # fmt: skip
        self._read += (block or b"").count(b"\n")
        if block is None:
            self._over = True
            return False
        self.text = self.text[self.place :] + new.removeprefix("\ufeff")
        self.place = 0
        return True

    def token(self) -> tuple[str, str, int]:
        """(kind, text, line); kind is empty at the end."""
        while True:
            match = self._match()
            if match is None:
                return "", "", self.line
            kind, text, line = match.lastgroup or "other", match[0], self.line
            self.place, self.line = match.end(), self.line + match[0].count("\n")
            if kind != "space":
                return kind, text, line

    def _match(self) -> re.Match[str] | None:
        while True:
            match = self._tokens.match(self.text, self.place)
            # What touches the end of the text, or begins something that has no end yet, may go on in the next block.
            unsure = match is None or match.end() == len(self.text)
            if not unsure and match and match.lastgroup == "other":
                unsure = match[0] in "'\"`/-"
            if not unsure or (self._over and (match or self.place >= len(self.text))):
                return match
            if len(self.text) - self.place > _LONGEST:
                raise InputError("import.sql_open", file=self.file, line=self.line)
            if not self._more() and self.place >= len(self.text):
                return None


def inserts(mapping: Mapping, source: Bytes, fit: Fit, notes: dict[str, str]) -> Iterator[Record]:
    """The rows of the INSERTs into the mapping's ``source.table``, or into the only table of the file."""
    text = _Text(mapping, source)
    table, columns = (mapping.source.table or "").rpartition(".")[2], None
    named = bool(table)
    others: set[str] = set()
    while True:
        kind, word, line = text.token()
        if not kind:
            break
        if (kind, word) == ("sign", ";"):
            continue
        if kind != "word" or word.upper() not in ("INSERT", *_HARMLESS):
            raise InputError("import.sql_statement", file=text.file, line=line, word=word)
        if word.upper() != "INSERT":
            _skip(text)
            continue
        into, found = _target(text, line)
        if named and into != table:
            others.add(into)
            _skip(text)
            continue
        if table and into != table:
            raise InputError("import.sql_tables", file=text.file, line=line, known=f"{table} {into}")
        table = into
        if columns is None:
            fit(found)
            columns = found
        if found != columns:
            raise InputError("import.sql_columns", file=text.file, line=line)
        yield from _tuples(text, len(columns))
    if others:
        notes["noted_tables"] = " ".join(sorted(others)[:20])
    if columns is None:
        raise InputError("import.sql_none", file=text.file, table=table or "*")


def _skip(text: _Text) -> None:
    while (token := text.token())[0] and token[:2] != ("sign", ";"):
        pass


def _target(text: _Text, line: int) -> tuple[str, list[str]]:
    """``INTO [schema.]table (columns) VALUES``."""
    kind, word, _ = text.token()
    if kind != "word" or word.upper() != "INTO":
        raise InputError("import.sql_statement", file=text.file, line=line, word=f"INSERT {word}")
    name = _name(text)
    kind, word, at = text.token()
    if word == ".":
        name = _name(text)
        kind, word, at = text.token()
    if word.upper() in ("VALUES", "VALUE"):
        raise InputError("import.sql_no_columns", file=text.file, line=at)
    if word != "(":
        raise InputError("import.sql_statement", file=text.file, line=line, word=f"INSERT … {word}")
    columns = [_name(text)]
    while (token := text.token())[1] == ",":
        columns.append(_name(text))
    kind, word, at = text.token()
    if token[1] != ")" or word.upper() not in ("VALUES", "VALUE"):
        raise InputError("import.sql_statement", file=text.file, line=at, word=f"INSERT … {word}")
    return name, columns


def _name(text: _Text) -> str:
    kind, word, line = text.token()
    if kind == "word":
        return word
    if kind == "name":
        return word[1:-1].replace(word[0] * 2, word[0])
    raise InputError("import.sql_syntax", file=text.file, line=line, word=word)


def _tuples(text: _Text, width: int) -> Iterator[Record]:
    while True:
        kind, word, line = text.token()
        if word != "(" or kind != "sign":
            raise InputError("import.sql_syntax", file=text.file, line=line, word=word)
        cells, faults, raw = _tuple(text)
        if not faults and len(cells) != width:
            faults = [Fault("", "columns", raw, {"found": len(cells), "expected": width})]
        yield line, faults or cells, raw.encode()
        kind, word, line = text.token()
        if word == ";" or not kind:
            return
        if word != ",":
            raise InputError("import.sql_statement", file=text.file, line=line, word=f"INSERT … {word}")


def _tuple(text: _Text) -> tuple[list[str], list[Fault], str]:
    cells: list[str] = []
    faults: list[Fault] = []
    raw = ["("]
    while True:
        kind, word, line = text.token()
        raw.append(word)
        value = _value(kind, word, text)
        if value is None:
            if not kind or word in ("(", ")", ",", ";"):
                raise InputError("import.sql_syntax", file=text.file, line=line, word=word)
            faults.append(Fault("", "sql_value", word, {}))
            word = _to_comma(text, raw)
        else:
            cells.append(value)
            _, word, line = text.token()
            raw.append(word)
            if word not in (",", ")"):
                faults.append(Fault("", "sql_value", word, {}))
                word = _to_comma(text, raw)
        if word == ")":
            return cells, faults, "".join(raw)


def _to_comma(text: _Text, raw: list[str]) -> str:
    """Over an expression such as ``now()`` to the comma or bracket behind it."""
    depth = 0
    while True:
        kind, word, line = text.token()
        raw.append(word)
        if not kind or word == ";":
            raise InputError("import.sql_syntax", file=text.file, line=line, word=word)
        if depth == 0 and word in (",", ")"):
            return word
        depth += (word == "(") - (word == ")")


def _value(kind: str, word: str, text: _Text) -> str | None:
    """The text of a constant; None for anything else. NULL is "", as everywhere, and '' is KEPT."""
    if kind == "number":
        return word
    if kind == "word":
        return {"NULL": "", "TRUE": "1", "FALSE": "0"}.get(word.upper())
    if kind not in ("text", "escaped"):
        return None
    inner = word[word.index("'") + 1 : -1]
    if not inner:
        return KEPT
    if "\\" in inner and kind == "text" and text.dialect is None:
        raise InputError("import.sql_dialect", file=text.file, line=text.line, place=text.mapping.path.name)
    if kind == "escaped" or text.dialect == "mysql":
        return re.sub(r"\\(.)|''", lambda one: _ESCAPES.get(one[1], one[1]) if one[1] else "'", inner, flags=re.S)
    return inner.replace("''", "'")
