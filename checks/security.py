"""Ports and policies that decide whether services can run, and languages."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.network import Ports
from implops.facts.software import FIREWALLS, Locales, Security, Services

# Processes behind the accounts and names that recipes declare for a port.
_NAMES = {"postgres": ("postgres",), "tomcat": ("java",), "nginx": ("nginx",), "named": ("named",)}


@check("SEC01", "selinux", severity="warn")
def selinux(case):
    security = case.fact(Security)
    if security.selinux == "-":
        return case.skip("no_selinux")
    found = f"{security.selinux} / {security.selinux_config}"
    return case.bad(found, "Permissive") if security.selinux == "Enforcing" else case.good(found, "Permissive")


@check("SEC02", "firewall", severity="warn")
def firewall(case):
    """Recorded only: whether it lets us through is what the flows say."""
    active = case.fact(Services).active
    return case.info(" ".join(name for name in FIREWALLS if active.get(name) == "active") or "—")


@check("SEC03", "port.free")
def ports(case):
    """Before: free, or held by what a recipe brings. After: it listens where clients can reach it."""
    found = case.fact(Ports)
    planned = {int(one.name): one for one in case.plans("port")}
    declared = {port for role in case.host.roles if role in case.site.roles
                for port in case.site.roles[role].listens or []}  # fmt: skip
    for port in sorted(declared | set(planned)):
        listeners = [one for protocol in ("tcp", "udp") for one in found.on(port, protocol)]
        about = planned.get(port)
        expected = _NAMES.get(about.value, (about.value,)) if about else ()
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


@check("LOC04", "fonts", roles=("app",), severity="warn")
def fonts(case):
    """Printed forms and captcha pictures need Chinese fonts on the application host, when the system draws them."""
    return case.info(case.fact(Locales).fonts)


@check("APP02", "web.existing", roles=("app",), severity="warn")
def web_servers(case):
    """Another web server beside ours: somebody else's, and somebody has to say whose the ports are."""
    ours = {name for one in case.plans("port") if case.post(one) for name in _NAMES.get(one.value, (one.value,))}
    names = ("nginx", "apache2", "httpd", "java")
    found = sorted({name for one in case.fact(Ports).listeners for name in one.processes if name in names} - ours)
    return case.bad(" ".join(found), "—") if found else case.good("—", "—")
