"""``--deep``: whether a share is one and the same directory on all its hosts. One writes, the others look.

The file goes away with the connection of its writer: the script there waits for the end of its input, or a minute.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Mapping

from implops.check.gather import TRIP_SECONDS, Seen, keep
from implops.errors import ImplopsError
from implops.facts.shares import Shared
from implops.remote import connect, each
from implops.site import Host, Share, Site

_HEAD = "PATH=/usr/sbin:/sbin:/usr/bin:/bin; LC_ALL=C; export PATH LC_ALL; cd /\n"
# A client may keep what it knows of a directory for some seconds (NFS: acdirmin).
_WAIT_SECONDS = 5


def compare(site: Site, seen: Mapping[str, Seen]) -> None:
    """Shared of every host that has a share in common with another; the answers join ``seen``."""
    told: dict[str, list[tuple[str, str]]] = {}
    for share in site.storage.shares:
        hosts = [host for host in site.sharing(share) if host.name in seen and seen[host.name].error is None]
        if len(hosts) > 1 and hosts[0] == site.sharing(share)[0]:
            for name, line in _one(site, share, hosts).items():
                told.setdefault(name, []).append(("file", line))
    for name, lines in told.items():
        keep(seen[name], Shared, [*lines, ("file#", str(len(lines)))])


def _one(site: Site, share: Share, hosts: list[Host]) -> dict[str, str]:
    """Host name -> the line that its Shared has of this share; a host that could not be asked has none."""
    token = secrets.token_hex(8)
    path = f"{share.path}/.implops-shared-{token}"
    quoted, user = shlex.quote(path), shlex.quote(share.user)
    writer, *readers = hosts
    write = (
        f"{_HEAD}trap 'rm -f {quoted}' EXIT HUP TERM PIPE\n"
        f'runuser -u {user} -- sh -c \'printf %s "$1" >"$0"\' {quoted} {token} 2>/dev/null\n'
        f'echo "uid $(stat -c %u {quoted} 2>/dev/null)"; echo ready; timeout 60 cat >/dev/null\n'
    )
    look = (
        f"{_HEAD}i=0; while [ $i -lt {_WAIT_SECONDS} ] && [ ! -e {quoted} ]; do sleep 1; i=$((i+1)); done\n"
        f'if [ -e {quoted} ]; then echo "$(stat -c %u {quoted}) $(cat {quoted})"; else echo "- -"; fi\n'
    )
    found = {}
    try:
        with connect(site, writer) as connection:
            held = connection.hold(write, ready=b"ready", timeout=TRIP_SECONDS, sudo=True)
            with contextlib.closing(held):
                uid = held.said.decode("ascii", "replace").splitlines()[0].removeprefix("uid ").strip()
                if not uid:
                    return {}
                found[writer.name] = f"wrote {share.path} {uid} {token}"

                def read(host: Host) -> str:
                    with connect(site, host) as other:
                        return other.run(look, timeout=TRIP_SECONDS, sudo=True).text.strip()

                for name, answer in each(readers, read).items():
                    if isinstance(answer, str) and len(answer.split(" ")) == 2:
                        found[name] = f"saw {share.path} {answer}"
    except ImplopsError:
        return found
    return found
