"""The base image of a Debian release: what a customer's freshly installed server has, and nothing of this machine.

Cached by content (release, packages, what is done to it) in the user's cache folder; built beside its final name and
renamed, so a build that was killed leaves nothing that looks finished. Hosts see it read-only, below their own disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from implops.errors import MachineError

# Bare on purpose: no Python, no locales, no curl. implops brings what it needs through its bundle.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "iputils-ping", "sudo", "procps", "chrony",
    "ca-certificates",
)  # fmt: skip
# ping without root: Debian 12 gives the program a capability, Debian 13 a sysctl that its installer brings along.
EXTRA = {"trixie": ("linux-sysctl-defaults",)}
# A container may not set the clock, so Debian's unit is skipped there; -x runs chronyd without touching the clock, and
# -d keeps it in front, where systemd watches it.
CHRONY_UNIT = """[Unit]
ConditionCapability=
[Service]
Type=simple
PIDFile=
ExecStart=
ExecStart=!/usr/sbin/chronyd -x -d
"""
# mmdebstrap copies host name, resolver and mirror of the machine it runs on; the SSH keys and the machine's id must be
# each host's own. Air-gapped hosts have no mirror. $1 is the root of the image.
CLEAN = r"""set -eu
cd "$1"
rm -f etc/ssh/ssh_host_* etc/hostname etc/hosts etc/resolv.conf etc/machine-id var/lib/dbus/machine-id
rm -f etc/apt/sources.list.d/* etc/apt/apt.conf.d/*mmdebstrap*
: > etc/apt/sources.list
: > etc/resolv.conf
find var/log -type f ! -name README -exec truncate -s 0 {} +
sed -i -e '/^pool /d' -e '/^server /d' -e '/^rtcsync/d' etc/chrony/chrony.conf
mkdir -p etc/systemd/system/chrony.service.d
printf %s "$2" > etc/systemd/system/chrony.service.d/lab.conf
systemctl --root=. --quiet enable systemd-networkd.service 2>/dev/null
systemctl --root=. --quiet mask systemd-networkd-wait-online.service systemd-network-generator.service
"""


def cache_folder() -> Path:
    """``~/.cache/implops/base`` (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implops" / "base"


def _packages(release: str) -> tuple[str, ...]:
    return (*PACKAGES, *EXTRA.get(release, ()))


def image_path(release: str) -> Path:
    """Where the image of ``release`` lies, built or not."""
    content = "\0".join((release, *_packages(release), CHRONY_UNIT, CLEAN))
    return cache_folder() / f"{release}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def image(release: str, say: Callable[[str], None]) -> Path:
    """The image of ``release``, built when it is not there yet (``say(release)`` is called before that).

    Raises MachineError when the build fails. Two runs at once: the second waits and uses what the first has built.
    """
    final = image_path(release)
    if final.is_dir():
        return final
    final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(final.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            say(release)
            _build(release, final)
    finally:
        os.close(lock)
    return final


def _build(release: str, final: Path) -> None:
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # a dead build's; nobody else builds while we hold the lock
    # Should we die, the kernel ends the build with all its children: its own process namespace goes with it.
    guarded = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    build = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(_packages(release))}",
        release,
        str(part),
    ]
    log = final.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*guarded, *build], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, umask=0o022
        )
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if code == 0:
            clean = ["sh", "-c", CLEAN, "clean", str(part), CHRONY_UNIT]
            code = subprocess.run(
                clean, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, umask=0o022
            ).returncode
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"exit {code}"]
        shutil.rmtree(part, ignore_errors=True)
        raise MachineError("lab.base_failed", release=release, why=lines[-1], log=log)
    part.replace(final)
    log.unlink()
