"""Thresholds: ``checks/thresholds.yml`` < the site's profile < the site file; each value knows which layer set it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implops import kit
from implops.check.registry import Check
from implops.errors import KitError
from implops.site import ROLES, Host, Site
from implops.strict_yaml import read
from implops.units import format_seconds, format_size, parse_duration, parse_size

FOLDER = "checks"
MOST_BASELINE = 5


@dataclass(frozen=True)
class Limit:
    """``need`` (below it: fail) and ``want`` (below it: warn) of one check on one host, in the check's base unit."""

    need: Any = None
    want: Any = None
    source: str = "default"


@dataclass(frozen=True)
class Excuse:
    """What the lab profile overlooks in one check: a state, up to a value, for a reason."""

    state: str
    reason: str
    most: str = ""


class Limits:
    """All thresholds of a site."""

    def __init__(self, site: Site, checks: dict[str, Check]) -> None:
        self.site, self.checks = site, checks
        self._known: dict[tuple[str, tuple[str, ...]], Limit] = {}
        self.profile_path = _profile_path(site)
        profile = _yaml(self.profile_path)
        self.baseline = _lab(site)
        self.layers: list[tuple[str, dict[str, Any]]] = [("default", _yaml(_default_path(site)))]
        self.layers.append(("profile", profile.get("thresholds") or {}))
        for source, layer in self.layers:
            _refuse_unknown(layer, checks, self.profile_path if source == "profile" else _default_path(site))
        for role, spec in site.roles.items():
            for id in spec.checks:
                if id not in checks:
                    raise KitError("check.unknown_id", place=f"{site.path.name} roles.{role}.checks", id=id)

    def of(self, check: Check, host: Host) -> Limit:
        """The strictest of the host's roles; a later layer replaces what it names. Raises KitError for a wrong unit."""
        key = (check.id, tuple(host.roles))
        if key not in self._known:
            self._known[key] = self._strictest(check, host)
        return self._known[key]

    def _strictest(self, check: Check, host: Host) -> Limit:
        need: Any = None
        want: Any = None
        source = "default"
        for name, layer in self._layers(check, host):
            values = [layer[role] for role in ("*", *ROLES) if role in layer and (role == "*" or role in host.roles)]
            needs = [_value(check, one["need"]) for one in values if one.get("need") is not None]
            wants = [_value(check, one["want"]) for one in values if one.get("want") is not None]
            if needs or wants:
                source = name
            need = _strictest(check, needs) if needs else need
            want = _strictest(check, wants) if wants else want
        return Limit(need, want, source)

    def _layers(self, check: Check, host: Host) -> list[tuple[str, dict[str, Any]]]:
        found = [(name, layer[check.id]) for name, layer in self.layers if check.id in layer]
        mine: dict[str, Any] = {
            role: dict(spec.checks[check.id])
            for role, spec in self.site.roles.items()
            if role in host.roles and check.id in spec.checks
        }
        for role, spec in self.site.roles.items():
            given = {"MEM01": spec.memory, "CPU01": spec.cpus}.get(check.id)
            if given is not None and role in host.roles:
                unit = " B" if check.unit == "size" else ""
                mine[role] = {"need": _with_unit(given.need, unit), "want": _with_unit(given.want, unit)}
        return [*found, ("site", mine)] if mine else found


def shown(check: Check, value: int) -> str:
    """A value in the check's unit, as people write it."""
    if check.unit == "size":
        return format_size(value)
    if check.unit == "rate":
        return f"{value / 10**6:.0f} MB/s"
    if check.unit == "ms":
        return format_seconds(value / 1000)
    if check.unit == "seconds":
        return f"{value // 86400} d" if abs(value) >= 86400 else format_seconds(value)
    return f"{value} %" if check.unit == "percent" else str(value)


def _with_unit(value: int | None, unit: str) -> str | int | None:
    return f"{value}{unit}" if unit and value is not None else value


def _strictest(check: Check, values: list[Any]) -> Any:
    if not all(isinstance(one, int) for one in values):
        return values[-1]
    return min(values) if check.ceiling else max(values)


def _value(check: Check, raw: Any) -> Any:
    """A threshold in the base unit: bytes, milliseconds, whole numbers; words stay words."""
    try:
        if check.unit == "size":
            return parse_size(raw)
        if check.unit == "rate":
            size, slash, per = str(raw).partition("/")
            if slash + per != "/s":
                raise ValueError(raw)
            return parse_size(size)
        if check.unit in ("ms", "seconds"):
            return round(parse_duration(raw) * (1000 if check.unit == "ms" else 1))
        if check.unit in ("count", "percent"):
            if isinstance(raw, bool) or not isinstance(raw, int):
                raise ValueError(raw)
            return raw
    except ValueError:
        raise KitError("check.bad_threshold", id=check.id, value=raw, unit=check.unit) from None
    return raw


def _default_path(site: Site) -> Path:
    return kit.files(FOLDER, site.base, "thresholds.yml")["thresholds.yml"]


def _profile_path(site: Site) -> Path:
    known = kit.files(f"{FOLDER}/profiles", site.base, "*.yml")
    path = known.get(f"{site.profile}.yml")
    if path is None:
        names = " ".join(name.removesuffix(".yml") for name in known)
        raise KitError("check.no_profile", place=site.path.name, name=site.profile, known=names)
    return path


def _yaml(path: Path) -> dict[str, Any]:
    return read(path)[0]


def _lab(site: Site) -> dict[str, Excuse]:
    """What a healthy lab host shows for good reasons. Only for sites with ``lab:``."""
    if not site.is_lab:
        return {}
    path = kit.files(f"{FOLDER}/profiles", site.base, "lab.yml")["lab.yml"]
    baseline = {id: Excuse(**given) for id, given in _yaml(path)["baseline"].items()}
    if len(baseline) > MOST_BASELINE:
        raise KitError("check.baseline", path=path, most=MOST_BASELINE)
    return baseline


def _refuse_unknown(layer: dict[str, Any], checks: dict[str, Check], path: Path) -> None:
    for id, roles in layer.items():
        if id not in checks:
            raise KitError("check.unknown_id", place=path, id=id)
        if not isinstance(roles, dict) or not all(isinstance(given, dict) for given in roles.values()):
            raise KitError("check.bad_threshold", id=id, value=roles, unit=checks[id].unit)
        for role, given in roles.items():
            if (role != "*" and role not in ROLES) or not set(given) <= {"need", "want"}:
                raise KitError("check.bad_threshold", id=id, value=f"{role}: {given}", unit=checks[id].unit)
            for value in given.values():
                _value(checks[id], value)
