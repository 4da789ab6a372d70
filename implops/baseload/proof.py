"""The encoding proof: a declared encoding is tested on every byte before a row is looked at. Nothing is guessed.

Steps (import design §3): marks at the start, strict decoding of every byte (a bad line is a reject with line, offset
and bytes), classes of lines (a mixed file is refused), the declared codec's score against the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from implops.baseload.codec import CODECS, decoder, reading_codec
from implops.baseload.mapping import Mapping
from implops.baseload.score import LEAD, SAMPLE, scored_as, scores
from implops.baseload.source import Bytes, digest, opened, shown
from implops.errors import InputError

_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16le", b"\xfe\xff": "utf-16be"}
# A share of undecodable lines from which the declaration is wrong and not the lines.
_WRONG_SHARE = 5
_MIXED_LINES = 3


@dataclass
class Proof:
    """What was seen. ``scores`` in thousandths; ``lead`` of the declared codec over the next, in thousandths."""

    bytes: int = 0
    sha256: str = ""
    bom: bool = False
    lines: int = 0
    crlf: int = 0
    nonascii: int = 0
    bad: int = 0
    strangers: int = 0
    utf8: int = 0
    first_bad: tuple[int, int, str] | None = None
    scores: dict[str, int] = field(default_factory=dict)
    lead: int | None = None

    def document(self) -> dict[str, Any]:
        """For the record."""
        return {
            "bytes": self.bytes,
            "bom": self.bom,
            "lines": self.lines,
            "crlf": self.crlf,
            "nonascii_lines": self.nonascii,
            "undecodable_lines": self.bad,
            "strangers": self.strangers,
            "scores_milli": self.scores,
            "lead_milli": self.lead,
        }


def undecodable(line: bytes, codec: str) -> tuple[int, str] | None:
    """(offset in the line, the bytes in hex) of the first byte that means nothing, or None."""
    try:
        decoder(codec)(line)
    except UnicodeDecodeError as error:
        return error.start, line[error.start : max(error.end, error.start + 1)].hex(" ")
    return None


class Sample:
    """Lines spread over the whole file, at most SAMPLE bytes: when full, every second one is dropped."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, bytes]] = []
        self.size = self.seen = 0
        self.stride = 1

    def add(self, number: int, line: bytes) -> None:
        self.seen += 1
        if self.seen % self.stride:
            return
        self.lines.append((number, line))
        self.size += len(line)
        if self.size > SAMPLE:
            self.lines, self.stride = self.lines[::2], self.stride * 2
            self.size = sum(len(one) for _, one in self.lines)

    def text(self) -> bytes:
        return b"\n".join(line for _, line in self.lines)


def prove(mapping: Mapping) -> Proof:
    """Read the whole file once. Raises InputError (exit 2) when nothing is declared yet, when the declaration is
    disproved or when the file is mixed.
    """
    if mapping.source.asks:
        raise InputError("import.ask.declare", place=mapping.path.name)
    source, name, codec = mapping.source, shown(mapping), reading_codec(mapping.source.codec)
    proof, good, bad, strange = Proof(), Sample(), Sample(), Sample()
    decode, offset, bytes_ = decoder(codec), 0, Bytes(mapping)
    if source.format == "xlsx":
        # A workbook is XML that declares itself; its cells are judged as they are read.
        proof.bytes, proof.sha256 = digest(mapping)
        _identity(mapping, proof)
        return proof
    _marks(mapping, proof)
    for block in bytes_.blocks(tail=False):
        if not offset and codec == source.codec:
            _sixteen_bits(block, name, source.encoding)
        # The mark of 16-bit text is gone by now.
        body = block[3:] if not offset and proof.bom and codec == source.codec else block
        if codec == "utf-8" and (found := body.find(b"\xef\xbb\xbf")) >= 0:
            raise InputError("import.bom_inside", file=name, line=proof.lines + body.count(b"\n", 0, found) + 1)
        if not body.isascii():
            try:
                decode(body)
                clean = True
            except UnicodeDecodeError:
                clean = False
            _classes(body, offset + len(block) - len(body), clean, codec, proof, good, bad, strange)
        proof.lines += block.count(b"\n") + (not block.endswith(b"\n"))
        proof.crlf += block.count(b"\r\n")
        offset += len(block)
    proof.bytes, proof.sha256 = bytes_.size, bytes_.sha256
    _identity(mapping, proof)
    _judge(mapping, proof, good, bad, strange)
    return proof


def _identity(mapping: Mapping, proof: Proof) -> None:
    source, name = mapping.source, shown(mapping)
    if proof.bytes <= (len(mark_of(mapping)) if proof.bom else 0):
        raise InputError("import.empty_file", file=name)
    if source.sha256 and source.sha256 != proof.sha256:
        raise InputError("import.other_sha256", file=name, declared=source.sha256, found=proof.sha256)


def mark_of(mapping: Mapping) -> bytes:
    """The byte-order mark that the file begins with."""
    with opened(mapping) as file:
        head = file.read(3)
    return next((mark for mark in _MARKS if head.startswith(mark)), b"")


def _marks(mapping: Mapping, proof: Proof) -> None:
    mark, codec = mark_of(mapping), mapping.source.codec
    if not mark:
        return
    proof.bom, meaning = True, _MARKS[mark]
    if codec not in (meaning, "utf-16" if meaning != "utf-8" else meaning):
        raise InputError("import.mark", file=shown(mapping), mark=mark.hex(" "), meaning=meaning,
                         declared=mapping.source.encoding)  # fmt: skip


