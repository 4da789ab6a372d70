"""Who signed a bundle, where the site file says who may (``signatures.signers``)."""

from __future__ import annotations

from collections.abc import Mapping

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
