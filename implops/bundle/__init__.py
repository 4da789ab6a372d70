"""Everything a site needs in one file, for hosts without a network: build, verify, push, install from it.

``build(site, packages, artifacts(site), say) -> Bundle`` · ``verify(path) -> Bundle`` · ``latest(site) -> path`` ·
``trusted(site) -> Bundle`` · ``signer(site, bundle)`` · ``source(site, bundle)`` · ``diff(old, new)`` ·
``look(connection, bundle, host)`` · ``push(connection, bundle, host, say) -> Pushed`` ·
``simulate(connection, packages) -> [Change]`` ·
``install_command(packages)``: shell for a recipe. On the target: ``/var/lib/implops/bundle/{apt,files}``.
"""

from implops.bundle.apt import BUNDLE, Change, install_command, simulate
from implops.bundle.archive import Bundle, Item, verify
from implops.bundle.build import Artifact, artifacts, build, latest
from implops.bundle.diff import Difference, diff
from implops.bundle.push import Pushed, look, push
from implops.bundle.signed import signer, source, trusted

__all__ = [
    "BUNDLE",
    "Artifact",
    "Bundle",
    "Change",
    "Difference",
    "Item",
    "Pushed",
    "artifacts",
    "build",
    "diff",
    "install_command",
    "latest",
    "look",
    "push",
    "signer",
    "simulate",
    "source",
    "trusted",
    "verify",
]
