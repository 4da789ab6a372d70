"""Run implops and die by SIGKILL at the Nth record that it writes: ``killer.py before|after N ARGUMENTS…``.

Nothing of the program is prepared for it: no cleanup, no signal handler, the process is gone between two instructions.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from implops.cli.main import main
from implops.store import Store

when, number = sys.argv[1], int(sys.argv[2])
written = 0
append = Store.append


def counted(self: Store, *arguments: Any, **named: Any) -> Any:
    global written
    written += 1
    if written == number and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    event = append(self, *arguments, **named)
    if written == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return event


Store.append = counted  # type: ignore[method-assign]
main(sys.argv[3:])
