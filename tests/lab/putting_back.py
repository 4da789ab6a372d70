"""Put a dump of MariaDB back in its place and, if told so, die by SIGKILL at the Nth statement: JSON on standard input.

What restic does on a host a file does here; everything else is the program that lies on customers' hosts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "backups"))

import in_place_mariadb
import mariadb
from repository import Failed

given = json.load(sys.stdin)
statements = 0
really = in_place_mariadb._sql


def counted(text: str, *options: str) -> str:
    global statements
    statements += 1
    if statements == given["die_at"]:
        os.kill(os.getpid(), signal.SIGKILL)
    answer = really(text, *options)
    if statements == -given["die_at"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer


class Repository:
    def open(self, snapshot: str, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["cat", snapshot], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


in_place_mariadb._sql = counted
in_place_mariadb.SOCKET = mariadb.SOCKET = given["socket"]
in_place_mariadb.PLACE = Path(given["place"])
status: dict = {}
try:
    in_place_mariadb.put_back({"database": "his"}, Repository(), given["dump"], given["kept"], status)
except Failed as error:
    status["error"] = [error.code, error.detail]
print(json.dumps({**status, "statements": statements}))
