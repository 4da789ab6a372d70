"""Which form follows which verb; printed from the store, also after a failure."""

from __future__ import annotations

from implops import texts
from implops.cli.output import Session

KINDS = {
    "check": "ENV", "deploy": "INST", "rollback": "INST", "undo": "INST", "import": "IMP", "verify": "SYS",
    "backup": "BAK", "drill": "DRILL", "collect": "LIST",
}  # fmt: skip


def emit(session: Session, verb: str, run: str) -> None:
    """Write the form of a run and tell where it is; nothing when the run left no record."""
    from implops.documents import render

    if not session.store.events(run=run):
        return
    for path in render.emit(session.store, session.site, run, KINDS[verb], session.operator):
        session.story(texts.say("document.written", path=path))
