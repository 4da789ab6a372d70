"""The operating system: release, kernel, tools, leftovers; processors and memory."""

from __future__ import annotations

import re

from implops.units import format_size
from mutation.fault import (
    Fault,
    Step,
    beside_site,
    edited,
    memory_of_machine,
    program,
    shadow,
    shell,
    site,
)

_HEAP = memory_of_machine() * 9 // 10 // 2**20


def _package(name: str) -> Step:
    """A package as small as a package can be, built and installed on the host."""
    control = f"Package: {name}\\nVersion: 0.1\\nArchitecture: all\\nMaintainer: x <x@example>\\nDescription: x\\n"
    build = (
        "d=/run/mutation/deb; mkdir -p $d/DEBIAN; chmod 755 $d $d/DEBIAN; "
        f"printf '{control}' > $d/DEBIAN/control; dpkg-deb -b $d /run/mutation/x.deb >/dev/null"
    )
    return shell(f"{build}; dpkg -i /run/mutation/x.deb >/dev/null", f"dpkg -P {name} >/dev/null", touches="dpkg")


_GOVERNOR = (
    "mount -t tmpfs tmpfs /sys/devices/system/cpu/cpu0; mkdir /sys/devices/system/cpu/cpu0/cpufreq; "
    "echo powersave > /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
)
_OTHER_BASELINE = "baseline: {OS11: {state: error, reason: container}, CPU04: {state: warn, reason: machine}}\n"

