"""What the recipes of both database servers are given."""

from __future__ import annotations

from typing import Any

from implops.deploy import scram
from implops.errors import InputError
from implops.site import Host, Site


def params(site: Site, host: Host, recipe: str) -> dict[str, Any]:
    """Place, names, accounts and passwords of the site's database.

    Raises InputError for a password that not every client would hash alike, SecretError.
    """
    database = site.database
    assert database
    passwords = {}
    for login in (database.app, database.import_):
        secret = login.password.resolve()
        if not scram.acceptable(secret.reveal()):
            raise InputError(f"recipe.{recipe}.password", role=login.role)
        passwords[login.role] = secret
    mount = site.mount_of(host, database.data)
    return {
        "data": database.data,
        "mount": mount,
        "disk": mount in host.disks,
        "address": host.address,
        "port": database.port,
        "max_connections": database.max_connections,
        "database": database.name,
        "owner": database.owner,
        "app": database.app.role,
        "import_": database.import_.role,
        "passwords": passwords,
        "app_addresses": [one.address for one in site.with_role("app")],
    }
