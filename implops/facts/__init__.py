"""Typed facts: what a probe answered, or Unknown(reason). Asking never judges."""

from implops.facts.base import Fact, NotMeasured, Section, Unknown

__all__ = ["Fact", "NotMeasured", "Section", "Unknown"]
