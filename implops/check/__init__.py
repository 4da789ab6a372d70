"""check: ask every host once, judge the answers against rules, keep both. Asking never judges; judging never asks."""
