"""Deployments that are killed and taken up again, and what their hosts must look like in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import endstate
from power import environment, implops, ssh, write_demo, write_site
from releases import prepare

from implops.site import Site
from implops.store import Store

KILLER = Path(__file__).with_name("killer.py")
# When, at which record of the process that is killed. The run goes on from where the one before was cut off.
POINTS = (
    ("after", 1), ("before", 5), ("after", 7), ("before", 12), ("after", 20), ("before", 33), ("after", 40),
    ("before", 46),
)  # fmt: skip


def share_secrets(site: Site, reference: Site) -> None:
    """Sites that are to be compared have the same passwords."""
    for secret in (reference.base / "secrets").iterdir():
        if secret.name != "id_ed25519":
            (site.base / "secrets" / secret.name).write_bytes(secret.read_bytes())


def bare(folder: Path, reference: Site) -> Iterator[Site]:
    """Hosts of its own, with the secrets of the site that it will be compared with."""
    site = write_demo(write_site(folder))
    share_secrets(site, reference)
    try:
        implops("lab", "up", site.path)
        prepare(site)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


def resume(site: Site) -> list[str]:
    started = Store.of(site.state).events(kind="deploy.started")
    return ["--resume", "last"] if started else []


def killed(site: Site, when: str, number: int) -> bool:
    """Whether it died there; False: it had come to its end before."""
    command = [sys.executable, KILLER, when, str(number), "deploy", site.path, "--yes", *resume(site)]
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=600,
                          env=environment())  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def compare(site: Site, reference: Site, *, once: bool = True) -> None:
    """Packages, files, services, database, modules as on hosts where nothing happened; nothing left behind. ``once``:
    no package was installed twice (one that lost its power in the middle has to be).
    """
    wrong = endstate.differences(endstate.of(reference), endstate.of(site))
    assert not wrong, "\n".join(wrong[:60])
    for name in site.hosts:
        left = ssh(site, name, "ls /var/lib/implops; find /etc /opt/implops -name '*.part' 2>/dev/null").stdout
        assert "lock" not in left
        assert "installing" not in left
        assert ".part" not in left
        if not once:
            continue
        history = ssh(site, name, "cat /var/log/apt/history.log 2>/dev/null; true").stdout
        lines = [line.partition(" install -- ")[2] for line in history.splitlines() if " install -- " in line]
        assert len(lines) == len(set(lines)), lines
