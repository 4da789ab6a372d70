"""The store: insert-only events in a hash chain over canonical JSON, evidence once per sha256.

Canonical JSON is RFC 8785 for our values: ASCII keys, no floats, integers within 2**53 (beyond that: strings); then
``json.dumps(sort_keys, no spaces, ensure_ascii=False)`` gives the same bytes. SQLite triggers refuse UPDATE and DELETE.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from implops.errors import StoreError
from implops.secrets import redactor

Json = dict[str, Any]

_metadata = MetaData()
_events = Table(
    "event",
    _metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("run", String(26), nullable=False, index=True),
    Column("kind", String(40), nullable=False, index=True),
    Column("time", String(32), nullable=False),
    Column("operator", String(120), nullable=False),
    Column("payload", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
)
_evidence = Table(
    "evidence",
    _metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
_TRIGGERS = [
    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{word} BEFORE {word} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'records are append-only'); END"
    for table in ("event", "evidence")
    for word in ("UPDATE", "DELETE")
]
START = "0" * 64
# So long another program may hold the file (a viewer, a copy that is being made) before we give up.
_WAIT_SECONDS = 10
_LOCKED = "database is locked"
# Fewer digits, sign included, than the first integer that a float could not hold (2**53 has 16).
_SAFE_DIGITS = 15


@dataclass(frozen=True)
class Event:
    """One entry. ``payload`` holds codes and parameters, never sentences; ``evidence`` are sha256 of raw output."""

    sequence: int
    run: str
    kind: str
    time: str
    operator: str
    payload: Json
    evidence: tuple[str, ...]
    previous: str
    sha256: str


def canonical(value: object) -> str:
    """Canonical JSON of ``value``. Raises TypeError for a float: durations are integers of milliseconds."""
    try:
        text = _dumps(value)
        # Read back as it was, without a float on the way: nothing to look for item by item.
        plain = json.loads(text, parse_float=_no_number, parse_int=_integer) == value
    except (TypeError, ValueError):
        plain = False
    if plain:
        return text
    _refuse_floats(value)
    return _dumps(value)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _no_number(text: str) -> float:
    raise ValueError(text)


def _integer(text: str) -> int:
    if len(text) > _SAFE_DIGITS:
        raise ValueError(text)
    return int(text)


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError(f"a record holds no floats: {value!r}")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        raise TypeError(f"integers beyond 2**53 are strings: {value!r}")
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys are strings: {key!r}")
            _refuse_floats(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _refuse_floats(one)


def new_run() -> str:
    """A ULID: 48 bits of milliseconds, 80 of chance, Crockford base 32. Sorts by time."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(number >> shift) & 31] for shift in range(125, -1, -5))


def now() -> str:
    """RFC 3339 in the local zone, with offset."""
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")


