"""The answer of a check for other programs: JUnit XML and TAP for CI, one line and an exit code for Nagios."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape, quoteattr

from implops.check.model import Verdict

FORMATS = ("junit", "tap", "nagios")
_BAD = ("fail", "absent")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Exit codes of the Nagios plugin guidelines.
_OK, _WARNING, _CRITICAL, _UNKNOWN = 0, 1, 2, 3


Words = Callable[[Verdict], str]


def junit(verdicts: Sequence[Verdict], title: Words, said: Words) -> str:
    """One test case a verdict, one suite a host. Not measured is an error, not applicable is skipped."""
    hosts = list(dict.fromkeys(one.host for one in verdicts))
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for host in hosts:
        mine = [one for one in verdicts if one.host == host]
        counts = {
            "tests": len(mine), "failures": sum(one.state in _BAD for one in mine),
            "errors": sum(one.state == "error" for one in mine), "skipped": sum(one.state == "skip" for one in mine),
        }  # fmt: skip
        numbers = " ".join(f'{name}="{count}"' for name, count in counts.items())
        lines.append(f"  <testsuite name={quoteattr(host)} {numbers}>")
        for one in mine:
            name = quoteattr(f"{one.id} {title(one)}".strip())
            inner = _inner(one, said(one))
            lines.append(f"    <testcase classname={quoteattr(host)} name={name}>{inner}</testcase>")
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _inner(one: Verdict, said: str) -> str:
    """XML 1.0 has no place for control characters, whatever a host wrote."""
    text = _CONTROL.sub("\ufffd", f"{said} [{one.result.required}]" if one.result.required != "—" else said)
    if one.state in _BAD:
        return f"<failure message={quoteattr(text)}/>"
    if one.state == "error":
        return f"<error message={quoteattr(text)}/>"
    if one.state == "skip":
        return f"<skipped message={quoteattr(text)}/>"
    return f"<system-out>{escape(f'{one.state}: {text}')}</system-out>"


def tap(verdicts: Sequence[Verdict], title: Words, said: Words) -> str:
    """TAP 13. An error of a check that only warns is a TODO: it does not fail the run, and is not hidden."""
    lines = ["TAP version 13", f"1..{len(verdicts)}"]
    for number, one in enumerate(verdicts, start=1):
        word = "not ok" if one.state in _BAD or one.state == "error" else "ok"
        told = " ".join(f"{one.host} {one.id} {title(one)}: {said(one)}".split())
        name = _CONTROL.sub("\ufffd", told).replace("#", "\\#")
        hint = " # TODO not measured" if one.state == "error" and not one.blocks else ""
        hint = " # SKIP" if one.state == "skip" else hint
        lines.append(f"{word} {number} - {name}{hint}")
    return "\n".join(lines)


def nagios(verdicts: Sequence[Verdict]) -> tuple[str, int]:
    """``IMPLOPS CRITICAL - 2 of 257 …`` and the plugin's exit code."""
    bad = [one for one in verdicts if one.state in _BAD]
    unsure = [one for one in verdicts if one.state == "error"]
    warned = [one for one in verdicts if one.state == "warn"]
    state, shown, code = "OK", [], _OK
    levels = (("CRITICAL", bad, _CRITICAL), ("UNKNOWN", unsure, _UNKNOWN), ("WARNING", warned, _WARNING))
    for name, found, number in levels:
        if found:
            state, shown, code = name, found, number
            break
    listed = " ".join(f"{one.host}/{one.id}" for one in shown[:5])
    counts = f"fail={len(bad)};;1 error={len(unsure)};;1 warn={len(warned)};1"
    told = f"{len(shown)} of {len(verdicts)}: {listed}" if shown else f"{len(verdicts)} checks"
    # A bar in a value would begin the performance data.
    return f"IMPLOPS {state} - {told.replace('|', '/')} | {counts}", code
