"""Bring a host what it lacks of a bundle: one trip to ask, one stream to send, one trip to check and take over.

Nothing is copied before release and architecture match, the host's own apt has simulated the installation, and there
is room. Files arrive in a folder of the login user; root checks every SHA-256 before they move to
``/var/lib/implops/bundle``. What arrived whole before a connection broke is not sent again.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from dataclasses import dataclass, field

from implops import texts
from implops.bundle import apt
from implops.bundle import index as indexes
from implops.bundle.apt import BUNDLE, PLACE, STATE, Change
from implops.bundle.archive import Bundle
from implops.bundle.closure import Say
from implops.bundle.index import Stanza
from implops.errors import GateRefused, HostError
from implops.remote import Connection, Result
from implops.units import format_seconds, format_size

_ASK_SECONDS = 300.0
# 4 Mbit/s: a slow VPN still brings a bundle; a dead connection is noticed by SSH itself.
_BYTES_PER_SECOND = 500_000
_END = "IMPLOPS-END-OF-FILE"


@dataclass(frozen=True)
class Pushed:
    """What a push did. ``sent``: paths sent now; ``present``: files already there; ``mended``: of the sent ones, those
    that lay there damaged; ``removed``: files of older bundles; ``changes``: what an installation will do here.
    """

    host: str
    sent: tuple[str, ...]
    sent_bytes: int
    present: int
    mended: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Change, ...]
    seconds: float


@dataclass
class There:
    """The answer of the asking trip. ``sums``: path under PLACE -> SHA-256; ``free``: (mount point, bytes) below PLACE
    and /usr; ``ready``: SHA-256 of the index that the host's apt has read.
    """

    sums: dict[str, str] = field(default_factory=dict)
    free: list[tuple[str, int]] = field(default_factory=list)
    ready: str = ""
    changes: list[Change] = field(default_factory=list)


def look(connection: Connection, bundle: Bundle, host: str) -> There:
    """Ask a host what it has and what an installation would do there; nothing is copied.

    Raises GateRefused (other release or architecture, missing dependency, a package would be removed), InputError (the
    bundle knows no such host).
    """
    return _ask(connection, bundle, host, bundle.for_host(host)["packages"], indexes.stanzas(bundle, host))


def push(connection: Connection, bundle: Bundle, host: str, say: Say, there: There | None = None) -> Pushed:
    """Make ``/var/lib/implops/bundle`` of this host hold what the bundle has for it, and its apt know it.

    ``there`` is the answer of ``look``; without it the host is asked here. Raises as ``look`` does, HostError (no
    room, damaged on the way), ConnectionLost (push again resumes).
    """
    started = time.monotonic()
    there = there or look(connection, bundle, host)
    mine, stanzas = bundle.for_host(host), indexes.stanzas(bundle, host)
    needed = {(one.package, one.new) for one in there.changes}
    wanted = [path for path in mine["debs"] if stanzas[path].names in needed or f"bundle/{path}" in there.sums]
    wanted += mine["files"]
    missing = [path for path in wanted if there.sums.get(f"bundle/{path}") != bundle.items[path].sha256]
    arrived = [path for path in missing if there.sums.get(f"incoming/{_last(path)}") == bundle.items[path].sha256]
    sent = [path for path in missing if path not in arrived]
    size = sum(bundle.items[path].size for path in sent)
    index = "".join(stanzas[path].text for path in wanted if path in stanzas)
    keep = {f"bundle/{path}" for path in wanted} | {"bundle/apt/Packages"}
    removed = sorted(path for path in there.sums if path.startswith("bundle/") and path not in keep)
    if missing or there.changes:
        _room(host, there, 2 * size, sum(s.installed for s in stanzas.values() if s.names in needed))
    if sent:
        say(texts.say("bundle.sending", host=host, count=len(sent), size=format_size(size)))
        _send(connection, bundle, host, sent, size)
    known = hashlib.sha256(index.encode()).hexdigest()
    if missing or removed or {there.ready, there.sums.get("bundle/apt/Packages")} != {known}:
        _take(connection, bundle, host, missing, removed, index, known)
    seconds = time.monotonic() - started
    say(texts.say("bundle.pushed", host=host, sent=len(sent), present=len(wanted) - len(sent),
                  install=len(there.changes), took=format_seconds(seconds)))  # fmt: skip
    mended = tuple(path for path in sent if f"bundle/{path}" in there.sums)
    return Pushed(
        host, tuple(sent), size, len(wanted) - len(missing), mended, tuple(removed), tuple(there.changes), seconds
    )


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _ask(connection: Connection, bundle: Bundle, host: str, packages: list[str], stanzas: dict[str, Stanza]) -> There:
    """Release, sums, room and a simulated installation from the index of the host's closure, in one trip."""
    release = bundle.release_of(host)
    index = "".join(one.text for one in stanzas.values())
    user = shlex.quote(connection.site.ssh.user)
    simulate = f'({apt.simulate_command(packages, "$t")}); echo "rc $?"' if packages else "echo 'rc 0'"
    script = f"""export LC_ALL=C
arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
system="$(. /etc/os-release; echo "${{ID:--}} ${{VERSION_CODENAME:--}}") $arch"
echo "host $system"
[ "$system" = 'debian {release} {bundle.arch}' ] || exit 0
umask 022
mkdir -p {BUNDLE}/apt {BUNDLE}/files {STATE} && install -d -m 0700 -o {user} {PLACE}/incoming || exit 1
cd {PLACE} || exit 1
df -Pk {PLACE} /usr | tail -n +2
echo '== sums'
find bundle incoming -type f -exec sha256sum {{}} +
echo '== ready'
cat {STATE}/ready 2>/dev/null
echo '== plan'
t=$(mktemp -d) && trap 'rm -rf "$t"' EXIT || exit 1
cat >"$t/Packages" <<'{_END}'
{index}{_END}
{{ {apt.update_command("$t", "$t")} 2>&1; }} || {{ echo 'rc 100'; exit 0; }}
{simulate}
"""
    result = connection.run(script, timeout=_ASK_SECONDS, sudo=True)
    head, _, rest = result.text.partition("\n")
    if not head.startswith("host "):
        raise _failed(host, result)
    system, found, arch = head.split()[1:]
    if (system, found, arch) != ("debian", release, bundle.arch):
        raise GateRefused(
            "bundle.other_release", host=host, has=f"{system} {found} {arch}", bundle=bundle.path.name,
            built=f"debian {release} {bundle.arch}",
        )  # fmt: skip
    try:
        room, rest = rest.split("== sums\n", 1)
        sums, rest = rest.split("== ready\n", 1)
        ready, plan = rest.split("== plan\n", 1)
        plan, rc = plan.rsplit("rc ", 1)
    except ValueError:
        raise _failed(host, result) from None
    there = There(ready=ready.strip())
    for line in room.splitlines():
        columns = line.split()
        there.free.append((columns[-1], 1024 * int(columns[-3])))
    for line in sums.splitlines():
        sha256, _, path = line.partition("  ")
        there.sums[path] = sha256
    there.changes = apt.changes(host, int(rc), plan)
    return there


