"""implops: from bare servers at a customer's site to a verified, backed-up, documented business system."""

__version__ = "0.1.0"
