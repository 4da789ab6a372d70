"""The lock on each host that a changing verb touches: a directory (put there by one, refused to all others) that names
its holder. It survives a crash on purpose: whoever comes next must know that a run was cut off here.
"""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Sequence
from typing import Any

from implops.errors import HostError, ImplopsError, LockError
from implops.remote import Connection
from implops.store.events import now

PLACE = "/var/lib/implops"
_LOCK = f"{PLACE}/lock"
_SECONDS = 60.0


def note(run: str, operator: str, verb: str, why: str) -> dict[str, str]:
    """What the lock says about its holder; ``why``: what is deployed, or the reason that was given."""
    about = {"run": run, "operator": operator, "verb": verb, "why": why or "-"}
    return {**about, "machine": socket.gethostname(), "since": now()}


def take(connection: Connection, holder: dict[str, str], *, break_reason: str = "") -> dict[str, str] | None:
    """Take the lock of a host; a lock of the same run is taken over. The holder that was pushed aside, or None.

    Raises LockError naming the holder; with ``break_reason`` the lock is taken from anyone.
    """
    text = json.dumps(holder, ensure_ascii=False)
    script = f"""set -u
mkdir -p -m 755 {PLACE} || exit 1
part={PLACE}/lock-{holder["run"]}
rm -rf "$part" && mkdir -m 755 "$part" && printf '%s\\n' {shlex.quote(text)} > "$part/holder.json" || exit 1
sync "$part/holder.json" "$part"
# One rename: a lock that is there names its holder, whenever the power went. It fails where there is one.
if ! mv -T "$part" {_LOCK} 2>/dev/null; then
  cat {_LOCK}/holder.json 2>/dev/null || echo '{{}}'
  case $(cat {_LOCK}/holder.json 2>/dev/null) in
    *'"run": "{holder["run"]}"'*) ;;
    *) {":" if break_reason else 'rm -rf "$part"; exit 75'} ;;
  esac
  mv -f "$part/holder.json" {_LOCK}/holder.json || exit 1
  rmdir "$part"
fi
sync {_LOCK} {PLACE} 2>/dev/null
exit 0
"""
    result = connection.run(script, timeout=_SECONDS, sudo=True)
    found: dict[str, str] | None = None
    if result.text.strip():
        try:
            found = {str(k): str(v) for k, v in json.loads(result.text).items()}
        except ValueError:
            found = {}
    if result.rc == 75:
        words: dict[str, Any] = {
            name: (found or {}).get(name, "?") for name in ("operator", "machine", "since", "run", "verb", "why")
        }
        raise LockError("deploy.host_locked", host=connection.name, **words)
    if result.rc:
        why = result.err.decode("utf-8", "replace").strip().splitlines()
        raise HostError("deploy.lock_failed", host=connection.name, why=(why or ["-"])[-1][:200])
    return found if found and found.get("run") != holder["run"] else None


def give_back(connection: Connection, run: str) -> None:
    """Remove the lock if it is still this run's, and the bundle folder that waits for nothing any more."""
    script = f"""case $(cat {_LOCK}/holder.json 2>/dev/null) in
  *'"run": "{run}"'*) rm -f {_LOCK}/holder.json && rmdir {_LOCK}
    rmdir {PLACE}/incoming 2>/dev/null ;;
esac
"""
    connection.run(script, timeout=_SECONDS, sudo=True)


def give_back_all(connections: Sequence[Connection], run: str) -> list[str]:
    """Remove the locks of this run; names of hosts where it could not be done (they are away)."""
    missed = []
    for connection in connections:
        try:
            give_back(connection, run)
        except ImplopsError:
            missed.append(connection.name)
    return missed
