"""What every form shares: header, sign-off, footer, the words for results, times. A form file stays short with it::

    KIND = "ENV"
    VERBS = ("check",)

    def build(store, run, number, language):
        frame = Frame.of(store, run, VERBS, number, language)
        table = Table(frame.say("environment.checks"), columns, rows)
        return frame.document(KIND, frame.say("environment.title"), (table,), totals={"pass": 43}, landscape=True)

Everything comes from the store: a form of an old run prints the project, the tool and the hosts of that day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from implops import texts
from implops.documents.model import Cell, Document, Fields, Language, Paragraph, Part, SignOff, State
from implops.errors import InputError
from implops.store import Event, Store
from implops.units import format_seconds

# The order in which results are sorted and counted: what needs somebody to act comes first (forms.md, results).
ORDER: tuple[State, ...] = ("fail", "absent", "error", "warn", "waived", "pass", "info", "skip")
SIGNS: dict[str, str] = {
    "pass": "✔",
    "warn": "!",
    "fail": "✘",
    "waived": "~",
    "absent": "◌",
    "error": "?",
    "skip": "–",
    "info": "·",
}
# A run's conclusion, and the result whose sign and colour it borrows.
CONCLUSIONS: dict[str, State] = {
    "pass": "pass",
    "conditional": "warn",
    "fail": "fail",
    "unknown": "error",
    "interrupted": "fail",
    "unfinished": "error",
}
HASH_DIGITS = 16
_TIME = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|[+-]\d{2}:\d{2})")


def result_word(code: str, language: str) -> str:
    """``fail`` -> ``不合格``."""
    return texts.say(f"form.result.{code}", lang=language)


def result_cell(code: str, language: str) -> Cell:
    """Sign and word, with the state that colours it: ``✘ 不合格``."""
    return Cell(f"{SIGNS[code]} {result_word(code, language)}", state=_state(code))


def conclusion_cell(code: str, language: str) -> Cell:
    """A run's conclusion: pass, conditional, fail, unknown, interrupted, or unfinished (no VERB.finished)."""
    state = CONCLUSIONS[code]
    return Cell(f"{SIGNS[state]} {texts.say(f'form.conclusion.{code}', lang=language)}", state=state)


def by_result(rows: Iterable[Mapping[str, Any]], key: str = "result") -> list[Mapping[str, Any]]:
    """Rows sorted as a sheet prints them: fail first; equal results keep their order."""
    return sorted(rows, key=lambda row: ORDER.index(_state(row[key])))


def totals_text(totals: Mapping[str, int], language: str) -> str:
    """``共 47 项:不合格 1,警告 1,合格 45``; results that do not occur are left out."""
    # No-break spaces: a number alone on the next line reads as something else.
    counted = [f"{result_word(code, language)}\u00a0{totals[code]}" for code in ORDER if totals.get(code)]
    total = texts.say("form.total", lang=language, count=sum(totals.values()))
    return total + (":" + ", ".join(counted) if counted else "")


def when(text: str | None, language: str) -> str:
    """``2026-11-20T14:03:05.120+08:00`` -> ``2026年11月20日 14:03:05 +08:00``; None prints as a dash."""
    match = _TIME.fullmatch(text or "")
    if not match:
        return text or "—"
    year, month, day, clock, offset = match.groups()
    date = f"{year}-{month}-{day}" if language == "en" else f"{year}年{month}月{day}日"
    return f"{date} {clock} {'+00:00' if offset == 'Z' else offset}"


def clock(text: str | None) -> str:
    """Only the time of day, for rows of one run: ``14:03:05``."""
    match = _TIME.fullmatch(text or "")
    return match[4] if match else text or "—"


def duration(milliseconds: int | None) -> str:
    """Milliseconds of a record for people: ``34 ms``, ``2.1 s``, ``1 min 15 s``."""
    return "—" if milliseconds is None else format_seconds(milliseconds / 1000)


