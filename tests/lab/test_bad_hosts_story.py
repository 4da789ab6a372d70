"""Hosts that let us in and then hang, talk nonsense or do not stop talking: each its own trouble, nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from power import environment
from test_check_story import fault

from implops.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.full]

# What the host runs whatever it is asked for.
HANGS = "sleep 1000"
NONSENSE = "head -c 300000 /dev/urandom"
FLOODS = "yes implops | head -c 52428800"
CONF = "/etc/ssh/sshd_config.d/00-forced.conf"


def forced(site: Site, host: str, command: str):  # type: ignore[no-untyped-def]
    again = "systemctl reload ssh; sleep 1"
    return fault(site, host, f"printf 'ForceCommand %s\\n' '{command}' >{CONF}; {again}", f"rm {CONF}; {again}")


def test_a_host_that_hangs_talks_nonsense_or_floods_spoils_nobody_elses_check(site: Site) -> None:
    command = [sys.executable, "-m", "implops.cli.main", "check", str(site.path), "--json", "--no-document"]
    with forced(site, "app1", FLOODS), forced(site, "dns1", NONSENSE), forced(site, "sto1", HANGS):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout and process.stderr
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (1, 3), err.decode()
    assert b"Traceback" not in err
    verdicts = json.loads(out)["verdicts"]
    states: dict[str, dict[str, int]] = {}
    for one in verdicts:
        count = states.setdefault(one["host"], {})
        count[one["state"]] = count.get(one["state"], 0) + 1
    # The host that answers was measured: only what needs the others is open.
    assert states["db1"]["pass"] > 40
    for host, notes in (
        ("sto1", {"remote.deadline"}),
        ("dns1", {"reason.foreign"}),
        ("app1", {"reason.foreign"}),
    ):
        told = {one["note"] for one in verdicts if one["host"] == host and one["state"] in ("error", "absent")}
        assert told & notes, (host, told)
        # Nothing that came from there passes; what this side measured itself may.
        passed = {one["id"] for one in verdicts if one["host"] == host and one["state"] == "pass"}
        assert passed <= {"ACC01", "ACC02", "ACC03", "ACC06", "DB09"}, passed
    # Of 50 MB no more is kept than the limit of an answer.
    assert usage.ru_maxrss < 250 * 1024
