"""What a newer bundle brings: packages and release files that are new, gone or changed, per Debian release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from implops.bundle.archive import Bundle


@dataclass(frozen=True)
class Difference:
    """``kind``: deb, file or host; ``before``, ``after``: version, start of a SHA-256, release with packages, or -."""

    kind: Literal["deb", "file", "host"]
    name: str
    before: str
    after: str


def diff(old: Bundle, new: Bundle) -> list[Difference]:
    """Differences in a stable order: hosts, packages, files of the release. Empty: the same contents."""
    return [*_compare("host", _hosts(old), _hosts(new)), *_compare("deb", old.versions, new.versions),
            *_repacked(old, new), *_compare("file", _files(old), _files(new))]  # fmt: skip


def _repacked(old: Bundle, new: Bundle) -> Iterator[Difference]:
    """Packages of the same name and version with other bytes: nobody rebuilds one without a reason."""
    for path in sorted(set(old.items) & set(new.items)):
        before, after = old.items[path], new.items[path]
        if before.kind == "deb" and before.sha256 != after.sha256:
            yield Difference("deb", path.rpartition("/")[2], before.sha256[:16], after.sha256[:16])


def _compare(kind: Literal["deb", "file", "host"], old: dict[str, str], new: dict[str, str]) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Difference(kind, name, old.get(name, "-"), new.get(name, "-"))


def _hosts(bundle: Bundle) -> dict[str, str]:
    return {
        name: f"{bundle.release_of(name)}: {' '.join(one['packages'])}"
        for name, one in bundle.manifest["hosts"].items()
    }


def _files(bundle: Bundle) -> dict[str, str]:
    return {one.path: one.sha256[:16] for one in bundle.items.values() if one.kind in ("artifact", "schema")}
