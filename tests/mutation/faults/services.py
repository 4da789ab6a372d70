"""Time, language, ports and policies."""

from __future__ import annotations

import re

from mutation.certificate import certificate
from mutation.fault import Fault, Step, change, everywhere, program, shell, site

_CHRONY = "/etc/chrony/conf.d/site.conf"
SYNC = "chronyc waitsync 60 0.5 0 0.2 >/dev/null"

_OFF = 'case $* in *tracking*) $REAL "$@" | awk -F, -v OFS=, \'{$5="3.000"; print}\';; *) exec $REAL "$@";; esac'

_TLS = ("nginx, port: 80}", "nginx, port: 80, tls: {cert: tls/site.pem, key: file:tls/site.key}}")


def _clock(seconds: int, host: str = "") -> Step:
    """A clock that is wrong: the kernel's is one for all hosts."""
    return program(
        "/usr/bin/date",
        f'case "$*" in *%N*) n=$($REAL +%N); echo "$(($($REAL +%s) + {seconds}))$n";; *) exec $REAL "$@";; esac',
        host,
    )


def _stranger(listen: str) -> Step:
    return shell(f"systemd-run -q --unit=stranger systemd-socket-activate -a -l {listen} /bin/cat; sleep 0.3",
                 "systemctl stop stranger", touches="stranger")  # fmt: skip


FAULTS = [
    Fault("TIM02", "sto1", "three seconds off the site's time",
          (program("/usr/bin/chronyc", _OFF),),
          "fail", "3.0 s", kind="S", short=True),
    Fault("TIM03", "db1", "three seconds ahead of the others", (_clock(3),), "fail", re.compile(r"(2\.[5-9]|3\.[0-4]) s ± .*"),
          kind="S", others=("app1", "dns1", "sto1")),
    Fault("TIM04", "app1", "another time server than the site's",
          (shell("chronyc -n local stratum 9 >/dev/null; chronyc -n allow >/dev/null",
                 "chronyc -n local off >/dev/null; chronyc -n deny >/dev/null", host="sto1"),
           change(_CHRONY, "sed -i -E 's/^(server|pool) .*//' $F; echo 'server @sto1@ iburst' >> $F",
                  then=f"systemctl restart chrony; {SYNC}")),
          "warn", re.compile(r"[0-9.]+\.14"), whole=True),
    Fault("TIM06", "dns1", "the hardware clock runs in local time",
          (shell("printf '0.0 0 0.0\\n0\\nLOCAL\\n' > /etc/adjtime", "rm /etc/adjtime", touches="/etc/adjtime"),),
          "warn", "LOCAL", short=True),
    Fault("TIM07", "db1", "this machine's clock is ten seconds off all hosts",
          everywhere(lambda host: _clock(10, host)), "warn", re.compile(r"(9\.9|10\.[01]) s"), kind="S"),
    Fault("SEC01", "app1", "SELinux enforces",
          (program("/usr/sbin/getenforce", "echo Enforcing"),
           shell("mkdir -p /etc/selinux; echo SELINUX=permissive > /etc/selinux/config", "rm -r /etc/selinux")),
          "warn", "Enforcing / permissive", kind="S", short=True),
    Fault("SEC02", "sto1", "a firewall is active",
          (shell("printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > /run/systemd/system/firewalld.service; "
                 "systemctl daemon-reload; systemctl start firewalld",
                 "systemctl stop firewalld; rm /run/systemd/system/firewalld.service; systemctl daemon-reload"),),
          "info", "firewalld", short=True),
    Fault("SEC03", "db1", "a stranger holds the database's port", (_stranger("0.0.0.0:5432"),), "fail",
          "systemd-socket- 0.0.0.0", target="5432", short=True),
    Fault("SEC03", "app1", "a stranger holds the application's port, on 127.0.0.1 only", (_stranger("127.0.0.1:8080"),),
          "fail", "systemd-socket- 127.0.0.1", target="8080"),
    Fault("SEC03", "app1", "a stranger holds the web port, on [::] only", (_stranger("[::]:80"),), "fail",
          re.compile(r"systemd-socket- (\[::\]|\*)"), target="80"),
    Fault("SEC04", "sto1", "a stricter policy of ciphers", (program("/usr/bin/update-crypto-policies", "echo FUTURE"),),
          "warn", "FUTURE", kind="S", short=True),
    Fault("SEC05", "sto1", "a hardened umask",
          (change("/etc/login.defs", "sed -i 's/^UMASK.*/UMASK 077/' $F"),), "warn", "077", short=True),
    Fault("APP02", "app1", "another web server runs",
          (shell("cp /usr/bin/systemd-socket-activate /usr/local/bin/nginx; "
                 "systemd-run -q --unit=web /usr/local/bin/nginx -a -l 0.0.0.0:8088 /bin/cat; sleep 0.3",
                 "systemctl stop web; rm /usr/local/bin/nginx"),), "warn", "nginx",
          follows={"OS12": "a server that runs is also left from earlier"}, short=True),
    Fault("OS11", "sto1", "the kernel complains about a disk",
          (program("/usr/bin/dmesg", "echo '[12.3] I/O error, dev sda, sector 4096 op 0x0:(READ)'"),), "warn", "1",
          kind="S"),
    Fault("OS13", "db1", "an agent that scans files runs",
          (shell("cp /usr/bin/sleep /usr/local/bin/clamd; systemd-run -q --unit=agent /usr/local/bin/clamd 1000",
                 "systemctl stop agent; rm /usr/local/bin/clamd"),), "info", "clamd"),
    Fault("SEC06", "app1", "the key belongs to another certificate", (certificate("key"), site(_TLS)), "fail", "≠",
          target="key"),
    Fault("SEC06", "app1", "the certificate ends in ten days", (certificate("days"), site(_TLS)), "warn",
          re.compile("(9|10) d.*|2[0-9]{2} h.*"), target="notAfter"),
    Fault("SEC06", "app1", "the certificate has another name", (certificate("name"), site(_TLS)), "fail",
          "other.example", target="SAN"),
    Fault("SEC06", "app1", "the key has a password", (certificate("password"), site(_TLS)), "fail", "—", target=None),
    Fault("OS10", "app1", "the only package source does not answer",
          (shell("echo 'deb [trusted=yes] http://192.0.2.1/debian bookworm main' > /etc/apt/sources.list.d/x.list",
                 "rm /etc/apt/sources.list.d/x.list"),), "warn", re.compile(r"− http://192\.0\.2\.1/.*"), deep=True),
]  # fmt: skip
