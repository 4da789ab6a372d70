# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
"""One transaction a file, or a batch: send, merge, prove inside the transaction that the table holds what the file
holds, write the log row, then commit (import design §4.2, §5, §6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from implops import __version__
from implops.baseload import state
from implops.baseload.check import open_reader
from implops.baseload.judge import Known
from implops.baseload.mapping import Mapping
from implops.baseload.past import Past, target_of
from implops.baseload.proof import Proof
from implops.baseload.seen import Suspects
from implops.baseload.server import Server, identifier
from implops.baseload.session import Session, uninterrupted
from implops.baseload.state import State
from implops.baseload.stream import Stream, header, plain
from implops.baseload.tally import Block, Sums, Tally
from implops.baseload.target import LOG_TABLE, Cell, Table, known_codes, replaced
from implops.baseload.witness import General, Part, Plain, Witness, added
from implops.errors import DataError, HostError, LockError

_STAGE = "implops_stage"


class CommitUnknown(HostError):
    """The connection broke around COMMIT; the log table knows."""


class Source(Protocol):
    """Where the rows come from: a Stream or a Reader. ``cells`` in the order in which rows are given."""

    cells: list[Cell]
    tally: Tally
    sha256: str

    @property
    def delimiter(self) -> str: ...
    def blocks(self) -> Iterator[Block]: ...


@dataclass(frozen=True)
class Job:
    """One checked file on its way into its table. ``skip``: the lines of its ``rejected`` rows, ``spots``: places of
    sampled rows among the good ones; ``keep`` False rolls back in the end; ``past``: batches that are in already;
    ``suspects``: what the check told of keys.
    """

    server: Server
    mapping: Mapping
    table: Table
    cells: list[Cell]
    proof: Proof
    import_id: str
    skip: frozenset[int]
    rejected: int
    spots: frozenset[int]
    progress: Callable[[int, int], None]
    keep: bool = True
    past: Past = field(default_factory=Past)
    suspects: Suspects = field(default_factory=dict)
    loaded: Loaded = field(default_factory=lambda: Loaded())


@dataclass
class Loaded:
    """What stands in the table now, by the table's own account. ``tally``: the file's account of the same rows.
    Only what is committed counts: when a batch fails, it holds the ones before it. ``whole``: the last one is in.
    """

    before: int = 0
    after: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    resumed: int = 0
    batches: int = 0
    whole: bool = False
    state: State = field(default_factory=State)
    tally: Tally = field(default_factory=Tally)
    sql: str = ""
    spots: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the file that are in the table now."""
        return self.inserted + self.updated + self.unchanged

    @property
    def columns(self) -> dict[str, Sums]:
        return self.state.columns

    @property
    def row_hash(self) -> str:
        return str(self.state.row_hash)


def load(job: Job) -> Loaded:
    """Raises DataError when the proof fails or the database refuses (nothing of the transaction is kept), LockError
    when another import fills the table, HostError when the server is lost, CommitUnknown when that was around COMMIT.
    """
    source, reckoning = sides(job)
    witness = Witness(reckoning)
    loaded = job.loaded
    loaded.before = loaded.after = job.table.rows
    blocks = source.blocks()
    try:
        number, more = 1 if job.mapping.batch else 0, True
        while more:
            transaction = Transaction(job, source, number)
            if number and len(job.past.batches) >= number:
                more = transaction.skip(blocks, witness, loaded)
            else:
                more = transaction.run(blocks, witness, loaded)
            number += 1
    finally:
        witness.close()
    mode = job.mapping.target
    if loaded.before == 0 or (mode.mode == "replace" and not mode.replace_where):
        loaded.sql = job.server.repeatable(f"select count(*), {job.server.row_hash(job.cells)} from {job.table.sql}")
    return loaded