def _sixteen_bits(block: bytes, file: str, declared: str) -> None:
    """NUL in every second byte: UTF-16 without a mark."""
    for half, meaning in ((1, "utf-16le"), (0, "utf-16be")):
        bytes_ = block[half::2]
        if bytes_.count(0) * 5 > len(bytes_) > 1:
            raise InputError("import.sixteen_bits", file=file, meaning=meaning, declared=declared)


def _classes(
    body: bytes, offset: int, clean: bool, codec: str, proof: Proof, good: Sample, bad: Sample, strange: Sample
) -> None:
    """Sort the non-ASCII lines of a block: decodable or not, UTF-8 or not."""
    for number, line in enumerate(body.split(b"\n"), start=proof.lines + 1):
        if not line.isascii():
            proof.nonascii += 1
            fault = None if clean else undecodable(line, codec)
            if fault:
                proof.bad += 1
                bad.add(number, line)
                if proof.first_bad is None:
                    proof.first_bad = (number, offset + fault[0], fault[1])
            else:
                good.add(number, line)
            if codec != "utf-8" and (wide := _utf8(line)) is not None:
                proof.utf8 += 1
                if wide:
                    proof.strangers += 1
                    strange.add(number, line)
        offset += len(line) + 1


def _utf8(line: bytes) -> bool | None:
    """None: not UTF-8. Otherwise whether a character of three bytes or more proves that it is meant."""
    try:
        return any(one >= "\u0800" for one in line.decode("utf-8"))
    except UnicodeDecodeError:
        return None


def _judge(mapping: Mapping, proof: Proof, good: Sample, bad: Sample, strange: Sample) -> None:
    file, declared, codec = shown(mapping), mapping.source.encoding, reading_codec(mapping.source.codec)
    if proof.strangers:
        told = " ".join(str(number) for number, _ in strange.lines[:20])
        if proof.utf8 == proof.nonascii:
            raise _refuse("import.wrong_encoding", mapping, "utf-8", strange, lead=None)
        raise InputError("import.mixed", file=file, declared=declared, likely="utf-8", count=proof.strangers,
                         nonascii=proof.nonascii, lines=told)  # fmt: skip
    if proof.bad and codec == mapping.source.codec:
        likely, lead = next(iter(scores(bad.text()).items()), ("", 0.0))
        rival = likely if likely and lead > LEAD and likely != scored_as(codec) else ""
        line, offset, found = proof.first_bad or (0, 0, "")
        mostly = proof.bad * _WRONG_SHARE >= proof.nonascii or _ahead(rival, codec, good)
        if rival and mostly:
            raise _refuse("import.not_encoding", mapping, rival, bad, lead=None, bad=proof.bad,
                          nonascii=proof.nonascii, line=line, offset=offset, hex=found)  # fmt: skip
        if rival and proof.bad >= _MIXED_LINES:
            told = " ".join(str(number) for number, _ in bad.lines[:20])
            raise InputError("import.mixed", file=file, declared=declared, likely=shown_name(rival), count=proof.bad,
                             nonascii=proof.nonascii, lines=told)  # fmt: skip
        if proof.bad == proof.nonascii and proof.bad > _MIXED_LINES:
            raise InputError("import.undecodable", file=file, declared=declared, bad=proof.bad, line=line,
                             offset=offset, hex=found)  # fmt: skip
    if codec == "utf-8" or not good.lines:
        return
    found_scores = scores(good.text())
    proof.scores = {name: round(value * 1000) for name, value in found_scores.items()}
    mine = found_scores.get(scored_as(codec))
    others = [(value, name) for name, value in found_scores.items() if not _kin(name, codec)]
    if mine is None or not others:
        return
    best, likely = max(others)
    proof.lead = round((mine - best) * 1000)
    if best - mine > LEAD and not mapping.source.encoding_confirmed:
        raise _refuse("import.wrong_encoding", mapping, likely, good, lead=f"{best - mine:.2f}")


def _ahead(rival: str, codec: str, good: Sample) -> bool:
    """The rival also makes better text of the lines that the declared codec happens to decode."""
    found = scores(good.text())
    return rival in found and found[rival] - found.get(scored_as(codec), -9.0) > LEAD


def _kin(name: str, codec: str) -> bool:
    """Codecs that read the same text the same way are no rivals."""
    if scored_as(name) == scored_as(codec):
        return True
    return {name, codec} == {"cp950", "big5hkscs"}


def _refuse(key: str, mapping: Mapping, likely: str, sample: Sample, **params: Any) -> InputError:
    """The proof: one line of the file, read both ways."""
    wrong, right = decoder(mapping.source.codec), decoder(likely)
    rows = [one for one in sample.lines[:200] if one[0] > mapping.source.header_row] or sample.lines
    number, line = max(rows, key=lambda one: sum(byte >= 0x80 for byte in one[1]))
    try:
        read = wrong(line)
    except UnicodeDecodeError:
        read = line.decode(mapping.source.codec, "replace")
    params = {"line": number, **params}
    return InputError(key, file=shown(mapping), declared=mapping.source.encoding, likely=shown_name(likely),
                      sample=number, as_declared=_short(read), as_likely=_short(right(line)), **params)  # fmt: skip


def _short(text: str) -> str:
    shown_ = "".join(one if one.isprintable() else "·" for one in text.strip())
    return shown_ if len(shown_) <= 40 else shown_[:39] + "…"


def shown_name(codec: str) -> str:
    """The customer's name of a Python codec."""
    return next((name for name, (python, _, _) in CODECS.items() if python == codec), codec)
