"""nginx in front of the business system: the one port that users reach, with TLS and several application hosts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from implops import certificates
from implops.deploy import probes
from implops.site import Host, Site

META = {"id": "nginx", "roles": ("app",), "needs": ("os_base",), "timeout": 600}

UNIT, ETC = "nginx.service", "/etc/nginx"
CERT, KEY = f"{ETC}/implops.pem", f"{ETC}/implops.key"
UPSTREAM, PLACE = f"{ETC}/implops-upstream.conf", f"{ETC}/sites-available/implops"


def wanted(site: Site, host: Host) -> bool:
    return site.web is not None


def packages(site: Site, host: Host) -> list[str]:
    return ["nginx-light"]


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.web
    return [
        *(("package", name, "") for name in packages(site, host)),
        ("user", "www-data", ""),
        ("port", str(site.web.port), "nginx"),
        *([("port", str(site.web.tls_port), "nginx")] if site.web.tls else []),
        ("service", "nginx", ""),
    ]


def front(site: Site, host: Host) -> bool:
    """Whether users' names point to this host: it shares their requests out to all application hosts."""
    named = set(site.dns.names.values()) if site.dns else set()
    apps = [one.name for one in site.with_role("app")]
    return host.name in named or (not named & set(apps) and host.name == apps[0])


def backends(site: Site, host: Host) -> list[dict[str, Any]]:
    """The servers behind this proxy, its own first. Only the front shares out; the rest fall back on the others."""
    apps = sorted(site.with_role("app"), key=lambda one: one.name != host.name)
    spare = not front(site, host)
    return [{"address": one.address, "spare": spare and one.name != host.name} for one in apps]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.web
    aliases = [name for name, target in site.dns.names.items() if target == host.name] if site.dns else []
    names = [f"{name}.{site.dns.zone}" for name in [*aliases, host.name]] if site.dns else []
    certificate = certificates.of(site) if site.web.tls else None
    return {
        "address": host.address,
        "port": site.web.port,
        "tls_port": site.web.tls_port if certificate else 0,
        "cert": certificate.chain if certificate else "",
        "key": certificate.key if certificate else "",
        "backend": site.backend_port,
        "backends": backends(site, host),
        "names": [*names, host.name, host.address],
        "home": site.system.name if site.system and site.system.kind == "war" else "",
    }


def files(site: Site, host: Host) -> dict[str, str]:
    assert site.web
    found = dict.fromkeys(("address", "port", "tls_port", "names", "home"), PLACE)
    found |= dict.fromkeys(("backend", "backends"), UPSTREAM)
    return found | ({"cert": CERT, "key": KEY} if site.web.tls else {})


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    ops.install(d.packages, name="recipe.nginx.packages")
    link = f"{ETC}/sites-enabled/implops"
    values = {name: getattr(d, name) for name in ("address", "port", "tls_port", "names", "home")}
    # Who was led away stays so until a run makes it good: not this recipe's to decide.
    down = ops.fact(_DOWN).split()
    backends = [{**one, "down": one["address"] in down} for one in d.backends]
    files = [
        ops.File(UPSTREAM, ops.template("nginx.upstream.j2", address=d.address, port=d.backend, backends=backends)),
        ops.File(PLACE, ops.template("nginx.site.j2", cert=CERT, key=KEY, upstream=UPSTREAM, **values)),
    ]
    if d.cert:
        files += [ops.File(CERT, d.cert), ops.File(KEY, d.key if d.key.endswith("\n") else f"{d.key}\n", "600")]
    ops.write(files, name="recipe.nginx.conf")
    ops.links([(link, PLACE)], name="recipe.nginx.link")
    # Debian's welcome page would answer for every name that is not ours.
    ops.absent([f"{ETC}/sites-enabled/default"], name="recipe.nginx.default")
    ops.service([UNIT], name="recipe.nginx.enabled")
    # What only has to be read again is read again: a restart would cut the connections of users.
    ops.restart_if_stale(UNIT, [f"{ETC}/nginx.conf"], check="nginx -q -t", name="recipe.nginx.restart")
    ops.restart_if_stale(
        UNIT, [one.path for one in files], check="nginx -q -t", mark="nginx-site", reload=True,
        name="recipe.nginx.reload",
    )  # fmt: skip


# Between the braces of the upstream that is shared out: the addresses that are marked as down.
_DOWN = (
    "sed -n '/^upstream implops {/,/^}/s/^ *server \\([^:]*\\):.* down;$/\\1/p' " + UPSTREAM + " 2>/dev/null || true"
)


def led_away(site: Site, host: Host) -> str:
    return _DOWN


def drain(site: Site, host: Host, away: Collection[str]) -> str:
    """This proxy hands no new request to the hosts ``away``; with none, to all again. Never without anybody left.

    Ended when no old worker takes requests any more; what they have begun goes on to its end.
    """
    mine = "/^upstream implops {/,/^}/"
    gone = "".join(
        f" -e '{mine}{{ /server {site.hosts[name].address.replace('.', '[.]')}:{site.backend_port} /s/;$/ down;/ }}'"
        for name in away
    )
    return f"""f={UPSTREAM}
[ -f $f ] || exit 0
set -e
umask 022
sed -e '{mine}s/ down;$/;/'{gone} $f > $f.part
anybody() {{ sed -n '{mine}p' $f.part | grep ' server ' | grep -qv ' down;$'; }}
if cmp -s $f $f.part || ! anybody; then rm -f $f.part; exit 0; fi
sync $f.part
mv -f $f.part $f
systemctl is-active -q {UNIT} || exit 0
nginx -q -t
main=$(cat /run/nginx.pid)
old=$(cat /proc/$main/task/$main/children)
systemctl reload {UNIT}
for one in $old; do
  for tenth in $(seq 100); do
    # A worker that is left writes into its title that it is shutting down.
    ! grep -qs worker /proc/$one/cmdline || grep -qs 'shutting down' /proc/$one/cmdline && break
    sleep 0.1
  done
done
"""


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.web
    ports = [site.web.port, *([site.web.tls_port] if site.web.tls else [])]
    return [probes.active(UNIT), *(probes.tcp(host.address, port) for port in ports)]


def undo() -> None:
    from implops.deploy import ops

    files = [f"{ETC}/sites-enabled/implops", PLACE, UPSTREAM, CERT, KEY]
    files.append(f"{ops.APPLIED}/nginx-site")
    ops.withdraw([UNIT], files, name="recipe.nginx.undo")
