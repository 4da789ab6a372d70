"""G2: a release goes to production only after it was verified where it came from.

Source: requirements F07 ("依次部署至测试环境、预生产环境直至正式生产环境"). The site file names the other site
(``deploy.promote_from``); without one there is a single environment, and the document says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from implops.errors import GateRefused
from implops.site import Site, load
from implops.store import Event, Store

ORDER = ("test", "pre-production", "production")


Software = Mapping[str, Mapping[str, str]]


def require(site: Site, release_sha256: str, software: Software) -> str:
    """The run that verified this very release, on this software, at the other site; empty where nothing is demanded.
    ``software``: recipe -> package -> version. A recipe that the other site has no use for is not compared.

    Raises GateRefused("gate.promotion_…") otherwise; SiteError when the other site's file cannot be read.
    """
    source = site.deploy.promote_from
    if source is None or site.project.environment == "test":
        return ""
    other = load(source)
    about = {"other": source.name, "environment": other.project.environment, "site": site.path.name}
    lower = ORDER.index(other.project.environment) < ORDER.index(site.project.environment)
    if not lower or other.is_lab != site.is_lab:
        raise GateRefused("gate.promotion_order", **about)
    records = Path(other.state) / "records.db"
    if not records.is_file():
        raise GateRefused("gate.promotion_none", **about)
    store = Store.of(other.state)
    if any(True for _ in store.broken()):
        raise GateRefused("gate.promotion_broken", **about)
    verified, run = _verified(store, release_sha256, software, about)
    if other.project.environment != "test" and not _promoted(store, run):
        raise GateRefused("gate.promotion_chain", **about)
    return verified.run


def _promoted(store: Store, run: str) -> bool:
    """Whether that deployment itself came from where it had been verified, or somebody answered for it."""
    gates = [gate for one in store.events(kind="deploy.started", run=run) for gate in one.payload.get("gates", [])]
    return any(gate["gate"] == "promotion" and gate["state"] in ("pass", "override") for gate in gates)


def differences(verified: Software, now: Software) -> list[str]:
    """``PACKAGE VERIFIED -> NOW`` of each that is not the same."""
    return [
        f"{name} {verified[recipe].get(name) or '-'} -> {now[recipe].get(name) or '-'}"
        for recipe in sorted({*verified} & {*now})
        for name in sorted({*verified[recipe], *now[recipe]})
        if verified[recipe].get(name) != now[recipe].get(name)
    ]


def _verified(store: Store, release_sha256: str, software: Software, about: dict[str, str]) -> tuple[Event, str]:
    """The system's check after the last deployment, and the run of that deployment."""
    deployed = store.events(kind="deploy.finished")
    if not deployed:
        raise GateRefused("gate.promotion_none", **about)
    if deployed[-1].payload.get("release_sha256") != release_sha256:
        raise GateRefused("gate.promotion_other", **about)
    known = deployed[-1].payload.get("software")
    different = ["-"] if known is None else differences(known, software)
    if different:
        raise GateRefused("gate.promotion_software", what="; ".join(different), **about)
    if deployed[-1].payload["conclusion"] != "pass":
        raise GateRefused("gate.promotion_bad", **about)
    checked = [one for one in store.events(kind="verify.finished") if one.sequence > deployed[-1].sequence]
    if not checked or checked[-1].payload["conclusion"] not in ("pass", "conditional"):
        raise GateRefused("gate.promotion_unverified", **about)
    back = [one for one in store.events(kind="rollback.finished") if one.sequence > deployed[-1].sequence]
    if back:
        raise GateRefused("gate.promotion_bad", **about)
    return checked[-1], deployed[-1].run
