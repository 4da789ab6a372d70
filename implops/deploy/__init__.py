"""Deployment: plan, engine, worker, journal. A recipe brings one component of one host to its state."""
