"""Site file + recipes -> ordered steps. A step is one recipe on one host; its key says what went into it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from implops.bundle import Bundle
from implops.deploy.recipes import BUNDLE, Recipe, wanted
from implops.errors import KitError
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
    """Steps in an order in which each stands behind those it needs."""

    site: Site
    steps: tuple[Step, ...]

    def step(self, id: str) -> Step:
        return next(one for one in self.steps if one.id == id)

    def hosts(self) -> list[Host]:
        return [host for host in self.site.hosts.values() if any(step.host.name == host.name for step in self.steps)]

    def order(self, step: Step, run: str, mode: str) -> dict[str, Any]:
        """The message for the worker. Holds secrets: it goes to its standard input and nowhere else."""
        recipe, host = step.recipe, step.host
        data = {
            **recipe.params(self.site, host),
            "packages": list(step.packages),
            "bundle": BUNDLE,
            "run": run,
            "templates": {name: str(path) for name, path in recipe.templates.items()},
        }
        return {
            "step": step.id,
            "host": host.name,
            "path": str(recipe.path),
            "mode": mode,
            "data": reveal(data),
            "probes": [one.plain() for one in recipe.verify(self.site, host)],
        }

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


def make(site: Site, recipes: dict[str, Recipe]) -> Plan:
    """The plan of a site. Raises KitError when recipes need each other in a circle.

    A need stands for the step of that recipe on the same host, or, where this host has none, on every host that has.
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
            packages = tuple(recipe.packages(site, site.hosts[host]))
            step = Step(recipe, site.hosts[host], tuple(needs), packages)
            steps[step.id] = step
    return Plan(site, tuple(_sorted(steps)))


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
