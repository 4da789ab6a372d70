"""What the application server stands on: Java, entropy, who else serves web pages, what a licence is bound to."""

from __future__ import annotations

import re

from implops.check.registry import check
from implops.facts.network import Network, Ports
from implops.facts.planned import PROCESSES
from implops.facts.software import Software
from implops.facts.system import Kernel, System

# The last update of Java 8 before TLS and time zones of today: 8u161 brought strong cryptography by default.
_JAVA8_UPDATE = 161
_SAME_ARCH = {"x86_64": ("x86_64", "amd64"), "aarch64": ("aarch64", "arm64")}
# Since 5.6 the kernel's random source does not run dry.
_NO_POOL = (5, 6)


@check("APP01", "java", roles=("app",))
def java(case):
    """The declared major, recent enough, of this architecture; and no other one in everybody's way."""
    if case.site.jdk is None:
        return case.skip("no_jdk")
    wanted, software, arch = case.site.jdk.major, case.fact(Software), case.fact(System).arch
    shown = f"{wanted}u{_JAVA8_UPDATE}" if wanted == 8 else str(wanted)
    told = " ".join(
        sorted({f"{one.version}{f' {one.vendor}' if one.vendor else ''}" for one in software.jdks.values()})
    )
    good = {folder for folder, one in software.jdks.items() if one.major == wanted
            and (not one.arch or one.arch in _SAME_ARCH.get(arch, (arch,)))
            and (wanted != 8 or one.update >= _JAVA8_UPDATE)}  # fmt: skip
    if not good:
        planned = case.planned("jdk", str(wanted))
        return case.will_be_set(planned, told or "—", shown) if planned else case.bad(told or "—", shown)
    strange = [home for home in software.java_homes if home and home not in good and not home.startswith("$")]
    if strange:
        return case.bad(strange[-1], " ".join(sorted(good)), warn=True, note="java_home")
    first = software.java
    if first != "-" and not any(first.startswith(f"{folder}/") for folder in good):
        return case.bad(first, shown, warn=True, note="other_java_first")
    return case.good(told, shown)


@check("APP02", "web.existing", roles=("app",), severity="warn")
def web_servers(case):
    """Another web server beside ours: somebody else's, and somebody has to say whose the ports are."""
    ours = {name for one in case.plans("port") if case.post(one) for name in PROCESSES.get(one.value, (one.value,))}
    names = ("nginx", "apache2", "httpd", "java")
    found = sorted({name for one in case.fact(Ports).listeners for name in one.processes if name in names} - ours)
    return case.bad(" ".join(found), "—") if found else case.good("—", "—")


@check("APP03", "entropy", roles=("app",), severity="warn", unit="count")
def entropy(case):
    numbers = tuple(int(one) for one in re.findall(r"\d+", case.fact(System).kernel)[:2])
    if len(numbers) < 2:
        return case.error("garbled", detail=case.fact(System).kernel[:60])
    if numbers >= _NO_POOL:
        return case.skip("no_pool")
    return case.least(case.fact(Kernel).entropy)


@check("APP04", "license.id", roles=("app",), severity="warn", steady=True)
def licence(case):
    """Recorded: licences are often bound to them, and a moved virtual machine gets new ones."""
    macs = [nic.mac for nic in case.fact(Network).nics if nic.name != "lo"]
    return case.info(f"{' '.join(macs)} {case.fact(System).machine_id[:8]}")
