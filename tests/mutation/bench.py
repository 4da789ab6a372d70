"""The site under test: faults put into it and taken out again, real checks, what has changed since it was well."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from implops import lab
from implops.errors import ImplopsError
from implops.site import Site, load
from mutation.fault import Fault, Step, Where

# host, id, target -> state and actual
Seen = dict[tuple[str, str, str], tuple[str, str]]
BAD = ("fail", "warn", "error", "absent")
# The other end that a check names may be another one in every run.
_ANY_TARGET = ("TIM03",)
# With --deep the machine's own disk and processors are measured, which the hosts share with whatever else runs.
_SPEEDS = ("DSK13", "DSK14", "DSK15", "NET06", "STO05")
Run = Callable[..., subprocess.CompletedProcess[str]]


class Bench:
    """One booted site. ``run`` is the command line: ``run("check", PATH, …)``."""

    def __init__(self, site: Site, run: Run) -> None:
        self.site, self.run = site, run
        self.text = site.path.read_text(encoding="utf-8")
        self.healthy: dict[bool, Seen] = {}
        self.checks = 0

    def words(self, script: str) -> str:
        """``@db1@`` and ``@gateway@`` in a script or a text."""
        names = {name: host.address for name, host in self.site.hosts.items()}
        first = next(iter(names.values())).rpartition(".")[0]
        names |= {"gateway": f"{first}.1", "net": first}
        return re.sub(r"@([a-z0-9]+)@", lambda match: names.get(match[1], match[0]), script)

    def shell(self, host: str, script: str, *, where: Where = "host") -> str:
        """What the script prints. Raises AssertionError with its complaint when it fails."""
        text = self.words(script)
        if where == "host":
            done = lab.enter(self.site, host, ["sh", "-ec", text])
        else:
            inside = ["nsenter", "-t", str(lab.leader(self.site, host)), f"--{where}", "--", "sh", "-ec", text]
            done = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"{host}: {text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def check(self, *, deep: bool = False) -> Seen:
        """A whole check of the whole site, as an engineer runs it."""
        self.checks += 1
        done = self.run("check", self.site.path, "--json", *(["--deep", "--force-io"] if deep else []), code=None)
        assert done.stdout.startswith("{"), f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        found = {}
        for one in json.loads(done.stdout)["verdicts"]:
            target = "" if one["id"] in _ANY_TARGET else one["target"]
            found[one["host"], one["id"], target] = (one["state"], one["actual"])
        return found

    def learn(self, *, deep: bool = False) -> Seen:
        """The healthy state. What is bad in it is a false alarm."""
        self.healthy[deep] = self.check(deep=deep)
        return {key: one for key, one in self.healthy[deep].items() if one[0] in BAD}

    def changes(self, found: Seen, *, deep: bool, edited: bool) -> Seen:
        """Verdicts whose state is another than when the site was well. Pass and info are one here: a packet more or
        less changes between them. What an edited site file no longer asks is no change.
        """
        before = self.healthy[deep]
        quiet = ("pass", "info", "skip") if edited else ("pass", "info")
        other = {
            key: one
            for key, one in found.items()
            if (_class(one) != _class(before[key]) if key in before else one[0] not in quiet)
        }
        if deep:
            other = {key: one for key, one in other.items() if key[1] not in _SPEEDS or one[0] == "gone"}
        if not edited:
            other |= {key: ("gone", "—") for key in before if key not in found}
        return other

    @contextmanager
    def put(self, faults: Iterable[Fault]) -> Iterator[dict[int, str]]:
        """All these faults at once; taken out in any case, in the reverse order. The answer says what went wrong in
        planting one or in taking it out: the fault's ``id()`` -> complaint.
        """
        faults, wrong = list(faults), dict[int, str]()
        by_host: dict[str, list[tuple[Fault, Step]]] = {}
        for one in faults:
            for step in one.steps:
                by_host.setdefault(step.host or one.host, []).append((one, step))
        undo: dict[str, list[tuple[Fault, Callable[[], object]]]] = {host: [] for host in by_host}

        def put_on(host: str) -> None:
            for one, step in by_host[host]:
                try:
                    undo[host] += [(one, done) for done in self._put(host, step)]
                except (AssertionError, subprocess.CalledProcessError) as error:
                    wrong.setdefault(id(one), f"not planted: {error}")

        def take_from(host: str) -> None:
            for one, done in reversed(undo[host]):
                try:
                    done()
                except (AssertionError, subprocess.CalledProcessError) as error:
                    wrong.setdefault(id(one), f"not taken out: {error}")

        try:
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(put_on, by_host))
            for one in faults:
                try:
                    self._edit([pair for step in one.steps for pair in step.edit])
                except (AssertionError, ImplopsError) as error:
                    wrong.setdefault(id(one), f"not planted: {error}")
            yield wrong
        finally:
            self.site.path.write_text(self.text, encoding="utf-8")
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(take_from, by_host))

    def _put(self, host: str, step: Step) -> Iterator[Callable[[], object]]:
        if step.call:
            yield step.call(self, host)
        if step.do:
            self.shell(host, step.do, where=step.where)
        if step.undo:
            yield lambda: self.shell(host, step.undo, where=step.where)

    def _edit(self, edits: list[tuple[str, str]]) -> None:
        if not edits:
            return
        before = text = self.site.path.read_text(encoding="utf-8")
        for old, new in edits:
            assert self.words(old) in text, f"the site file has no {old!r}"
            text = text.replace(self.words(old), self.words(new))
        self.site.path.write_text(text, encoding="utf-8")
        try:
            load(self.site.path)
        except ImplopsError:
            self.site.path.write_text(before, encoding="utf-8")
            raise


def _class(one: tuple[str, str]) -> str:
    return "good" if one[0] in ("pass", "info") else one[0]


@dataclass
class Outcome:
    """What came of one fault. ``seen`` is what the check said; ``collateral`` what else changed undeclared."""

    fault: Fault
    seen: str = ""
    missed: str = ""
    collateral: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.missed and not self.collateral


def attempt(bench: Bench, batch: list[Fault]) -> list[Outcome]:
    """Put these faults in, check once, take them out, and say of each what came of it. What nobody declared is
    collateral of all of them: who is to blame shows when each is tried alone.
    """
    deep, edited = batch[0].deep, any(one.edits for one in batch)
    with bench.put(batch) as wrong:
        found = bench.check(deep=deep)
    changed = bench.changes(found, deep=deep, edited=edited)
    outcomes = [Outcome(one, *_judge(bench, one, found, changed)) for one in batch]
    stray = sorted(key for key in changed if not any(_declared(one, key) for one in batch))
    told = [f"{host}/{id} {target} {' '.join(changed[host, id, target])}" for host, id, target in stray]
    for one in outcomes:
        one.collateral = told
        one.missed = wrong.get(id(one.fault), one.missed)
    return outcomes


def _judge(bench: Bench, fault: Fault, found: Seen, changed: Seen) -> tuple[str, str]:
    """What was seen on the fault's own host, and why it counts as missed."""
    seen = ""
    for host in fault.hosts:
        mine = {key: one for key, one in found.items() if key[:2] == (host, fault.id)}
        if fault.target is not None:
            mine = {key: one for key, one in mine.items() if key[2] == bench.words(fault.target)}
        hits = [one for one in mine.values() if one[0] == fault.state and fault.fits(one[1])]
        loud = [one for key, one in mine.items() if key in changed]
        shown = next(iter(hits or loud or mine.values()), ("no verdict", ""))
        seen = seen or f"{shown[0]} {shown[1]}".strip()
        before = bench.healthy[fault.deep]
        if not hits:
            return seen, f"{host}: {' '.join(shown)} instead of {fault.state}"
        if all(before.get(key) == mine[key] for key in mine):
            return seen, f"{host}: says the same without the fault"
    return seen, ""


