"""What the records say about an earlier run: which steps were good, and from which check it started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from implops.errors import InputError
from implops.store import Event, Store


@dataclass(frozen=True)
class Earlier:
    """A deployment that did not come to a good end. ``good``: step id -> the key it was good with; ``started``: what
    its start recorded; ``saved``: the backup of the database that was made before it changed anything; ``content``:
    release and bundle that it went on with last.
    """

    run: str
    check_run: str
    good: dict[str, str]
    started: dict[str, Any]
    saved: dict[str, Any] | None
    content: tuple[str | None, str | None]

    def same(self, release_sha256: str, bundle_sha256: str) -> bool:
        """Whether it was last taken up with this release and this bundle."""
        return self.content == (release_sha256, bundle_sha256)


def unfinished(store: Store, word: str) -> Earlier:
    """The run that ``--resume`` names: ``last``, its id, or the beginning or end of it.

    Raises InputError for an unknown run, and for one that has nothing left to do.
    """
    starts = [one for one in store.events(kind="deploy.started") if not one.payload["resumed"]]
    found = starts[-1:] if word == "last" else [one for one in starts if word and _fits(one.run, word)]
    if len(found) != 1:
        raise InputError("deploy.no_such_run", run=word, known=" ".join(one.run for one in starts[-3:]) or "-")
    run = found[0].run
    ended = store.events(kind="deploy.finished", run=run)
    if ended and ended[-1].payload["conclusion"] == "pass":
        raise InputError("deploy.already_good", run=run)
    if store.events(kind="deploy.rolled_back", run=run):
        raise InputError("deploy.was_rolled_back", run=run)
    events = store.events(run=run)
    overtaken = [
        one
        for kind in ("deploy.started", "rollback.started", "undo.started")
        for one in store.events(kind=kind)
        if one.run != run and one.sequence > events[-1].sequence
    ]
    if overtaken:
        raise InputError("deploy.overtaken", run=run, later=overtaken[-1].run)
    last = [one for one in events if one.kind == "deploy.started"][-1].payload
    content = (last.get("release_sha256"), last.get("bundle_sha256"))
    return Earlier(run, str(found[0].payload["check_run"]), _good(events), found[0].payload, _saved(events), content)


def _saved(events: list[Event]) -> dict[str, Any] | None:
    """The backup of the database before this run touched its data. One that was made and followed by nothing that
    touches them is of the past: the old release has gone on working.
    """
    saved = next((one.payload for one in events if one.kind == "database.saved"), None)
    began = {one.payload["step"].partition("@")[0] for one in events if one.kind == "step.started"}
    return saved if began & _TOUCHING else None


# Steps that change the database, or start a program that does.
_TOUCHING = frozenset({"schema", "app_war", "app_program"})


def _fits(run: str, word: str) -> bool:
    return run.startswith(word.upper()) or run.endswith(word.upper())


def _good(events: list[Event]) -> dict[str, str]:
    """A step that was started again after it was good is not good until it says so again."""
    good: dict[str, str] = {}
    for event in events:
        if event.kind == "step.started":
            good.pop(event.payload["step"], None)
        elif event.kind == "step.finished" and event.payload["state"] in ("good", "kept"):
            good[event.payload["step"]] = event.payload["key"]
    return good
