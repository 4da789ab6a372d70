"""The operating system: release, architecture, kernel, libc, init, tools, what is left from earlier."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from implops.check.registry import check
from implops.facts.deep import Repositories
from implops.facts.planned import PROCESSES
from implops.facts.settings import Running
from implops.facts.software import TOOLS, Services, Software, families
from implops.facts.system import CONTAINERS, System

ARCH = "x86_64"
# What probes and recipes cannot do without; the rest of TOOLS is wanted.
NEEDED = ("awk", "sed", "grep", "tar", "gzip", "sha256sum", "find", "flock", "systemctl", "ip", "apt-get", "dpkg")
# Just booted: services may still be coming up, and what happened before is not in the counters (our own figure).
_FRESH_SECONDS = 600
# Agents that scan, lock or kill: their owners have to know the product's folders. The kernel keeps 15 letters.
_AGENTS = (
    "clamd", "ds_agent", "ds_am", "falcon-sensor", "sentinelone-age", "sentinelone", "wdavdaemon", "mdatp", "kesl",
    "savd", "sav-protect", "titanagent", "qaxsafe", "360entclient", "edr_agent", "sfavsvc", "safedog", "sdsvrd",
    "AliYunDun", "AliYunDunMonito", "AliSecGuard", "YDService", "YDLive", "hostguard", "hostwatch", "cloudhelper",
    "ossec-agentd", "wazuh-agentd", "auditbeat", "osqueryd", "bpcd", "nbdisco", "vnetd", "dsmc", "dsmcad", "cvd",
    "ClMgrS", "veeamagent", "veeamservice", "veeamdeployment", "bareos-fd", "bacula-fd",
)  # fmt: skip
# Kernels that lose data, by the beginning of their release: Debian 12.3's first one (6.1.64) corrupts ext4 under
# direct writing (Debian bug 1057843).
_BAD_KERNELS = {"6.1.0-14-": "ext4"}
# Names of processes that an earlier installation would leave running.
_LEFT_RUNNING = {"postgres", "mariadbd", "mysqld", "nginx", "named"}


def _numbers(text):
    return tuple(int(one) for one in re.findall(r"\d+", text)[:2])


@check("OS01", "os.supported", unit="words")
def supported(case):
    about = case.fact(System).os
    found = f"{about.get('ID', '?')} {about.get('VERSION_ID', '?')}"
    listed = list(case.limit.need or [])
    shown = " / ".join(listed)
    if found in listed:
        return case.good(about.get("PRETTY_NAME", found), shown)
    return case.bad(about.get("PRETTY_NAME", found), shown)


@check("OS02", "os.arch")
def arch(case):
    return case.same(case.fact(System).arch, ARCH, source="default")


@check("OS03", "os.kernel", unit="words")
def kernel(case):
    found = case.fact(System).kernel
    for release, why in _BAD_KERNELS.items():
        if found.startswith(release):
            return case.bad(found, f"≠ {release}", note="bad_kernel", why=why)
    return _version(case, found)


@check("OS04", "os.libc", unit="words")
def libc(case):
    return _version(case, case.fact(System).glibc)


def _version(case, text):
    numbers = _numbers(text)
    if len(numbers) < 2:
        return case.error("garbled", detail=text[:60])
    need, want = (one and _numbers(str(one)) for one in (case.limit.need, case.limit.want))
    shown = " / ".join(f"≥ {one}" for one in (case.limit.need, case.limit.want) if one)
    if need and numbers < need:
        return case.bad(text, shown)
    if want and numbers < want:
        return case.bad(text, shown, warn=True)
    return case.good(text, shown)


@check("OS05", "os.init")
def init(case):
    return case.same(case.fact(System).init, "systemd", source="default")


@check("OS06", "os.virt", severity="warn")
def virt(case):
    found = case.fact(System).virt
    return case.bad(found, "—") if found in CONTAINERS else case.good(found, "—")


@check("OS07", "os.reboot", severity="warn")
def reboot(case):
    system = case.fact(System)
    if system.reboot:
        return case.bad("reboot-required", "—")
    found = f"{system.uptime // 60} min"
    # A container's uptime is the machine's.
    fresh = system.uptime < _FRESH_SECONDS and system.virt not in CONTAINERS
    return case.bad(found, f"≥ {_FRESH_SECONDS // 60} min") if fresh else case.good(found, "—")


@check("OS08", "os.hostname")
def hostname(case):
    name = case.fact(System).hostname
    label = name.split(".")[0]
    if label in ("localhost", "") or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label, re.IGNORECASE):
        return case.bad(name, case.host.name)
    twins = [one for one in case.once(_names)[name] if one != case.host.name]
    return case.bad(name, case.host.name, note="same_name", hosts=" ".join(twins)) if twins else case.good(name)


def _names(scene):
    """What hosts call themselves -> those hosts."""
    found = {}
    for host, seen in scene.seen.items():
        fact = seen.fact(System)
        name = fact.ask("hostname") if isinstance(fact, System) else None
        if isinstance(name, str):
            found.setdefault(name, []).append(host)
    return found


@check("OS09", "os.cmds")
def commands(case):
    tools = case.fact(Software).tools
    missing = [name for name in TOOLS if not tools.get(name)]
    needed = [name for name in missing if name in NEEDED]
    if missing:
        return case.bad(" ".join(missing), "—", warn=not needed, note="tools_missing")
    return case.good(f"{len(tools)}/{len(TOOLS)}", f"{len(TOOLS)}")


@check("OS11", "os.dmesg", severity="warn")
def complaints(case):
    found = case.fact(System).complaints
    if not found:
        return case.good("0", "0")
    return case.bad(len(found), "0", note="kernel_says", line=found[-1].strip()[:120])


@check("OS12", "os.leftover")
def leftover(case):
    """What an earlier installation left: packages of planned servers by any name, units of ours, their processes."""
    if case.deployed:
        return case.skip("deployed_here")
    software, files = case.fact(Software), case.fact(Services).files
    patterns = families(case.plans("port"))
    found = [name for name in software.packages if any(fnmatchcase(name, one) for one in patterns)]
    names = {one.name.partition("@")[0] for one in case.plans("service")} | {"implops-backup", "implops-drill"}
    found += [file for file in files if file.rpartition(".")[0].partition("@")[0] in names]
    served = {name for one in case.plans("port") for name in PROCESSES.get(one.value, ())} & _LEFT_RUNNING
    found += sorted(served & set(case.fact(Running).processes))
    shown = " ".join(dict.fromkeys(found))
    if not found:
        return case.good("—", "—")
    if case.host.existing:
        return case.info(shown, note="known_existing")
    if any(case.left(one) for one in case.plans("package")):
        return case.info(shown, note="undone")
    return case.bad(shown, "—", note="leftover")


@check("OS13", "os.agents", severity="warn", steady=True)
def agents(case):
    """Recorded: whoever owns them has to leave the product's folders alone."""
    found = sorted(set(_AGENTS) & set(case.fact(Running).processes))
    return case.info(" ".join(found) or "—", note="agents" if found else "")


@check("OS10", "pkg.repo", severity="warn", deep=True)
def repositories(case):
    """The bundle brings what recipes install; a source that is named and dead still stops whoever uses apt later."""
    sources = case.fact(Repositories).sources
    if not sources:
        return case.skip("bundle_brings")
    good = [uri for uri, state in sources.items() if state == "good"]
    dead = [uri for uri, state in sources.items() if state == "dead"]
    if good and not dead:
        return case.good(f"{len(good)}/{len(sources)}", "≥ 1")
    if not dead:
        return case.skip("only_media")
    return case.bad(f"− {' '.join(dead)}"[:200], "≥ 1", note="dead_source")
