"""MariaDB: the system's databases at one instant, with a fingerprint of every table taken in that instant; accounts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from postgresql import _quiet, _room, _timed, compare, leftovers, scratch_folders
from repository import Failed, Repository, reason, tied

SOCKET = "/run/mysqld/mysqld.sock"
# implops's own notes (which schema files ran) lie beside the system's database.
OURS = "implops"
# A long statement of the application is waited for; meanwhile new ones wait for us, so not for long at a time.
LOCK_SECONDS, LOCK_TRIES, LOCK_PAUSE = 5, 12, 10
PACKET = "1G"
# Order does not matter, duplicates count; two sums. json_array writes names and their quotes in one form. What the
# rows of a table with a history were before counts too.
_SUMS = """set names utf8mb4; set session sql_mode = '', group_concat_max_len = 16777216, time_zone = '+00:00';
delimiter //
begin not atomic
  for t in (
    select concat('select json_array(', quote(concat(c.table_schema, '.', c.table_name)),
      ', count(*), cast(coalesce(sum(crc32(h)), 0) as char), cast(coalesce(sum(crc32(concat(h, h))), 0) as char)) ',
      'from (select concat(', group_concat(concat('ifnull(crc32(`', replace(c.column_name, '`', '``'), '`), ''-'')')
      order by c.ordinal_position separator ', '','', '), ') h from `', replace(c.table_schema, '`', '``'), '`.`',
      replace(c.table_name, '`', '``'), '`', if(t.table_type = 'SYSTEM VERSIONED', ' for system_time all', ''),
      ') x') as q
    from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
    where c.table_schema in (@DATABASES@) and t.table_type in ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED')
    group by c.table_schema, c.table_name
  ) do
    execute immediate t.q;
  end for;
  select json_array('objects columns', count(*), cast(coalesce(sum(crc32(concat_ws(' ', table_schema, table_name,
    ordinal_position, column_name, column_type, is_nullable, column_default, collation_name, extra))), 0) as char), '0')
    from information_schema.columns where table_schema in (@DATABASES@);
  select json_array('objects indexes', count(*), cast(coalesce(sum(crc32(concat_ws(' ', table_schema, table_name,
    index_name, seq_in_index, column_name, non_unique))), 0) as char), '0')
    from information_schema.statistics where table_schema in (@DATABASES@);
  select json_array('objects constraints', count(*), cast(coalesce(sum(crc32(concat_ws(' ', table_schema, table_name,
    constraint_name, constraint_type))), 0) as char), '0')
    from information_schema.table_constraints where table_schema in (@DATABASES@);
  select json_array('objects routines', count(*), '0', '0')
    from information_schema.routines where routine_schema in (@DATABASES@);
  select json_array('objects triggers', count(*), '0', '0')
    from information_schema.triggers where trigger_schema in (@DATABASES@);
  select json_array('objects events', count(*), '0', '0')
    from information_schema.events where event_schema in (@DATABASES@);
  select json_array('objects views', count(*), '0', '0')
    from information_schema.views where table_schema in (@DATABASES@);
end//
delimiter ;
"""
_ACCOUNTS = """select json_array('objects accounts', count(*), cast(coalesce(sum(crc32(concat_ws(' ', user, host,
  json_value(priv, '$.plugin'), json_value(priv, '$.authentication_string'), json_value(priv, '$.access')))), 0)
  as char),
  '0') from mysql.global_priv where user not in ('root', 'mysql', 'mariadb.sys', 'PUBLIC');