FAULTS = [
    Fault("OS01", "sto1", "a release that nobody has tried",
          (edited("/usr/lib/os-release", "s/^VERSION_ID=.*/VERSION_ID=\"99\"/; s/^PRETTY_NAME=.*/PRETTY_NAME=\"X 99\"/"),),
          "fail", "X 99", kind="S", short=True),
    Fault("OS02", "dns1", "the login runs as a 32-bit system",
          (shell("mkdir -p /run/systemd/system/ssh.service.d; printf '[Service]\\nPersonality=x86\\n' > "
                 "/run/systemd/system/ssh.service.d/mutation.conf; systemctl daemon-reload; systemctl restart ssh",
                 "rm /run/systemd/system/ssh.service.d/mutation.conf; systemctl daemon-reload; systemctl restart ssh"),),
          "fail", "i686"),
    Fault("OS03", "app1", "a kernel that is too old",
          (program("/usr/bin/uname", "$REAL \"$@\" | sed -E 's/ [0-9]+\\.[0-9]+\\.[^ ]*/ 2.6.32-754/'"),),
          "fail", "2.6.32-754", kind="S",
          follows={"APP03": "the random source of such a kernel can run dry"}, short=True),
    Fault("OS03", "db1", "a kernel that is old",
          (program("/usr/bin/uname", "$REAL \"$@\" | sed -E 's/ [0-9]+\\.[0-9]+\\.[^ ]*/ 3.10.0-1160/'"),),
          "warn", "3.10.0-1160", kind="S"),
    Fault("OS04", "db1", "a C library that is too old",
          (program("/usr/bin/getconf", "[ \"$1\" = GNU_LIBC_VERSION ] && exec echo glibc 2.12; exec $REAL \"$@\""),),
          "fail", "2.12", kind="S", short=True),
    Fault("OS05", "dns1", "another program than systemd runs the system", (shadow("/proc/1/comm", "init"),),
          "fail", "init", kind="S", short=True),
    Fault("OS06", "db1", "a container is not excused",
          (beside_site("checks/profiles/lab.yml", _OTHER_BASELINE),),
          "warn", "systemd-nspawn", others=("app1", "dns1", "sto1"),           alone=True),
    Fault("OS07", "sto1", "an update waits for a reboot",
          (shell("touch /run/reboot-required", "rm /run/reboot-required"),), "warn", "reboot-required", short=True),
    Fault("OS08", "app1", "the host is called localhost", (shell("hostname localhost", "hostname app1"),),
          "fail", "localhost", short=True),
    Fault("OS08", "db1", "a name that DNS does not allow", (shell("perl -e 'syscall(170, $n = \"db_1\", 4)'", "hostname db1"),), "fail", "db_1"),
    Fault("OS08", "sto1", "two hosts of one name", (shell("hostname app1", "hostname sto1"),),
          "fail", "app1", others=("app1",)),
    Fault("OS09", "db1", "a tool that is needed is missing",
          (shell("mv /usr/bin/gzip /usr/bin/gzip.kept", "mv /usr/bin/gzip.kept /usr/bin/gzip"),),
          "fail", "gzip", short=True),
    Fault("OS12", "app1", "a web server is installed already", (_package("nginx-light"),), "fail", "nginx-light", short=True),
    Fault("OS12", "sto1", "a unit of an earlier installation is left",
          (shell("touch /etc/systemd/system/implops-backup@.service", "rm /etc/systemd/system/implops-backup@.service"),),
          "fail", "implops-backup@.service"),
    Fault("CPU01", "db1", "one processor of two is off line", (shadow("/sys/devices/system/cpu/online", "0"),),
          "warn", "1", kind="S", short=True),
    Fault("CPU01", "db1", "the site asks for more processors", (site(("cpus: {need: 1, want: 2}", "cpus: {need: 4096}")),),
          "fail", re.compile("[0-9]+")),
    Fault("CPU02", "sto1", "a processor type of a virtual machine without popcnt",
          (edited("/proc/cpuinfo", "s/ popcnt / /"),), "fail", "− popcnt", kind="S", short=True),
    Fault("CPU03", "app1", "the processor saves power", (shell(_GOVERNOR, "umount /sys/devices/system/cpu/cpu0"),),
          "warn", "powersave", kind="S", short=True),
    Fault("CPU04", "db1", "a load of 99", (shadow("/proc/loadavg", "99.00 99.00 99.00 9/99 999"),), "warn",
          re.compile("[0-9]{4} %"), kind="S"),
    Fault("CPU05", "sto1", "a slow clock source",
          (shadow("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),),
          "warn", "hpet", kind="S", short=True),
    Fault("MEM01", "db1", "3 GiB where 2 GB are needed and 4 GB wanted",
          (edited("/proc/meminfo", "s/^MemTotal:.*/MemTotal: 3145728 kB/"),), "warn", "3 GiB", kind="S", short=True),
    Fault("MEM01", "app1", "1 GiB where 2 GB are needed",
          (edited("/proc/meminfo", "s/^MemTotal:.*/MemTotal: 1048576 kB/"),), "fail", "1 GiB", kind="S"),
    Fault("MEM02", "app1", "a heap of nine tenths of the memory", (site(("heap: 512 MiB", f"heap: {_HEAP} MiB")),),
          "fail", format_size(_HEAP * 2**20), follows={"MEM03": "so much is not free either"}, short=True),
    Fault("MEM03", "db1", "nearly all memory is in use",
          (edited("/proc/meminfo", "s/^MemAvailable:.*/MemAvailable: 102400 kB/"),),
          "fail", "100 MiB", kind="S", short=True),
    Fault("MEM05", "db1", "huge pages for everyone",
          (shadow("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),),
          "warn", "always", kind="S", short=True),
    Fault("MEM06", "db1", "memory of the other node is not used",
          (shadow("/proc/sys/vm/zone_reclaim_mode", "1"),
           shell("mount -t tmpfs tmpfs /sys/devices/system/node; mkdir /sys/devices/system/node/node0 "
                 "/sys/devices/system/node/node1", "umount /sys/devices/system/node")),
          "warn", "2 × 1", kind="S"),
    Fault("MEM04", "db1", "swap of 64 GiB", (edited("/proc/meminfo", "s/^SwapTotal:.*/SwapTotal: 67108864 kB/"),), "warn",
          "64 GiB", target="swap", kind="S"),
    Fault("MEM08", "db1", "the kernel grants no more than 100 MiB",
          (shadow("/proc/sys/vm/overcommit_memory", "2"),
           edited("/proc/meminfo", "s/^CommitLimit:.*/CommitLimit: 102400 kB/")),
          "fail", "100 MiB", kind="S"),
]  # fmt: skip
