"""The site hash of the gate: what was checked is what will be deployed."""

from __future__ import annotations

import hashlib

from implops import kit
from implops.site import Site


def site_hash(site: Site) -> str:
    """SHA-256 of the resolved model, the profile's name and the kit (checks with profiles, recipes, backup engines).

    Comments and the order of keys in the site file do not count. Raises KitError for a kit others may write to.
    """
    parts = (site.model_sha256, site.profile, kit.digest(site.base, "checks", "deploy_recipes", "backups"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
