"""Who signed a bundle, where the site file says who may (``signatures.signers``), and where its contents come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implops import signing
from implops.bundle.archive import Bundle, verify
from implops.bundle.build import latest, require_current
from implops.errors import DataError
from implops.site import Site


def trusted(site: Site, packages: Mapping[str, list[str]]) -> Bundle:
    """The bundle that was built last, every byte checked, signed as the site demands, with all that the site needs now
    (``packages``: host -> Debian packages).

    Raises GateRefused (there is none, or it is another one), and as ``verify`` and ``signer`` do.
    """
    bundle = verify(latest(site))
    signer(site, bundle)
    require_current(site, bundle, packages)
    return bundle


def source(site: Site, bundle: Bundle) -> dict[str, Any]:
    """Where what is in a bundle comes from, for the record: ``tool`` that built it, ``key`` that signed it
    (``SHA256:…``, empty where nobody did), ``signer`` (his name where the site says who may), ``origins`` and date of
    the package indexes, number of ``debs``, and the files that the engineer gave, each with its key in the site file.
    A bundle of before these were noted has neither origins nor keys.

    Raises as ``signer``.
    """
    manifest = bundle.manifest
    given = manifest.get("given", {})
    return {
        "tool": manifest["tool"],
        "key": signing.fingerprint(bundle.signature) if bundle.signature else "",
        "signer": signer(site, bundle),
        "origins": manifest.get("origins", []),
        "dated": manifest["dated"],
        "debs": sum(one.kind == "deb" for one in bundle.items.values()),
        "files": [
            {"name": one.path.removeprefix("files/"), "sha256": one.sha256, "size": one.size, "kind": one.kind,
             "key": given.get(one.path, "")}
            for one in bundle.items.values() if one.kind in ("artifact", "schema")
        ],
    }  # fmt: skip


def signer(site: Site, bundle: Bundle) -> str:
    """The name of the bundle's signer; empty where the site demands none.

    Raises DataError when the site names signers and the bundle is unsigned, altered, or signed by somebody else.
    """
    if site.signatures is None or site.signatures.signers is None:
        return ""
    if not bundle.signature:
        raise DataError("bundle.unsigned", path=bundle.path.name, site=site.path.name)
    what = bundle.path.name
    return signing.verify(bundle.sums, bundle.signature, site.signatures.signers, "implops-bundle", what)
