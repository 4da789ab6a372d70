"""Files of the operating system: zone, language, names, mounts, limits of services."""

from __future__ import annotations

import shlex

from implops.check.fixes import Fix, drop_in, fix
from implops.facts.names import fqdns

# Deleting, moving, formatting, stopping somebody's program: no machine does that.
NEVER = ("DSK01", "DSK03", "DSK05", "DSK08", "DSK09", "DSK16", "DSK17", "OS12", "SEC03")
# Those of the recipe os_base: whichever comes later replaces the block of the other.
_BEGIN, _END = "# implops begin", "# implops end"


@fix("TIM05", risk="safe")
def zone(case, found):
    name = case.site.time.zone
    return Fix({"/etc/timezone": f"{name}\n"}, link={"/etc/localtime": f"/usr/share/zoneinfo/{name}"})


@fix("TIM06", risk="customer-owned")
def hardware_clock(case, found):
    """Other systems on the same machine may want the local time."""
    return Fix(edit={"/etc/adjtime": "sed 's/^LOCAL$/UTC/'"})


@fix("TIM01", risk="restart")
def synchronised(case, found):
    text = "".join(f"server {address} iburst\n" for address in case.site.time.ntp)
    # What was off goes off again.
    back = (
        "systemctl -q is-enabled chrony || echo 'systemctl -q disable chrony'; "
        "if systemctl -q is-active chrony; then echo 'systemctl restart chrony'; else echo 'systemctl stop chrony'; fi"
    )
    return Fix({"/etc/chrony/sources.d/implops.sources": text}, back=back,
               now="systemctl -q enable chrony; systemctl restart chrony")  # fmt: skip


@fix("TIM02", risk="customer-owned")
def offset(case, found):
    """A clock that jumps under a running database is for who owns it to time."""
    return Fix(now="chronyc makestep")


@fix("LOC01", risk="safe")
def lang(case, found):
    """The other lines of the file stay; a file that is not there is written."""
    path = "/etc/default/locale"
    filtered = "sed -E '/^[[:space:]]*(export[[:space:]]+)?LANG=/d'; echo LANG=C.UTF-8"
    return Fix(edit={path: filtered}) if found.actual != "—" else Fix({path: "LANG=C.UTF-8\n"})


@fix("LOC02", risk="safe")
def locale(case, found):
    line = f"{case.site.database.locale.replace('utf8', 'UTF-8')} UTF-8"
    filtered = f"sed '/^# implops$/,$d'; printf '%s\\n' '# implops' {shlex.quote(line)}"
    return Fix(
        edit={"/etc/locale.gen": filtered}, saves=("/usr/lib/locale/locale-archive",), now="locale-gen >/dev/null"
    )


@fix("NET10", risk="safe")
def hosts(case, found):
    """Our block first (the first match wins); names of the site and the host's own on 127.0.1.1 leave other lines."""
    site = case.site
    names = {**fqdns(site), **{host.name: host.address for host in site.hosts.values()}}
    rows = {host.address: [name for name, address in names.items() if address == host.address]
            for host in site.hosts.values()}  # fmt: skip
    block = "\n".join([_BEGIN, *(f"{address}\t{' '.join(mine)}" for address, mine in rows.items()), _END])
    # A line keeps the names that are not ours; one that has none left goes.
    program = (
        'BEGIN { n = split(ours, list, " "); for (i = 1; i <= n; i++) ours_too[list[i]] = 1 } '
        "$0 == begin { skip = 1 } skip { if ($0 == end) skip = 0; next } "
        "/^[[:space:]]*#/ || NF < 2 { print; next } "
        '{ kept = ""; cut = 0; for (i = 2; i <= NF; i++) { if (substr($i, 1, 1) == "#") break; '
        'if ($i in ours_too) cut = 1; else kept = kept " " $i } if (!cut) print; else if (kept != "") print $1 kept }'
    )
    given = " ".join(f"-v {name}={shlex.quote(value)}"
                     for name, value in (("ours", " ".join(names)), ("begin", _BEGIN), ("end", _END)))  # fmt: skip
    return Fix(edit={"/etc/hosts": f"printf '%s\\n' {shlex.quote(block)}; awk {given} {shlex.quote(program)}"})


@fix("DSK07", risk="safe")
def persistent(case, found):
    """By UUID, and without stopping the start of the host when the disk is missing."""
    path = shlex.quote(found.target)
    # Of a subvolume or a bound folder the UUID would mount something else there.
    line = (
        f'set -- $(findmnt -no FSROOT,UUID,FSTYPE {path}); [ "$# $1" = "3 /" ] || '
        f'{{ echo "no whole filesystem with a UUID:" {path} >&2; exit 1; }}; cat; '
        f'printf \'UUID=%s %s %s defaults,nofail 0 2\\n\' "$2" {path} "$3"'
    )
    # The line leads to the very device that is mounted there now.
    same = f'[ "$(findmnt --fstab --evaluate -vno SOURCE {path})" = "$(findmnt -vno SOURCE {path})" ]'
    return Fix(edit={"/etc/fstab": line}, now=f"systemctl daemon-reload; {same}")


@fix("SEC05", risk="customer-owned")
def umask(case, found):
    """A tightened umask is often the customer's own hardening."""
    return Fix(edit={"/etc/login.defs": "sed -E 's/^[[:space:]]*UMASK[[:space:]].*/UMASK\\t\\t022/'"})


@fix("OS07", risk="reboot")
def pending(case, found):
    # A moment later: what was done is told and noted before the host goes down.
    return Fix(now="systemd-run -q --on-active=3 systemctl reboot")


@fix("OS08", risk="customer-owned")
def hostname(case, found):
    return Fix(now=f"hostnamectl set-hostname {shlex.quote(case.host.name)}", saves=("/etc/hostname",),
               back="printf 'hostname \"%s\"\\n' \"$(uname -n)\"")  # fmt: skip


@fix("ACC06", risk="restart")
def login_speed(case, found):
    text = "UseDNS no\nGSSAPIAuthentication no\n"
    again = "sshd -t; systemctl reload ssh"
    return Fix({"/etc/ssh/sshd_config.d/10-implops-ACC06.conf": text}, now=again, back="echo 'systemctl reload ssh'")


@fix("LIM01", risk="restart")
def service_files(case, found):
    return drop_in(found.target, {"LimitNOFILE": case.limit.want or case.limit.need}, "LIM01")


@fix("LIM02", risk="restart")
def service_tasks(case, found):
    value = case.limit.want or case.limit.need
    return drop_in(found.target, {"TasksMax": value, "LimitNPROC": value}, "LIM02")
