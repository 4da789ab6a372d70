"""The site file: one installation, one file. ``load(path) -> Site``; every fault is refused with file and line."""

from implops.site.load import load
from implops.site.model import ROLES, AppLogin, Attest, Database, Flow, Host, Share, Site, Waiver

__all__ = ["ROLES", "AppLogin", "Attest", "Database", "Flow", "Host", "Share", "Site", "Waiver", "load"]
