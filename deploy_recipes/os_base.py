"""What every host of the site has in common: zone, language, names of the other hosts, time, kernel, limits."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from implops.deploy import probes
from implops.errors import InputError, StepError
from implops.site import Host, Site

META = {"id": "os_base", "roles": "*", "needs": (), "timeout": 900}

SYSCTL, LIMITS_D = "/etc/sysctl.d/60-implops.conf", "/etc/security/limits.d/60-implops.conf"
CHRONY, TIMESYNCD = "/etc/chrony/sources.d/implops.sources", "/etc/systemd/timesyncd.conf.d/implops.conf"
BEGIN, END = "# implops begin", "# implops end"
# Accept backlog of a busy pool; keepalive below the hour after which firewalls forget a quiet connection; a database
# is not swapped out for file cache.
SERVER = {"net.core.somaxconn": "4096", "net.ipv4.tcp_keepalive_time": "600"}
DATABASE = {"vm.swappiness": "10"}
# Of the accounts that the site's services run as; units carry the same for what systemd starts.
LIMITS = {"nofile": 65535, "nproc": 65535}
_PUBLIC = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=* ?[\w@.+ -]*")
ACCOUNTS = {"postgresql": "postgres", "mariadb": "mysql"}


def _locale(site: Site, host: Host) -> str:
    """The locale that the database asks for, where the system does not have it built in; else empty."""
    database = site.database
    if database is None or database.engine != "postgresql" or "db" not in host.roles:
        return ""
    if database.locale.startswith("C."):
        return ""
    return database.locale.split(".")[0]


def _sysctl(host: Host) -> dict[str, str]:
    wanted = dict(SERVER) if {"db", "app"} & set(host.roles) else {}
    return wanted | (DATABASE if "db" in host.roles else {})


def _accounts(site: Site, host: Host) -> list[str]:
    found = [ACCOUNTS[site.database.engine]] if site.database and "db" in host.roles else []
    return [*found, *(["tomcat"] if site.web and site.web.tomcat and "app" in host.roles else [])]


def packages(site: Site, host: Host) -> list[str]:
    return ["tzdata", "procps", *(["locales"] if _locale(site, host) else [])]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    locale = _locale(site, host)
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("zone", site.time.zone, ""),
        ("lang", "C.UTF-8", ""),
        *([("locale", f"{locale}.utf8", "")] if locale else []),
        ("hosts", "/etc/hosts", ""),
        ("timesync", " ".join(site.time.ntp), ""),
        *(("sysctl", name, value) for name, value in _sysctl(host).items()),
        *(("user", name, "") for name in site.accounts_on(host)),
        *(("limit", name, str(value)) for name, value in (LIMITS if _accounts(site, host) else {}).items()),
    ]


def params(site: Site, host: Host) -> dict[str, Any]:
    domain = f".{site.dns.zone}" if site.dns else ""
    return {
        "zone": site.time.zone,
        "locale": _locale(site, host),
        "hosts": [[one.address, *([one.name + domain] if domain else []), one.name] for one in site.hosts.values()],
        # A host that is itself a time server of the site keeps the configuration that it has.
        "ntp": [] if host.address in site.time.ntp else site.time.ntp,
        "sysctl": _sysctl(host),
        "accounts": _accounts(site, host),
        "people": [
            [name, one.shell, one.groups, _key(one.key) if one.key else ""]
            for name, one in site.accounts_on(host).items()
        ],
    }


def files(site: Site, host: Host) -> dict[str, str | tuple[str, ...]]:
    found: dict[str, str | tuple[str, ...]] = {"zone": "/etc/timezone", "hosts": "/etc/hosts"}
    if host.address not in site.time.ntp:
        found["ntp"] = (CHRONY, TIMESYNCD)
    if _sysctl(host):
        found["sysctl"] = SYSCTL
    if _accounts(site, host):
        found["accounts"] = LIMITS_D
    return found


def _key(path: Path) -> str:
    """One public key of OpenSSH, as its file has it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError("recipe.os_base.no_key", path=path) from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if len(keys) != 1 or not _PUBLIC.fullmatch(keys[0]):
        raise InputError("recipe.os_base.no_key", path=path)
    return keys[0]


def _others(text: str) -> str:
    """/etc/hosts without our block, with one end of line."""
    return re.sub(rf"^{BEGIN}\n.*?^{END}\n", "", f"{text}\n", flags=re.DOTALL | re.MULTILINE).rstrip("\n") + "\n"