def _room(host: str, there: There, arriving: int, installed: int) -> None:
    """``arriving`` bytes (twice the size: it comes, then it moves) below PLACE, ``installed`` below /usr."""
    need: dict[str, int] = {}
    for (mount, _), size in zip(there.free, (arriving, installed), strict=True):
        need[mount] = need.get(mount, 0) + size
    for mount, free in there.free:
        if free < need[mount]:
            raise HostError("bundle.room", host=host, path=mount, free=format_size(free), need=format_size(need[mount]))


def _send(connection: Connection, bundle: Bundle, host: str, paths: list[str], size: int) -> None:
    argv = ["tar", "-x", "-f", "-", "--no-same-owner", "-C", f"{PLACE}/incoming"]
    result = connection.feed(argv, bundle.tar(paths), timeout=60 + size / _BYTES_PER_SECOND)
    if result.rc:
        raise _failed(host, result)


def _take(
    connection: Connection, bundle: Bundle, host: str, missing: list[str], removed: list[str], index: str, known: str
) -> None:
    """Check what arrived, move it to its place, renew index and apt's lists."""
    sums = "".join(f"{bundle.items[path].sha256}  {_last(path)}\n" for path in missing)
    moves = "".join(f"mv -f incoming/{shlex.quote(_last(path))} bundle/{shlex.quote(path)}\n" for path in missing)
    drops = "".join(f"rm -f {shlex.quote(path)}\n" for path in removed)
    script = f"""set -eu
export LC_ALL=C
umask 022
cd {PLACE}
chown -R root:root incoming
rm -f {STATE}/ready
cat >{STATE}/sums <<'{_END}'
{sums}{_END}
if [ -s {STATE}/sums ]; then
  (cd incoming; sha256sum -c --quiet {STATE}/sums 2>/dev/null) | sed 's/^/bad /' | grep . && exit 21
  (cd incoming; chmod 0644 ./*)
fi
{moves}{drops}rm -rf incoming
cat >bundle/apt/Packages.part <<'{_END}'
{index}{_END}
mv -f bundle/apt/Packages.part bundle/apt/Packages
sync -f bundle
{apt.update_command()}
echo {known} >{STATE}/ready
"""
    result = connection.run(script, timeout=_ASK_SECONDS, sudo=True)
    if result.rc == 21:
        bad = re.findall(r"^bad (.*?): ", result.text, re.MULTILINE)
        raise HostError("bundle.damaged", host=host, files=" ".join(bad))
    if result.rc:
        raise _failed(host, result)


def _failed(host: str, result: Result) -> HostError:
    lines = [line for line in (result.err.decode("utf-8", "replace") + result.text).splitlines() if line.strip()]
    return HostError("bundle.push_failed", host=host, code=result.rc, why=" ".join(lines[-2:])[:300] or "-")