class Store:
    """The records of a site. ``Store.of(folder)`` opens ``folder/records.db``; a URL opens another database."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url)
        self._open: Connection | None = None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _pragmas)
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        with self._said("store.open"):
            _metadata.create_all(self.engine)
            if self.engine.dialect.name == "sqlite":
                with self.engine.begin() as connection:
                    for trigger in _TRIGGERS:
                        connection.exec_driver_sql(trigger)

    @classmethod
    def of(cls, folder: Path) -> Store:
        old = os.umask(0o077)
        try:
            return cls(f"sqlite:///{folder / 'records.db'}")
        finally:
            os.umask(old)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written in the block is there when it ends, or, after an error, nothing of it: one flush to disk
        instead of one for each.
        """
        with self._said("store.write"), self.engine.begin() as self._open:
            try:
                yield
            finally:
                self._open = None

    @property
    def _place(self) -> str:
        """The file, or the address without its password."""
        url = self.engine.url
        return url.database or "" if self.engine.dialect.name == "sqlite" else url.render_as_string()

    def _transaction(self) -> AbstractContextManager[Connection]:
        return self.engine.begin() if self._open is None else nullcontext(self._open)

    @contextmanager
    def _said(self, key: str) -> Iterator[None]:
        """What the database refuses in the block is a StoreError: another program holds it, its disk is full, …"""
        try:
            yield
        except SQLAlchemyError as error:
            why = _why(error)
            if _LOCKED in why:
                raise StoreError("store.locked", path=self._place, seconds=_WAIT_SECONDS, why=why) from None
            raise StoreError(key, path=self._place, why=why) from None

    def append(self, kind: str, payload: Json, *, run: str, operator: str, evidence: tuple[str, ...] = ()) -> Event:
        """Add one event and return it. Known secrets are removed first. Raises StoreError."""
        text = canonical(payload)
        if redactor.finds(text):
            text = canonical(redactor.value(payload))
        entry: Json = {"run": run, "kind": kind, "time": now(), "operator": operator, "evidence": list(evidence)}
        with self._said("store.write"), self._transaction() as connection:
            last = connection.execute(
                select(_events.c.sequence, _events.c.sha256).order_by(_events.c.sequence.desc()).limit(1)
            ).first()
            entry["sequence"] = (last.sequence if last else 0) + 1
            entry["previous"] = last.sha256 if last else START
            # canonical(entry), of parts that are made once: the payload is most of it, and a column of its own.
            parts = {**{name: canonical(one) for name, one in entry.items()}, "payload": text}
            whole = "{" + ",".join(f'"{name}":{part}' for name, part in sorted(parts.items())) + "}"
            sha256 = hashlib.sha256(whole.encode()).hexdigest()
            texts = {"payload": text, "evidence": parts["evidence"], "sha256": sha256}
            connection.execute(insert(_events).values(**{**entry, **texts}))
        # As it is read from now on, whatever the caller does with its own.
        return Event(sha256=sha256, **{**entry, "payload": json.loads(text), "evidence": evidence})

    def keep(self, raw: bytes) -> str:
        """Store redacted raw output once; its sha256. Raises StoreError."""
        clean = redactor.data(raw)
        sha256 = hashlib.sha256(clean).hexdigest()
        with self._said("store.write"), self._transaction() as connection:
            if not connection.execute(select(_evidence.c.size).where(_evidence.c.sha256 == sha256)).first():
                connection.execute(
                    insert(_evidence).values(sha256=sha256, size=len(clean), body=zlib.compress(clean, 3))
                )
        return sha256

    def evidence(self, sha256: str) -> bytes:
        """The redacted raw output. Raises StoreError when it is not there."""
        with self._said("store.read"), self.engine.connect() as connection:
            row = connection.execute(select(_evidence.c.body).where(_evidence.c.sha256 == sha256)).first()
        if row is None:
            raise StoreError("store.no_evidence", sha256=sha256)
        return zlib.decompress(row.body)

    def events(self, *, kind: str | None = None, run: str | None = None) -> list[Event]:
        """Events in order, of one kind (``"step.finished"``) or a family (``"step."``), of one run.

        Raises StoreError.
        """
        query = select(_events).order_by(_events.c.sequence)
        if run is not None:
            query = query.where(_events.c.run == run)
        if kind is not None:
            query = query.where(_events.c.kind.startswith(kind) if kind.endswith(".") else _events.c.kind == kind)
        with self._said("store.read"), self.engine.connect() as connection:
            return [_event(row) for row in connection.execute(query)]

    def last(self, kind: str) -> Event | None:
        """The newest event of a kind."""
        found = self.events(kind=kind)
        return found[-1] if found else None

    def knows(self, run: str) -> bool:
        """Whether anything was recorded of a run."""
        return bool(self.events(run=run))

    def broken(self) -> Iterator[int]:
        """Sequence numbers of events that do not fit the chain; none means that nothing was altered."""
        previous, expected = START, 1
        for one in self.events():
            body = {
                key: getattr(one, key) for key in ("sequence", "run", "kind", "time", "operator", "payload", "previous")
            }
            body["evidence"] = list(one.evidence)
            good = hashlib.sha256(canonical(body).encode()).hexdigest() == one.sha256
            if not good or one.previous != previous or one.sequence != expected:
                yield one.sequence
            previous, expected = one.sha256, one.sequence + 1


def _event(row: Any) -> Event:
    values = dict(row._mapping)
    return Event(
        **{**values, "payload": json.loads(values["payload"]), "evidence": tuple(json.loads(values["evidence"]))}
    )


def _pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN IMMEDIATE decides
    # recursive_triggers: without it INSERT OR REPLACE removes a row past the delete trigger.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "recursive_triggers=ON",
        f"busy_timeout={_WAIT_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _why(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
