"""One bridge a site, with our own address on it: no NAT, no forwarding, no route out.

Also the one kernel setting that many hosts need, ``fs.inotify.max_user_instances``: labs of several sites share it, so
a ledger in /run (empty after every boot, as the setting is) says who uses it and what it was before.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from implops.errors import MachineError
from implops.lab.plan import Plan
from implops.lab.tools import call

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
# Debian's 128 stop the 21st host's systemd half-way; a host takes about six, a desktop the rest.
INOTIFY_A_HOST, INOTIFY_SPARE, INOTIFY_RAISED = 8, 128, 8192
LEDGER = Path("/run/implops-lab.json")


def exists(link: str) -> bool:
    return Path("/sys/class/net", link).exists()


def make_bridge(plan: Plan) -> None:
    """The site's bridge with the address .1. Raises MachineError when this machine already uses the network."""
    if not exists(plan.bridge):
        _refuse_taken(plan)
        call(["ip", "link", "add", plan.bridge, "type", "bridge", "forward_delay", "0"])
    # Packets that come from the hosts are for us or for nobody, whatever this machine forwards elsewhere.
    Path(f"/proc/sys/net/ipv4/conf/{plan.bridge}/forwarding").write_text("0", encoding="ascii")
    with contextlib.suppress(OSError):  # a kernel without IPv6 has no such file
        Path(f"/proc/sys/net/ipv6/conf/{plan.bridge}/disable_ipv6").write_text("1", encoding="ascii")
    call(["ip", "address", "replace", plan.gateway, "dev", plan.bridge])
    call(["ip", "link", "set", plan.bridge, "up"])


def _refuse_taken(plan: Plan) -> None:
    for route in json.loads(call(["ip", "-j", "-4", "route", "show", "table", "all"])):
        if route["dst"] == "default" or route.get("type") in ("local", "broadcast"):
            continue
        if ipaddress.IPv4Network(route["dst"], strict=False).overlaps(plan.network):
            raise MachineError("lab.network_taken", network=plan.network, link=route.get("dev", "?"))


def remove_link(link: str) -> None:
    """Delete a link of ours if it is (still) there."""
    deadline = time.monotonic() + 5
    while exists(link):
        try:
            call(["ip", "link", "delete", link])
        except MachineError:
            # The kernel may be taking it away itself at this moment.
            if exists(link) and time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def _ledger() -> Iterator[dict[str, Any]]:
    """The ledger, locked; it is removed when no lab is left in it."""
    while True:
        with LEDGER.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not LEDGER.exists() or LEDGER.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue  # the holder before us has removed it
            file.seek(0)
            data: dict[str, Any] = json.loads(file.read() or '{"before": null, "labs": {}}')
            # A lab whose state file is gone is gone.
            data["labs"] = {state: hosts for state, hosts in data["labs"].items() if Path(state).exists()}
            yield data
            if not data["labs"] and data["before"] is None:
                LEDGER.unlink()
                return
            file.seek(0)
            file.truncate()
            json.dump(data, file)
            return


def raise_inotify(state: Path, hosts: int) -> None:
    """Make room for ``hosts`` more hosts, on behalf of the lab with this state file."""
    with _ledger() as data:
        data["labs"][str(state)] = hosts
        value = int(INOTIFY.read_text(encoding="ascii"))
        if value < INOTIFY_SPARE + INOTIFY_A_HOST * sum(data["labs"].values()):
            data["before"] = value
            INOTIFY.write_text(str(INOTIFY_RAISED), encoding="ascii")


def lower_inotify(state: Path) -> None:
    """Put the setting back when no lab needs it any more."""
    if not LEDGER.exists():
        return
    with _ledger() as data:
        data["labs"].pop(str(state), None)
        if not data["labs"] and data["before"] is not None:
            INOTIFY.write_text(str(data["before"]), encoding="ascii")
            data["before"] = None
