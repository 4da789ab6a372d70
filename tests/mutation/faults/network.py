"""The network between the hosts, and names."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from mutation.delay import delay
from mutation.fault import Fault, Step, change, net, program, python, shadow, shell, site
from mutation.throttle import throttle

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


_SHARES = "# storage:"
_ONE_PATH = r"""cat <<'X'
mpatha (360000000000000000e00000000010001) dm-0 VENDOR,DISK
size=100G features='0' hwhandler='0' wp=rw
|-+- policy='service-time 0' prio=1 status=active
| `- 2:0:0:1 sda 8:0 active ready running
`-+- policy='service-time 0' prio=1 status=enabled
  `- 3:0:0:1 sdb 8:16 failed faulty running
X"""
_SHARE = "storage: {shares: [{path: /mnt/his, hosts: %s, user: www-data}]}\n# storage:"


def _deaf_endpoint(bench: Bench, host: str) -> Callable[[], None]:
    """A server on this machine that accepts connections and says nothing."""
    server = socket.create_server((bench.words("@gateway@"), 8443))
    return server.close


FAULTS = [
    Fault("NET01", "app1", "a firewall drops the packets to the database", (rule(f"{_MINE} -j DROP"),), "fail",
          "timeout", target=_DB, short=True),
    Fault("NET01", "app1", "a firewall says that the database's host is prohibited",
          (rule(f"{_MINE} -j REJECT --reject-with icmp-host-prohibited"),), "fail", "no_route", target=_DB),
    Fault("NET01", "app1", "no route to the database", (net("ip route add unreachable @db1@/32",
                                                            "ip route del unreachable @db1@/32"),),
          "fail", "no_route", target=_DB, follows={"NET04": "no packet gets out", "NET05": "no packet of any size arrives"}),
    Fault("NET01", "app1", "a route into nowhere", (net("ip route add blackhole @db1@/32",
                                                        "ip route del blackhole @db1@/32"),),
          "fail", "local", target=_DB, follows={"NET04": "no packet gets out", "NET05": "no packet of any size arrives"}),
    Fault("NET03", "app1", "every packet takes 30 ms", (delay("@sto1@", 0.03),), "warn", re.compile("[34][0-9] ms"),
          target="→ sto1:22/tcp"),
    Fault("NET05", "app1", "the host's own link takes small packets only",
          (net("ip link set host0 mtu 1400", "ip link set host0 mtu 1500"),), "fail", re.compile("1500|< 1[45]00"), target=None,
          short=True),
    Fault("NET05", "app1", "a router drops large packets without a word",
          (rule("INPUT -s @app1@ -m length --length 1401:65535 -j DROP", "sto1"),), "fail", "< 1500", target="→ sto1"),
    Fault("NET07", "sto1", "a link of 100 Mb/s", (shadow("/sys/class/net/host0/speed", "100"),), "warn",
          "100 Mb/s full 0", target="host0", kind="S"),
    Fault("NET07", "dns1", "a link that errs", (shadow("/sys/class/net/host0/statistics/rx_errors", "7"),), "warn",
          re.compile("[0-9]+ Mb/s full 7"), target="host0", kind="S"),
    Fault("NET07", "app1", "a link slower than those of the others", (shadow("/sys/class/net/host0/speed", "1000"),),
          "warn", "1000 Mb/s full 0", target="host0", kind="S"),
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
    Fault("NET04", "app1", "one packet in five is lost",
          (rule("INPUT -s @app1@ -p icmp -m statistic --mode nth --every 5 --packet 0 -j DROP", "sto1"),), "warn",
          re.compile("(15|20|25) %"), target="→ sto1", follows={"NET05": "the large ones too"}, short=True),
    Fault("NET09", "app1", "another host has the address that is to move",
          (net("ip address add @net@.100/24 dev host0", "ip address del @net@.100/24 dev host0", host="dns1"),
           site(("# vips: [@net@.100]", "vips: [@net@.100] #"))), "fail", re.compile(".+"), target="@net@.100",
          others=("db1", "dns1", "sto1"), short=True),
    Fault("NET13", "app1", "an endpoint answers, but not to TLS", (python(_deaf_endpoint),
          site(('  - "app -> storage: 22/tcp"',
                '  - "app -> storage: 22/tcp"\n  - {from: app, to: "@gateway@:8443", external: true}'))), "fail",
          "tls_silent", target="→ @gateway@:8443/tcp"),
    Fault("DNS07", "dns1", "a forwarder listens on a loopback address",
          (shell("systemd-run -q --unit=stub systemd-socket-activate -a -l 127.0.0.53:53 /bin/cat; sleep 0.3",
                 "systemctl stop stub"),), "fail", re.compile("systemd-socket-.*"),
          follows={"SEC03": "the port that a recipe needs"}, short=True),
    Fault("STO02", "app1", "a share belongs to root alone",
          (shell("mkdir -p -m 755 /mnt/his", "rmdir /mnt/his"), site((_SHARES, _SHARE % "[app]"))), "fail", "create",
          target="/mnt/his", short=True),
    Fault("STO04", "app1", "the server exports the share to another host only",
          (shell("mkdir -p -m 777 /mnt/his", "rmdir /mnt/his"),
           program("/usr/sbin/showmount", "echo '/srv/his 10.0.0.9'"),
           site((_SHARES, (_SHARE % "[app]").replace("user: www-data", "user: www-data, export: \"sto1:/srv/his\"")))),
          "warn", "10.0.0.9", target="sto1:/srv/his", kind="S"),
    Fault("STO03", "sto1", "two hosts have two directories in the place of one share",
          (*(shell("mkdir -p -m 777 /mnt/his", "rmdir /mnt/his", host) for host in ("app1", "sto1")),
           site((_SHARES, _SHARE % "[app, storage]"))), "fail", "—", target="/mnt/his ← app1", deep=True),
    Fault("NET02", "app1", "a redirect answers in the place of the database",
          (shell("systemd-run -q --unit=proxy systemd-socket-activate -a -l 0.0.0.0:7777 /bin/cat; sleep 0.3",
                 "systemctl stop proxy", "db1"),
           net("iptables -t nat -A PREROUTING -s @app1@ -p tcp --dport 5432 -j REDIRECT --to-ports 7777",
               "iptables -t nat -F", host="db1")),
          "fail", re.compile(".+"), target=_DB, deep=True,
          follows={"NET06": "it does not know what to do with a flood", "NET12": "nor is it the host that answers later"}),
    Fault("NET06", "app1", "a link of 20 Mb/s",
          (net("tc qdisc add dev host0 root tbf rate 20mbit burst 64kb latency 300ms", "tc qdisc del dev host0 root"),),
          "warn", re.compile("1[0-9]|2[0-9]"), target=None, deep=True),
    Fault("NET12", "app1", "a firewall forgets connections after five seconds",
          (net("iptables -A INPUT -p tcp -m conntrack --ctstate INVALID -j DROP; "
               "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose; "
               "echo 5 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established",
               "iptables -F INPUT; echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose; "
               "echo 432000 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", host="db1"),
           site(("memory: {need: 2 GB}\n    listens: [80, 8080]",
                 "memory: {need: 2 GB}\n    listens: [80, 8080]\n    checks: {NET12: {need: 10 s}}"))),
          "warn", "—", target=_DB, deep=True),
    Fault("STO01", "sto1", "the backup disk is mounted without an option that the site declares",
          (site(("/backup: {size: 20 GB, separate: true}", "/backup: {size: 20 GB, separate: true, options: [noexec]}")),),
          "fail", "xfs − noexec", target="/backup"),
    Fault("STO05", "sto1", "every small file is written through a slow disk",
          (shell("mount -o remount,sync $(findmnt -no SOURCE /backup) /backup",
                 "mount -o remount,async $(findmnt -no SOURCE /backup) /backup", touches="/backup"),
           throttle("/backup", write_iops=60)),
          "warn", re.compile("[0-9]{1,2}"), target="/backup", deep=True, follows={"DSK13": "the same slow disk"}),
    Fault("STO06", "sto1", "no room for snapshots",
          (program("/usr/sbin/vgs", "echo '  vg0 107374182400B 1073741824B'"),
           site(("  storage:\n    mounts:", "  storage:\n    snapshots: [vg0]\n    mounts:"))), "warn", "1 %",
          target="vg0", kind="S"),
    Fault("STO07", "sto1", "one path of two is left",
          (program("/usr/sbin/multipath", _ONE_PATH),
           site(("  storage:\n    mounts:", "  storage:\n    multipath: true\n    mounts:"))), "fail", "1", target=None,
          kind="S"),
    Fault("APP03", "app1", "an old kernel whose random source runs dry",
          (program("/usr/bin/uname", "$REAL \"$@\" | sed -E 's/ [0-9]+\\.[0-9]+\\.[^ ]*/ 4.19.0-1160/'"),
           shadow("/proc/sys/kernel/random/entropy_avail", "100")), "warn", "100", kind="S"),
    Fault("LOC03", "sto1", "the standby has another C library than the primary",
          (program("/usr/bin/getconf", "[ \"$1\" = GNU_LIBC_VERSION ] && exec echo glibc 2.35; exec $REAL \"$@\""),
           site(("sto1: {address: @sto1@, roles: [storage]", "sto1: {address: @sto1@, roles: [storage, db]"))),
          "fail", "2.35", kind="S", alone=True, follows={"*": "a second database host that is not prepared", "db1/LOC03": "there is one to compare with"}),
    Fault("LOC04", "app1", "forms are printed, and there is no Chinese font",
          (site(("memory: {need: 2 GB}\n    listens: [80, 8080]",
                 "memory: {need: 2 GB}\n    listens: [80, 8080]\n    checks: {LOC04: {want: 1}}")),), "warn", "0"),
]  # fmt: skip
