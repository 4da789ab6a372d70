"""Answers of real lab hosts, as they came back, judged without a host; and the same with a few lines changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from implops.check import registry
from implops.check.gather import Seen, kinds
from implops.check.judge import Scene, judge
from implops.check.limits import Limits
from implops.check.model import Verdict
from implops.deploy.recipes import planned
from implops.facts.base import Unknown, build
from implops.facts.script import parse
from implops.site import Site

FOLDER = Path(__file__).parent / "recorded"
NONCE = "0123456789abcdef"
NOT_RECORDED = "not_recorded"
CHECKS = registry.load(None)
# Recipes that had run on the hosts of "deployed-…" when they were recorded.
DONE = {
    "db1": ["os_base", "resolver", "postgresql", "schema", "backup_jobs"],
    "app1": ["os_base", "resolver", "jdk", "tomcat", "nginx", "app_war", "backup_jobs"],
    "dns1": ["os_base", "resolver", "bind9"],
    "sto1": ["os_base", "resolver", "storage"],
}
Edits = Mapping[str, "str | list[str] | None"]


def raw(name: str) -> bytes:
    """``bookworm-db1-1``: release or state, host, trip."""
    return (FOLDER / f"{name}.txt").read_bytes()


@cache
def whole(host: str, trip: int) -> bytes:
    """A recording of this host and trip, for the sections that recordings have."""
    return raw(f"bookworm-{host}-{trip}")


def tamper(text: bytes, section: str, edits: Edits) -> bytes:
    """The answer with other values: a text or a list for a key that repeats; None takes the key away; ``!reason`` says
    why it could not be read. Counts and digest fit again, as a host would print them.
    """
    lines = text.decode().split("\n")
    start, end = (next(n for n, line in enumerate(lines) if line.startswith(f"@{NONCE} {word} {section}"))
                  for word in ("section", "end"))  # fmt: skip
    kept = [line for line in lines[start + 1 : end] if line.partition("\t")[0].rstrip("#!") not in edits]
    for key, value in edits.items():
        if isinstance(value, list):
            kept += [*(f"{key}\t{one}" for one in value), f"{key}#\t{len(value)}"]
        elif value is not None and value.startswith("!"):
            kept += [f"{key}!\t{value[1:]}", f"{key}#!\t{value[1:]}"]
        elif value is not None:
            kept.append(f"{key}\t{value}")
    lines[start + 1 : end + 1] = [*kept, f"@{NONCE} end {section} {len(kept)}"]
    return sealed("\n".join(lines).encode())


def sealed(text: bytes) -> bytes:
    """With the digest of what stands between begin and done."""
    mark = f"@{NONCE} ".encode()
    begin = text.index(mark + b"begin\n") + len(mark) + 6
    end = text.rindex(mark + b"done ")
    return text[:end] + mark + b"done " + hashlib.sha256(text[begin:end]).hexdigest().encode() + b"\n"


def answered(site: Site, host: str, texts: Mapping[int, bytes]) -> Seen:
    """A host whose trips came back as ``texts``; it took 50 ms to log in, and its clock is ours."""
    seen = Seen(site.hosts[host], login_ms=50, trips=len(texts), ahead=0, open=10_000, deep=3 in texts)
    for trip, text in texts.items():
        wanted = [kind for kind in kinds() if kind.trip == trip]
        answer = parse(text, NONCE, [kind.section for kind in wanted])
        seen.facts.update({kind: build(kind, answer.sections[kind.section]) for kind in wanted})
        # A section that was added after the recording.
        missing = [kind for kind in wanted if f"section {kind.section}\n".encode() not in whole(host, trip)]
        seen.facts.update(dict.fromkeys(missing, Unknown(NOT_RECORDED)))
        if trip == 1:
            seen.noise = answer.noise
    return seen


def scene(site: Site, state: str = "bookworm", **changed: Mapping[int, bytes]) -> Scene:
    """All hosts of a state, some of them with other answers."""
    seen = {}
    for host in site.hosts:
        names = {trip: FOLDER / f"{state}-{host}-{trip}.txt" for trip in (1, 2)}
        kept = {trip: path.read_bytes() for trip, path in names.items() if path.is_file()}
        if kept or host in changed:
            seen[host] = answered(site, host, {**kept, **changed.get(host, {})})
    done = {host: DONE[host] for host in seen} if state == "deployed" else {}
    return Scene(site, seen, planned(site), done, Limits(site, CHECKS))


def alone(site: Site, **changed: Mapping[int, bytes]) -> Scene:
    """Only the Debian 13 host, for tests that judge it many times; nothing is planned."""
    texts = {trip: raw(f"trixie-db1-{trip}") for trip in (1, 2)}
    seen = {"db1": answered(site, "db1", {**texts, **changed["db1"]})}
    return Scene(site, seen, [], {}, Limits(site, CHECKS))


def verdicts(made: Scene, *ids: str) -> list[Verdict]:
    return [one for one in judge(made, CHECKS, ids or None) if one.result.note != f"reason.{NOT_RECORDED}"]


def one(made: Scene, id: str, host: str = "db1", target: str | None = None) -> Verdict:
    """The verdict of a check on a host; with ``target`` None, the only one or the worst."""
    found = [v for v in verdicts(made, id) if v.host == host and target in (None, v.result.target)]
    order = ("fail", "error", "warn", "info", "pass", "skip")
    return min(found, key=lambda v: order.index(v.state))


def changed(state: str, host: str, section: str, edits: Edits, trip: int = 1) -> dict[str, dict[int, bytes]]:
    """The keyword for ``scene``: one host with one section changed."""
    return {host: {trip: tamper(raw(f"{state}-{host}-{trip}"), section, edits)}}


def numbers(text: str) -> list[int]:
    return [int(word) for word in re.findall(r"\d+", text)]
