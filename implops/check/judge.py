"""Facts -> verdicts. Pure: the same facts and thresholds give the same verdicts, in a stable order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from implops import kit
from implops.check.gather import Seen
from implops.check.limits import Limit, Limits, shown
from implops.check.model import Result, State, Verdict
from implops.check.registry import Check
from implops.facts.base import Fact, NotMeasured, Unknown
from implops.facts.planned import Planned
from implops.facts.settings import Settings
from implops.facts.storage import Disks, within
from implops.remote import AuthRefused, HostKeyRefused
from implops.site import Host, Site
from implops.units import measure

F = TypeVar("F", bound=Fact)
T = TypeVar("T")
# "16 GB" of a virtual machine shows as 15.4 GiB, "200 GB" of a volume as 183-186 GiB (our own figure).
NAMEPLATE_PERCENT = 93


@dataclass(frozen=True)
class Scene:
    """Everything that a run's checks may look at. ``done``: host -> recipes that the last deployment calls good;
    ``then``: what recipes were to set in that deployment, where its record says so.
    """

    site: Site
    seen: Mapping[str, Seen]
    planned: Sequence[Planned]
    done: Mapping[str, Iterable[str]]
    limits: Limits
    then: Mapping[tuple[str, str], frozenset[Planned]] = field(default_factory=dict)

    @cached_property
    def memo(self) -> dict[Callable[[Scene], Any], Any]:
        """What checks found in the scene as a whole (``Case.once``)."""
        return {}

    @cached_property
    def planned_by_name(self) -> dict[tuple[str, str, str], Planned]:
        """(host, kind, name) -> the first that sets it."""
        found: dict[tuple[str, str, str], Planned] = {}
        for one in self.planned:
            found.setdefault((one.host, one.kind, one.name), one)
        return found

    @cached_property
    def planned_of(self) -> dict[str, list[Planned]]:
        """What recipes set, by host."""
        found: dict[str, list[Planned]] = {}
        for one in self.planned:
            found.setdefault(one.host, []).append(one)
        return found


class Case:
    """One check on one host: facts, thresholds, and the words for what came of it."""

    def __init__(self, scene: Scene, check: Check, seen: Seen) -> None:
        self.scene, self.check, self.seen = scene, check, seen
        self.site: Site = scene.site
        self.host: Host = seen.host
        self.limit: Limit = scene.limits.of(check, seen.host)

    def fact(self, kind: type[F], host: str | None = None) -> F:
        """The fact of this host (or another). Raises NotMeasured: the judge makes an error of it."""
        found = self.scene.seen[host or self.host.name].fact(kind)
        if isinstance(found, Unknown):
            raise NotMeasured(found)
        return found

    def planned(self, kind: str, name: str, host: str | None = None) -> Planned | None:
        """What a recipe sets of this kind and name, on this host or another."""
        return self.scene.planned_by_name.get((host or self.host.name, kind, name))

    def once(self, read: Callable[[Scene], T]) -> T:
        """What ``read`` finds when it looks at all hosts: looked for once, not for each host again."""
        if read not in self.scene.memo:
            self.scene.memo[read] = read(self.scene)
        found: T = self.scene.memo[read]
        return found

    def plans(self, kind: str) -> list[Planned]:
        return [one for one in self.scene.planned_of.get(self.host.name, ()) if one.kind == kind]

    def post(self, planned: Planned) -> bool:
        """Whether the recipe has run there for this: it must be there then. What the site file asks for only since is
        still to be set.
        """
        if planned.recipe not in self.scene.done.get(planned.host, ()):
            return False
        then = self.scene.then.get((planned.host, planned.recipe))
        return then is None or planned in then

    def left(self, planned: Planned) -> bool:
        """Whether it is of an installation of ours that was undone: data stay then."""
        return planned in self.scene.then.get((planned.host, planned.recipe), ()) and not self.post(planned)

    def coming(self, path: str, host: str | None = None) -> Planned | None:
        """The recipe that still has to mount the disk which a path will lie on: until then the path shows the disk of
        the system.
        """
        mount = self.site.mount_of(self.site.hosts[host or self.host.name], path)
        planned = self.planned("mount", mount, host)
        if planned is None or self.post(planned):
            return None
        return None if within(self.fact(Disks, host).mount_of(path).target, mount) else planned

    @property
    def deployed(self) -> bool:
        return bool(self.scene.done.get(self.host.name))

    def good(
        self, actual: object, required: object = "—", *, target: str = "", note: str = "", **params: object
    ) -> Result:
        return self._result("pass", actual, required, target, note, params)

    def bad(
        self, actual: object, required: object = "—", *, target: str = "", warn: bool = False, note: str = "",
        **params: object,
    ) -> Result:  # fmt: skip
        """A fault of the check's own severity; ``warn``: it works, below what is wanted."""
        state: State = "warn" if warn or self.check.severity == "warn" else "fail"
        return self._result(state, actual, required, target, note, params)

    def info(self, actual: object, *, target: str = "", note: str = "", **params: object) -> Result:
        return self._result("info", actual, "—", target, note, params)

    def skip(self, note: str, *, target: str = "", **params: object) -> Result:
        """It does not concern this host; the reason is mandatory."""
        return self._result("skip", "—", "—", target, note, params)

    def error(self, reason: str, *, target: str = "", detail: str = "") -> Result:
        return _unknown(Unknown(reason, detail), target)

    def will_be_set(self, planned: Planned, actual: object, required: object, *, target: str = "") -> Result:
        """Missing now, and a planned recipe brings it; after the recipe has run it is a fault."""
        if self.post(planned):
            return self.bad(actual, required, target=target, note="recipe_did_not", recipe=planned.recipe)
        return self._result("info", actual, required, target, "will_be_set", {"recipe": planned.recipe})

    def configured(self, result: Result, *names: str) -> Result:
        """The result with what the next boot will set these kernel settings to; "—" where no file says so."""
        settings = self.seen.fact(Settings)
        kept = settings if isinstance(settings, Unknown) else settings.ask("sysctls")
        if isinstance(kept, Unknown):
            return result
        return replace(result, configured=" ".join(kept[name].value if name in kept else "—" for name in names))

    def sysctl(self, name: str, value: object, found: Result) -> Result:
        """A judged kernel setting: what falls short is information while a planned recipe is still to set it."""
        planned = self.planned("sysctl", name)
        if planned and not self.post(planned) and found.state in ("fail", "warn"):
            if self._enough(planned.value):
                better = self.will_be_set(planned, value, found.required)
            else:
                better = self.bad(value, found.required, note="plan_misses", recipe=planned.recipe, value=planned.value)
            found = replace(better, source=found.source)
        return self.configured(found, name)

    def _enough(self, planned: str) -> bool:
        """Whether what a recipe will set meets what is needed."""
        if self.limit.need is None or not planned.isdecimal():
            return True
        value = int(planned)
        return bool(value <= self.limit.need if self.check.ceiling else value >= self.limit.need)

    def claims(self, kind: str, name: str) -> list[Planned]:
        """What several recipes want of the same thing on this host: a conflict of the plan; empty when they agree."""
        wanted = [one for one in self.plans(kind) if one.name == name]
        return wanted if len({one.value for one in wanted}) > 1 or len({one.recipe for one in wanted}) > 1 else []

    def same(self, actual: object, required: object, *, target: str = "", source: str = "site") -> Result:
        one = (
            self.good(actual, required, target=target)
            if actual == required
            else self.bad(actual, required, target=target)
        )
        return replace(one, source=source)

    def least(self, value: int, *, target: str = "", tolerance: bool = False, limit: Limit | None = None) -> Result:
        """``value`` against need and want, both floors. ``tolerance``: nameplate sizes show smaller."""
        return self._against(value, target, tolerance=tolerance, floor=True, limit=limit)

    def most(self, value: int, *, target: str = "", limit: Limit | None = None) -> Result:
        """``value`` against need and want, both ceilings."""
        return self._against(value, target, tolerance=False, floor=False, limit=limit)

    def _against(self, value: int, target: str, *, tolerance: bool, floor: bool, limit: Limit | None) -> Result:
        wanted = limit or self.limit
        sign = "≥" if floor else "≤"
        shown = " / ".join(f"{sign} {self.show(one)}" for one in (wanted.need, wanted.want) if one is not None) or "—"

        def meets(bound: int | None) -> bool:
            if bound is None:
                return True
            if not floor:
                return value <= bound
            return value >= bound or (tolerance and value * 100 >= bound * NAMEPLATE_PERCENT)

        note = ""
        if tolerance and wanted.need is not None and value < wanted.need and meets(wanted.need):
            note = "nameplate"
        if not meets(wanted.need):
            found = self.bad(self.show(value), shown, target=target)
        elif not meets(wanted.want):
            found = self.bad(self.show(value), shown, target=target, warn=True, note=note)
        else:
            found = self.good(self.show(value), shown, target=target, note=note)
        return replace(found, source=wanted.source)

    def show(self, value: int) -> str:
        return shown(self.check, value)

    def _result(
        self, state: State, actual: object, required: object, target: str, note: str, params: Mapping[str, object]
    ) -> Result:
        texts = {name: str(value) for name, value in params.items()}
        return Result(state, str(actual), str(required), target, "", note, texts)