def hosts_file(text: str, own: list[str], entries: list[list[str]]) -> str:
    """/etc/hosts with our block first (the first match wins) and without the host's own name on 127.0.1.1."""
    kept = []
    for line in _others(text).splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        left = [name for name in names if name not in own]
        if address != "127.0.1.1" or left == names:
            kept.append(line)
        elif left:
            kept.append(f"{address}\t{' '.join(left)}")
    block = [BEGIN, *(f"{entry[0]}\t{' '.join(entry[1:])}" for entry in entries), END]
    return "\n".join([*block, *kept]) + "\n"


def without_block(text: str, name: str) -> str:
    """/etc/hosts without our block; the host still knows its own name."""
    text = _others(text)
    known = {one for line in text.splitlines() for one in line.partition("#")[0].split()[1:]}
    return text if name in known else f"{text}127.0.1.1\t{name}\n"


def other_sources(text: str) -> set[str]:
    """Servers that chrony's configuration (all files, concatenated) names already."""
    return {match[1] for match in re.finditer(r"^\s*(?:server|peer|pool)\s+(\S+)", text, re.MULTILINE)}


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.os_base.packages")
    ops.links([("/etc/localtime", f"/usr/share/zoneinfo/{d.zone}")], name="recipe.os_base.zone")
    ops.write([ops.File("/etc/timezone", f"{d.zone}\n")], name="recipe.os_base.timezone")
    ops.bounded_shell(
        "echo LANG=C.UTF-8 > /etc/default/locale",
        unless="grep -Eiqs '^LANG=\"?[^\"]*utf-?8' /etc/default/locale",
        name="recipe.os_base.lang",
    )
    if d.locale:
        line = f"{d.locale}.UTF-8 UTF-8"
        ops.bounded_shell(
            f"grep -qxF '{line}' /etc/locale.gen || echo '{line}' >> /etc/locale.gen; locale-gen >/dev/null && sync",
            120,
            unless=f"locale -a | grep -qx '{d.locale}.utf8'",
            name="recipe.os_base.locale",
        )
    own = next(entry for entry in d.hosts if entry[-1] == host.name)[1:]
    text = hosts_file(ops.fact("cat /etc/hosts 2>/dev/null; true"), own, d.hosts)
    ops.write([ops.File("/etc/hosts", text)], name="recipe.os_base.hosts")
    _kernel(d)
    if d.accounts:
        rows = [f"{account} - {name} {value}\n" for account in d.accounts for name, value in LIMITS.items()]
        ops.write([ops.File(LIMITS_D, "".join(rows))], name="recipe.os_base.limits")
    for person in d.people:
        _account(*person)
    if d.ntp:
        _time(host.name, d.ntp)


def _account(name: str, shell: str, groups: list[str], key: str) -> None:
    from implops.deploy import ops

    # An account of the system or of a service (below 1000 on Debian) is nobody's to log in with.
    ops.bounded_shell(
        f"if getent passwd {name} >/dev/null; then echo '{name}: UID < 1000' >&2; exit 1; fi; "
        f"useradd --create-home --user-group --shell {shell} -p '*' {name}",
        unless=f'[ "$(id -u {name} 2>/dev/null || echo 0)" -ge 1000 ]',
        name="recipe.os_base.account",
    )
    if groups:
        has = " && ".join(f"id -nG {name} | tr ' ' '\\n' | grep -qx {one}" for one in groups)
        ops.bounded_shell(f"usermod -aG {','.join(groups)} {name}", unless=has, name="recipe.os_base.account_groups")
    if key:
        # As the account itself: in its home a link may lead anywhere. Beside the keys that are there, each on its line.
        line, file = shlex.quote(key), ".ssh/authorized_keys"
        whole = f'[ ! -s {file} ] || [ -z "$(tail -c 1 {file})" ] || echo >> {file}'
        add = f"umask 077; cd && mkdir -p .ssh && {{ {whole}; }} && printf '%s\\n' {line} >> {file} && sync {file}"
        ops.bounded_shell(
            f"runuser -l {name} -s /bin/sh -c {shlex.quote(add)}",
            unless=f"grep -qxsF {line} ~{name}/{file}",
            name="recipe.os_base.account_key",
        )


def _kernel(d: Any) -> None:
    from implops.deploy import ops

    if not d.sysctl:
        return
    path = SYSCTL
    text = "".join(f"{name} = {value}\n" for name, value in d.sysctl.items())
    ops.write([ops.File(path, text)], name="recipe.os_base.sysctl")
    differs = " || ".join(f'[ "$(sysctl -n {name})" != {value} ]' for name, value in d.sysctl.items())
    # A container may not set what belongs to the machine's kernel (vm.*): the file is there, the check says the rest.
    inside = "systemd-detect-virt -cq"
    settable = " || ".join(
        f'{{ [ "$(sysctl -n {name})" != {value} ] && [ -w /proc/sys/{name.replace(".", "/")} ]; }}'
        for name, value in d.sysctl.items()
    )
    ops.bounded_shell(
        f"sysctl -q -p {path} || {inside}",
        unless=f"if {inside}; then ! {{ {settable}; }}; else ! {{ {differs}; }}; fi",
        name="recipe.os_base.sysctl_now",
    )


