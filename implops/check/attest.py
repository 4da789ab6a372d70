"""What no machine can measure (UPS, air-conditioning, rack, contract): listed in the site file, answered by a person.

An answer is a record of its own, bound to item, wording and host, and it runs out. What has no answer is not checked
(未检); it shuts the gate only where the site file says ``required``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from implops.check.model import Result, State, Verdict
from implops.check.owners import SITE
from implops.errors import InputError
from implops.site import Attest, Site
from implops.store import Store, record

ANSWERS = ("ok", "bad")


@dataclass(frozen=True)
class Answer:
    """``host`` is ``*`` for an item of the whole site."""

    id: str
    host: str
    answer: str


def places(item: Attest) -> list[str]:
    """The hosts that an item is answered for, or the site as a whole."""
    return list(item.hosts) or [SITE]


def parse(site: Site, words: Sequence[str]) -> list[Answer]:
    """``M01=ok``, ``M02@db1=bad``; without a host all of the item's. Raises InputError."""
    items = {one.id: one for one in site.attest}
    found = []
    for word in words:
        left, _, answer = word.partition("=")
        id, at, host = left.partition("@")
        if answer not in ANSWERS or (at and not host):
            raise InputError("attest.form", word=word)
        if id not in items:
            raise InputError("attest.unknown", id=id, site=site.path.name, known=" ".join(items) or "-")
        if at and host not in items[id].hosts:
            raise InputError("attest.host", id=id, host=host, known=" ".join(items[id].hosts) or "-")
        found += [Answer(id, one, answer) for one in ([host] if at else places(items[id]))]
    return found


def answer(site: Site, store: Store, operator: str, answers: Sequence[Answer], note: str, today: date) -> str:
    """Record answers; the run."""
    items = {one.id: one for one in site.attest}
    with record(store, site, "attest", operator, {}) as run:
        for one in answers:
            item = items[one.id]
            run.event("attested", {
                "id": one.id, "host": one.host, "title": item.title, "answer": one.answer, "note": note,
                "until": (today + timedelta(days=item.valid)).isoformat(),
            })  # fmt: skip
        run.finish("fail" if any(one.answer == "bad" for one in answers) else "pass", {"answers": len(answers)})
    return run.id


def verdicts(site: Site, store: Store, today: date, hosts: Collection[str] = ()) -> Iterator[Verdict]:
    """One verdict an item and place: the newest answer to this wording, as long as it holds."""
    newest = {(e.payload["id"], e.payload["host"], e.payload["title"]): e for e in store.events(kind="attested")}
    for item in site.attest:
        for place in places(item):
            if hosts and place not in hosts:
                continue
            given = newest.get((item.id, place, item.title))
            params = {"title": item.title}
            if given is None:
                result = Result("error", note="attest_missing", params=params)
            else:
                about = given.payload
                params |= {"operator": given.operator, "day": given.time[:10], "until": about["until"],
                           "remark": about["note"] or "—"}  # fmt: skip
                if about["until"] < today.isoformat():
                    result = Result("error", note="attest_expired", params=params)
                else:
                    bad: State = "fail" if item.required else "warn"
                    state: State = "pass" if about["answer"] == "ok" else bad
                    result = Result(state, actual=about["answer"], required="ok", note="attested", params=params)
            yield Verdict(item.id, place, "fail" if item.required else "warn", result)
