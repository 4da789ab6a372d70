"""Ids that no host of the lab can have the fault of, each with its reason: proved from answers that real hosts gave,
with the fault written into them, judged as ``implops check`` judges.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from implops import kit
from implops.check import registry
from implops.check.gather import Seen, kinds
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Verdict
from implops.facts.base import Section, Unknown, build
from implops.facts.clock import Start
from implops.facts.planned import Planned
from implops.facts.script import parse
from implops.site import Site, load
from implops.store import Store

# Answers of the healthy lab: HOST.TRIP, as they came over SSH. `python -m mutation --record` writes them anew.
ANSWERS = Path(__file__).parent / "answers"
# What hosts say in a section: key -> value, or values of a key that repeats. Host -> section -> lines.
Lines = dict[str, str | tuple[str, ...]]
Answers = dict[str, dict[str, Lines]]
_NONCE = re.compile(rb"(?m)^@([0-9a-f]{16}) begin$")


class Proof(NamedTuple):
    id: str
    why: str
    what: str
    state: str
    actual: str
    missed: str


@dataclass(frozen=True)
class Recorded:
    """``section`` of the host's answer gets other lines: key -> value, or values of a key that repeats."""

    id: str
    host: str
    why: str
    what: str
    section: str
    lines: dict[str, str | tuple[str, ...]]
    state: str
    actual: str
    target: str = ""


FAULTS = [
    Recorded("LIM10", "app1", "the setting is gone since Linux 4.12", "a kernel of old that recycles", "limits",
             {"tw_recycle": "1"}, "fail", "1"),
]  # fmt: skip


def keep(site: Site) -> None:
    """The answers of a site's last check, as if it were that of docs/site.yml."""
    store, ours = Store.of(site.state), next(iter(site.hosts.values())).address.rpartition(".")[0]
    theirs = next(iter(load(kit.annotated_site()).hosts.values())).address.rpartition(".")[0]
    ANSWERS.mkdir(exist_ok=True)
    for event in store.events(kind="host.checked"):
        for trip, sha256 in enumerate(event.evidence, start=1):
            raw = store.evidence(sha256)
            for old, new in ((ours, theirs), (_backwards(ours), _backwards(theirs))):
                raw = raw.replace(old.encode(), new.encode())
            path = ANSWERS / f"{event.payload['host']}.{trip}"
            # Without the checksum: the addresses are others now.
            path.write_bytes(re.sub(rb"(?m)^(@[0-9a-f]{16} done) \S+", rb"\1 -", raw))


def _backwards(network: str) -> str:
    return f"{'.'.join(reversed(network.split('.')))}.in-addr"


@cache
def site(edit: Callable[[str], str] | None = None) -> Site:
    """docs/site.yml as a customer's site (nothing is excused in it), its text edited first."""
    path = kit.annotated_site()
    if edit:
        path = Path(tempfile.mkdtemp(prefix="implops-site-")) / "site.yml"
        path.write_text(edit(kit.annotated_site().read_text(encoding="utf-8")), encoding="utf-8")
    try:
        found = load(path)
    finally:
        if edit:
            shutil.rmtree(path.parent)
    real = found.model_copy(update={"lab": None})
    real._path = found.path
    return real


@cache
def checks() -> dict[str, registry.Check]:
    return registry.load(None)


def edit(raw: bytes, section: str, lines: dict[str, str | tuple[str, ...]]) -> bytes:
    """An answer with other lines in one section; counted anew, so that it reads as if the host had said so."""
    nonce = _NONCE.search(raw)
    assert nonce
    mark = f"@{nonce[1].decode()}"
    head, begin, rest = raw.decode().partition(f"{mark} section {section}\n")
    body, end, tail = rest.partition(f"{mark} end {section} ")
    assert begin and end, f"no section {section}"
    kept = [line for line in body.splitlines() if line.partition("\t")[0].rstrip("#!") not in lines]
    for key, value in lines.items():
        values = (value,) if isinstance(value, str) else value
        kept += [f"{key}\t{one}" for one in values]
        if not isinstance(value, str):
            kept.append(f"{key}#\t{len(values)}")
    text = f"{head}{begin}" + "".join(f"{line}\n" for line in kept) + f"{end}{len(kept)}\n{tail.partition(chr(10))[2]}"
    return re.sub(rf"(?m)^{mark} done \S+", f"{mark} done -", text).encode()


def trip_of(trips: dict[int, bytes], section: str) -> int:
    """In which answer of a host a section stands; 0 for one that nobody recorded."""
    return next((number for number, raw in trips.items() if f" section {section}\n".encode() in raw), 0)


def answers(site: Site) -> dict[str, dict[int, bytes]]:
    return {name: {int(path.suffix[1:]): path.read_bytes() for path in sorted(ANSWERS.glob(f"{name}.[123]"))}
            for name in site.hosts}  # fmt: skip


def look(
    site: Site, told: dict[str, dict[int, bytes]], only: str, login_ms: int = 0, *,
    more: Answers | None = None, planned: Sequence[Planned] = (),
) -> list[Verdict]:  # fmt: skip
    """Verdicts of one check over answers, and over ``more`` sections that nobody recorded. What is ``planned`` is there
    already; else nothing is deployed.
    """
    seen = {}
    for name, trips in told.items():
        one = Seen(site.hosts[name], login_ms=login_ms, deep=True)
        for trip, raw in trips.items():
            nonce = _NONCE.search(raw)
            wanted = [kind for kind in kinds() if kind.trip == trip]
            answer = parse(raw, nonce[1].decode() if nonce else "", [kind.section for kind in wanted])
            one.facts.update({kind: build(kind, answer.sections[kind.section]) for kind in wanted})
        for kind in kinds():
            if lines := (more or {}).get(name, {}).get(kind.section):
                one.facts[kind] = build(kind, Section(tuple(_rows(lines))))
        start = one.fact(Start)
        # As if every trip had taken no time: only the differences between the hosts count.
        one.ahead = None if isinstance(start, Unknown) or isinstance(start.ask("at"), Unknown) else start.at
        seen[name] = one
    done: dict[str, list[str]] = {}
    for plan in planned:
        done.setdefault(plan.host, []).append(plan.recipe)
    return judge(Scene(site, seen, planned, done, Limits(site, checks())), checks(), [only])


def _rows(lines: Lines) -> Iterator[tuple[str, str]]:
    for key, value in lines.items():
        if isinstance(value, str):
            yield key, value
        else:
            yield from ((key, one) for one in value)
            yield f"{key}#", str(len(value))


def prove() -> list[Proof]:
    where = site()
    return [_prove(where, one) for one in FAULTS]


def _prove(where: Site, one: Recorded) -> Proof:
    told = answers(where)
    before = _said(look(where, told, one.id), one)
    trip = trip_of(told[one.host], one.section)
    told[one.host][trip] = edit(told[one.host][trip], one.section, one.lines)
    after = _said(look(where, told, one.id), one)
    missed = "" if after == (one.state, one.actual) and before != after else f"missed: {before} then {after}"
    return Proof(one.id, one.why, one.what, one.state, one.actual, missed)


def _said(verdicts: list[Verdict], one: Recorded) -> tuple[str, str]:
    found = [v for v in verdicts if (v.host, v.result.target) == (one.host, one.target)]
    return (found[0].state, found[0].result.actual) if found else ("none", "")
