"""A deployed site: what recipes were to bring is demanded now, and there are services that can be broken."""

from __future__ import annotations

import re
import shlex

from mutation.delay import delay
from mutation.fault import Fault, Step, change, kernel, net, shadow, shell, site
from mutation.faults.network import rule
from mutation.faults.services import SYNC

_ZONE = "/var/lib/bind/his.example.zone"
_RELOAD = "systemctl restart named; sleep 0.5"
# A pool that has lost its connections makes new ones when it is asked; nothing of ours waits for it.
_RESTART = "systemctl restart 'postgresql@*-main.service'"
_JDK = "/usr/lib/jvm/java-17-openjdk-amd64/release"
_LIM12 = {"LIM12": "what runs is not what the file says"}
_SILENT = "nothing says how far off the clock is"


def _zone(sed: str) -> Step:
    return change(_ZONE, f"sed -i -E {shlex.quote(sed)} $F", host="dns1", then=_RELOAD)


def _reverse(sed: str) -> Step:
    find = "F=$(ls /var/lib/bind/*.in-addr.arpa.zone)"
    return shell(f"{find}; cp -a $F /run/reverse.kept; sed -i -E {shlex.quote(sed)} $F; {_RELOAD}",
                 f"{find}; cp -a /run/reverse.kept $F; rm /run/reverse.kept; {_RELOAD}", "dns1", _ZONE)  # fmt: skip


def _named(sed: str) -> Step:
    """Another configuration of the name server, in force."""
    return change("/etc/bind/named.conf", f"sed -i -E {shlex.quote(sed)} $F", host="dns1", then=_RELOAD)


def _sql(do: str, undo: str) -> Step:
    ask = "cd /; runuser -u postgres -- psql -v ON_ERROR_STOP=1 -qd his -c"
    return shell(f"{ask} {shlex.quote(do)}", f"{ask} {shlex.quote(undo)}", "db1", "postgresql")


def _unit(line: str) -> Step:
    """A drop-in of the application server's unit, and limits.d that says something else."""
    folder = "/run/systemd/system/tomcat10.service.d"
    return shell(f"mkdir -p {folder}; printf '[Service]\\n{line}\\n' > {folder}/zz.conf; systemctl daemon-reload; "
                 "echo '* - nofile 1000000' > /etc/security/limits.d/x.conf",
                 f"rm {folder}/zz.conf /etc/security/limits.d/x.conf; systemctl daemon-reload",
                 touches="tomcat10.service")  # fmt: skip


def _psql(setting: str) -> Step:
    """A setting of the database server, as its administrator would make it."""
    ask = "cd /; runuser -u postgres -- psql -qc"
    name = setting.partition("=")[0].strip()
    return shell(f'{ask} "alter system set {setting}"; {_RESTART}', f'{ask} "alter system reset {name}"; {_RESTART}',
                 "db1", "postgresql")  # fmt: skip


def after(id: str, host: str, what: str, steps: tuple[Step, ...], state: str, actual: str | re.Pattern[str],
          **more: object) -> Fault:  # fmt: skip
    return Fault(id, host, what, steps, state, actual, scene="deployed", **more)  # type: ignore[arg-type]


