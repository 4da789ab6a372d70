"""Limits of the kernel and of services."""

from __future__ import annotations

from mutation.fault import Fault, kernel, shadow

_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"

FAULTS = [
    Fault("LIM03", "app1", "ten thousand open files in all", (shadow("/proc/sys/fs/file-max", "10000"),),
          "fail", "10000", kind="S", short=True),
    Fault("LIM03", "db1", "half a million open files in all", (shadow("/proc/sys/fs/file-max", "500000"),),
          "warn", "500000", kind="S"),
    Fault("LIM05", "db1", "two semaphore sets", (kernel("/proc/sys/kernel/sem", "32 64 1 2"),), "warn", "32 64 1 2",
          short=True),
    Fault("LIM06", "db1", "1 MiB of shared memory", (kernel("/proc/sys/kernel/shmmax", "1048576"),), "fail", "1 MiB"),
    Fault("LIM08", "app1", "ports of outgoing connections begin at 8000", (kernel(_RANGE, "8000 60999"),),
          "warn", "8080", short=True),
]  # fmt: skip
