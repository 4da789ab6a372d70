"""In the worker a question without an answer stops the recipe; pyinfra itself would go on with a default."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: the worker patches whatever imports it.
SCRIPT = """
import logging
from implops.deploy import worker
from pyinfra.api import Config, Inventory

state = worker.StrictState(Inventory((["db1", "app1"], {})), Config(), check_for_changes=False)
state.fail_hosts(set())
for ask in (
    lambda: state.fail_hosts({state.inventory.get_host("db1")}),
    lambda: log.warning("sh: 1: psql: command not found"),
):
    log = logging.getLogger("pyinfra")
    log.propagate = False
    if not log.handlers:
        log.addHandler(worker.StrictLog(logging.WARNING))
    log.warning("something else")
    try:
        ask()
    except worker.FactUnknown as unknown:
        print(unknown)
"""


def test_a_fact_that_cannot_be_had_stops_the_recipe() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["db1", "sh: 1: psql: command not found"]
