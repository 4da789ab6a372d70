"""Verification: asks every module of the business system over HTTP, and runs the system checks that users write."""
