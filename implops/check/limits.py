"""Thresholds: ``checks/thresholds.yml`` < the site's profile < the site file; each value knows which layer set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implops import kit, texts
from implops.check.registry import Check
from implops.errors import KitError
from implops.site import ROLES, Host, Site
from implops.strict_yaml import Where, nearest, read
from implops.units import format_seconds, format_size, parse_duration, parse_size

FOLDER, DEFAULT = "checks", "thresholds.yml"
MOST_BASELINE = 5
_PROFILE_KEYS = ("thresholds", "baseline")
# What a role of the site file says in a word of its own.
_OWN_WORDS = {"MEM01": "memory", "CPU01": "cpus"}


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
    """All thresholds of a site. Raises KitError, with the line, for one that cannot be meant."""

    def __init__(self, site: Site, checks: dict[str, Check]) -> None:
        self.site, self.checks = site, checks
        self._known: dict[tuple[str, tuple[str, ...]], Limit] = {}
        self.profile_path = _profile_path(site)
        self.baseline = _lab(site)
        self.layers = [
            (source, thresholds(path, _yaml(path), checks))
            for source, path in (("default", _default_path(site)), ("profile", self.profile_path))
        ]
        for role, spec in site.roles.items():
            for id, given in spec.checks.items():
                where = ("roles", role, "checks", id)
                if id not in checks:
                    raise _wrong(site.path, where, "unknown_id", id=id)
                _refuse_given(site.path, where, dict(given), checks[id])
                if id in _OWN_WORDS and getattr(spec, _OWN_WORDS[id]) is not None:
                    raise _wrong(site.path, where, "said_twice", id=id, other=f"roles.{role}.{_OWN_WORDS[id]}")

    def of(self, check: Check, host: Host) -> Limit:
        """The strictest of the host's roles; a later layer replaces what it names."""
        key = (check.id, tuple(host.roles))
        if key not in self._known:
            self._known[key] = self._read(check, host)
        return self._known[key]

    def _read(self, check: Check, host: Host) -> Limit:
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
            given = getattr(spec, _OWN_WORDS[check.id]) if check.id in _OWN_WORDS else None
            if given is not None and role in host.roles:
                unit = " B" if check.unit == "size" else ""
                mine[role] = {"need": _with_unit(given.need, unit), "want": _with_unit(given.want, unit)}
        return [*found, ("site", mine)] if mine else found


def thresholds(path: Path, plain: dict[str, Any], checks: Mapping[str, Check]) -> dict[str, dict[str, Any]]:
    """id -> role -> need and want, of ``thresholds.yml`` or a profile. Raises KitError for what cannot be meant."""
    above: Where = ()
    layer: Any = plain
    if path.parent.name == "profiles":
        for key in plain:
            if key not in _PROFILE_KEYS:
                raise _wrong(path, (key,), "unknown_key", key=key, known=nearest(key, list(_PROFILE_KEYS)))
        above, layer = ("thresholds",), plain.get("thresholds")
    layer = {} if layer is None else layer
    _refuse(path, above, layer, checks)
    return dict(layer)


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
    """A threshold in the base unit: bytes, milliseconds, whole numbers; words stay words. Raises ValueError."""
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
    # A version that is written as a number has lost its zero: 3.10 is 3.1.
    if not all(isinstance(one, str) and one for one in (raw if isinstance(raw, list) and raw else [raw])):
        raise ValueError(raw)
    return raw


def _default_path(site: Site) -> Path:
    return kit.files(FOLDER, site.base, DEFAULT)[DEFAULT]


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


def _refuse(path: Path, above: Where, layer: Any, checks: Mapping[str, Check]) -> None:
    """Raises KitError for what thresholds below the keys ``above`` of a file cannot mean."""
    if not isinstance(layer, dict):
        raise _wrong(path, above, "bad_layer")
    for id, roles in layer.items():
        if id not in checks:
            raise _wrong(path, (*above, id), "unknown_id", id=id)
        if not isinstance(roles, dict):
            raise _wrong(path, (*above, id), "bad_layer")
        for role, given in roles.items():
            if role != "*" and role not in ROLES:
                raise _wrong(path, (*above, id, role), "unknown_key", key=role, known=nearest(role, ["*", *ROLES]))
            _refuse_given(path, (*above, id, role), given, checks[id])


def _refuse_given(path: Path, where: Where, given: Any, check: Check) -> None:
    if not check.unit:
        raise _wrong(path, where, "no_threshold", id=check.id)
    if not isinstance(given, dict) or not given:
        raise _wrong(path, where, "bad_layer")
    values = {}
    for key, raw in given.items():
        if key not in ("need", "want"):
            raise _wrong(path, (*where, key), "unknown_key", key=key, known=nearest(key, ["need", "want"]))
        try:
            values[key] = _value(check, raw)
        except ValueError:
            what = texts.say(f"check.unit.{check.unit}")
            raise _wrong(path, (*where, key), "bad_threshold", id=check.id, value=raw, what=what) from None
    need, want = values.get("need"), values.get("want")
    if isinstance(need, int) and isinstance(want, int) and (want > need if check.ceiling else want < need):
        raise _wrong(path, where, "want_below_need", id=check.id, want=given["want"], need=given["need"])


def _wrong(path: Path, where: Where, key: str, /, **params: Any) -> KitError:
    """The line is looked up only now: few files are wrong."""
    return KitError(f"check.{key}", place=read(path)[1].place(where), **params)
