"""Reaching a host: who is let in, how fast, and whether it is the right machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from implops.trust import pin, unpin
from mutation.fault import Fault, change, net, python, shell, site

if TYPE_CHECKING:
    from mutation.bench import Bench

_AWAY = {
    "*": "a host that lets nobody in answers none of the other questions",
    "app1/TIM03": "when all others are away, nobody is left to compare with",
    "app1/ACC10": "when all others are away, nobody is left to compare with",
}


def _keys(other: str | None) -> Callable[[Bench, str], Callable[[], None]]:
    """The pinned key of the host replaced by another host's, or (None) taken out."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        path = bench.site.known_hosts
        kept = path.read_text(encoding="ascii")
        address = bench.site.hosts[host].address
        lines = [line for line in kept.splitlines() if not line.startswith(f"{address} ")]
        if other:
            taken = next(line for line in kept.splitlines() if line.startswith(bench.site.hosts[other].address))
            lines.append(f"{address} {taken.partition(' ')[2]}")
        path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

        def undo() -> None:
            path.write_text(kept, encoding="ascii")

        return undo

    return call


def _pin_the_front(bench: Bench, host: str) -> Callable[[], None]:
    """The key that answers at the address of the translating router."""
    path, front = bench.site.known_hosts, bench.words("@net@.99")
    mine = next(line for line in path.read_text(encoding="ascii").splitlines()
                if line.startswith(bench.site.hosts[host].address))  # fmt: skip
    key = mine.partition(" ")[2]
    pin(path, {front: key})
    return lambda: unpin(path, [front])


def _clone(bench: Bench, host: str) -> Callable[[], None]:
    kept = bench.shell(host, "cat /etc/machine-id").strip()
    other = bench.shell("db1", "cat /etc/machine-id").strip()
    bench.shell(host, f"echo {other} > /etc/machine-id")
    return lambda: bench.shell(host, f"echo {kept} > /etc/machine-id") and None


FAULTS = [
    Fault("ACC01", "sto1", "the host's firewall drops this machine's packets",
          (net("iptables -A INPUT -s @gateway@ -p tcp --dport 22 -j DROP",
               "iptables -D INPUT -s @gateway@ -p tcp --dport 22 -j DROP"),),
          "absent", "—", follows=_AWAY, whole=True),
    Fault("ACC02", "dns1", "sshd allows another user only",
          (shell("echo 'AllowUsers nobody' > /etc/ssh/sshd_config.d/mutation.conf; systemctl reload ssh",
                 "rm /etc/ssh/sshd_config.d/mutation.conf; systemctl reload ssh"),),
          "fail", "—", follows=_AWAY, whole=True, short=True),
    Fault("ACC03", "db1", "another key is pinned than the host has", (python(_keys("app1"), touches="site:keys"),),
          "fail", re.compile("SHA256:.+"), follows=_AWAY, whole=True, short=True),
    Fault("ACC03", "app1", "no key is pinned", (python(_keys(None), touches="site:keys"),),
          "fail", re.compile("SHA256:.+"), follows=_AWAY, whole=True),
    Fault("ACC04", "dns1", "the sudo rule is gone",
          (shell("mv /etc/sudoers.d /etc/sudoers.kept", "mv /etc/sudoers.kept /etc/sudoers.d"),),
          "fail", "deploy", whole=True,
          follows={"ACC09": "only root may read shadow", "SEC03": "only root sees whose a port is",
                   "DNS07": "only root sees whose a port is"}),
    Fault("ACC05", "sto1", ".bashrc prints a word",
          (change("/home/deploy/.bashrc", "sed -i '1i echo welcome' $F"),), "warn", "8 B", short=True),
    Fault("ACC06", "sto1", "a login takes three seconds (a directory server that is away)",
          (change("/etc/pam.d/sshd", "sed -i '1i account optional pam_exec.so quiet /bin/sleep 3' $F"),),
          "warn", re.compile(r"[345]\.[0-9] s")),
    Fault("ACC07", "sto1", "the site file has an address that a router translates",
          (net("ip address add @net@.99/24 dev host0; echo 1 > /proc/sys/net/ipv4/ip_forward; "
               "iptables -t nat -A PREROUTING -d @net@.99 -j DNAT --to @sto1@; "
               "iptables -t nat -A POSTROUTING -d @sto1@ -j MASQUERADE",
               "iptables -t nat -F; echo 0 > /proc/sys/net/ipv4/ip_forward; ip address del @net@.99/24 dev host0",
               host="dns1"),
           python(_pin_the_front, touches="site:keys"),
           site(("sto1: {address: @sto1@", "sto1: {address: @net@.99"))),
          "fail", re.compile(r"127\.0\.0\.1 [0-9.]+\.14"), whole=True),
    Fault("ACC08", "dns1", "two hosts have one machine id", (python(_clone, touches="/etc/machine-id"),),
          "fail", re.compile("machine-id=(db1|dns1)"), others=("db1",), short=True),
    Fault("ACC09", "dns1", "the login's account ends in thirty days",
          (shell("chage -E $(date -d '+30 days' +%Y-%m-%d) deploy", "chage -E -1 deploy"),),
          "warn", re.compile("(29|30) d"), short=True),
    Fault("ACC10", "dns1", "a service's account has another number on one host",
          (change("/etc/passwd", "sed -i 's/^www-data:x:33:/www-data:x:1501:/' $F"),),
          "warn", re.compile("www-data 1501 ≠ .*db1=33.*|www-data 33 ≠ dns1=1501"),
          others=("db1", "app1", "sto1"), short=True),
]  # fmt: skip
