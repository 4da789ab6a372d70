"""Limits of the kernel and of services."""

from __future__ import annotations

from mutation.fault import Fault, kernel, shadow, shell, site

_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"

FAULTS = [
    Fault("LIM03", "app1", "ten thousand open files in all", (shadow("/proc/sys/fs/file-max", "10000"),),
          "fail", "10000", kind="S", short=True),
    Fault("LIM03", "db1", "half a million open files in all", (shadow("/proc/sys/fs/file-max", "500000"),),
          "warn", "500000", kind="S"),
    Fault("LIM05", "db1", "two semaphore sets", (kernel("/proc/sys/kernel/sem", "32 64 1 2"),), "warn", "32 64 1 2",
          short=True),
    Fault("LIM06", "db1", "1 MiB of shared memory", (kernel("/proc/sys/kernel/shmmax", "1048576"),), "fail", "1 MiB", target="shmmax"),
    Fault("LIM08", "app1", "ports of outgoing connections begin at 8000", (kernel(_RANGE, "8000 60999"),),
          "warn", "8080", follows={"LIM12": "no file says so"}, short=True),
    Fault("LIM06", "db1", "16 MiB of shared memory in /dev/shm",
          (shell("mount -t tmpfs -o size=16m tmpfs /dev/shm", "umount /dev/shm"),), "fail", "16 MiB", target="/dev/shm"),
    Fault("LIM11", "db1", "fewer memory maps than the site asks for",
          (shadow("/proc/sys/vm/max_map_count", "65530"),
           site(("MEM04: {want: 100}", "MEM04: {want: 100}\n      LIM11: {need: 262144}"))), "fail", "65530", kind="S"),
    Fault("LIM12", "sto1", "the next boot sets another value than the one that runs",
          (shell("echo net.core.somaxconn=128 > /etc/sysctl.d/99-x.conf", "rm /etc/sysctl.d/99-x.conf"),), "warn",
          "4096", target="net.core.somaxconn"),
    Fault("LIM12", "dns1", "no file sets the value that runs", (kernel("/proc/sys/net/core/somaxconn", "777"),), "warn",
          "777", target="net.core.somaxconn"),
    Fault("MEM07", "db1", "the database wants huge pages, the kernel has none",
          (site(("# huge_pages: true", "  huge_pages: true  #")),), "fail", "0 B"),
]  # fmt: skip
