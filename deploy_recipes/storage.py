"""The backup repository's place on the storage host: an account that may do SFTP and nothing else, one key a host."""

from __future__ import annotations

from typing import Any

from implops.backup import jobs, keys
from implops.deploy import mounted, probes
from implops.errors import StepError
from implops.site import Host, Site

META = {"id": "storage", "roles": ("storage",), "needs": ("os_base",), "timeout": 300}

ACCOUNT = "implops-backup"
KEYS = "/etc/ssh/implops_backup_keys"
CONF = "/etc/ssh/sshd_config.d/60-implops-backup.conf"


def wanted(site: Site, host: Host) -> bool:
    return site.backup is not None and site.backup.repository.host == host.name


def sets(site: Site, host: Host) -> list[tuple[str, str, str]]:
    assert site.backup
    return [("user", ACCOUNT, ""), ("directory", site.backup.repository.path, ACCOUNT)]


def params(site: Site, host: Host) -> dict[str, Any]:
    assert site.backup
    path = site.backup.repository.path
    mount = site.mount_of(host, path)
    return {
        "path": path,
        "mount": mount,
        "disk": mount in host.disks,
        "folders": [jobs.place(site, one) for one in jobs.sources(site)],
        "keys": [[one.address, keys.public(site, one)] for one in jobs.sources(site)],
    }


def files(site: Site, host: Host) -> dict[str, str]:
    return {"keys": KEYS}


def install() -> None:
    from pyinfra import host

    from implops.deploy import ops

    d = host.data
    if d.mount and not mounted.there(d.mount, comes=d.disk):
        raise StepError("recipe.storage.no_mount", host=host.name, path=d.mount)
    ops.bounded_shell(
        f"useradd --system --user-group --no-create-home --home-dir {d.path} "
        f"--shell /usr/sbin/nologin -p '*' {ACCOUNT}",
        unless=f"getent passwd {ACCOUNT} >/dev/null",
        name="recipe.storage.account",
    )
    own = {"mode": "700", "user": ACCOUNT, "group": ACCOUNT}
    ops.folders([ops.Folder(path, **own) for path in [d.path, *d.folders]], name="recipe.storage.folders")
    # "restrict" takes away forwarding, terminals and the user's own rc file; "from" binds a key to its host.
    lines = [f'restrict,from="{address}",command="internal-sftp" {key}\n' for address, key in d.keys]
    rules = [
        f"Match User {ACCOUNT}",
        f"AuthorizedKeysFile {KEYS}",
        "AuthenticationMethods publickey",
        "ForceCommand internal-sftp",
        "AllowTcpForwarding no",
        "PermitTTY no",
    ]
    text = "# Written by implops.\n" + "\n    ".join(rules) + "\n"
    ops.write([ops.File(KEYS, "".join(lines)), ops.File(CONF, text)], name="recipe.storage.access")
    ops.restart_if_stale(
        "ssh.service", [CONF], check="sshd -t", mark="ssh-backup", reload=True, name="recipe.storage.reload"
    )


def verify(site: Site, host: Host) -> list[probes.Probe]:
    assert site.backup
    path = site.backup.repository.path
    return [probes.shell(f"directory:{path}", f'[ "$(stat -c %U {path})" = {ACCOUNT} ]'), probes.active("ssh.service")]


def leaves(site: Site, host: Host) -> list[str]:
    assert site.backup
    return [site.backup.repository.path]


def undo() -> None:
    """Nobody may come in any more; the repository and the account that owns it stay."""
    from implops.deploy import ops

    ops.bounded_shell(
        f"rm -f {KEYS} {CONF} {ops.APPLIED}/ssh-backup && sshd -t && systemctl reload ssh.service",
        unless=f"[ ! -e {KEYS} ] && [ ! -e {CONF} ]",
        name="recipe.storage.undo",
    )