class SiteCase(Case):
    """A check over all hosts: ``cases`` are those of the hosts that answered. Its results name their host."""

    def __init__(self, scene: Scene, check: Check) -> None:
        self.cases = [Case(scene, check, one) for one in scene.seen.values() if one.error is None]
        super().__init__(scene, check, next(iter(scene.seen.values())))

    def measured(self, read: Callable[[Case], T]) -> tuple[dict[str, T], list[tuple[str, Result]]]:
        """What ``read`` finds on every host, by name; and the errors of hosts where a fact is missing: what is not
        known of one host must not keep the others from being compared.
        """
        found: dict[str, T] = {}
        failed = []
        for one in self.cases:
            try:
                found[one.host.name] = read(one)
            except NotMeasured as error:
                failed.append((one.host.name, _unknown(error.unknown, "")))
        return found, failed


def judge(scene: Scene, checks: Mapping[str, Check], only: Iterable[str] | None = None) -> list[Verdict]:
    """Verdicts in the order of hosts in the site file, then of the catalogue. A check that raises is its own error."""
    wanted = None if only is None else set(only)
    chosen = [one for one in checks.values() if wanted is None or one.id in wanted]
    by_host: dict[str, list[Verdict]] = {name: [] for name in scene.seen}
    roles = {name: frozenset(seen.host.roles) for name, seen in scene.seen.items()}
    for check in chosen:
        if check.scope == "site":
            for host, result in _ask_site(scene, check):
                by_host[host].append(Verdict(check.id, host, check.severity, result))
            continue
        for name, seen in scene.seen.items():
            if not roles[name].isdisjoint(check.roles):
                for result in _absent(check, seen) or _shallow(check, seen) or _ask(Case(scene, check, seen)):
                    by_host[name].append(Verdict(check.id, name, check.severity, _based(scene, check, result)))
    return [verdict for name in by_host for verdict in by_host[name]]


