"""One changing run per site: an flock on ``.implops/lock`` that names its holder. The kernel frees it when we die."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from implops.errors import LockError
from implops.store.events import now

# A ULID.
RUN_LENGTH = 26


@contextmanager
def hold(folder: Path, verb: str, run: str, operator: str) -> Iterator[None]:
    """Hold the lock of the site whose state folder this is. Raises LockError("lock.held") naming the holder."""
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockError("lock.held", **_holder(path)) from None
        note = {"verb": verb, "run": run, "operator": operator, "pid": os.getpid()}
        note |= {"since": now(), "machine": socket.gethostname()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note, ensure_ascii=False).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def left_behind(folder: Path, verb: str, known: Callable[[str], bool]) -> str:
    """The run of a ``verb`` that was killed while it held the lock, before it had recorded anything (``known`` says
    whether a run has records); empty otherwise.

    It may have locked hosts already: who carries on under its name finds them its own.
    """
    path = folder / "lock"
    note = _holder(path) if path.is_file() and path.stat().st_size else {}
    run = str(note.get("run", ""))
    here = note.get("machine") == socket.gethostname() and not Path(f"/proc/{note.get('pid')}").exists()
    return run if here and note.get("verb") == verb and len(run) == RUN_LENGTH and not known(run) else ""


def holder(folder: Path) -> dict[str, object] | None:
    """Who holds the lock of the site now, or None.

    Asks the kernel's table: the note of a dead holder does not count, and trying the lock would disturb a verb that
    starts at this moment.
    """
    path = folder / "lock"
    if not path.is_file():
        return None
    inode = str(path.stat().st_ino)
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if (
            "FLOCK" in words
            and "->" not in words
            and any(word.split(":")[-1] == inode for word in words if ":" in word)
        ):
            return _holder(path)
    return None


def _holder(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return {"verb": "?", "run": "?", "operator": "?", "pid": "?", "since": "?", "machine": "?"}
