# ruff: noqa: S608 - every name and text in a statement went through identifier() or literal()
"""One transaction a file: copy, prove inside the transaction that the table holds what the file held, then commit.

Commands and data reach psql on two channels, and ``commit`` is written only after the proof. So neither the death of
this process nor of psql nor of the connection can commit half a file (import design §2.1, §4.2).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from implops import __version__
from implops.baseload.mapping import Mapping
from implops.baseload.proof import Proof
from implops.baseload.rows import Reader, Sums
from implops.baseload.server import Server, failed, identifier, literal
from implops.baseload.target import LOG_TABLE, Cell, Table
from implops.errors import DataError, HostError, LockError

_PIPE_SIZE = 2**20
_THIS = "xmin = pg_current_xact_id()::xid"


class CommitUnknown(HostError):
    """The connection broke around COMMIT; the log table knows."""


@dataclass
class Loaded:
    """What stands in the table now, by the table's own account."""

    rows: int
    before: int
    after: int
    columns: dict[str, Sums]
    row_hash: str
    sql: str
    spots: list[dict[str, Any]] = field(default_factory=list)


class _Session:
    """A psql whose commands come from a pipe and whose data comes from its standard input."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the session
        reading, self._commands = os.pipe()
        try:
            self.process = subprocess.Popen(
                [*server.arguments(), "-f", f"/dev/fd/{reading}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                pass_fds=(reading,), env=server.environment(),
            )  # fmt: skip
        finally:
            os.close(reading)
        self._marks = 0

    def ask(self, text: str) -> list[str]:
        """Send commands and wait for their answers. Raises HostError or DataError in the server's words."""
        self.say(text)
        return self.answers()

    def say(self, text: str) -> None:
        self._marks += 1
        with contextlib.suppress(BrokenPipeError):  # a dead psql shows when its answer is read
            data = f"{text}\n\\echo mark-{self._marks}\n".encode()
            while data:
                data = data[os.write(self._commands, data) :]

    def answers(self) -> list[str]:
        assert self.process.stdout
        found: list[str] = []
        for line in self.process.stdout:
            text = line.decode().rstrip("\n")
            if text == f"mark-{self._marks}":
                return found
            found.append(text)
        self.process.wait()
        raise self.failed()

    def failed(self) -> HostError | DataError:
        self._errors.seek(0)
        return failed(self.server.host, self._errors.read().decode("utf-8", "replace"))

    def close(self) -> None:
        """End psql: whatever it has not committed is rolled back by the server."""
        with contextlib.suppress(OSError):
            os.close(self._commands)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self._errors.close()


@contextlib.contextmanager
def _feeding(process: subprocess.Popen[bytes]) -> Iterator[Callable[[bytes], bool]]:
    """Write blocks to psql from a thread, so that checking and sending overlap; the block's end is the data's end."""
    blocks: queue.Queue[bytes | None] = queue.Queue(8)
    broken = threading.Event()
    assert process.stdin
    pipe = process.stdin
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def write() -> None:
        while (block := blocks.get()) is not None:
            if not broken.is_set():
                try:
                    pipe.write(block)
                    pipe.flush()
                except OSError:
                    broken.set()
        with contextlib.suppress(OSError):
            pipe.close()

    def send(block: bytes) -> bool:
        if block:
            blocks.put(block)
        return not broken.is_set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield send
    except BaseException:
        process.kill()  # psql must not take the end of half a file for its end
        broken.set()
        blocks.put(None)
        writer.join()
        raise
    blocks.put(None)
    writer.join()


def load(
    server: Server,
    mapping: Mapping,
    table: Table,
    reader: Reader,
    proof: Proof,
    import_id: str,
    progress: Callable[[int, int], None],
) -> Loaded:
    """Load one proved file. ``progress(rows, line)`` is told after each block.

    Raises DataError when the proof fails or the database refuses (nothing is loaded), LockError when another import
    fills the table, HostError when the server is lost, CommitUnknown when it was lost around COMMIT.
    """
    session = _Session(server)
    try:
        before = _begin(session, mapping, table)
        columns = ", ".join(identifier(cell.name) for cell in reader.cells)
        copying, whole = False, True
        with _feeding(session.process) as send:
            for block in reader.blocks():
                if not copying:
                    # The header has been read: the delimiter of what follows is known.
                    session.say(_copy(table, columns, reader.delimiter) + "\n\\echo :ROW_COUNT")
                    copying = True
                if not send(block.data):
                    whole = False
                    break
                progress(reader.tally.good, block.line)
        sent = int(session.answers()[-1])
        if whole and reader.sha256 != proof.sha256:
            raise DataError("import.file_changed", file=mapping.file.name)
        allowed = mapping.allowed_rejects(reader.tally.rows)
        if reader.tally.rejected > allowed:
            raise DataError("import.rejected_now", file=mapping.file.name, rejected=reader.tally.rejected,
                            allowed=allowed)  # fmt: skip
        loaded = _prove(session, mapping, table, reader, sent, before)
        session.ask(_log_row(mapping, proof, reader, loaded, import_id))
        _commit(session)
        return loaded
    finally:
        session.close()


def _begin(session: _Session, mapping: Mapping, table: Table) -> int:
    target = literal(str(mapping.target))
    free = session.ask(
        f"begin; set local lock_timeout = '10s';\nselect pg_try_advisory_xact_lock(hashtextextended({target}, 7));"
    )
    if free[-1:] != ["t"]:
        raise LockError("import.busy", target=str(mapping.target))
    return int(
        session.ask(f"lock table {table.sql} in share row exclusive mode;\nselect count(*) from {table.sql};")[-1]
    )


