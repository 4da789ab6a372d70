"""A run: one invocation that leaves a record. Its start is written first, so a run that dies says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from implops import __version__
from implops.errors import ImplopsError, StoreError
from implops.site import Site
from implops.store.events import Event, Store, new_run


class Run:
    """``run.event(kind, payload)`` adds an event, ``run.finish(conclusion, payload)`` says how it ended."""

    def __init__(self, store: Store, verb: str, operator: str, run_id: str) -> None:
        self.store, self.verb, self.operator, self.id = store, verb, operator, run_id
        self.finished: Event | None = None

    def event(self, kind: str, payload: dict[str, Any], evidence: tuple[str, ...] = ()) -> Event:
        return self.store.append(kind, payload, run=self.id, operator=self.operator, evidence=evidence)

    def keep(self, raw: bytes) -> str:
        """Store raw output (redacted); its sha256, to be named as evidence."""
        return self.store.keep(raw)

    def finish(self, conclusion: str, payload: dict[str, Any], evidence: tuple[str, ...] = ()) -> Event:
        """``conclusion``: pass | conditional | fail | unknown | interrupted."""
        self.finished = self.event(f"{self.verb}.finished", {"conclusion": conclusion, **payload}, evidence)
        return self.finished


@contextmanager
def record(
    store: Store, site: Site, verb: str, operator: str, payload: dict[str, Any], run_id: str | None = None
) -> Iterator[Run]:
    """Write ``VERB.started`` with everything a form's header needs; make sure that ``VERB.finished`` follows.

    ``run_id`` continues an earlier run (``deploy --resume``). An error or Ctrl-C that leaves the block without
    ``finish`` is recorded as fail or interrupted, with the error's key and parameters; where nothing can be recorded
    any more the run stays unfinished, and the first error is the one that is told.
    """
    run = Run(store, verb, operator, run_id or new_run())
    about = {
        "tool": __version__,
        "machine": socket.gethostname(),
        "project": site.project.model_dump(mode="json"),
        "site_sha256": site.model_sha256,
        "lab": site.is_lab,
        "hosts": {
            host.name: {"address": host.address, "roles": list(host.roles), "owner": host.owner, "place": host.place}
            for host in site.hosts.values()
        },
    }
    run.event(f"{verb}.started", {**about, **payload})

    def end(conclusion: str, why: dict[str, Any]) -> None:
        if run.finished is None:
            run.finish(conclusion, why)

    try:
        yield run
    except KeyboardInterrupt:
        with suppress(StoreError):
            end("interrupted", {})
        raise
    except ImplopsError as error:
        params = {name: str(value) for name, value in error.params.items()}
        with suppress(StoreError):
            end("fail", {"error": {"key": error.key, "params": params}})
        raise
    except BaseException as error:
        with suppress(StoreError):
            end("fail", {"error": {"key": "bug", "params": {"type": type(error).__name__}}})
        raise
    if run.finished is None:
        raise AssertionError(f"{verb}: the run ended without saying how")
