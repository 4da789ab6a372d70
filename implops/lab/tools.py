"""Programs of this machine that the lab needs, and the Debian packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from implops.errors import MachineError

PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "mkfs.xfs": "xfsprogs",
    "xfs_io": "xfsprogs",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "losetup": "mount",
    "tar": "tar",
}
# mmdebstrap checks the archive's signature with it; on Debian itself apt has brought it already.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def require(packages: dict[str, str] | None = None) -> None:
    """Raise MachineError when we are not root or a program is missing; the error names the Debian packages."""
    if os.geteuid() != 0:
        raise MachineError("lab.not_root")
    wanted = PACKAGES if packages is None else packages
    missing = {package for program, package in wanted.items() if shutil.which(program) is None}
    if not KEYRING.is_file():
        missing.add("debian-archive-keyring")
    if missing:
        raise MachineError("lab.missing", packages=" ".join(sorted(missing)))


def call(command: Sequence[str | Path], *, given: str | None = None) -> str:
    """Run one of the programs and return what it prints. Raises MachineError("lab.command") with the first line of its
    complaint.
    """
    done = subprocess.run(
        [str(part) for part in command],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        umask=0o022,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise MachineError("lab.command", command=command[0], why=lines[0])
    return done.stdout
