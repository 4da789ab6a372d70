"""Find and read recipes: ``deploy_recipes/NAME.py`` of the kit. Loading one imports neither pyinfra nor gevent.

A recipe file holds, besides its one-line docstring:

``META``                        ``{"id": NAME, "roles": ("app",) or "*", "needs": ("jdk",), "timeout": seconds}``;
                                ``"system": True`` for the recipe that switches the business system's release,
                                ``"rolling": True`` for one whose changes interrupt it: hosts take turns;
                                ``"first": True`` for one that all others of its own host come behind
``wanted(site, host) -> bool``  optional: whether this site wants it on this host (the role is asked first)
``packages(site, host)``        optional: Debian packages, which the bundle brings
``sets(site, host)``            optional: ``[(kind, name, value)]``, what ``check`` need not find yet (facts/planned.py)
``params(site, host) -> dict``  optional: JSON values and Secrets; they become ``host.data.NAME`` in ``install``
``files(site, host) -> dict``    optional: parameter (``zones.NAME`` for a part of one) -> file of the host in which
                                people find it; several files where the host decides. Only what ``install`` writes there
``install()``                   pyinfra operations, in the worker; imports pyinfra and ``ops`` of implops.deploy inside
``rollback()``                  optional, with META["system"]: back to the release ``host.data.release``; it gets
``rollback_params(site, host)`` instead of ``params``
``drain(site, host, away)``     optional: sh (as root on ``host``) that lets no new request go from there to the hosts
                                ``away``, for the time in which they are changed; with none of them, to all again
``units(site, host)``           optional, with META["system"]: services that hold the database open
``undo()``                      optional: stop what ``install`` started, remove what it wrote; data stay in their place
``undo_params(site, host)``     optional: what it gets instead of ``params``; no secret, no file of the vendor's
``leaves(site, host)``          optional: directories that it leaves, for the reader
``verify(site, host)``          probes (implops/deploy/probes.py) that must hold afterwards

In ``install``, ``host.data`` also has ``packages`` (name -> version of the bundle, for ``ops.install``), ``bundle``
(folder on the target), ``run`` and ``templates`` (``templates/NAME.*`` of the kit). Every operation is named: the name
is a key ``recipe.NAME.…`` of the catalogue.
"""

from __future__ import annotations

import ast
import hashlib
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from implops import kit
from implops.deploy import probes
from implops.deploy.probes import Probe
from implops.errors import KitError
from implops.facts.planned import Planned
from implops.site import ROLES, Host, Site

FOLDER = "deploy_recipes"
BUNDLE = "/var/lib/implops/bundle"


@dataclass(frozen=True)
class Recipe:
    """One recipe file. ``timeout`` is the longest its step may take, in seconds."""

    id: str
    path: Path
    roles: tuple[str, ...]
    needs: tuple[str, ...]
    timeout: int
    templates: dict[str, Path]
    module: ModuleType
    system: bool = False
    rolling: bool = False
    first: bool = False

    def _ask(self, name: str, default: Any, *arguments: Any) -> Any:
        function: Callable[..., Any] | None = getattr(self.module, name, None)
        return function(*arguments) if function else default

    def wanted(self, site: Site, host: Host) -> bool:
        return bool(set(self.roles) & set(host.roles)) and bool(self._ask("wanted", True, site, host))

    def packages(self, site: Site, host: Host) -> list[str]:
        return list(self._ask("packages", [], site, host))

    def sets(self, site: Site, host: Host) -> list[Planned]:
        return [Planned(self.id, host.name, *one) for one in self._ask("sets", [], site, host)]

    def params(self, site: Site, host: Host) -> dict[str, Any]:
        return dict(self._ask("params", {}, site, host))

    def files(self, site: Site, host: Host) -> dict[str, list[str]]:
        found = self._ask("files", {}, site, host)
        return {name: [one] if isinstance(one, str) else list(one) for name, one in found.items()}

    @property
    def goes_back(self) -> bool:
        """Whether it knows the way back to an earlier release."""
        return self.system and hasattr(self.module, "rollback")

    def rollback_params(self, site: Site, host: Host) -> dict[str, Any]:
        return dict(self._ask("rollback_params", {}, site, host))

    @property
    def can_undo(self) -> bool:
        return hasattr(self.module, "undo")

    def undo_params(self, site: Site, host: Host) -> dict[str, Any]:
        return dict(self._ask("undo_params", {}, site, host))

    def leaves(self, site: Site, host: Host) -> list[str]:
        return list(self._ask("leaves", [], site, host))

    def gone(self, site: Site, host: Host) -> list[Probe]:
        """What must hold once it is undone: none of its services runs."""
        names = [one.name for one in self.sets(site, host) if one.kind == "service"]
        return [probes.shell(f"stopped:{name}", f"! systemctl is-active -q {shlex.quote(name)}") for name in names]

    def units(self, site: Site, host: Host) -> list[str]:
        return list(self._ask("units", [], site, host))

    @property
    def drains(self) -> bool:
        """Whether it sets up what shares users' requests out."""
        return hasattr(self.module, "drain")

    def drain(self, site: Site, host: Host, away: Collection[str]) -> str:
        return str(self._ask("drain", "", site, host, away))

    def led_away(self, site: Site, host: Host) -> str:
        """Shell that prints the addresses that ``drain`` keeps requests from, one a line."""
        return str(self._ask("led_away", "", site, host))

    def verify(self, site: Site, host: Host) -> list[Probe]:
        return list(self._ask("verify", [], site, host))

    def digest(self) -> str:
        """SHA-256 of the recipe's source and its templates."""
        total = hashlib.sha256(self.path.read_bytes())
        for name, path in sorted(self.templates.items()):
            total.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()


