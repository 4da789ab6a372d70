"""One check of a site: ask, judge, waive, record."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from implops.check import attest, coverage, custom, differences, owners, registry, waivers
from implops.check.deep import deepen
from implops.check.echo import prove
from implops.check.gather import Seen, about, close, gather
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.login import ask_logins
from implops.check.model import STATES, Verdict
from implops.check.outside import ask_outside
from implops.check.registry import Check
from implops.check.shared import compare
from implops.check.sitehash import site_hash
from implops.errors import InputError
from implops.facts.planned import Planned
from implops.site import Site
from implops.store import Event, Store, record

# Checks of --deep that load no host: each path is proved, or rests.
_PATHS = ("NET02", "NET12")


@dataclass(frozen=True)
class Outcome:
    """``checks`` are those of the kit."""

    run: str
    checks: dict[str, Check]
    seen: dict[str, Seen]
    verdicts: list[Verdict]
    finished: Event
    covered: coverage.Coverage
    differences: list[differences.Difference]

    @property
    def code(self) -> int:
        return code(self.verdicts)


def code(verdicts: Sequence[Verdict]) -> int:
    """The exit code: 1 for a fault, 3 when something could not be told, else 0. 1 beats 3."""
    if any(one.state == "fail" for one in verdicts):
        return 1
    return 3 if any(one.blocks for one in verdicts) else 0


def done_recipes(store: Store) -> dict[str, list[str]]:
    """Host -> recipes that the last deployment there left good and nobody has undone: their checks are judged as
    "after".
    """
    found: dict[str, list[str]] = {}
    ended = [*store.events(kind="deploy.finished"), *store.events(kind="undo.finished")]
    for event in sorted(ended, key=lambda one: one.sequence):
        for host, recipes in event.payload.get("recipes", {}).items():
            found[host] = [name for name, state in recipes.items() if state == "good"]
        for host, undone in event.payload.get("undone", {}).items():
            found[host] = [name for name in found.get(host, []) if name not in undone]
    return found


def then_set(store: Store) -> dict[tuple[str, str], frozenset[Planned]]:
    """(host, recipe) -> what the recipe was to set there when it was last carried out."""
    found: dict[tuple[str, str], frozenset[Planned]] = {}
    for event in store.events(kind="deploy.finished"):
        for host, recipes in event.payload.get("sets", {}).items():
            for recipe, sets in recipes.items():
                found[host, recipe] = frozenset(Planned(recipe, host, *one) for one in sets)
    return found


@dataclass(frozen=True)
class Deep:
    """The tests that load a host are wanted; ``force_io``: also on a busy host and beside a running database."""

    force_io: bool = False


def look(
    site: Site,
    store: Store,
    planned: Sequence[Planned],
    only: Collection[str] = (),
    hosts: Collection[str] = (),
    deep: Deep | None = None,
) -> tuple[dict[str, Check], dict[str, Seen], list[Verdict]]:
    """Ask and judge, without a record. Raises InputError for an unknown id or host, KitError, SiteError."""
    checks = registry.load(site.base)
    for id in only:
        if id not in checks and not id.startswith(custom.PREFIX) and id not in {one.id for one in site.attest}:
            raise InputError("check.unknown_id", place="--only", id=id)
    for name in hosts:
        if name not in site.hosts:
            raise InputError("check.unknown_host", host=name, known=" ".join(site.hosts))
    limits = Limits(site, checks)
    chosen = [host for host in site.hosts.values() if not hosts or host.name in hosts]
    done = done_recipes(store)
    seen = gather(site, planned, chosen, hold=bool(custom.files(site)))
    try:
        if _wanted(only, "DNS"):
            ask_outside(site, seen)
        if _wanted(only, "DB") and _has_database(site, planned, done):
            ask_logins(site, seen)
        if deep:
            for one in seen.values():
                one.deep = True
            if not only or any(_loads(checks, id) for id in only):
                deepen(site, planned, seen, limits, force_io=deep.force_io)
            if _wanted(only, "NET"):
                rest = _idle_seconds(limits) if _wanted(only, "NET12") else 0
                prove(site, seen, rest, flood=_wanted(only, "NET06"))
            if _wanted(only, "STO"):
                compare(site, seen)
        theirs = custom.verdicts(site, seen, only)
    finally:
        close(seen.values())
    scene = Scene(site, seen, planned, done, limits, then_set(store))
    verdicts = [*judge(scene, checks, only or None), *theirs]
    verdicts += [one for one in attest.verdicts(site, store, date.today(), hosts) if not only or one.id in only]
    if not only and not hosts:
        verdicts = waivers.apply(site, {**custom.as_checks(theirs), **checks}, verdicts, date.today())
    return checks, seen, verdicts


def _wanted(only: Collection[str], *topics: str) -> bool:
    """Whether any check of these topics was chosen: what they alone need is not asked otherwise."""
    return not only or any(id.startswith(topics) for id in only)


def _loads(checks: Mapping[str, Check], id: str) -> bool:
    """Whether a chosen id takes tests that load a host. Proofs of paths do not, but for the bandwidth; what a user's
    own check asks of a host is not known.
    """
    check = checks.get(id)
    return id.startswith(custom.PREFIX) if check is None else check.deep and (check.id not in _PATHS)


def _has_database(site: Site, planned: Sequence[Planned], done: Mapping[str, Collection[str]]) -> bool:
    """Whether a database must be there by now: the customer's own, or one that its recipe has brought."""
    one = site.database
    if one is None or one.existing:
        return one is not None
    return any(
        (plan.kind, plan.name) == ("port", str(one.port)) and plan.recipe in done.get(plan.host, ())
        for plan in planned
        if "db" in site.hosts[plan.host].roles
    )


