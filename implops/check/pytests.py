"""Runs users' pytest files (testinfra) in a process of their own and reads what came of them.

The process reaches the hosts through a socket in a folder that only we may enter; this side runs its commands over
connections that are open already. A file that ends the interpreter, hangs or lies about its end spoils nothing else.
"""

from __future__ import annotations

import base64
import json
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from implops.errors import ImplopsError, KitError
from implops.remote import Connection
from implops.site import Site

SECONDS = 1800
COMMAND_SECONDS = 120.0
# pytest's exit codes: 0 all passed, 1 some failed; everything else means that the results are not whole.
_WHOLE = (0, 1)


def run(
    site: Site, files: Sequence[Path], hosts: Sequence[str], connection: Callable[[str], Connection]
) -> list[dict[str, Any]]:
    """A result a check and host: ``check`` (file::test), ``host`` or empty, ``state`` (pass fail skip error), ``said``,
    ``title``, ``severity``, ``target``, ``ms``. ``connection`` gives that of a host, or raises ImplopsError.

    Raises KitError when pytest did not come to an orderly end: then nothing is known.
    """
    with tempfile.TemporaryDirectory(prefix="implops-tests-") as folder, _serve(Path(folder), connection) as path:
        results = Path(folder) / "results"
        results.touch()
        command = [
            # testinfra's own plugin (that is its name) would ask for hosts in its own way.
            sys.executable, "-m", "pytest", "-q", "-p", "implops.check.plugin", "-p", "no:pytest11.testinfra",
            "-p", "no:cacheprovider", "--continue-on-collection-errors", "-c", "/dev/null", "--rootdir", "/",
            "--confcutdir", folder, "--implops-site", str(site.path), "--implops-results", str(results),
            "--implops-socket", path, "--implops-hosts", ",".join(hosts),
            *map(str, files),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, cwd=folder,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise KitError("verify.checks_hang", seconds=SECONDS) from None
        lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    ended = [one for one in lines if "end" in one]
    rows = [one for one in lines if "end" not in one]
    broken = [one for one in rows if one["state"] == "error" and not one["host"]]
    if not broken and (not ended or ended[-1]["end"] not in _WHOLE or not rows):
        text = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()
        raise KitError("verify.checks_broken", why=(text or ["-"])[-1][:300])
    return rows


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, connection: Callable[[str], Connection]) -> None:
        super().__init__(path, _Request)
        self.connection = connection
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> str:  # type: ignore[override]
        self._thread.start()
        return str(self.server_address)

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


def _serve(folder: Path, connection: Callable[[str], Connection]) -> _Server:
    return _Server(str(folder / "hosts"), connection)


class _Request(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        try:
            answer = self._run(asked["host"], asked["command"])
        except ImplopsError as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")

    def _run(self, host: str, command: str) -> dict[str, Any]:
        connection = self.server.connection(host)
        if not command:
            return {}
        result = connection.command(command, timeout=COMMAND_SECONDS)
        out, err = (base64.b64encode(text).decode() for text in (result.out, result.err))
        return {"rc": result.rc, "out": out, "err": err}
