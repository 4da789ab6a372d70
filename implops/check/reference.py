"""Prints docs/checks.md from the kit: every check with roles, thresholds and texts. ``make docs`` writes the page."""

from __future__ import annotations

from implops import texts
from implops.check import explain, registry
from implops.check.explain import Explained

_HEAD = """# Checks

Made by `make docs` from `checks/`; a test holds it to the code. `implops explain ID` prints the same for one check and
the lines of the probe that read it; `implops explain ID SITE` also the thresholds of that site's hosts and the layer
that set each.

**need** is demanded (beyond it: fail), **want** is recommended (beyond it: warn). The tool's own thresholds stand in
`checks/thresholds.yml`; a profile (`checks/profiles/NAME.yml`) replaces what it names, the site file wins over both
(`roles.ROLE.checks`, `memory`, `cpus`, `mounts`). Figures of sizes, times and shares are our own proposals. What cannot
be meant (an unknown id or key, a value without its unit, a version that is no text) is refused with its line.

A check of severity *fail* that could not be measured blocks a deployment like a fault; one of severity *warn* never
blocks. A host that does not answer is absent (未到位) in all its checks. What a planned recipe will set is information
before the deployment and demanded after it.

How it works: one POSIX shell script a host in one trip with one sudo (`checks/probes/*.sh`), a second trip for what the
host sees of the others. Scripts write nothing on the target, but for one test file in each declared share (STO02) and
the files of `--deep`, which they remove. Facts are typed (`implops/facts/`); what could not be read
is Unknown with its reason, and a check that meets it becomes an error, never a pass.

**read by** names the probe (`checks/probes/`). With `--deep` come tests that load a host or take long: disk speed,
bandwidth, proof of a path. Their cost is printed first and capped; a host that is busy (CPU04) or runs a database is
left alone unless `--force-io` is given. Without `--deep` they are skipped, in one line.

A path is proved (NET02) by a listener on the real address and port of its target, TCP and UDP, for as long as the check
asks: callers send the run's nonce, and only the target knows the token that comes back. A proxy, a redirect or another
host that completes the connection is found out. The listener makes no file; it ends with the connection that started
it, or 30 s after nobody renews its lease. A port that its service holds already stays "connect only". NET12 rests such
a connection as long as its `need` says (at most 15 min) and is not asked without one; STO03 compares what one host
wrote into a share with what the others see.

A database server is asked once it has to be there: after its recipe, or with `existing: true`. Its questions ride in
the second trip, through its own socket as its own administrator; with `database.check` and no root on its host they go
through an SSH forward. DB09 logs in as the application through a forward of every application host, so the server sees
that host's address; passwords stay in this process. DNS10 and DNS11 also ask from this computer, which is no host of
the site.

A waiver (`waive:` of the site file) is bound to check, host and value. It covers that value and better ones until its
day; when the value is worse, or the day is past, the fault stands again and says why. One that names an unknown check
or host, or meets no fault, is refused: it hides a mistake.

Hosts of one role that are not alike (kernel, glibc, release, zone, language, MTU, speed, disks, JDK) are listed below
the verdicts; from three hosts up the odd one is named. The last line says how much of the catalogue was measured.

Measured with `bench/bench_check.py` (whole processes on two cores, medians of 4 rounds) against a bare program that
runs the same scripts and throws the answers away: 20 hosts 5.8 s against 4.7 s (1.22 x), 100 hosts 42.4 s against
40.5 s (1.05 x); 6.6 ms of processor and 0.4 MiB for each further host, two round trips a host.

```
implops check site.yml --diff last          # what is new, cleared, or has another value since then
implops check site.yml --retry-failed       # only what did not pass; opens no deployment
implops check site.yml --replay last        # judge the stored answers with today's thresholds; no host is asked
implops check site.yml --format junit       # also tap, nagios (with the exit codes of its plugins)
```

## Fixing

Below the findings stands a sheet for every owner (`mend:` of the site file, otherwise the owner of the host), for the
network group as a request ready to be sent; the form carries the same. What a machine can mend is declared beside the
checks (`checks/fixes/*.py`; how: `implops/check/fixes.py`), each with a class: *safe* (nothing that runs notices),
*restart*, *reboot*, *customer-owned*, *never* (deleting, moving, formatting).

```
implops check site.yml --fix-script fix.sh  # a script to review: sh fix.sh HOST lists, ... apply [ID], ... undo ID
implops check site.yml --apply              # class safe only, over our own connection, then these ids again
```

A fix sets the running value and the lasting one, keeps a copy of every file it touches below `/var/lib/implops/fixes/`
and leaves an `undo` there that brings files back byte for byte, unless somebody changed them since. A fix that fails is
brought back at once and stops no other. What the kernel silently refuses is caught by the check that follows. Of
several fixes the restart of the host comes last. One that was undone, or cut off in the middle, is made again from the
old state. A stepped clock and a restart cannot be undone; their `undo` says so and fails.

## Checks of your own

- A Python file in `checks/` beside the site file (`implops/check/registry.py` says how), with a fact and a probe of its
  own where the shipped ones do not suffice, its texts in `checks/locale/zh-Hans.toml`. One that raises, or returns what
  is no result, is an error of that check alone, with file and line.
- A pytest file in `checks/testinfra/` (testinfra's `host` fixture), run over the connections that the check holds; its
  tests are `T.FILE.TEST` in records, waivers and `--only`. An assertion is a fault, anything else raised an error.
- What no machine can measure: `attest:` of the site file, answered by `implops check SITE --attest M01=ok --note …`. An
  answer is bound to item, wording and host, and runs out; without one the item is 未检.

## The catalogue

*read by*: probes of `checks/probes/`. *cost*: 0 computed, 1 the one script a host, 2 the second trip, deep only with
`--deep`. *fix*: class of what a machine can do; — means a person.

"""

_COSTS = {"computed": "0", "trip1": "1", "trip2": "2", "deep": "deep"}


def page() -> str:
    """The whole page. Raises KeyError for a check without texts."""
    checks = registry.load(None)
    rows = [
        "| id | name | roles | severity | need / want | read by | cost | 检查项目 | 为什么 | 怎样处理 | fix |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in checks.values():
        words = [texts.say(f"check.{one.id}.{name}", lang="zh-Hans") for name in ("title", "why", "fix")]
        roles = "all" if len(one.roles) == 4 else " ".join(one.roles)
        found = explain.explain(one, checks, None)
        probes = " ".join(dict.fromkeys(fact.probe.removeprefix("checks/probes/") for fact in found.facts))
        cells = [one.id, one.name, roles, one.severity, _limits(found), probes or "—", _COSTS[found.cost], *words,
                 found.risk or "—"]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return f"{_HEAD}{len(checks)} checks.\n\n" + "\n".join(rows) + "\n"


def _limits(found: Explained) -> str:
    rows = []
    for file, role, need, want in found.limits:
        layer = "" if file == "thresholds.yml" else file.removesuffix(".yml")
        where = " ".join(word for word in ("" if role == "*" else role, layer) if word)
        rows.append(f"{where}: {need} / {want}" if where else f"{need} / {want}")
    return "<br>".join(rows) or "—"


if __name__ == "__main__":
    print(page(), end="")
