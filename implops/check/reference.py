"""Prints docs/checks.md from the kit: every check with roles, thresholds and texts. ``make docs`` writes the page."""

from __future__ import annotations

from typing import Any

from implops import kit, texts
from implops.check import registry
from implops.check.registry import Check
from implops.strict_yaml import read

_HEAD = """# Checks

Made by `make docs` from `checks/`; a test holds it to the code. `implops check SITE --explain ID` prints the same for
one check, with the thresholds of that site and the layer that set each.

**need** is demanded (beyond it: fail), **want** is recommended (beyond it: warn). The tool's own thresholds stand in
`checks/thresholds.yml`; a profile (`checks/profiles/NAME.yml`) replaces what it names, the site file wins over both
(`roles.ROLE.checks`, `memory`, `cpus`, `mounts`). Figures of sizes, times and shares are our own proposals.

A check of severity *fail* that could not be measured blocks a deployment like a fault; one of severity *warn* never
blocks. A host that does not answer is absent (未到位) in all its checks. What a planned recipe will set is information
before the deployment and demanded after it.

How it works: one POSIX shell script a host in one trip with one sudo (`checks/probes/*.sh`), a second trip for what the
host sees of the others. Scripts write nothing on the target. Facts are typed (`implops/facts/`); what could not be read
is Unknown with its reason, and a check that meets it becomes an error, never a pass.

**reads** names the sections of a host's answer (`checks/probes/SECTION.sh`). With `--deep` come tests that load a host
or take long: disks, bandwidth, proof of a path. Their cost is printed first and capped; a host that is busy (CPU04) or
runs a database is left alone unless `--force-io` is given. Without `--deep` they are skipped, in one line.

A waiver (`waive:` of the site file) is bound to check, host and value. It covers that value and better ones until its
day; when the value is worse, or the day is past, the fault stands again and says why. One that names an unknown check
or host, or meets no fault, is refused: it hides a mistake.

Hosts of one role that are not alike (kernel, glibc, release, zone, language, MTU, speed, disks, JDK) are listed below
the verdicts; from three hosts up the odd one is named. The last line says how much of the catalogue was measured.

Measured with `make bench-check` (whole processes, 20 lab hosts on two cores, medians of 7 rounds): 3.6 s against 2.8 s
for a bare program that runs the same scripts and throws the answers away (1.27 x), two round trips a host.

```
implops check site.yml --diff last          # what is new, cleared, or has another value since then
implops check site.yml --retry-failed       # only what did not pass; opens no deployment
implops check site.yml --replay last        # judge the stored answers with today's thresholds; no host is asked
implops check site.yml --format junit       # also tap, nagios (with the exit codes of its plugins)
```

A check of your own: a Python file in `checks/` beside the site file (`implops/check/registry.py` says how); its texts
in `checks/locale/zh-Hans.toml`.

"""


def page() -> str:
    """The whole page. Raises KeyError for a check without texts."""
    checks = registry.load(None)
    layers = {
        "default": read(kit.files("checks", None, "thresholds.yml")["thresholds.yml"])[0],
        "small": read(kit.files("checks/profiles", None, "small.yml")["small.yml"])[0]["thresholds"],
    }
    rows = [
        "| id | name | roles | severity | reads | need / want | 检查项目 | 为什么 | 怎样处理 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in checks.values():
        words = [texts.say(f"check.{one.id}.{name}", lang="zh-Hans") for name in ("title", "why", "fix")]
        roles = "all" if len(one.roles) == 4 else " ".join(one.roles)
        cells = [one.id, one.name, roles, one.severity, _reads(one), _limits(one, layers), *words]
        rows.append(f"| {' | '.join(cells)} |")
    return f"{_HEAD}{len(checks)} checks.\n\n" + "\n".join(rows) + "\n"


def _reads(check: Check) -> str:
    """The sections of the answer that it looks at; nothing of a host for what the site file alone decides."""
    sections = " ".join(sorted(kind.section for kind in registry.reads(check))) or "—"
    return f"{sections} (`--deep`)" if check.deep else sections


def _limits(check: Check, layers: dict[str, dict[str, Any]]) -> str:
    found = []
    for layer, values in layers.items():
        for role, given in values.get(check.id, {}).items():
            bounds = " / ".join(_shown(given.get(name)) for name in ("need", "want"))
            where = " ".join(
                word for word in ("" if role == "*" else role, "" if layer == "default" else layer) if word
            )
            found.append(f"{where}: {bounds}" if where else bounds)
    return "<br>".join(found) or "—"


def _shown(value: object) -> str:
    if value is None:
        return "—"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    print(page(), end="")
