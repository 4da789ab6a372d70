"""Everything a site needs in one file, for hosts without a network: build, verify, push, install from it.

``build(site, packages, artifacts(site), say) -> Bundle`` · ``verify(path) -> Bundle`` · ``latest(site) -> path`` ·
``look(connection, bundle, host)`` · ``push(connection, bundle, host, say) -> Pushed`` ·
``simulate(connection, packages) -> [Change]`` ·
``install_command(packages)``: shell for a recipe. On the target: ``/var/lib/implops/bundle/{apt,files}``.
"""

from implops.bundle.apt import BUNDLE, Change, install_command, simulate
from implops.bundle.archive import Bundle, Item, verify
from implops.bundle.build import Artifact, artifacts, build, latest
from implops.bundle.push import Pushed, look, push

__all__ = [
    "BUNDLE",
    "Artifact",
    "Bundle",
    "Change",
    "Item",
    "Pushed",
    "artifacts",
    "build",
    "install_command",
    "latest",
    "look",
    "push",
    "simulate",
    "verify",
]