def _idle_seconds(limits: Limits) -> int:
    """How long connections shall rest: what NET12 demands of any host; 0 when it demands nothing."""
    rest = limits.checks.get("NET12")
    needs = [limits.of(rest, host).need for host in limits.site.hosts.values()] if rest else []
    return max((one for one in needs if one is not None), default=0)


def check(
    site: Site,
    store: Store,
    operator: str,
    planned: Sequence[Planned],
    *,
    only: Collection[str] = (),
    hosts: Collection[str] = (),
    deep: Deep | None = None,
) -> Outcome:
    """Check a site and record it. Only a complete one (all checks, all hosts) opens the gate of a deployment."""
    collected = datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")
    complete = not only and not hosts
    started: dict[str, Any] = {"only": list(only), "chosen": list(hosts), "profile": site.profile, "deep": bool(deep)}
    with record(store, site, "check", operator, started) as run:
        checks, seen, verdicts = look(site, store, planned, only, hosts, deep)
        of_host: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            of_host.setdefault(verdict.host, []).append(verdict)
        with store.together():
            for name, one in seen.items():
                evidence = tuple(run.keep(raw) for raw in one.raw.values())
                told = owners.payloads(site, of_host.get(name, []), date.today())
                run.event("host.checked", {"host": name, "about": about(one), "verdicts": told}, evidence)
        if whole := owners.payloads(site, [one for one in verdicts if one.host not in seen], date.today()):
            run.event("site.checked", {"verdicts": whole})
        chosen = {id: one for id, one in checks.items() if not only or id in only}
        covered, unlike = coverage.of(chosen, verdicts), differences.find(site, seen)
        totals = {state: sum(one.state == state for one in verdicts) for state in STATES}
        blocking = [{"host": one.host, "id": one.id, "state": one.state} for one in verdicts if one.blocks]
        waived = [one for one in verdicts if one.state == "waived"]
        conclusion = "conditional" if waived else "pass"
        if any(one.state == "fail" for one in verdicts):
            conclusion = "fail"
        elif blocking:
            conclusion = "unknown"
        run.finish(
            conclusion,
            {
                "complete": complete,
                "site_hash": site_hash(site),
                "collected": collected,
                "blocking": blocking,
                "waivers": [{"id": one.id, "host": one.host, **one.result.params} for one in waived],
                "hosts": {
                    name: {key: about(one)[key] for key in ("boot_id", "machine_id")} for name, one in seen.items()
                },
                "totals": {state: count for state, count in totals.items() if count},
                "defined": len(checks),
                "coverage": covered.payload(),
                "differences": [one.payload() for one in unlike],
            },
        )
    assert run.finished
    return Outcome(run.id, checks, seen, verdicts, run.finished, covered, unlike)
