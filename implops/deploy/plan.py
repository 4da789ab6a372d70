"""Site file + recipes -> ordered steps. A step is one recipe on one host; its key says what went into it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from implops.bundle import Bundle
from implops.deploy.probes import Probe
from implops.deploy.recipes import BUNDLE, Recipe, wanted
from implops.errors import InputError, KitError
from implops.secrets import Secret
from implops.site import Host, Site


@dataclass(frozen=True)
class Step:
    """``needs``: ids of steps that must be good before. ``id`` is ``RECIPE@HOST``."""

    recipe: Recipe
    host: Host
    needs: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.recipe.id}@{self.host.name}"


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which each stands behind those it needs. ``call``: what of each recipe is carried out.
    ``release``: the plan of a rollback goes back to this one. ``versions``: host -> package -> version that the bundle
    brings.
    """

    site: Site
    steps: tuple[Step, ...]
    call: Literal["install", "rollback", "undo"] = "install"
    release: str = ""
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def step(self, id: str) -> Step:
        return next(one for one in self.steps if one.id == id)

    def urgent(self) -> list[Step]:
        """The steps, those first behind which the longest chain of others waits."""
        behind: dict[str, int] = {}
        for step in reversed(self.steps):
            behind.setdefault(step.id, 0)
            for need in step.needs:
                behind[need] = max(behind.get(need, 0), behind[step.id] + 1)
        return sorted(self.steps, key=lambda one: -behind[one.id])

    def hosts(self) -> list[Host]:
        return [host for host in self.site.hosts.values() if any(step.host.name == host.name for step in self.steps)]

    def order(self, step: Step, run: str, mode: str) -> dict[str, Any]:
        """The message for the worker. Holds secrets: it goes to its standard input and nowhere else."""
        recipe, host = step.recipe, step.host
        params = {"install": recipe.params, "rollback": recipe.rollback_params, "undo": recipe.undo_params}[self.call]
        data = {
            **params(self.site, host),
            "release": self.release,
            "packages": self.brings(step),
            "bundle": BUNDLE,
            "run": run,
            "templates": {name: str(path) for name, path in recipe.templates.items()},
        }
        return {
            "step": step.id,
            "host": host.name,
            "path": str(recipe.path),
            "mode": mode,
            "call": self.call,
            "data": reveal(data),
            "probes": [one.plain() for one in self.probes(step)],
        }

    def brings(self, step: Step) -> dict[str, str]:
        """Package -> version for the step; an empty one where no bundle says."""
        known = self.versions.get(step.host.name, {})
        return {name: known.get(name, "") for name in step.packages}

    def probes(self, step: Step) -> list[Probe]:
        """What must hold on the host when the step is good."""
        recipe = step.recipe
        return (recipe.gone if self.call == "undo" else recipe.verify)(self.site, step.host)

    def key(self, step: Step, run: str, bundle: Bundle) -> str:
        """SHA-256 of everything that goes into a step; secrets enter as an HMAC that means nothing outside this run."""
        mine = bundle.for_host(step.host.name)
        parts = {
            "recipe": step.recipe.digest(),
            "params": _blinded(step.recipe.params(self.site, step.host), run),
            "packages": list(step.packages),
            "bundle": [bundle.items[path].sha256 for path in (*mine["debs"], *mine["files"])],
            "probes": [one.plain() for one in step.recipe.verify(self.site, step.host)],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def batches(hosts: Sequence[str], size: int) -> list[list[str]]:
    """The first host alone (the canary), then ``size`` at a time."""
    rest = hosts[1:]
    return [list(hosts[:1]), *(list(rest[at : at + size]) for at in range(0, len(rest), size))]


def make(site: Site, recipes: dict[str, Recipe], turns: Sequence[Sequence[str]] = ()) -> Plan:
    """The plan of a site. Raises KitError when recipes need each other in a circle.

    A need stands for the step of that recipe on the same host, or, where this host has none, on every host that has.
    What comes first on a host (META["first"]) is waited for there only.
    ``turns``: hosts in batches; what interrupts the service (META["rolling"], the system itself) begins on a batch only
    when the system is good on the batch before.
    """
    chosen = wanted(site, recipes)
    have: dict[str, list[str]] = {}
    for host, list_ in chosen.items():
        for recipe in list_:
            have.setdefault(recipe.id, []).append(host)
    steps = {}
    for host, list_ in chosen.items():
        for recipe in list_:
            needs: list[str] = []
            for need in recipe.needs:
                where = have.get(need, [])
                needs += [f"{need}@{one}" for one in ([host] if host in where else where)]
            if not recipe.first:
                needs += [f"{one.id}@{host}" for one in list_ if one.first]
            if recipe.rolling:
                before = next((turns[at - 1] for at, one in enumerate(turns) if at and host in one), [])
                needs += [f"{one.id}@{name}" for name in before for one in chosen[name] if one.system]
                # A proxy that is set up anew would send users to a host that they were just led away from.
                needs += [f"{one.id}@{name}" for turn in turns for name in turn for one in chosen[name] if one.drains]
            packages = tuple(recipe.packages(site, site.hosts[host]))
            step = Step(recipe, site.hosts[host], tuple(needs), packages)
            steps[step.id] = step
    return Plan(site, tuple(_sorted(steps)))


def saved_first(made: Plan, host: str) -> Plan:
    """The same steps, but what changes the data, or starts what does, waits for the backup jobs of the ``host``."""
    saving = f"backup_jobs@{host}"
    return replace(made, steps=tuple(_sorted({
        one.id: replace(one, needs=(*one.needs, saving)) if touches_data(one) else one for one in made.steps
    })))  # fmt: skip


def touches_data(step: Step) -> bool:
    return step.recipe.id == "schema" or step.recipe.system


def alone(made: Plan) -> Plan:
    """The same steps without their needs: a plan is made of the hosts as they are, whatever comes before."""
    return replace(made, steps=tuple(replace(one, needs=()) for one in made.steps))


def back(site: Site, recipes: dict[str, Recipe], release: str, hosts: Iterable[str]) -> Plan:
    """The plan of a rollback: the recipe that switches releases, on these hosts one after the other.

    Raises InputError when the system's recipe knows no way back.
    """
    steps: list[Step] = []
    for name in hosts:
        host = site.hosts[name]
        found = [one for one in wanted(site, recipes)[name] if one.system]
        for recipe in found:
            if not recipe.goes_back:
                raise InputError("rollback.no_way", recipe=recipe.id)
            steps.append(Step(recipe, host, tuple(one.id for one in steps[-1:]), ()))
    if not steps:
        raise InputError("rollback.no_system", site=site.path.name)
    return Plan(site, tuple(steps), "rollback", release)


def undo(made: Plan, words: Sequence[str], begun: Collection[str]) -> Plan:
    """The steps of a site's plan that ``words`` name (``RECIPE`` or ``RECIPE@HOST``; none: all of them), backwards:
    what needs a step is undone before it. Only those in ``begun``: what no deployment of ours ever touched is not ours
    to stop.

    Raises InputError for an unknown word, a step that was never begun, a recipe that cannot be undone, a service on a
    host that had software of its own before, and a step that another one still needs.
    """
    for word in words:
        named = [one.id for one in made.steps if word in (one.id, one.recipe.id)]
        if not named:
            raise InputError("undo.unknown", word=word, known=" ".join(sorted(one.id for one in made.steps)))
        if not set(named) & set(begun):
            raise InputError("undo.not_deployed", step=word)
    ours = [one for one in made.steps if one.id in begun]
    chosen = [one for one in ours if not words or {one.id, one.recipe.id} & set(words)]
    if not chosen:
        raise InputError("undo.nothing", site=made.site.path.name)
    picked = {one.id for one in chosen}
    for one in chosen:
        if not one.recipe.can_undo:
            raise InputError("undo.no_undo", recipe=one.recipe.id)
        if one.host.existing and one.recipe.gone(made.site, one.host):
            raise InputError("undo.existing", step=one.id)
    for other in ours:
        if other.id not in picked and (needed := sorted(picked & set(other.needs))):
            raise InputError("undo.needed", step=needed[0], by=other.id)
    after = {one.id: tuple(other.id for other in chosen if one.id in other.needs) for one in chosen}
    return Plan(made.site, tuple(replace(one, needs=after[one.id]) for one in reversed(chosen)), "undo")


def _sorted(steps: dict[str, Step]) -> Iterable[Step]:
    done: list[str] = []
    left = dict(steps)
    while left:
        ready = [one for one in left.values() if all(need in done for need in one.needs)]
        if not ready:
            raise KitError("deploy.circle", steps=" ".join(left))
        for one in ready:
            done.append(one.id)
            del left[one.id]
            yield one


def reveal(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return {key: reveal(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(one) for one in value]
    return value


def _blinded(value: Any, run: str) -> Any:
    if isinstance(value, Secret):
        return hmac.new(run.encode(), value.reveal().encode(), hashlib.sha256).hexdigest()
    if isinstance(value, dict):
        return {key: _blinded(one, run) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_blinded(one, run) for one in value]
    return value
