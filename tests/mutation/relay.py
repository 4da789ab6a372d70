"""Hold back every packet that comes into the device ``slow`` for so many seconds. A program of its own (delay.py)."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_SET_INTERFACE, _TUN, _NO_HEADER = 0x400454CA, 1, 0x1000


def relay(seconds: float) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _SET_INTERFACE, struct.pack("16sH", b"slow", _TUN | _NO_HEADER))
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        rest = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([tun], [], [], rest)[0]:
            waiting.append((time.monotonic() + seconds, os.read(tun, 65535)))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(tun, waiting.popleft()[1])


if __name__ == "__main__":
    relay(float(sys.argv[1]))