def _copy(table: Table, columns: str, delimiter: str) -> str:
    given = "E'\\t'" if delimiter == "\t" else literal(delimiter)
    options = f"format csv, delimiter {given}, force_null({columns})"
    return f"\\copy {table.sql}({columns}) from pstdin with ({options})"


def row_sql(table: Table, cells: list[Cell]) -> str:
    """A select that repeats count and row hash over the whole table, for anybody at any time."""
    return f"select count(*), {_hash(cells)} from {table.sql}"


def _hash(cells: list[Cell]) -> str:
    values = ", ".join(f"coalesce(nullif({identifier(cell.name)}::text, ''), '\\N')" for cell in cells)
    joined = f"md5(convert_to(concat_ws(E'\\x1f', {values}), 'UTF8'))"
    return f"coalesce(sum(('x' || left({joined}, 15))::bit(60)::bigint), 0)"


def _prove(session: _Session, mapping: Mapping, table: Table, reader: Reader, sent: int, before: int) -> Loaded:
    """Counts, column sums, row hash and spot rows out of this transaction's own rows, compared with the file's."""
    parts = ["'rows', count(*)", f"'hash', ({_hash(reader.cells)})::text"]
    for cell in reader.cells:
        name = identifier(cell.name)
        total = f"coalesce(sum({name}::numeric), 0)::text" if cell.name in mapping.verify.sum else "null"
        parts.append(
            f"{literal('c:' + cell.name)}, json_build_array(count({name}), "
            f"coalesce(sum(length({name}::text)), 0), {total})"
        )
    told = session.ask(
        f"select json_build_object({', '.join(parts)}) from {table.sql} where {_THIS};\n"
        f"select count(*) from {table.sql};"
    )
    found, after = json.loads(told[-2]), int(told[-1])
    columns = {
        cell.name: Sums(
            found["c:" + cell.name][0],
            found["c:" + cell.name][1],
            Decimal(found["c:" + cell.name][2]) if found["c:" + cell.name][2] is not None else None,
        )
        for cell in reader.cells
    }
    tally = reader.tally
    pairs: list[tuple[str, object, object]] = [
        ("rows_sent", tally.good, sent),
        ("rows", tally.good, found["rows"]),
        ("rows_total", before + tally.good, after),
        ("row_hash", str(tally.row_hash), found["hash"]),
    ]
    for name, mine in tally.columns.items():
        theirs = columns[name]
        pairs.append((f"{name}.count", mine.count, theirs.count))
        pairs.append((f"{name}.length", mine.length, theirs.length))
        pairs.append((f"{name}.sum", mine.sum, theirs.sum))
    for what, mine_, theirs_ in pairs:
        if mine_ != theirs_:
            raise DataError("import.not_equal", file=mapping.file.name, table=str(mapping.target), what=what,
                            in_file=mine_, in_table=theirs_)  # fmt: skip
    spots = _spots(session, mapping, table, reader)
    return Loaded(found["rows"], before, after, columns, found["hash"], row_sql(table, reader.cells), spots)


def _spots(session: _Session, mapping: Mapping, table: Table, reader: Reader) -> list[dict[str, Any]]:
    """The seeded sample, read back by key from the table."""
    key = mapping.key or next(([name] for name, one in mapping.columns.items() if one.unique), [])
    if not key or not reader.spotted:
        return []
    order = [cell.name for cell in reader.cells]
    places = [order.index(name) for name in key]
    wanted = {tuple(values[place] for place in places): (line, values) for line, values in reader.spotted}
    keys = ", ".join(f"{identifier(name)}::text" for name in key)
    rows = ", ".join("(" + ", ".join(map(literal, one)) + ")" for one in wanted)
    listed = ", ".join(f"coalesce({identifier(name)}::text, '')" for name in order)
    told = session.ask(f"select json_build_array({listed}) from {table.sql} where {_THIS} and ({keys}) in ({rows});")
    there = {tuple(row[place] for place in places): row for row in map(json.loads, told)}
    spots = []
    for one, (line, values) in wanted.items():
        target = there.get(one, [])
        if values != target:
            raise DataError("import.not_equal", file=mapping.file.name, table=str(mapping.target),
                            what=" ".join(one), in_file=" ".join(values), in_table=" ".join(target))  # fmt: skip
        spots.append({"line": line, "key": list(one), "source": values, "target": target})
    return sorted(spots, key=lambda spot: spot["line"])


def _log_row(mapping: Mapping, proof: Proof, reader: Reader, loaded: Loaded, import_id: str) -> str:
    values = [
        literal(import_id), literal(proof.sha256), literal(mapping.sha256), literal(str(mapping.target)), "0",
        str(mapping.source.header_row + 1), str(reader.tally.last_line), str(proof.bytes), str(loaded.rows),
        literal(loaded.row_hash), literal(__version__),
    ]  # fmt: skip
    columns = (
        "import_id, file_sha256, mapping_sha256, target, batch_no, first_line, last_line, last_byte, rows, "
        "row_hash, tool_version"
    )
    return f"insert into {identifier(*LOG_TABLE)} ({columns}) values ({', '.join(values)});"


def _commit(session: _Session) -> None:
    """Success is the word read back, never an exit status alone."""
    session.say("commit;\n\\echo committed")
    try:
        told = session.answers()
    except HostError as error:
        raise CommitUnknown("import.commit_unknown", host=session.server.host, why=error.params.get("why")) from None
    if told[-1:] != ["committed"]:
        raise CommitUnknown("import.commit_unknown", host=session.server.host, why=" ".join(told))