def _declared(fault: Fault, key: tuple[str, str, str]) -> bool:
    host, id, _ = key
    if host in fault.hosts and id == fault.id:
        return True
    if f"{host}/{id}" in fault.follows or f"{host}/*" in fault.follows:
        return True
    return host in fault.hosts and (id in fault.follows or "*" in fault.follows)


def batches(faults: list[Fault], size: int = 14) -> list[list[Fault]]:
    """Faults that cannot meet go into one run: other ids, other things touched, nothing that the others bring along."""
    found: list[list[Fault]] = []
    for one in faults:
        home = next((batch for batch in found if len(batch) < size and all(_apart(one, two) for two in batch)), None)
        if home is None:
            found.append([one])
        else:
            home.append(one)
    return found


def _apart(one: Fault, two: Fault) -> bool:
    if one.deep != two.deep or one.scene != two.scene or one.alone or two.alone:
        return False
    if one.id == two.id or one.touches & two.touches:
        return False
    if (one.whole or two.whole) and _places(one) & _places(two):
        return False
    return not (_brings(one) & (_keys(two) | _brings(two)) or _brings(two) & _keys(one))


def _places(one: Fault) -> set[str]:
    return {*one.hosts, *(step.host for step in one.steps if step.host)}


def _keys(one: Fault) -> set[str]:
    return {f"{host}/{one.id}" for host in one.hosts}


def _brings(one: Fault) -> set[str]:
    """``HOST/ID`` of everything that follows from a fault."""
    plain = [id for id in one.follows if "/" not in id and id != "*"]
    return {id for id in one.follows if "/" in id} | {f"{host}/{id}" for host in one.hosts for id in plain}


def prove(bench: Bench, faults: list[Fault], say: Callable[[str], None] = lambda line: None) -> list[Outcome]:
    """Every fault, many at a time; what was not caught together with others is tried alone."""
    outcomes: dict[int, Outcome] = {}
    for batch in batches(faults):
        say(f"{len(batch)}: {' '.join(one.id for one in batch)}")
        for one in _prove(bench, batch, say):
            outcomes[id(one.fault)] = one
            if not one.good:
                say(f"  {one.fault.id} {one.fault.what}: {one.missed or 'caught'}; {'; '.join(one.collateral)}")
    return [outcomes[id(one)] for one in faults]


def _prove(bench: Bench, batch: list[Fault], say: Callable[[str], None]) -> list[Outcome]:
    """When something changes that nobody declared, and does so again when the run is repeated, the faults on its host
    are tried alone, and the others once more together.
    """
    found = attempt(bench, batch)
    if found[0].collateral:
        say(f"  again: {_why(found)}")
        found = attempt(bench, batch)
    if len(batch) == 1 or all(one.good for one in found):
        return found
    say(f"  alone: {_why(found)}")
    if not found[0].collateral:
        return [one if one.good else attempt(bench, [one.fault])[0] for one in found]
    hosts = {line.partition("/")[0] for line in found[0].collateral}
    suspects = [one.fault for one in found if one.missed or hosts & _places(one.fault)] or batch
    rest = [one for one in batch if one not in suspects]
    return [*(attempt(bench, [one])[0] for one in suspects), *(_prove(bench, rest, say) if rest else [])]


def _why(found: list[Outcome]) -> str:
    missed = [f"{one.fault.id} missed ({one.missed})" for one in found if one.missed]
    return "; ".join([*missed, *found[0].collateral])


def write_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