"""
_THERE = f"""select count(*) from information_schema.tables where table_schema = '{OURS}' and table_name = 'schema_log';
"""
_SCHEMA = f"select json_array(name, sha256) from {OURS}.schema_log order by position;\n"
_END = "select 'implops: end';\n"


def _client(socket: str, *options: str) -> list:
    return [
        "mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--default-character-set=utf8mb4",
        f"--max-allowed-packet={PACKET}", "--batch", "--raw", "--skip-column-names", "--unbuffered", *options,
    ]  # fmt: skip


class _Session:
    """One connection: statements in, the lines of their answers out."""

    def __init__(self, socket: str) -> None:
        self.said: list = []
        self.process = subprocess.Popen(
            _client(socket), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            preexec_fn=tied,
        )  # fmt: skip
        # A pipe of complaints that nobody reads would hold the client up.
        self.reader = threading.Thread(target=lambda: self.said.append(self.process.stderr.read()), daemon=True)
        self.reader.start()

    def ask(self, text: str) -> list:
        """The lines of all answers. Raises Failed("source") when the client ended at an error."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write((text + _END).encode())
            self.process.stdin.flush()
        lines = []
        for raw in iter(self.process.stdout.readline, b""):
            line = raw.decode("utf-8").rstrip("\n")
            if line == "implops: end":
                return lines
            lines.append(line)
        self.reader.join(10)
        raise Failed("source", b"".join(self.said).decode("utf-8", "replace"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _names(job: dict) -> list:
    return [job["database"], OURS]


def _sums(job: dict) -> str:
    return _SUMS.replace("@DATABASES@", ", ".join(f"'{name}'" for name in _names(job)))


def _fingerprint(lines: list) -> dict:
    return {name: [count, one, two] for name, count, one, two in map(json.loads, lines)}


def check(job: dict) -> None:
    """Raises Failed when the tools are not there, or a table is of an engine that has no instant to be dumped at."""
    for name in ("mariadb", "mariadb-dump", "mariadb-install-db", "mariadbd"):
        if not shutil.which(name):
            raise Failed("no_tool", name)
    listed = ", ".join(f"'{name}'" for name in _names(job))
    session = _Session(SOCKET)
    try:
        found = session.ask(
            "select concat(table_schema, '.', table_name, ' ', engine) from information_schema.tables where "
            f"table_schema in ({listed}) and table_type in ('BASE TABLE', 'SYSTEM VERSIONED') and engine <> 'InnoDB';\n"
        )
    finally:
        session.close()
    if found:
        raise Failed("not_transactional", ", ".join(found))


def backup(job: dict, repository: Repository, tags: list, status: dict) -> None:
    """Two snapshots: the dump of the databases, with the fingerprint of the dump's instant, and the accounts.

    Two connections must see the same instant, and MariaDB cannot hand one over: for as long as both take theirs, a
    global read lock keeps everybody from writing (milliseconds).
    """
    holder, prints = _Session(SOCKET), _Session(SOCKET)
    try:
        status["versions"]["mariadb"] = prints.ask("select version();\n")[0]
        status["lock_tries"] = _lock(holder)
        locked = time.monotonic()
        prints.ask(
            "set session transaction isolation level repeatable read; start transaction with consistent snapshot;\n"
        )
        seen = b""

        def watch(block: bytes) -> bool:
            """The dump writes the name of the first database after it has taken its snapshot."""
            nonlocal seen
            seen = (seen + block)[:65536]
            if b"-- Current Database" not in seen:
                return False
            holder.ask("unlock tables;\n")
            status["lock_ms"] = round((time.monotonic() - locked) * 1000)
            return True

        os.chdir("/")
        name = f"{job['database']}.sql"
        stored = repository.backup([*tags, "role=mariadb"], name, _dump(job), watch)
        lines = prints.ask(_sums(job) + _ACCOUNTS)
        # The system's schema files that were executed by then: whoever goes back to this backup has to know.
        schema = prints.ask(_SCHEMA) if prints.ask(_THERE) == ["1"] else []
    finally:
        holder.close()
        prints.close()
    version = f"mariadb-dump {status['versions']['mariadb'].partition('-')[0]}"
    member = {"role": "mariadb", "name": name, "engine": version, **stored, "fingerprint": _fingerprint(lines)}
    status["members"].append({**member, "schema": [json.loads(line) for line in schema]})
    accounts = ["mariadb-dump", "--no-defaults", f"--socket={SOCKET}", "--system=users", "--insert-ignore"]
    stored = repository.backup([*tags, "role=accounts"], "accounts.sql", accounts)
    status["members"].append({"role": "accounts", "name": "accounts.sql", "engine": version, **stored})


def _dump(job: dict) -> list:
    return [
        "mariadb-dump", "--no-defaults", f"--socket={SOCKET}", "--single-transaction", "--quick", "--routines",
        "--events", "--triggers", "--hex-blob", "--dump-history", "--default-character-set=utf8mb4",
        f"--max-allowed-packet={PACKET}", "--databases", *_names(job),
    ]  # fmt: skip


def _lock(holder: _Session) -> int:
    """Take the read lock; how many tries it took. Whoever waits for it holds up all writing, so it waits briefly."""
    statement = f"set lock_wait_timeout = {LOCK_SECONDS}; flush tables with read lock;\n"
    for tried in range(1, LOCK_TRIES + 1):
        try:
            holder.ask(statement)
            return tried
        except Failed as error:
            if "1205" not in error.detail or tried == LOCK_TRIES:
                raise Failed("lock", error.detail) from None
            holder.__init__(SOCKET)  # the client ends at an error
            time.sleep(LOCK_PAUSE)
    raise AssertionError("unreachable")


def drill(job: dict, repository: Repository, backup_: dict, scratch: Path, status: dict) -> None:
    """Restore into a scratch server without network, compare every table with the fingerprint, remove it again."""
    members = {one["role"]: one for one in backup_["members"]}
    dump = members["mariadb"]
    leftovers(scratch.parent)
    _room(scratch.parent, dump["bytes"])
    socket = Path("/run/implops-drill") / scratch.name
    times: dict = {}
    status["times_ms"] = times
    server = None
    try:
        with _timed(times, "scratch"):
            scratch_folders("mysql", scratch, socket)
            server = _start(scratch / "data", socket / "s")
        with _timed(times, "load"):
            _feed(repository, dump, str(socket / "s"), "restore", b"-- Dump completed")
            _feed(repository, members["accounts"], str(socket / "s"), "globals", b"")
        with _timed(times, "compare"):
            session = _Session(str(socket / "s"))
            try:
                found = _fingerprint(session.ask("flush privileges;\n" + _sums(job) + _ACCOUNTS))
            finally:
                session.close()
            compare(dump["fingerprint"], found, status)
        with _timed(times, "structure"):
            checking = ["mariadb-check", "--no-defaults", f"--socket={socket / 's'}", "--user=root", "--silent"]
            done = subprocess.run([*checking, "--databases", *_names(job)], capture_output=True, cwd="/")
            if done.returncode or done.stdout.strip():
                raise Failed("restore", (done.stdout + done.stderr).decode("utf-8", "replace"))
    finally:
        with _timed(times, "remove"):
            _remove(server, scratch, socket)
    status["restore_ms"] = times["scratch"] + times["load"]


def _start(data: Path, socket: Path) -> subprocess.Popen:
    make = [
        "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db",
        "--auth-root-authentication-method=normal", "--skip-name-resolve",
    ]  # fmt: skip
    _quiet("scratch", make)
    # No network and no scheduler: what the restored database would reach out to or start, it cannot.
    run = [
        "unshare", "-n", "nice", "-n", "10", "mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}",
        f"--socket={socket}", f"--pid-file={data}/postmaster.pid", f"--log-error={data}/log", "--skip-networking",
        "--skip-log-bin", "--skip-slave-start", "--event-scheduler=OFF", "--innodb-flush-log-at-trx-commit=0",
        "--skip-innodb-doublewrite", f"--max-allowed-packet={PACKET}", "--innodb-buffer-pool-size=64M",
        "--character-set-server=utf8mb4", "--skip-name-resolve",
    ]  # fmt: skip
    server = subprocess.Popen(
        run, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", preexec_fn=tied
    )
    ping = ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "--silent", "ping"]
    deadline = time.monotonic() + 120
    while subprocess.run(ping, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            log = (data / "log").read_text(errors="replace") if (data / "log").exists() else ""
            errors = [line for line in log.splitlines() if "[ERROR]" in line]
            server.kill()
            server.wait()
            raise Failed("scratch", "\n".join(errors) or log)
        time.sleep(0.1)
    return server


def _feed(repository: Repository, member: dict, socket: str, code: str, trailer: bytes) -> None:
    """Load a dump. Its stream must be the one that was stored, and end as a whole dump ends: cut between two
    statements, the client would take it for good.
    """
    digest, tail = hashlib.sha256(), b""
    with repository.open(member["snapshot"], member["name"]) as reader:
        loader = subprocess.Popen(
            _client(socket), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
            preexec_fn=tied,
        )  # fmt: skip
        for block in iter(lambda: reader.stdout.read(1 << 20), b""):
            digest.update(block)
            tail = (tail + block)[-200:]
            # A loader that has given up still leaves a stream that must be read to its end.
            with contextlib.suppress(BrokenPipeError):
                loader.stdin.write(block)
        with contextlib.suppress(BrokenPipeError):
            loader.stdin.close()
        said, complaint = reader.stderr.read(), loader.stderr.read()
        loader.wait()
    if reader.returncode:
        raise Failed(reason(said), said.decode("utf-8", "replace"))
    if digest.hexdigest() != member["sha256"] or trailer not in tail:
        raise Failed("read_back", member["snapshot"])
    if loader.returncode:
        # On an error the client repeats the statement, rows included: only its first line is kept.
        errors = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.startswith("ERROR")]
        raise Failed(code, "\n".join(errors))


def _remove(server: subprocess.Popen | None, scratch: Path, socket: Path) -> None:
    if server is not None:
        server.kill()
        server.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(socket, ignore_errors=True)
    if scratch.exists():
        raise Failed("not_removed", str(scratch))