def load(base: Path | None) -> dict[str, Recipe]:
    """Recipes by id, the nearest kit wins. Raises KitError for a file that is not a recipe."""
    kit.register("recipe", FOLDER, base)
    found = {path.stem: _read(path, base) for path in kit.files(FOLDER, base).values()}
    for recipe in found.values():
        for need in recipe.needs:
            if need not in found:
                raise KitError("recipe.unknown_need", path=recipe.path, need=need, known=" ".join(found))
    return found


def wanted(site: Site, recipes: dict[str, Recipe]) -> dict[str, list[Recipe]]:
    """Host name -> the recipes that its roles and the site file ask for."""
    return {h.name: [recipe for recipe in recipes.values() if recipe.wanted(site, h)] for h in site.hosts.values()}


def planned(site: Site) -> list[Planned]:
    """What the recipes of this site will set, for ``check``."""
    chosen = wanted(site, load(site.base))
    return [
        one for name, recipes in chosen.items() for recipe in recipes for one in recipe.sets(site, site.hosts[name])
    ]


def packages(site: Site) -> dict[str, list[str]]:
    """Host name -> Debian packages that its recipes install; what the bundle has to bring."""
    return {
        name: sorted({one for recipe in chosen for one in recipe.packages(site, site.hosts[name])})
        for name, chosen in wanted(site, load(site.base)).items()
    }


def _read(path: Path, base: Path | None) -> Recipe:
    _refuse_unnamed(path)
    module = kit.load(path, FOLDER)
    meta = getattr(module, "META", None)
    if not isinstance(meta, dict) or meta.get("id") != path.stem or not callable(getattr(module, "install", None)):
        raise KitError("recipe.not_a_recipe", path=path)
    roles = ROLES if meta.get("roles") == "*" else tuple(meta.get("roles", ()))
    if not roles or not set(roles) <= set(ROLES):
        raise KitError("recipe.roles", path=path, known=" ".join(ROLES))
    templates = kit.files(f"{FOLDER}/templates", base, f"{path.stem}.*")
    needs, timeout = tuple(meta.get("needs", ())), int(meta.get("timeout", 600))
    system = bool(meta.get("system"))
    rolling = system or bool(meta.get("rolling"))
    first = bool(meta.get("first"))
    return Recipe(path.stem, path, tuple(roles), needs, timeout, templates, module, system, rolling, first)


# Our modules of operations.
_OPERATIONS = ("ops", "release_ops")


def _refuse_unnamed(path: Path) -> None:
    """An operation without a name would be recorded with its arguments, secrets among them."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise KitError("kit.load", place=f"{path}:{error.lineno}", why=error.msg) from None
    operations = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pyinfra.operations":
            operations |= {one.asname or one.name for one in node.names}
        if isinstance(node, ast.ImportFrom) and node.module == "implops.deploy":
            operations |= {one.asname or one.name for one in node.names if one.name in _OPERATIONS}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in operations
            and node.func.attr.islower()
            and node.func.attr not in ("template", "fact", "psql", "mariadb", "release_id")
            and not any(keyword.arg == "name" for keyword in node.keywords)
        ):
            raise KitError(
                "recipe.unnamed", place=f"{path}:{node.lineno}", call=f"{node.func.value.id}.{node.func.attr}"
            )
