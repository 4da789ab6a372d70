"""Records: one append-only event table with a hash chain, one evidence table. Everything else is read from events."""

from implops.store.events import Event, Store
from implops.store.run import Run, record

__all__ = ["Event", "Run", "Store", "record"]