def sides(job: Job) -> tuple[Source, Plain | General]:
    """What sends the rows, and what reckons what they must become in the table."""
    mapping, server = job.mapping, job.server
    if plain(mapping, job.cells) and len(job.skip) == job.rejected:
        by_source = {cell.column.source: place for place, cell in enumerate(job.cells)}
        order = [by_source[name] for name in header(mapping, len(job.cells))]
        cells = [job.cells[place] for place in order]
        known: Known = {
            cell.column.ref.key: known_codes(server, cell.column.ref.key) | {""} for cell in cells if cell.column.ref
        }
        places = [order.index(place) for place in range(len(order))]
        return Stream(mapping, cells, known, job.skip), Plain(mapping, cells, places, job.skip, job.spots,
                                                          server.fingerprint)  # fmt: skip
    resuming, suspects = bool(job.past.batches), job.suspects
    sending = open_reader(server, mapping, job.table, job.cells, {}, resuming=resuming, suspects=suspects)
    reckoning = open_reader(server, mapping, job.table, job.cells, {}, spots=job.spots, resuming=resuming,
                            suspects=suspects, fingerprint=server.fingerprint)  # fmt: skip
    return sending, General(reckoning)


class Transaction:
    """The transaction of a file (number 0) or of one of its batches (from 1)."""

    def __init__(self, job: Job, source: Source, number: int) -> None:
        self.job, self.source, self.number = job, source, number
        self.server, self.mapping, self.table = job.server, job.mapping, job.table
        self.upsert = self.mapping.target.mode == "upsert"
        self.into = identifier(_STAGE) if self.upsert else self.table.sql
        self.first_line = source.tally.last_line + 1 if source.tally.last_line else self.mapping.source.header_line + 1

    def skip(self, blocks: Iterator[Block], witness: Witness, loaded: Loaded) -> bool:
        """Read past a batch that is in already, and hold it against its log row."""
        entry, (rows, more) = self.job.past.batches[self.number - 1], self._read(blocks, lambda _: True)
        part = witness.part()
        same = (entry.batch, entry.rows, entry.row_hash) == (self.number, rows, str(part.tally.row_hash))
        if not same or part.tally.good != rows:
            raise DataError("import.log_differs", file=self.mapping.file.name, batch=self.number)
        loaded.resumed += rows
        return more

    def _read(self, blocks: Iterator[Block], send: Callable[[bytes], bool]) -> tuple[int, bool]:
        """(rows of this transaction, whether more follow). Stops early when nobody takes the blocks any more."""
        rows, batch = 0, self.mapping.batch
        keeping = any(cell.column.keeps for cell in self.source.cells)
        for block in blocks:
            rows += block.rows
            if not send(self.server.sent(block.data, self.source.delimiter, keeping=keeping)):
                return rows, False
            self.job.progress(self.source.tally.good, block.line)
            if batch and rows >= batch:
                return rows, True
        return rows, False

    def run(self, blocks: Iterator[Block], witness: Witness, loaded: Loaded) -> bool:
        session = Session(self.server)
        try:
            there, deleted, before = self.begin(session)
            rows, more = self.send(session, blocks)
            updated, inserted = self._merge(session) if self.upsert else (0, rows)
            if not more:
                self._whole()
            part, found, after, spots = self._prove(session, witness, before, rows, inserted)
            if self.job.keep:
                if setting := self.server.sequences(self.table, self.job.cells):
                    session.ask(setting)
                session.ask(self._log_row(part, last=not more))
            with uninterrupted():
                if self.job.keep:
                    self.commit(session)
                else:
                    session.ask("rollback;")
                if self.number <= 1:
                    loaded.before = there
                loaded.after, loaded.deleted = after, deleted
                loaded.inserted += inserted
                loaded.updated += updated
                loaded.unchanged += rows - inserted - updated
                loaded.batches += 1
                loaded.spots += spots
                loaded.state = loaded.state.plus(found)
                loaded.tally = added(loaded.tally, part.tally)
                loaded.tally.last_line = self.source.tally.last_line
                loaded.whole = not more
            return more
        except (HostError, DataError) as error:
            if error.key == "import.table_locked":
                error.params["who"] = self.server.lockers(self.table) or "?"
            elif error.key == "import.disk_full":
                error.params["reclaim"] = self.server.reclaim(self.table)
            raise
        finally:
            session.close()

    def begin(self, session: Session) -> tuple[int, int, State]:
        """(rows in the table, how many of them were deleted to be replaced, the state of those that stay)."""
        if session.ask(self.server.begin(self.mapping))[-1:] != ["t"]:
            raise LockError("import.busy", target=str(self.mapping.target), who=self.server.holder(self.mapping) or "?")
        rows = int(session.ask(f"{self.server.hold(self.table)}\nselect count(*) from {self.table.sql};")[-1])
        left = rows
        if self.mapping.target.mode == "replace":
            chosen = replaced(self.server, self.mapping)
            session.ask(f"delete from {self.table.sql}{f' where {chosen}' if chosen else ''};")
            left = int(session.ask(f"select count(*) from {self.table.sql};")[-1])
        if self.upsert:
            session.ask(self.server.stage(self.table, self.source.cells))
        elif left and not self.server.mine:
            return rows, rows - left, state.ask(session, self.mapping, self.job.cells, self.table.sql)
        return rows, rows - left, State(left)

    def send(self, session: Session, blocks: Iterator[Block]) -> tuple[int, bool]:
        said = False
        with session.feeding() as (place, feed):

            def send(block: bytes) -> bool:
                nonlocal said
                if not said:
                    # The header has been read: the delimiter of what follows is known.
                    session.say(self.server.copy(self.into, self.source.cells, self.source.delimiter, place))
                    said = True
                return feed(block)

            rows, more = self._read(blocks, send)
            if not said:
                send(b"")
        taken, warnings = map(int, session.answers()[-2:])
        if warnings:
            raise self._bent(session, warnings)
        if taken != rows:
            raise state.differs(self.mapping, "rows_sent", rows, taken)
        return rows, more

    def _bent(self, session: Session, count: int) -> DataError:
        said = session.ask("show warnings limit 3;")
        return DataError("import.bent", file=self.mapping.file.name, count=count,
                         why="; ".join(" ".join(one.split("\t")[2:]) for one in said) or "?")  # fmt: skip

    def _merge(self, session: Session) -> tuple[int, int]:
        """(rows updated, rows inserted)."""
        key = self.mapping.key
        listed = ", ".join(map(identifier, key))
        twice = f"select count(*) from (select 1 as one from {_STAGE} group by {listed} having count(*) > 1) q;"
        if count := int(session.ask(twice)[-1]):
            raise DataError("import.key_twice", file=self.mapping.file.name, columns=" ".join(key), count=count)
        merged = session.ask(self.server.merge(self.table, self.job.cells, key, changing(self.mapping)))
        updated, inserted = (int(one) for one in merged if one.isdigit())
        return updated, inserted

    def _whole(self) -> None:
        """The file was read to its end: is it the one that was checked?"""
        if self.source.sha256 != self.job.proof.sha256:
            raise DataError("import.file_changed", file=self.mapping.file.name)
        tally = self.source.tally
        if tally.rejected > self.mapping.allowed_rejects(tally.rows):
            raise DataError("import.rejected_now", file=self.mapping.file.name, line=tally.last_line)

    def _prove(
        self, session: Session, witness: Witness, before: State, rows: int, inserted: int
    ) -> tuple[Part, State, int, list[dict[str, Any]]]:
        """Counts, column sums, row hash and sampled rows, compared with what the other process reckoned: (the file's
        account, the table's, rows in the table now, sampled rows).
        """
        server, cells = self.server, self.job.cells
        if self.upsert:
            on = " and ".join(f"t.{identifier(name)} = s.{identifier(name)}" for name in self.mapping.key)
            place, alias = f"{self.table.sql} t join {_STAGE} s on {on}", "t."
        else:
            mine = f" where {server.mine}" if before.rows and server.mine else ""
            place, alias = self.table.sql + mine, ""
        whole = not self.upsert or set(changing(self.mapping)) | set(self.mapping.key) == {one.name for one in cells}
        if not whole:
            self._rest(session, on, inserted)
            place, alias = _STAGE, ""
        # While the server reckons, so does the witness.
        session.say(state.question(server, self.mapping, cells, place, alias))
        part = witness.part()
        found = state.read(session.answers()[-1], cells)
        # Asked of the whole table, it has told how many rows there are.
        after = found.rows if place == self.table.sql else None
        if before.columns:
            found = found.plus(before, -1)
        state.compare(self.mapping, part.tally, found)
        if part.tally.good != rows:
            raise state.differs(self.mapping, "rows_sent", part.tally.good, rows)
        if part.sha256 and part.sha256 != self.job.proof.sha256:
            raise DataError("import.file_changed", file=self.mapping.file.name)
        self._repeated(session)
        if after is None:
            after = int(session.ask(f"select count(*) from {self.table.sql};")[-1])
        if after != before.rows + inserted:
            raise state.differs(self.mapping, "rows_total", before.rows + inserted, after)
        spots = state.spots(session, self.mapping, self.table.sql if whole else _STAGE, cells, part.spotted)
        return part, found, after, spots

    def _rest(self, session: Session, on: str, inserted: int) -> None:
        """Upsert of some columns: every staged row stands in the table with its key and those columns, and as many
        as were inserted stand there whole.
        """
        one, server = f"{_STAGE} s left join {self.table.sql} t on {on}", self.server

        def equal(names: Sequence[str]) -> str:
            return " and ".join(server.same(f"t.{identifier(name)}", f"s.{identifier(name)}") for name in names)

        some = equal([*self.mapping.key, *changing(self.mapping)])
        bad = int(session.ask(f"select count(*) from {one} where not ({some});")[-1])
        full = int(session.ask(f"select count(*) from {one} where {equal([c.name for c in self.job.cells])};")[-1])
        if bad or full < inserted:
            raise state.differs(self.mapping, "rows_merged", inserted, full - bad)

    def _repeated(self, session: Session) -> None:
        """What must not repeat does not, where the table itself has no unique index over it."""
        keys = [(name,) for name, column in self.mapping.columns.items() if column.unique]
        for names in [*keys, tuple(self.mapping.key)]:
            if not names or self.table.unique(names):
                continue
            listed = ", ".join(map(identifier, names))
            given = " and ".join(f"{identifier(name)} is not null" for name in names)
            twice = f"select 1 as one from {self.table.sql} where {given} group by {listed} having count(*) > 1"
            if count := int(session.ask(f"select count(*) from ({twice}) q;")[-1]):
                raise DataError("import.key_twice", file=self.mapping.file.name, columns=" ".join(names), count=count)

    def _log_row(self, part: Part, *, last: bool) -> str:
        literal, job = self.server.literal, self.job
        # The last batch is known by its byte: the whole file is in.
        values = [
            literal(job.import_id), literal(job.proof.sha256), literal(self.mapping.sha256),
            literal(target_of(self.mapping, job.past.round)), str(self.number), str(self.first_line),
            str(self.source.tally.last_line), str(job.proof.bytes if last else 0), str(part.tally.good),
            literal(str(part.tally.row_hash)), literal(__version__),
        ]  # fmt: skip
        columns = ("import_id", "file_sha256", "mapping_sha256", "target", "batch_no", "first_line", "last_line",
                   "last_byte", "rows", "row_hash", "tool_version")  # fmt: skip
        listed = ", ".join(map(identifier, columns))
        return f"insert into {self.server.table('public', LOG_TABLE)} ({listed}) values ({', '.join(values)});"

    def commit(self, session: Session) -> None:
        """Success is the word read back, never an exit status alone."""
        session.say("commit;\n" + ("\\echo committed" if self.server.data_on_stdin else "select 'committed';"))
        try:
            told = session.answers()
        except HostError as error:
            raise CommitUnknown("import.commit_unknown", host=self.server.host, why=error.params.get("why")) from None
        if told[-1:] != ["committed"]:
            raise CommitUnknown("import.commit_unknown", host=self.server.host, why=" ".join(told))


def changing(mapping: Mapping) -> list[str]:
    """Upsert: the columns that may change; all but the key unless the mapping names them."""
    return mapping.update or [name for name in mapping.columns if name not in mapping.key]
