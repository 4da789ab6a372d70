"""Records: one append-only event table with a hash chain, one evidence table. Everything else is read from events."""

from implops.store.events import Event, Store

__all__ = ["Event", "Store"]
