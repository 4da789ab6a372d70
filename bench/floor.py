"""The floor of bench-check: one process, paramiko threads, strict host keys, answers discarded.

python floor.py PLAN.json true|scripts
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko

from implops.prompt import PromptSocket


def transport(plain: socket.socket, **arguments: Any) -> paramiko.Transport:
    """Small packets at once, as implops has it."""
    return paramiko.Transport(PromptSocket.of(plain), **arguments)


def visit(plan: dict[str, Any], host: dict[str, Any], scripts: list[str]) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(plan["known_hosts"])
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(host["address"], username=plan["user"], key_filename=plan["key"], allow_agent=False,
                   look_for_keys=False, transport_factory=transport)  # fmt: skip
    for script in scripts:
        stdin, stdout, _ = client.exec_command("sudo -n sh -s")
        stdin.write(script)
        stdin.channel.shutdown_write()
        stdout.read()
    client.close()


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    scripts = sys.argv[2] == "scripts"
    with ThreadPoolExecutor(max_workers=40) as pool:
        hosts = plan["hosts"].values()
        list(pool.map(lambda host: visit(plan, host, host["scripts"] if scripts else ["true\n"]), hosts))


if __name__ == "__main__":
    main()
