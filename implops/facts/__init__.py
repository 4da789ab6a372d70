"""Typed facts: what a probe answered, or Unknown(reason). Asking never judges."""
