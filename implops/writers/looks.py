"""Fonts and colours that Word and Excel share."""

from __future__ import annotations

from implops.documents.model import State

# Office files only name fonts; these are on every Chinese Windows and have substitutes elsewhere (forms.md, rendering).
BODY = {"zh-Hans": "宋体", "zh-Hant": "新細明體", "en": "宋体"}
HEAD = {"zh-Hans": "黑体", "zh-Hant": "標楷體", "en": "黑体"}
LATIN, MONO = "Arial", "Consolas"
# Dark enough for a black-and-white printer; the fills are light enough to write on.
INK: dict[State, str] = {
    "pass": "1B6E2E",
    "warn": "8A5A00",
    "fail": "B00020",
    "error": "6A1B9A",
    "absent": "8C1D40",
    "waived": "1F4E8C",
    "info": "333333",
    "skip": "666666",
}
FILL: dict[State, str] = {
    "warn": "FFF4D6",
    "fail": "FDE3E3",
    "error": "F3E5F5",
    "absent": "FBE3EA",
    "waived": "E3EDF9",
}
HEADING, LABEL = "D9E2EC", "EEF2F6"
STAMP, QUIET = "B00020", "595959"
# Results that stand out in bold: somebody has to act.
BOLD: tuple[State, ...] = ("fail", "absent", "error")
