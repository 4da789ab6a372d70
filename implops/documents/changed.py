"""What a deployment was given that the last good one was not; of secrets and long texts only that they have changed."""

from __future__ import annotations

import re

from implops.documents.common import Frame

Given = dict[str, dict[str, str]]


def changes(frame: Frame, now: Given) -> list[tuple[str, str, str, str]]:
    """(step, parameter, old, new) as people read them; ``now``: step -> parameter -> value, as it was recorded."""
    was, found = _good_before(frame), []
    for step, given in now.items():
        before = was.get(step, {})
        for name in sorted({*given, *before}):
            # One that is new, or gone, and says nothing by itself is no news.
            if given.get(name) == before.get(name) or not (
                (name in given and name in before) or _told(given, name) or _told(before, name)
            ):
                continue
            old, new = (_shown(frame, one.get(name, "")) for one in (before, given))
            if old and old == new:
                new = frame.say("form_install.changed", value=new)
            found.append((step, name, old, new))
    return found


def _good_before(frame: Frame) -> Given:
    """What the last deployment that came to a good end before this one gave its steps; a failed one set nothing that
    anybody could rely on.
    """
    good = [
        one.run
        for one in frame.store.events(kind="deploy.finished")
        if one.sequence < frame.started.sequence and one.payload["conclusion"] == "pass"
    ]
    found = frame.store.events(kind="deploy.started", run=good[-1]) if good else []
    parameters: Given = found[-1].payload.get("parameters", {}) if found else {}
    return parameters


def _told(values: dict[str, str], name: str) -> bool:
    """Whether a value says something to people by itself: nothing and a long text do only when they have changed."""
    value = values.get(name, "")
    return bool(value) and not value.startswith("sha256:")


def _shown(frame: Frame, value: str) -> str:
    """A value as people read it: of a secret nothing, of a long text that it is one."""
    text = re.sub(r"\*\*\*#[0-9a-f]+", "***", value).strip()
    return re.sub(r"sha256:[0-9a-f]{16}", frame.say("form_install.long"), text)
