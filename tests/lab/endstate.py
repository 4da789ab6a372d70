"""What a deployment leaves on its hosts, so that two sites can be compared: packages, files by hash, services,
objects of the database, answers of the modules. Addresses and run ids become words; what must differ is only listed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from power import ssh

from implops import lab
from implops.site import Site

_PLACES = ("etc", "opt/implops", "var/lib/implops", "var/lib/bind", "usr/share/tomcat10/lib", "var/spool/cron")
# Made anew for every host, or dated: only that they are there, whose they are and who may read them is compared.
_OWN = re.compile(
    r"/(ssh_host_|machine-id|hostname$|fstab$|ssl/|rndc\.key|ld\.so\.cache|id_ed25519|known_hosts|implops_backup_keys"
    r"|applied/|RELEASE\.json|repo-password|context\.xml|ca-certificates|\.pwd\.lock|mtab|resolv\.conf\.before"
    r"|managed-keys|\.jnl$|bundle/|config\.json|passwd|shadow|group|gshadow|subuid|subgid|system/.*\.wants)"
)
# Differ by what happened, not by what was brought about.
_LEFT = re.compile(
    r"^/(var/lib/implops/(backup|apt|jobs|drill|incoming)(/|$)|etc/(passwd|shadow|group|gshadow|subuid|subgid)-$)"
)
_UNITS = re.compile(
    r"^(user|session|run-|systemd-|init\.scope|dbus|getty|console|apt-|dpkg-|logrotate|e2scrub|fstrim|man-db)"
)


def of(site: Site) -> dict[str, object]:
    """Everything, by host and kind."""
    found: dict[str, object] = {"modules": _modules(site), "database": _database(site)}
    for name in site.hosts:
        found[f"{name} packages"] = _said(
            site, name, "dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\\n"
        )
        found[f"{name} files"] = dict(_files(site, name))
        units = _said(site, name, "systemctl", "list-units", "--type=service,timer", "--state=active,failed", "--plain",
                      "--no-legend", "--full")  # fmt: skip
        found[f"{name} active"] = sorted(" ".join(one.split()[:4]) for one in units if not _UNITS.match(one))
        found[f"{name} enabled"] = _said(
            site, name, "systemctl", "list-unit-files", "--state=enabled", "--plain", "--no-legend"
        )
    return found


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """What is not the same, a line each."""
    lines = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += [
                f"{key}: {name}: {a.get(name)} != {b.get(name)}"
                for name in sorted({*a, *b})
                if a.get(name) != b.get(name)
            ]
        elif isinstance(a, list) and isinstance(b, list):
            lines += [f"{key}: only there: {x}" for x in a if x not in b] + [
                f"{key}: only here: {x}" for x in b if x not in a
            ]
        elif a != b:
            lines.append(f"{key}: {a} != {b}")
    return lines


def _plain(site: Site, text: str) -> str:
    net = next(iter(site.hosts.values())).address.rpartition(".")[0]
    text = text.replace(f"{net}.", "NET.")
    a, b, c = net.split(".")
    text = text.replace(f"{c}.{b}.{a}.in-addr", "NET.in-addr")
    return re.sub(r"01[0-9A-HJKMNP-TV-Z]{24}", "RUN", text)


def _said(site: Site, name: str, *command: str) -> list[str]:
    done = lab.enter(site, name, command)
    assert done.returncode == 0, done.stderr
    return sorted(_plain(site, done.stdout).splitlines())


def _files(site: Site, name: str) -> Iterator[tuple[str, str]]:
    root = Path(f"/proc/{lab.leader(site, name)}/root")
    names = [dict(_names(root / "etc" / kind)) for kind in ("passwd", "group")]
    for place in _PLACES:
        for folder, _, files in os.walk(root / place):
            for entry in (folder, *(os.path.join(folder, one) for one in files)):  # noqa: PTH118
                path = Path(entry)
                shown = "/" + str(path.relative_to(root))
                if _LEFT.match(shown):
                    continue
                about = path.lstat()
                owner = f"{names[0].get(about.st_uid, about.st_uid)}:{names[1].get(about.st_gid, about.st_gid)}"
                yield (
                    _plain(site, shown),
                    f"{stat.S_IMODE(about.st_mode):o} {owner} {_content(site, path, shown, about)}",
                )


def _names(path: Path) -> Iterator[tuple[int, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split(":")
        yield int(words[2]), words[0]


def _content(site: Site, path: Path, shown: str, about: os.stat_result) -> str:
    if stat.S_ISLNK(about.st_mode):
        return f"-> {_plain(site, str(path.readlink()))}"
    if not stat.S_ISREG(about.st_mode):
        return "folder"
    if shown.endswith("RELEASE.json"):
        return str(re.findall(r'"state": "[a-z]+"', path.read_text(encoding="utf-8")))
    if _OWN.search(shown):
        return "own"
    body = path.read_bytes()
    try:
        return hashlib.sha256(_plain(site, body.decode("utf-8")).encode()).hexdigest()[:16]
    except UnicodeDecodeError:
        return hashlib.sha256(body).hexdigest()[:16]


def _database(site: Site) -> list[str]:
    asked = r"""cd /
sudo -n -u postgres pg_dump -s his | grep -v '^--' | grep -v '^.*restrict '
sudo -n -u postgres psql -XAtq -d his <<'SQL'
select position, name, sha256 from implops.schema_log;
select rolname, rolsuper, rolcanlogin, rolpassword is null from pg_authid where rolname !~ '^pg_' order by 1;
select datname, pg_get_userbyid(datdba), datacl from pg_database order by 1;
select count(*) from departments;
SQL
"""
    done = ssh(site, "db1", asked)
    assert done.returncode == 0, done.stderr
    return [line for line in _plain(site, done.stdout).splitlines() if line.strip()]


def _modules(site: Site) -> dict[str, str]:
    assert site.system
    found = {}
    for host in site.with_role("app"):
        for module in site.system.modules:
            with urllib.request.urlopen(f"http://{host.address}{module.url}", timeout=30) as answer:
                body = re.sub(r"[0-9A-F]{32}", "SESSION", answer.read().decode("utf-8"))
                found[f"{host.name} {module.id}"] = f"{answer.status} {hashlib.sha256(body.encode()).hexdigest()[:16]}"
    return found
