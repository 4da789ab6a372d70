"""The site file: one installation, one file. ``load(path) -> Site``; every fault is refused with file and line."""

from implops.site.load import load
from implops.site.model import ROLES, Flow, Host, Site, Waiver

__all__ = ["ROLES", "Flow", "Host", "Site", "Waiver", "load"]