FAULTS = [
    after("TIM01", "app1", "the time service is stopped",
          (shell("systemctl stop chrony", f"systemctl start chrony; {SYNC}", touches="chrony"),), "fail", "—",
          follows={"TIM02": _SILENT, "TIM04": "no source at all"}, short=True),
    after("TIM01", "db1", "the only time server does not answer",
          (shell("mount -t tmpfs tmpfs /etc/chrony/conf.d; mount -t tmpfs tmpfs /etc/chrony/sources.d; "
                 "echo 'server @net@.250 iburst' > /etc/chrony/sources.d/x.sources; systemctl restart chrony; sleep 1",
                 "umount /etc/chrony/conf.d; umount /etc/chrony/sources.d; systemctl restart chrony; " + SYNC,
                 touches="chrony"),),
          "fail", "—", follows={"TIM02": _SILENT, "TIM04": "no source at all"}),
    after("TIM05", "app1", "another time zone",
          (shell("readlink /etc/localtime > /run/zone; ln -sf /usr/share/zoneinfo/UTC /etc/localtime",
                 "ln -sf $(cat /run/zone) /etc/localtime", touches="/etc/localtime"),), "fail", "UTC", short=True),
    after("LOC01", "app1", "no UTF-8 language", (change("/etc/default/locale", "echo LANG=C > $F"),), "warn", "C",
          short=True),
    after("LOC02", "db1", "the locale of the database is gone",
          (shell("mount -t tmpfs tmpfs /usr/lib/locale", "umount /usr/lib/locale"),), "fail", "—", short=True),
    after("LIM01", "app1", "the unit allows 1024 files, limits.d a million", (_unit("LimitNOFILE=1024"),), "fail", "1024",
          target="tomcat10", short=True),
    after("LIM02", "app1", "the unit allows fifty tasks", (_unit("TasksMax=50"),), "fail", "50", target="tomcat10"),
    after("DSK10", "sto1", "the account of the backups may not write into their directory",
          (shell("stat -c '%U %a' /backup/his > /run/mode; chown root /backup/his; chmod 700 /backup/his",
                 "read u m < /run/mode; chown $u /backup/his; chmod $m /backup/his"),), "fail", "—",
          target="/backup/his", short=True),
    after("LIM07", "app1", "a queue of 512 connections", (kernel("/proc/sys/net/core/somaxconn", "512"),), "warn", "512",
          follows=_LIM12, short=True),
    after("LIM07", "db1", "a queue of 64 connections", (kernel("/proc/sys/net/core/somaxconn", "64"),), "warn", "64",
          follows=_LIM12),
    after("LIM09", "app1", "quiet connections are asked after two hours",
          (kernel("/proc/sys/net/ipv4/tcp_keepalive_time", "7200"),), "warn", re.compile("7200|2 h 0 min"), follows=_LIM12),
    after("MEM04", "db1", "the kernel swaps early", (shadow("/proc/sys/vm/swappiness", "180"),), "warn", "180",
          kind="S", short=True),
    after("SEC03", "app1", "the web server is stopped", (shell("systemctl stop nginx", "systemctl start nginx"),),
          "fail", "—", target="80", short=True),
    after("SEC03", "db1", "the database listens for itself only", (_psql("listen_addresses = '127.0.0.1'"),), "fail",
          re.compile(r"127\.0\.0\.1.*"), target="5432",
          follows={"app1/NET01": "from outside nothing answers", "app1/NET03": "no connection, no time",
                   "app1/DB09": "no login from outside"}),
    after("NET01", "app1", "a firewall refuses in the database's name",
          (rule("INPUT -s @app1@ -p tcp --dport 5432 -j REJECT --reject-with tcp-reset", "db1"),), "fail", "refused",
          target="→ db1:5432/tcp", follows={"NET03": "a refused connection has no time", "DB09": "no login either"}, short=True),
    after("NET10", "sto1", "/etc/hosts sends the database's name elsewhere",
          (change("/etc/hosts", "sed -i '1i 10.9.9.9 db1' $F"),), "warn", re.compile(r"db1=10\.9\.9\.9"), short=True),
    after("DNS01", "app1", "another name server first", (change("/etc/resolv.conf", "sed -i '1i nameserver @sto1@' $F"),),
          "fail", re.compile(r"[0-9.]+\.14 [0-9.]+\.13"), short=True),
    after("DNS02", "dns1", "the zone has a wrong address for the application",
          (_zone(r"s/^(his IN A ).*/\110.9.9.9/"),), "fail", "10.9.9.9", target="his.his.example",
          others=("app1", "sto1", "db1")),
    after("DNS02", "sto1", "/etc/hosts has another address for a full name",
          (change("/etc/hosts", "sed -i '1i 10.9.9.8 app1.his.example' $F"),), "fail", re.compile(r"[0-9.]+\.12 10\.9\.9\.8"),
          target="app1.his.example", follows={"NET10": "the same line"}),
    after("DNS03", "app1", "no way back from the address", (_reverse(r"/^12 IN PTR/d"),), "warn", "rcode 3",
          target="→ dns1"),
    after("DNS04", "app1", "a firewall drops questions to the name server",
          (rule("INPUT -s @app1@ -p udp --dport 53 -j DROP", "dns1"),), "fail", "timeout", target="→ dns1:53/udp",
          follows={"NET01": "the same path", "DNS02": "no name can be looked up", "DNS03": "nor an address",
                   "DNS05": "no answer, no time", "DNS06": "nobody is asked"}),
    after("DNS04", "sto1", "a firewall lets only short questions through",
          (rule("INPUT -s @sto1@ -p tcp --dport 53 -j DROP", "dns1"),), "fail", "timeout", target="→ dns1:53/tcp",
          follows={"NET01": "the same path", "NET03": "no connection, no time",
                   "DNS10": "nobody to fetch a zone from"}, short=True),
    after("DNS05", "app1", "every answer takes 150 ms", (delay("@app1@", 0.15, "dns1"),), "warn",
          re.compile("1[5-9][0-9] ms"), target="→ dns1", follows={"NET03": "so does every connection"}),
    after("DNS06", "dns1", "every name has an address", (_zone(r"$ a * IN A 10.9.9.9"),), "warn", "10.9.9.9",
          target="→ dns1", others=("app1", "sto1", "db1")),
    after("APP01", "app1", "no JDK is there", (shell(f"mv {_JDK} {_JDK}.kept", f"mv {_JDK}.kept {_JDK}"),), "fail", "—"),
    after("APP01", "app1", "an old JDK is there",
          (change(_JDK, "sed -i 's/^JAVA_VERSION=.*/JAVA_VERSION=\"1.8.0_151\"/' $F"),), "fail", re.compile(r"1\.8\.0_151.*"), kind="S"),
    after("DNS08", "dns1", "a semicolon is missing in named.conf, the server has not been started since",
          (change("/etc/bind/named.conf", "sed -i 's/notify no;/notify no/' $F"),), "fail",
          re.compile(r".*named\.conf:[0-9]+: .*")),
    after("DNS09", "dns1", "a second name server has another version of the zone",
          (shell("mkdir -p /run/two; sed -E -e 's/[0-9]+ ; serial/2099010101 ; serial/' "
                 "/var/lib/bind/his.example.zone > /run/two/zone; chmod 755 /run/two; "
                 "printf 'options { directory \"/run/two\"; listen-on port 5353 { any; }; listen-on-v6 { none; }; "
                 "pid-file none; session-keyfile none; recursion no; allow-transfer { none; }; }; controls { };"
                 "zone \"his.example\" { type primary; file \"/run/two/zone\"; };\\n' > /run/two/conf; "
                 "systemd-run -q --unit=two named -f -c /run/two/conf; sleep 1",
                 "systemctl stop two; rm -r /run/two"),
           net("echo 1 > /proc/sys/net/ipv4/ip_forward; "
               "for p in udp tcp; do iptables -t nat -A PREROUTING -p $p --dport 53 -j DNAT --to @dns1@:5353; done; "
               "iptables -t nat -A POSTROUTING -d @dns1@ -j MASQUERADE",
               "iptables -t nat -F; echo 0 > /proc/sys/net/ipv4/ip_forward", host="sto1"),
           site(("sto1: {address: @sto1@, roles: [storage]", "sto1: {address: @sto1@, roles: [storage, dns]"))),
          "fail", re.compile(r"dns1=[0-9]+ sto1=2099010101|sto1=2099010101"), others=("sto1",), alone=True,
          follows={"*": "a name server that is not deployed", "app1/DNS01": "the hosts do not know it",
                   "db1/DNS01": "the hosts do not know it", "app1/DNS03": "it has no zone of addresses",
                   "db1/DNS03": "it has no zone of addresses"}),
    after("DNS10", "dns1", "everybody may fetch the zone", (_named("s/allow-transfer \\{ none; \\}/allow-transfer { any; }/"),),
          "warn", re.compile("SOA [0-9]+"), target=None, others=("db1", "app1", "sto1")),
    after("DNS11", "dns1", "everybody may ask for anything",
          (_named("s/recursion no;/recursion yes; allow-recursion { any; };/; "
                  "s/allow-query-cache \\{ site; \\}/allow-query-cache { any; }/"),),
          "warn", "RA", target="← *"),
    after("DB01", "db1", "the product wants another version of the database",
          (site(("MEM04: {want: 100}", "MEM04: {want: 100}\n      DB01: {need: [postgresql 16]}")),), "fail",
          "postgresql 15"),
    after("DB02", "db1", "a database without an encoding",
          (_sql("update pg_database set encoding = 0 where datname = 'his'",
                "update pg_database set encoding = 6 where datname = 'his'"),), "fail", "SQL_ASCII", target="his"),
    after("DB03", "db1", "new databases sort by bytes",
          (_sql("update pg_database set datcollate = 'C', datctype = 'C' where datname = 'template1'",
                "update pg_database set (datcollate, datctype) = (select datcollate, datctype from pg_database "
                "where datname = 'his') where datname = 'template1'"),), "fail", "C", target="template1"),
    after("DB05", "db1", "twenty connections for pools of sixty", (_psql("max_connections = 20"),), "fail", "20"),
    after("DB06", "db1", "a small cache", (_psql("shared_buffers = '16MB'"),), "warn", "16 MiB", target="shared_buffers"),
    after("DB07", "db1", "nothing is forced to disk", (_psql("fsync = off"),), "fail", "off", target="fsync"),
    after("DB08", "db1", "the owner may not create anything",
          (_sql("revoke create on database his from his_owner", "grant create on database his to his_owner"),), "fail",
          "PUBLIC", target="his_owner"),
    after("DB08", "db1", "an extension is not installed",
          (site(("# extensions: [pg_trgm]", "  extensions: [postgis]  #")),), "fail", "—",
          target="extension postgis"),
    after("DB09", "app1", "the server does not let the application in",
          (shell("f=$(ls /etc/postgresql/*/main/pg_hba.conf); cp -a $f /run/hba.kept; sed -i '/@app1@/d' $f; "
                 "systemctl reload 'postgresql@*-main.service'; sleep 0.3",
                 "f=$(ls /etc/postgresql/*/main/pg_hba.conf); cp -a /run/hba.kept $f; rm /run/hba.kept; "
                 "systemctl reload 'postgresql@*-main.service'; sleep 0.3", "db1", "postgresql"),), "fail",
          re.compile(".*pg_hba.*"), target="→ db1"),
    after("DB10", "db1", "the server lives in another zone", (_psql("timezone = 'UTC'"),), "warn", "UTC"),
    after("DB12", "db1", "the site file says another directory than the server has",
          (site(("data: /data/pg\n", "data: /data/other\n")),), "fail", "/data/pg", target="data_directory",
          follows={"DSK10": "the other directory belongs to nobody"}),
    after("DB13", "db1", "what is to be kept of the log is not",
          (_psql("archive_mode = on"), _psql("archive_command = 'false'")), "warn", "false", target="archive_command"),
]  # fmt: skip
