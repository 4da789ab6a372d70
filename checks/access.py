"""Reaching the host: login, host key, sudo, a quiet shell, the right machine."""

from __future__ import annotations

from implops.check.registry import check
from implops.facts.network import Network
from implops.facts.software import Security
from implops.facts.system import System

# A password or account that ends within the project (requirement: more than 90 days, our own figure).
_SOON_DAYS = 90


@check("ACC02", "ssh.auth")
def login(case):
    return case.good(case.site.ssh.user)


@check("ACC03", "ssh.hostkey")
def host_key(case):
    # The connection refuses every key that is not pinned; here it stands open.
    return case.good("✓")


@check("ACC04", "sudo")
def sudo(case):
    if not case.site.ssh.sudo:
        return case.same(str(case.fact(System).uid), "0")
    if case.seen.sudo and case.fact(System).uid == 0:
        return case.good("root", "root")
    return case.bad(case.site.ssh.user, "root", note="no_sudo", user=case.site.ssh.user)


@check("ACC05", "shell.clean", severity="warn")
def shell(case):
    found = f"{case.seen.noise} B"
    return case.bad(found, "0 B") if case.seen.noise else case.good(found, "0 B")


@check("ACC06", "ssh.rtt", severity="warn", unit="ms", ceiling=True)
def speed(case):
    return case.most(case.seen.login_ms)


@check("ACC07", "host.ip")
def address(case):
    addresses = case.fact(Network).addresses
    if case.host.address in addresses:
        return case.good(f"{case.host.address} {addresses[case.host.address]}", case.host.address)
    return case.bad(" ".join(addresses) or "—", case.host.address)


@check("ACC08", "host.unique", scope="site")
def unique(case):
    """Cloned machines share what must be each one's own."""

    def marks(one):
        nics = [nic for nic in one.fact(Network).nics if nic.name != "lo" and nic.mac.strip("0:")]
        return {("machine-id", one.fact(System).machine_id), *(("MAC", nic.mac) for nic in nics)}

    found, failed = case.measured(marks)
    yield from failed
    seen = {}
    for name, mine in found.items():
        for mark in mine:
            seen.setdefault(mark, []).append(name)
    for one in case.cases:
        if one.host.name not in found:
            continue
        mine = found[one.host.name]
        twins = {(mark[0], name) for mark in mine for name in seen[mark] if name != one.host.name}
        if twins:
            yield one.host.name, one.bad(" ".join(sorted(f"{what}={name}" for what, name in twins)), "≠")
        else:
            yield one.host.name, one.good(one.fact(System).machine_id[:8], "≠")


@check("ACC09", "user.expiry", severity="warn")
def expiry(case):
    """Of the account that deploys, and of those that services run as: when it ends, they end."""
    accounts = case.fact(Security).expiry
    wanted = [case.site.ssh.user, *_service_users(case)]
    ends = {name: accounts[name].days for name in wanted if name in accounts and accounts[name].days is not None}
    shown = f"> {_SOON_DAYS} d"
    if not ends:
        return case.good("∞", shown)
    name = min(ends, key=lambda one: ends[one])
    told = f"{ends[name]} d" if name == case.site.ssh.user else f"{name} {ends[name]} d"
    return case.good(told, shown) if ends[name] > _SOON_DAYS else case.bad(told, shown)


def _service_users(case):
    return list(dict.fromkeys([*(one.name for one in case.plans("user")), *_SERVICE_USERS]))


@check("ACC01", "ssh.reach", unit="ms", ceiling=True)
def reach(case):
    """A host that answers nothing is absent; here stands how long login took, against the limit of a dead line."""
    return case.most(case.seen.login_ms)


# Accounts that services use on several hosts; the same name must be the same number where files are carried across.
_SERVICE_USERS = ("postgres", "tomcat", "www-data", "bind", "implops-backup")


@check("ACC10", "uid.same", scope="site")
def same_uid(case):
    """A fault where files are shared over NFS, which knows only numbers; elsewhere worth knowing."""
    users, failed = case.measured(lambda one: one.fact(Security).users)
    yield from failed
    shared = any(set(mount.fs) & {"nfs", "nfs4"} for spec in case.site.roles.values() for mount in spec.mounts.values())
    for one in case.cases:
        mine = users.get(one.host.name, {})
        for user in _service_users(one):
            others = {name: found[user] for name, found in users.items() if user in found and name != one.host.name}
            if user in mine and others:
                wrong = " ".join(f"{name}={uid}" for name, uid in others.items() if uid != mine[user])
                shown = f"{user} {mine[user]}"
                yield (
                    one.host.name,
                    one.bad(f"{shown} ≠ {wrong}", "=", warn=not shared) if wrong else one.good(shown, "="),
                )
