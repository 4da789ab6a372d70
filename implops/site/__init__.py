"""The site file: one installation, one file. ``load(path) -> Site``; every fault is refused with file and line."""

from implops.site.environment import Attest, Flow, Host, Share, Waiver
from implops.site.load import load
from implops.site.model import Site
from implops.site.part import ROLES
from implops.site.software import AppLogin, Database

__all__ = ["ROLES", "AppLogin", "Attest", "Database", "Flow", "Host", "Share", "Site", "Waiver", "load"]
