"""Mending over our own connection: only fixes of class safe, each journalled, none stops another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from implops.check import fixes, script
from implops.check.fixes import Planned
from implops.check.judge import Scene
from implops.check.limits import Limits
from implops.check.run import Outcome, done_recipes, then_set
from implops.check.script import Applied
from implops.errors import HostError, ImplopsError, InputError
from implops.facts import planned as facts
from implops.remote import Result, connect, each
from implops.site import Host, Site
from implops.store import Store, record

# A fix writes a file and sets a value; building a locale is the longest.
SECONDS = 180.0


@dataclass(frozen=True)
class Mended:
    """``run`` is the record of the mending."""

    run: str
    applied: list[Applied]


def plan(site: Site, store: Store, planned: Sequence[facts.Planned], done: Outcome) -> list[Planned]:
    """The fixes that a check's faults allow. Raises KitError for a wrong declaration."""
    remedies = fixes.load(site.base, done.checks)
    scene = Scene(site, done.seen, planned, done_recipes(store), Limits(site, done.checks), then_set(store))
    return fixes.plan(scene, done.checks, remedies, done.verdicts)


def apply(site: Site, store: Store, operator: str, checked: str, chosen: Sequence[Planned]) -> Mended:
    """Run fixes of class safe on their hosts. A host that is lost leaves its fixes unknown; the others go on.

    Raises InputError (wrong sudo password) and AssertionError for a fix of another class.
    """
    assert all(one.risk == "safe" for one in chosen)
    by_host: dict[str, list[Planned]] = {}
    for one in chosen:
        by_host.setdefault(one.host, []).append(one)
    asked = [{"host": one.host, "key": one.key, "target": one.verdict.result.target} for one in chosen]
    with record(store, site, "fix", operator, {"check_run": checked, "fixes": asked}) as run:
        texts = {host: script.for_host(run.id, mine) for host, mine in by_host.items()}

        def ask(host: Host) -> Result:
            with connect(site, host) as connection:
                return connection.run(texts[host.name], timeout=SECONDS, sudo=True)

        answers = each([site.hosts[name] for name in by_host], ask)
        applied: list[Applied] = []
        for name, mine in by_host.items():
            answer = answers[name]
            if isinstance(answer, InputError):
                raise answer
            out = answer.text if isinstance(answer, Result) else ""
            found = script.read(out, mine)
            evidence = (run.keep(texts[name].encode()), run.keep(answer.out)) if isinstance(answer, Result) else ()
            run.event("host.fixed", {"host": name, "error": _error(answer), "fixes": [_told(one) for one in found]},
                      evidence)  # fmt: skip
            applied += found
        good = all(one.state in ("done", "done-before") for one in applied)
        run.finish("pass" if good else "fail", {"done": sum(one.state == "done" for one in applied)})
    return Mended(run.id, applied)


def _told(one: Applied) -> dict[str, str]:
    return {"key": one.planned.key, "id": one.planned.verdict.id, "state": one.state, "said": one.said}


def _error(answer: Result | ImplopsError) -> dict[str, object] | None:
    if not isinstance(answer, HostError):
        return None
    return {"key": answer.key, "params": {name: str(value) for name, value in answer.params.items()}}
