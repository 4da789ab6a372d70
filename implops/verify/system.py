"""Runs the users' own system checks (``checks/system/*.py``) in a pytest of their own and reads what came of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from implops import kit
from implops.errors import KitError
from implops.site import Site

FOLDER = "checks/system"
SECONDS = 1800
# pytest's exit codes: 0 all passed, 1 some failed; everything else means that the results are not whole.
_WHOLE = (0, 1)


def files(site: Site) -> list[Path]:
    """The check files, the nearest kit wins. Raises KitError when others may write to them."""
    return list(kit.files(FOLDER, site.base).values())


def run(site: Site) -> list[dict[str, Any]]:
    """A result a check and host: ``check`` (file::test), ``host`` or empty, ``state`` (pass fail skip error), ``said``,
    ``ms``. Raises KitError when pytest did not come to an orderly end: then nothing is known.
    """
    found = files(site)
    if not found:
        return []
    with tempfile.TemporaryDirectory(prefix="implops-verify-") as folder:
        results = Path(folder) / "results"
        results.touch()
        command = [
            # testinfra's own plugin (that is its name) would ask for hosts in its own way.
            sys.executable, "-m", "pytest", "-q", "-p", "implops.verify.plugin", "-p", "no:pytest11.testinfra",
            "-p", "no:cacheprovider", "--rootdir", folder, "-c", "/dev/null", "--implops-site", str(site.path),
            "--implops-results", str(results), *map(str, found),
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