def _absent(check: Check, seen: Seen) -> list[Result]:
    """A host that was not asked: absent in all its checks, but for the one that says why it let nobody in."""
    if seen.error is None:
        return []
    said = {name: str(value) for name, value in seen.error.params.items()}
    if isinstance(seen.error, HostKeyRefused) and check.id == "ACC03":
        return [Result("fail", said.get("fingerprint", "—"), note=seen.error.key, params=said)]
    if isinstance(seen.error, AuthRefused) and check.id == "ACC02":
        return [Result("fail", note=seen.error.key, params=said)]
    return [Result("absent", note=seen.error.key, params=said)]


def _shallow(check: Check, seen: Seen) -> list[Result]:
    """A test that loads the host, and nobody asked for those."""
    return [Result("skip", note="needs_deep")] if check.deep and not seen.deep else []


def _ask(case: Case) -> list[Result]:
    try:
        found: Any = case.check.function(case)
        if found is None:
            return []
        return [_result(one) for one in ([found] if isinstance(found, Result) else found)]
    except NotMeasured as error:
        return [_unknown(error.unknown, "")]
    except (Exception, SystemExit) as error:
        # A fault of the check's author must not stop the others, and must not pass.
        return [_unknown(_raised(case.check, error), "")]


def _ask_site(scene: Scene, check: Check) -> list[tuple[str, Result]]:
    """A site check yields (host name, Result); hosts that are away are absent in it."""
    away = [(name, result) for name, seen in scene.seen.items() for result in _absent(check, seen)]
    case = SiteCase(scene, check)
    if not case.cases:
        return away
    if check.deep and not any(one.seen.deep for one in case.cases):
        mine = [one for one in case.cases if set(check.roles) & set(one.host.roles)]
        return [*((one.host.name, _shallow(check, one.seen)[0]) for one in mine), *away]
    try:
        found = [(scene.seen[host].host.name, _result(one)) for host, one in check.function(case)]
    except NotMeasured as error:
        found = [(one.host.name, _unknown(error.unknown, "")) for one in case.cases]
    except (Exception, SystemExit) as error:
        found = [(one.host.name, _unknown(_raised(check, error), "")) for one in case.cases]
    return [*((host, _based(scene, check, result)) for host, result in found), *away]


def _result(found: object) -> Result:
    if not isinstance(found, Result):
        raise TypeError(f"not a result: {found!r}")
    return found


def _raised(check: Check, error: BaseException) -> Unknown:
    line = kit.line_in(error, check.path)
    place = f"{check.path.name}:{line}" if line else check.path.name
    return Unknown("raised", f"{place} {type(error).__name__}: {error}"[:200])


def _unknown(unknown: Unknown, target: str) -> Result:
    return Result("error", target=target, note=f"reason.{unknown.reason}", params={"detail": unknown.detail or "—"})


def _based(scene: Scene, check: Check, result: Result) -> Result:
    """A finding that every healthy lab host shows, for the reason that the lab profile gives: this state, no worse."""
    known = scene.limits.baseline.get(check.id)
    if known is None or result.state != known.state or (known.most and _beyond(result.actual, known.most)):
        return result
    return replace(result, state="info", note=f"baseline.{known.reason}", params={})


def _beyond(actual: str, most: str) -> bool:
    found, bound = measure(actual), measure(most)
    return found is None or bound is None or found[1] != bound[1] or found[0] > bound[0]
