"""Packets that take their time. The lab's kernel has no netem: a small relay holds each packet back instead.

What the host sends to an address goes into a TUN device, waits there, and comes out of it as if forwarded; the answers
come straight back.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from implops import lab
from mutation.fault import Step

if TYPE_CHECKING:
    from mutation.bench import Bench

_RELAY = Path(__file__).with_name("relay.py")
_UP = """
ip tuntap add dev slow mode tun; ip link set slow up
for f in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/slow/accept_local; do echo 1 > $f; done
for d in all slow host0; do echo 0 > /proc/sys/net/ipv4/conf/$d/rp_filter; done
ip rule add pref 100 iif slow lookup main; ip rule add pref 101 to ADDRESS lookup 100
ip route add default dev slow table 100
"""
_DOWN = """
ip rule del pref 100; ip rule del pref 101; ip route flush table 100; ip tuntap del dev slow mode tun
echo 0 > /proc/sys/net/ipv4/ip_forward
"""


def delay(address: str, seconds: float, host: str = "") -> Step:
    """Every packet to ``address`` takes so many seconds longer."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        bench.shell(host, _UP.replace("ADDRESS", address), where="net")
        inside = ["nsenter", "-t", str(lab.leader(bench.site, host)), "--net", "--"]
        relay = subprocess.Popen([*inside, sys.executable, _RELAY, str(seconds)], stdin=subprocess.PIPE)

        def undo() -> None:
            relay.kill()
            relay.wait()
            bench.shell(host, _DOWN, where="net")

        return undo

    return Step(call=call, host=host, touches=frozenset(["slow"]))