def mono(text: str | None) -> Cell:
    """A hash, path, command or address: fixed width, may wrap anywhere."""
    return Cell(text or "—", mono=True)


def short_hash(sha256: str | None) -> Cell:
    """The first 16 digits of a SHA-256, as the sheet prints it."""
    return mono(sha256[:HASH_DIGITS] if sha256 else None)


def error_text(error: Mapping[str, Any], language: str) -> str:
    """The sentence of a recorded error ``{key, params}``; a key that the catalogue has no more prints as it is."""
    params = dict(error.get("params") or {})
    text = texts.find(str(error["key"]) if error["key"] != "bug" else "form.bug", language)
    if text is None:
        return " ".join([str(error["key"]), *(f"{name}={value}" for name, value in params.items())])
    return text.format_map(_Lenient(params))


def signoff(language: str) -> SignOff:
    """The four who sign, each with a date, and room for the customer's remarks."""
    return SignOff(
        signers=tuple(texts.say(f"form.signoff.{who}", lang=language) for who in _SIGNERS),
        date=texts.say("form.signoff.date", lang=language),
        title=texts.say("form.signoff.title", lang=language),
        remarks=texts.say("form.signoff.remarks", lang=language),
    )


def stamp(started: Event, language: str) -> str:
    """``演练`` on the documents of a lab site, else nothing."""
    return texts.say("form.stamp", lang=language) if started.payload["lab"] else ""


def footer(number: str, finished: Event | None, tool: str, language: str) -> str:
    """Document number, record hash and the sentence about changes by hand; the writer adds page x of y."""
    sha256 = finished.sha256[:HASH_DIGITS] if finished else texts.say("form.conclusion.unfinished", lang=language)
    return texts.say("form.footer", lang=language, number=number, sha256=sha256, tool=tool)


def header(
    started: Event,
    finished: Event | None,
    number: str,
    totals: Mapping[str, int] | str,
    conclusion: Cell,
    language: str,
    *,
    round_text: str = "1",
) -> Fields:
    """The field pairs of every form in their printed order. Values are those of the run, not of today's site file."""
    project, payload = started.payload["project"], started.payload
    values: dict[str, Cell | str] = {
        "project": project["name"],
        "contract": project["contract"],
        "customer": project["customer"],
        "site": project["site"],
        "environment": texts.say(f"form.environment.{project['environment']}", lang=language),
        "number": mono(number),
        "round": round_text,
        "change": str(payload.get("change") or "—"),
        "started": when(started.time, language),
        "finished": when(finished.time, language)
        if finished
        else texts.say("form.conclusion.unfinished", lang=language),
        "tool": f"implops {payload['tool']}",
        "inventory": short_hash(_inventory(started, finished)),
        "record": short_hash(finished.sha256 if finished else None),
        "conclusion": conclusion,
        "totals": totals if isinstance(totals, str) else totals_text(totals, language),
        "operator": started.operator,
    }
    return Fields(tuple((texts.say(f"form.header.{name}", lang=language), value) for name, value in values.items()))


