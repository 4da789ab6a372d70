"""Ports and policies that decide whether services can run, and languages."""

from __future__ import annotations

from datetime import UTC, datetime

from implops.check.certificate import read_pair, site_names
from implops.check.limits import Limit
from implops.check.registry import check
from implops.errors import ImplopsError
from implops.facts.base import Unknown
from implops.facts.network import Ports
from implops.facts.planned import PROCESSES
from implops.facts.software import FIREWALLS, Locales, Security, Services
from implops.facts.system import System


@check("SEC01", "selinux", severity="warn", unit="words")
def selinux(case):
    """Now and after the next boot. Enforcing is good only where the booleans that the threshold lists are on."""
    security = case.fact(Security)
    if security.selinux == "-" and security.selinux_config in ("-", "disabled"):
        return case.skip("no_selinux")
    found = f"{security.selinux} / {security.selinux_config}"
    if security.selinux != "Enforcing" and security.selinux_config != "enforcing":
        return case.good(found, "Permissive")
    wanted = list(case.limit.want or [])
    missing = [name for name in wanted if name not in security.booleans]
    if wanted and not missing:
        return case.good(found, " ".join(wanted))
    return case.bad(found, f"+ {' '.join(missing)}" if missing else "Permissive")


@check("SEC02", "firewall", severity="warn", steady=True)
def firewall(case):
    """Recorded only: whether it lets us through is what the flows say."""
    active = case.fact(Services).active
    names = [name for name in FIREWALLS if active.get(name) == "active"]
    rules = case.fact(Security).ask("firewalld")
    if "firewalld" not in names or isinstance(rules, Unknown):
        return case.info(" ".join(names) or "—")
    opened = {word for line in rules.splitlines() if line.strip().startswith("ports:") for word in line.split()[1:]}
    missing = [f"{port}/tcp" for port in _ports(case) if f"{port}/tcp" not in opened]
    return case.info(" ".join(names), note="not_opened" if missing else "", ports=" ".join(missing))


def _declared(case):
    """Port -> roles of this host that listen on it, as the site file says."""
    found = {}
    for role in case.host.roles:
        for port in (case.site.roles[role].listens or []) if role in case.site.roles else []:
            found.setdefault(port, []).append(role)
    return found


def _ports(case):
    return sorted(set(_declared(case)) | {int(one.name) for one in case.plans("port")})


@check("SEC03", "port.free")
def ports(case):
    """Before: free, or held by what a recipe brings. After: it listens where clients can reach it."""
    found = case.fact(Ports)
    planned, declared = {int(one.name): one for one in case.plans("port")}, _declared(case)
    for port in _ports(case):
        claims = [one.recipe for one in case.claims("port", str(port))] or declared.get(port, [])
        if len(claims) > 1:
            yield case.bad(" ".join(claims), "1", target=str(port), note="plan_conflict")
            continue
        listeners = [one for protocol in ("tcp", "udp") for one in found.on(port, protocol)]
        about = planned.get(port)
        expected = PROCESSES.get(about.value, (about.value,)) if about else ()
        holders = sorted({name for one in listeners for name in one.processes or ("?",)})
        after = about is not None and case.post(about)
        # What the vendor's own program calls itself is the vendor's affair ("*").
        strangers = [name for name in holders if name not in expected and not (after and expected == ("*",))]
        wanted = about.value if about and after else "—"
        if strangers:
            yield case.bad(f"{' '.join(strangers)} {listeners[0].address}", wanted, target=str(port), note="port_taken")
        elif after and all(one.only_local for one in listeners):
            told = " ".join(sorted({one.address for one in listeners})) or "—"
            yield case.bad(told, wanted, target=str(port), note="not_listening")
        else:
            yield case.good(" ".join(holders) or "—", wanted, target=str(port))


@check("SEC04", "crypto", severity="warn")
def crypto(case):
    security = case.fact(Security)
    if security.fips:
        return case.bad("FIPS", "DEFAULT")
    found = security.crypto
    return case.bad(found, "DEFAULT") if found not in ("-", "DEFAULT") else case.good("DEFAULT", "DEFAULT")


@check("SEC05", "umask", severity="warn")
def umask(case):
    found = case.fact(Security).umask
    return case.good(found, "022") if found in ("022", "0022", "002") else case.bad(found, "022")


@check("LOC01", "lang", severity="warn")
def lang(case):
    found = case.fact(Locales).lang
    if "utf" in found.lower():
        return case.good(found, "*.UTF-8")
    planned = case.planned("lang", "C.UTF-8")
    return case.will_be_set(planned, found or "—", "*.UTF-8") if planned else case.bad(found or "—", "*.UTF-8")


@check("LOC02", "locale.avail", roles=("db",))
def locale(case):
    # MariaDB brings its collations along; PostgreSQL takes the system's.
    if case.site.database is None or case.site.database.engine != "postgresql":
        return case.skip("no_database")
    name, _, charset = case.site.database.locale.partition(".")
    wanted = f"{name}.{charset.lower().replace('-', '')}" if charset else name
    available = {one.lower().replace("utf-8", "utf8"): one for one in case.fact(Locales).available}
    if wanted.lower() in available:
        return case.good(available[wanted.lower()], wanted)
    planned = case.planned("locale", wanted)
    return case.will_be_set(planned, "—", wanted) if planned else case.bad("—", wanted)


@check("LOC03", "glibc.same", scope="site", roles=("db",))
def same_glibc(case):
    """Text sorts as glibc says: an index of the primary is wrong on a standby with another one."""
    databases = [one for one in case.cases if "db" in one.host.roles]
    if len(databases) < 2:
        for one in databases:
            yield one.host.name, one.skip("one_database")
        return
    first = databases[0].fact(System).glibc
    for one in databases:
        found = one.fact(System).glibc
        yield one.host.name, one.same(found, first)


@check("LOC04", "fonts", roles=("app",), severity="warn", unit="count")
def fonts(case):
    """Printed forms and captcha pictures need Chinese fonts on the application host, when the system draws them."""
    found, planned = case.fact(Locales).fonts, next(iter(case.plans("font")), None)
    if planned and not found:
        return case.will_be_set(planned, found, "≥ 1")
    if case.limit.need is None and case.limit.want is None and not planned:
        return case.info(found)
    return case.least(found, limit=case.limit if case.limit.need or case.limit.want else Limit(None, 1, "default"))


@check("SEC06", "cert", roles=("app",), unit="seconds")
def certificate(case):
    """The files that the site file names, as they lie on this machine: what users' browsers will see."""
    if case.site.web is None or case.site.web.tls is None:
        return [case.skip("no_tls")]
    if case.site.web.tls.generate:
        return [case.skip("tls_generated")]
    names = site_names(case.site, case.host)
    try:
        found = read_pair(case.site.web.tls.cert, case.site.web.tls.key, datetime.now(UTC))
    except ImplopsError as error:
        return [case.bad("—", target="key", note=error.key)]
    if isinstance(found, str):
        return [case.bad("—", target=case.site.web.tls.cert.name, note=found)]
    missing = [name for name in names if not found.covers(name)]
    shown = " ".join(found.names) or "—"
    return [
        case.good("=", "=", target="key") if found.matches else case.bad("≠", "=", target="key", note="cert_other_key"),
        (case.bad if missing else case.good)(shown, " ".join(names), target="SAN"),
        case.least(found.seconds, target="notAfter"),
    ]
