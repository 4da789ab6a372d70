"""The network between the hosts, and names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mutation.delay import delay
from mutation.fault import Fault, Step, change, net, python, shadow, site

if TYPE_CHECKING:
    from mutation.bench import Bench

_DB = "→ db1:5432/tcp"
_MINE = "OUTPUT -p tcp -d @db1@ --dport 5432"


def rule(text: str, host: str = "") -> Step:
    return net(f"iptables -A {text}", f"iptables -D {text}", host)


def _new_card(bench: Bench, host: str) -> Callable[[], None]:
    """Another address of the network card, told to the neighbours at once."""
    was = bench.shell(host, "cat /sys/class/net/host0/address").strip()

    def put(address: str) -> None:
        bench.shell(host, f"echo 1 > /proc/sys/net/ipv4/conf/host0/arp_notify; ip link set host0 address {address}")

    put("02:00:00:00:00:77")
    return lambda: put(was)


FAULTS = [
    Fault("NET01", "app1", "a firewall drops the packets to the database", (rule(f"{_MINE} -j DROP"),), "fail",
          "timeout", target=_DB, short=True),
    Fault("NET01", "app1", "a firewall says that the database's host is prohibited",
          (rule(f"{_MINE} -j REJECT --reject-with icmp-host-prohibited"),), "fail", "no_route", target=_DB),
    Fault("NET01", "app1", "no route to the database", (net("ip route add unreachable @db1@/32",
                                                            "ip route del unreachable @db1@/32"),),
          "fail", "no_route", target=_DB, follows={"NET05": "no packet of any size arrives"}),
    Fault("NET01", "app1", "a route into nowhere", (net("ip route add blackhole @db1@/32",
                                                        "ip route del blackhole @db1@/32"),),
          "fail", "local", target=_DB, follows={"NET05": "no packet of any size arrives"}),
    Fault("NET03", "app1", "every packet takes 30 ms", (delay("@sto1@", 0.03),), "warn", re.compile("[34][0-9] ms"),
          target="→ sto1:22/tcp"),
    Fault("NET05", "app1", "the host's own link takes small packets only",
          (net("ip link set host0 mtu 1400", "ip link set host0 mtu 1500"),), "fail", "< 1500", target=None, short=True),
    Fault("NET05", "app1", "a router drops large packets without a word",
          (rule("INPUT -s @app1@ -m length --length 1401:65535 -j DROP", "sto1"),), "fail", "< 1500", target="→ sto1"),
    Fault("NET07", "sto1", "a link of 100 Mb/s", (shadow("/sys/class/net/host0/speed", "100"),), "warn", "100 Mb/s",
          target="host0", kind="S", short=True),
    Fault("NET08", "dns1", "two default routes",
          (net("ip route add default dev host0 metric 5; ip route add default dev host0 metric 9",
               "ip route del default metric 5; ip route del default metric 9"),), "warn",
          re.compile("dev host0 .*metric 5 +/ dev host0 .*metric 9 *"), short=True),
    Fault("NET11", "app1", "a proxy for everything",
          (change("/etc/environment", "echo http_proxy=http://10.0.0.1:3128 >> $F"),), "warn",
          re.compile("http_proxy=http://10.0.0.1:3128"), short=True),
    Fault("NET13", "app1", "the insurance's front-end refuses",
          (site(('  - "app -> storage: 22/tcp"',
                 '  - "app -> storage: 22/tcp"\n  - {from: app, to: @gateway@, port: 9, external: true}')),),
          "fail", "refused", target="→ @gateway@:9/tcp", short=True),
    Fault("APP04", "app1", "the network card was replaced",
          (python(_new_card),), "info", re.compile("02:00:00:00:00:77 .*"), whole=True),
]  # fmt: skip
