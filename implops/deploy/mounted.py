"""Whether the mount that a recipe writes below is there."""

from __future__ import annotations

from implops.deploy.shell import q


def there(path: str, *, comes: bool) -> bool:
    """In the worker: whether something is mounted at ``path``. ``comes``: a step before mounts it; in a plan, where no
    step has been carried out, the question then has no answer yet, and what follows is not told.
    """
    from implops.deploy import ops

    asked = f"mountpoint -q {q(path)}"
    return bool(ops.fact(f"{asked} && echo yes" if comes else f"{asked} && echo yes; true"))
