"""What a check found before: compare with it, judge its facts again, ask again only what did not pass."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from implops.check import custom, registry, waivers
from implops.check.deep import untested
from implops.check.gather import Seen, kinds
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Verdict
from implops.check.run import done_recipes, then_set
from implops.errors import HostError, InputError
from implops.facts.base import build
from implops.facts.planned import Planned
from implops.facts.script import parse
from implops.site import Site
from implops.store import Event, Store

_NONCE = re.compile(rb"(?m)^@([0-9a-f]{16}) begin$")
_BAD = ("fail", "warn", "error", "absent")


@dataclass(frozen=True)
class Change:
    """A verdict that is not what it was. ``kind``: new (a fault), cleared, drifted (another value), away (its host)."""

    kind: Literal["new", "cleared", "drifted", "away"]
    id: str
    host: str
    target: str
    before: str
    after: str


def find(store: Store, word: str) -> str:
    """The run that ``last`` (of a complete check, if any), an id, or its beginning or end names. Raises InputError."""
    runs = list(dict.fromkeys(one.run for one in store.events(kind="host.checked")))
    whole = [one.run for one in store.events(kind="check.finished") if one.payload.get("complete") and one.run in runs]
    wanted = word.upper()
    found = (
        (whole or runs)[-1:]
        if word == "last"
        else [one for one in runs if one.startswith(wanted) or one.endswith(wanted)]
    )
    if len(found) != 1:
        raise InputError("check.no_such_run", run=word, known=" ".join(runs[-3:]) or "-")
    return found[0]


def verdicts_of(store: Store, run: str) -> list[dict[str, Any]]:
    kinds = ("host.checked", "site.checked")
    return [verdict for one in store.events(run=run) if one.kind in kinds for verdict in one.payload["verdicts"]]


def standing(store: Store) -> list[dict[str, Any]]:
    """What is known now: the last complete run, and of what later runs asked again theirs. Raises InputError."""
    runs = list(dict.fromkeys(one.run for one in store.events(kind="host.checked")))
    known: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs[runs.index(find(store, "last")) :]:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in verdicts_of(store, run):
            found.setdefault((one["host"], one["id"]), []).append(one)
        known |= found
    return [one for verdicts in known.values() for one in verdicts]


def compare(
    before: Iterable[dict[str, Any]], after: Sequence[Verdict], steady: Collection[str] = (), *, whole: bool = True
) -> list[Change]:
    """Changes in the order of ``after``. A fault that does not come back is cleared; but not on a host that is away
    now, and in a run of some checks or hosts (not ``whole``) only where its check was asked again. ``steady``: ids
    whose value is news whenever it changes, though it is no fault (what a licence is bound to).
    """
    away: set[str] = set()
    old = {(one["host"], one["id"], one["target"]): one for one in before}
    found = []
    for verdict in after:
        one = verdict.payload()
        was = old.pop((one["host"], one["id"], one["target"]), None)
        known = (one["id"], one["host"], one["target"])
        bad, was_bad = one["state"] in _BAD, was is not None and was["state"] in _BAD
        if one["state"] == "absent":
            # One change, not one for each of its checks.
            if one["host"] not in away and not (was and was["state"] == "absent"):
                found.append(Change("away", *known, "—", one["note"]))
            away.add(one["host"])
            continue
        if bad and not was_bad:
            found.append(Change("new", *known, was["actual"] if was else "—", one["actual"]))
        elif was_bad and not bad:
            assert was
            found.append(Change("cleared", *known, was["actual"], one["actual"]))
        elif was and was["actual"] != one["actual"] and (bad or one["id"] in steady):
            found.append(Change("drifted", *known, was["actual"], one["actual"]))
    asked = {(one.host, one.id) for one in after}
    gone = [
        one for one in old.values()
        if one["state"] in _BAD and one["host"] not in away and (whole or (one["host"], one["id"]) in asked)
    ]  # fmt: skip
    return [*found, *(Change("cleared", one["id"], one["host"], one["target"], one["actual"], "—") for one in gone)]


def not_passed(store: Store) -> tuple[str, ...]:
    """Ids that do not pass as far as is known, in their order. Raises InputError without any check."""
    return tuple(dict.fromkeys(one["id"] for one in standing(store) if one["state"] in _BAD))


def replay(
    site: Site, store: Store, run: str, planned: Sequence[Planned], only: Collection[str] = ()
) -> tuple[dict[str, registry.Check], list[Verdict]]:  # fmt: skip
    """Judge the stored answers of a run with today's thresholds, checks and waivers; nothing is asked. The users' own
    pytest files need a host: they, and waivers of theirs, are left out.

    Raises InputError when the run's answers are not in the store, SiteError for a waiver that hides a mistake.
    """
    checks = registry.load(site.base)
    for id in only:
        if id not in checks:
            raise InputError("check.unknown_id", place="--only", id=id)
    seen = {}
    for event in store.events(kind="host.checked", run=run):
        name = event.payload["host"]
        if name in site.hosts:
            seen[name] = _again(site, store, event)
    if not seen:
        raise InputError("check.no_such_run", run=run, known="-")
    scene = Scene(site, seen, planned, done_recipes(store), Limits(site, checks), then_set(store))
    verdicts = judge(scene, checks, only or None)
    if only:
        return checks, verdicts
    away = site.hosts.keys() - seen.keys()
    asked = [one for one in site.waive if one.host not in away and not one.id.startswith(custom.PREFIX)]
    return checks, waivers.apply(site, checks, verdicts, date.today(), asked)


def _again(site: Site, store: Store, event: Event) -> Seen:
    about = event.payload["about"]
    asked = dict(about["asked"])
    trips = asked.pop("raw", [1, 2])
    seen = Seen(site.hosts[event.payload["host"]], **asked)
    if about["error"]:
        seen.error = HostError(about["error"]["key"], **about["error"]["params"])
    if seen.untested:
        reason, _, detail = seen.untested.partition(" ")
        untested(seen, reason, detail)
    for trip, sha256 in zip(trips, event.evidence, strict=False):
        raw = store.evidence(sha256)
        nonce = _NONCE.search(raw)
        wanted = [kind for kind in kinds() if kind.trip == trip]
        answer = parse(raw, nonce[1].decode() if nonce else "", [kind.section for kind in wanted])
        seen.facts.update({kind: build(kind, answer.sections[kind.section]) for kind in wanted})
    return seen