@dataclass(frozen=True)
class Frame:
    """One run as a form sees it: its events, how it began and ended, and the language that it is printed in.

    ``finished`` is None when the run died (or still runs): the form then prints 未完成.
    """

    store: Store
    run: str
    verb: str
    number: str
    language: Language
    events: tuple[Event, ...]
    started: Event
    finished: Event | None

    @classmethod
    def of(cls, store: Store, run: str, verbs: tuple[str, ...], number: str, language: Language) -> Frame:
        """Raises InputError when the store has no such run, or it is of another verb."""
        events = tuple(store.events(run=run))
        starts = [one for one in events if one.kind in {f"{verb}.started" for verb in verbs}]
        if not starts:
            raise InputError("document.no_run", run=run, verbs=" ".join(verbs))
        verb = starts[0].kind.removesuffix(".started")
        ends = [one for one in events if one.kind == f"{verb}.finished" and one.sequence > starts[-1].sequence]
        return cls(store, run, verb, number, language, events, starts[0], ends[-1] if ends else None)

    @property
    def conclusion(self) -> str:
        return str(self.finished.payload["conclusion"]) if self.finished else "unfinished"

    @cached_property
    def round_text(self) -> str:
        """Which run of its verb this is, and how often it was taken up again."""
        kind = f"{self.verb}.started"
        runs = list(dict.fromkeys(one.run for one in self.store.events(kind=kind)))
        resumed = sum(one.kind == kind for one in self.events) - 1
        key = "form.round_resumed" if resumed else "form.round"
        return self.say(key, round=runs.index(self.run) + 1, resumed=resumed)

    def of_kind(self, kind: str) -> list[Event]:
        """The run's events of a kind (``step.finished``) or family (``step.``), in order."""
        return [one for one in self.events if one.kind == kind or (kind.endswith(".") and one.kind.startswith(kind))]

    def payload(self, name: str, default: Any = None) -> Any:
        """A value of VERB.finished, ``default`` when the run did not get there or does not say."""
        return self.finished.payload.get(name, default) if self.finished else default

    def say(self, key: str, /, **params: Any) -> str:
        return texts.say(key, lang=self.language, **params)

    def result(self, code: str) -> Cell:
        return result_cell(code, self.language)

    def when(self, text: str | None) -> str:
        return when(text, self.language)

    def document(
        self,
        kind: str,
        title: str,
        parts: tuple[Part, ...],
        *,
        totals: Mapping[str, int] | str = "—",
        conclusion: Cell | None = None,
        landscape: bool = False,
    ) -> Document:
        """The form with header, sign-off, footer and stamp; a run that died or failed says why before its parts."""
        shown = conclusion or conclusion_cell(self.conclusion, self.language)
        return Document(
            kind=kind,
            title=title,
            number=self.number,
            language=self.language,
            header=header(
                self.started, self.finished, self.number, totals, shown, self.language, round_text=self.round_text
            ),
            parts=(*self._how_it_ended(), *parts),
            signoff=signoff(self.language),
            conclusion=shown,
            footer=footer(self.number, self.finished, str(self.started.payload["tool"]), self.language),
            finished=(self.finished or self.events[-1]).time,
            landscape=landscape,
            stamp=stamp(self.started, self.language),
            meta={"run": self.run, "verb": self.verb, "record": self.finished.sha256 if self.finished else ""},
        )

    def _how_it_ended(self) -> tuple[Part, ...]:
        title = self.say("form.how_it_ended")
        if self.finished is None:
            return (Paragraph(self.say("form.unfinished", time=self.when(self.events[-1].time)), title),)
        if self.conclusion == "interrupted":
            return (Paragraph(self.say("form.interrupted", time=self.when(self.finished.time)), title),)
        error = self.finished.payload.get("error")
        return (Paragraph(error_text(error, self.language), title),) if error else ()


def _inventory(started: Event, finished: Event | None) -> str:
    """The site hash of the gate (site file, profile, kit) where the run knows it, else that of the site file."""
    for event in (finished, started):
        if event and "site_hash" in event.payload:
            return str(event.payload["site_hash"])
    return str(started.payload["site_sha256"])


_SIGNERS = ("engineer", "reviewer", "customer", "supervisor")


class _Lenient(dict[str, Any]):
    """A record of an older version may lack a parameter that the text has now."""

    def __missing__(self, name: str) -> str:
        return "?"


def _state(code: str) -> State:
    for known in get_args(State):
        if code == known:
            state: State = known
            return state
    raise KeyError(code)


def answered(frame: Frame, module: dict[str, Any]) -> str:
    """What a good module answered: ``HTTP 200``, or, for one that is no web page, that it is as declared."""
    return frame.say("form_system.holds") if module["status"] is None else f"HTTP {module['status']}"
