"""``implops status SITE``: how far this installation is, read from its records; what comes next."""

from __future__ import annotations

from typing import Any

from implops import texts
from implops.cli.output import Session, verb

# The order of the go-live; after it the command that brings the phase about.
PHASES = {
    "check": "check {site}",
    "bundle": "bundle build {site}",
    "deploy": "deploy {site}",
    "import": "import run {site}",
    "verify": "verify {site}",
    "backup": "backup run {site}",
    "drill": "backup drill {site}",
}
_GOOD = ("pass", "conditional")


@verb("status")
def status(session: Session) -> int:
    from implops import lock
    from implops.cli.record import runs

    holder = lock.holder(session.site.state)
    events = session.store.events()
    last = {row["verb"]: row for row in runs(events, str(holder["run"]) if holder else None)}
    numbers: dict[str, list[str]] = {}
    for event in events:
        if event.kind == "document.rendered":
            known = numbers.setdefault(event.payload["of_run"], [])
            known += [] if event.payload["number"] in known else [event.payload["number"]]
    phases = []
    for name in PHASES:
        row = last.get(name, {"verb": name, "conclusion": None})
        phases.append({**row, "documents": numbers.get(row.get("run", ""), [])})
    todo = next((phase["verb"] for phase in phases if phase["conclusion"] not in _GOOD), None)
    following = f"implops {PHASES[todo].format(site=session.path)}" if todo else None
    if session.as_json:
        session.answer({"phases": phases, "next": following, "lock": holder})
        return 0
    _print(session, phases)
    if holder:
        names = ("operator", "verb", "since", "run")
        operator, doing, since, run = (str(holder[name]) for name in names)
        session.story(texts.say("status.busy", operator=operator, verb=doing, since=since, run=run))
    session.story(texts.say("status.next", command=following) if following else texts.say("status.done"))
    return 0


def _print(session: Session, phases: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from implops.cli.record import conclusion
    from implops.documents.common import when

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("phase", "conclusion", "time", "documents"):
        table.add_column(texts.say(f"status.column.{name}"), no_wrap=name != "documents")
    for phase in phases:
        done = conclusion(phase) if phase["conclusion"] else texts.say("status.not_yet")
        time = when(phase.get("finished") or phase.get("started"), "en")
        name = texts.say(f"status.phase.{phase['verb']}")
        table.add_row(name, done, time, "\n".join(phase["documents"]) or "—")
    session.console.print(table)


command = status
