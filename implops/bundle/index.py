"""The index of a bundle's packages (``apt/Packages``), as far as it concerns one host."""

from __future__ import annotations

import re
from dataclasses import dataclass

from implops.bundle.archive import Bundle


@dataclass(frozen=True)
class Stanza:
    """An entry of the index: its text, (package, version), bytes when installed."""

    text: str
    names: tuple[str, str]
    installed: int


def stanzas(bundle: Bundle, host: str) -> dict[str, Stanza]:
    """Path of a deb of the host's closure -> its entry. Raises InputError as ``Bundle.for_host``."""
    found, mine = {}, set(bundle.for_host(host)["debs"])
    for text in bundle.read("apt/Packages").decode().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Installed-Size|Filename): (.*)$", text, re.MULTILINE))
        if fields:
            size = 1024 * int(fields.get("Installed-Size", 0))
            path = fields["Filename"].replace("./", "apt/", 1)
            if path in mine:
                found[path] = Stanza(f"{text}\n\n", (fields["Package"], fields["Version"]), size)
    return found


def versions(bundle: Bundle, host: str) -> dict[str, str]:
    """Package -> version that the bundle brings to the host. Raises InputError as ``Bundle.for_host``."""
    return dict(one.names for one in stanzas(bundle, host).values())