def _time(name: str, servers: list[str]) -> None:
    from implops.deploy import ops

    installed = "dpkg-query -W -f='${db:Status-Abbrev}' $p 2>/dev/null | grep -q '^.i'"
    asked = f"for p in chrony systemd-timesyncd; do {installed} && echo $p; done; true"
    there = ops.fact(asked).split()
    if "chrony" in there:
        # Debian's own pool is on the Internet: the declared servers shall be the only reference.
        ops.bounded_shell(
            "sed -i -E 's/^(pool [0-9]\\.debian\\.pool\\.ntp\\.org.*)/# \\1/' /etc/chrony/chrony.conf && "
            "sync /etc/chrony/chrony.conf",
            unless="! grep -Eq '^pool [0-9]\\.debian\\.pool\\.ntp\\.org' /etc/chrony/chrony.conf",
            name="recipe.os_base.time",
        )
        path = CHRONY
        found = ops.fact(
            "cd /etc/chrony && cat chrony.conf conf.d/*.conf "
            "$(ls sources.d/*.sources 2>/dev/null | grep -v /implops) 2>/dev/null; true"
        )
        missing = [one for one in servers if one not in other_sources(found)]
        text = "".join(f"server {one} iburst\n" for one in missing)
        ops.write([ops.File(path, text)], name="recipe.os_base.time_servers")
        files, unit = [path, "/etc/chrony/chrony.conf"], "chrony.service"
    elif there:
        path = TIMESYNCD
        text = f"[Time]\nNTP={' '.join(servers)}\nFallbackNTP=\n"
        ops.write([ops.File(path, text)], name="recipe.os_base.time_servers")
        files, unit = [path], "systemd-timesyncd.service"
    else:
        raise StepError("recipe.os_base.no_time", host=name)
    ops.service([unit], name="recipe.os_base.time_enabled")
    ops.restart_if_stale(unit, files, name="recipe.os_base.time_restart")


def verify(site: Site, host: Host) -> list[probes.Probe]:
    wanted = f"$(readlink -f /usr/share/zoneinfo/{site.time.zone})"
    zone = f'[ -e /etc/localtime ] && [ "$(readlink -f /etc/localtime)" = "{wanted}" ]'
    found = [
        probes.shell(f"zone:{site.time.zone}", zone),
        probes.shell(f"hosts:{host.name}", f"getent ahostsv4 {host.name} | grep -q '^{host.address} '"),
    ]
    found += [probes.shell(f"account:{name}", f"getent passwd {name} >/dev/null") for name in site.accounts_on(host)]
    locale = _locale(site, host)
    if locale:
        found.append(probes.shell(f"locale:{locale}.utf8", f"locale -a | grep -qx {locale}.utf8"))
    if host.address not in site.time.ntp:
        running = "systemctl is-active -q chrony || systemctl is-active -q systemd-timesyncd"
        told = probes.since("chrony", "systemd-timesyncd")
        found.append(probes.shell("timesync", f"{{ {running}; }} && {told}", stable_s=1))
    return found


def undo() -> None:
    """Our files and names go. The zone stays, and what the kernel was told until the host is started anew."""
    from pyinfra import host

    from implops.deploy import ops

    text = without_block(ops.fact("cat /etc/hosts 2>/dev/null; true"), host.name)
    ops.write([ops.File("/etc/hosts", text)], name="recipe.os_base.undo_hosts")
    ops.absent([SYSCTL, LIMITS_D], name="recipe.os_base.undo_files")
    conf = "/etc/chrony/chrony.conf"
    pool = "(pool [0-9]\\.debian\\.pool\\.ntp\\.org.*)"
    notes = f"{ops.APPLIED}/chrony.service {ops.APPLIED}/systemd-timesyncd.service"
    ops.bounded_shell(
        f"rm -f {CHRONY} {TIMESYNCD} {notes}; [ ! -e {conf} ] || sed -i -E 's/^# {pool}/\\1/' {conf}; sync; "
        "for one in chrony systemd-timesyncd; do ! systemctl is-active -q $one || systemctl restart $one; done",
        unless=f"[ ! -e {CHRONY} ] && [ ! -e {TIMESYNCD} ]",
        name="recipe.os_base.undo_time",
    )
