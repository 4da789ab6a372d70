"""PostgreSQL: one database and the globals at one instant, with a fingerprint of every table taken in that instant."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from repository import Failed, Repository, Unsure, reason, tied

_SETTINGS = """set search_path = ''; set extra_float_digits = 3; set bytea_output = hex; set datestyle = 'ISO, YMD';
set intervalstyle = postgres; set timezone = 'UTC'; set row_security = off;
"""
# Order does not matter, duplicates count; two seeds. Tables of extensions are not in a dump. Constraints by name: the
# server words the same check differently after a restore.
_TABLES = r"""select format('select json_build_array(%L, count(*),
  coalesce(sum(hashtextextended((r.*)::text, 0)::numeric), 0)::text,
  coalesce(sum(hashtextextended((r.*)::text, 7919)::numeric), 0)::text) from only %I.%I r',
  format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1 \gexec
select json_build_array('large objects', count(*),
  coalesce(sum(hashtextextended(encode(lo_get(oid), 'hex'), 0)::numeric), 0)::text, '0') from pg_largeobject_metadata;
select json_build_array('objects ' || relkind::text, count(*), '0', '0')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' group by relkind order by relkind::text;
select json_build_array('constraints', count(*),
  sum(hashtextextended(concat_ws(' ', conrelid::regclass, conname, contype, convalidated), 0)::numeric)::text, '0')
from pg_constraint where connamespace::regnamespace::text !~ '^(pg_|information_schema)' having count(*) > 0;
"""
# The system's schema files that were executed by then: whoever goes back to this backup has to know.
_SCHEMA = r"""select to_regclass('implops.schema_log') is not null as there \gset
\if :there
select json_build_object('name', name, 'sha256', sha256) from implops.schema_log order by position;
\endif
"""
_MARGIN = 1.2


def _bin(job: dict, name: str) -> str:
    return f"/usr/lib/postgresql/{job['major']}/bin/{name}"


def _as_postgres(*command: str) -> list:
    return ["runuser", "-u", "postgres", "--", *command]


def _psql(job: dict, folder: str, port: int, database: str) -> list:
    return _as_postgres(
        _bin(job, "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-h", folder, "-p", str(port), "-d", database, "-f", "-"
    )


def check(job: dict) -> None:
    """Raises Failed when the server's own tools are not there."""
    for name in ("psql", "pg_dump", "pg_dumpall"):
        if not Path(_bin(job, name)).exists():
            raise Failed("no_tool", _bin(job, name))


def backup(job: dict, repository: Repository, tags: list, status: dict) -> None:
    """Two snapshots: the dump of the database and the globals (roles), with the fingerprint of the dump's instant."""
    server = _psql(job, "/var/run/postgresql", job["port"], job["database"])
    holder = subprocess.Popen(
        server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", preexec_fn=tied
    )
    try:
        holder.stdin.write(b"begin isolation level repeatable read read only;\nselect pg_export_snapshot();\n")
        holder.stdin.flush()
        snapshot = holder.stdout.readline().decode().strip()
        if not snapshot:
            raise Failed("source", holder.stderr.read().decode("utf-8", "replace"))
        status["t0"] = snapshot
        prints = subprocess.Popen(
            server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", preexec_fn=tied
        )
        begin = f"begin isolation level repeatable read read only; set transaction snapshot '{snapshot}';\n"
        prints.stdin.write((begin + _SETTINGS + _TABLES + _SCHEMA + "commit;\n").encode())
        prints.stdin.close()
        dump = _as_postgres(
            _bin(job, "pg_dump"), "-w", "-Fc", "-Z0", f"--snapshot={snapshot}", "--lock-wait-timeout=60000",
            "-h", "/var/run/postgresql", "-p", str(job["port"]), job["database"],
        )  # fmt: skip
        name = f"{job['database']}.dump"
        os.chdir("/")
        stored = repository.backup([*tags, "role=pg-db"], name, dump)
        out, said = prints.stdout.read(), prints.stderr.read()
        if prints.wait():
            raise Failed("fingerprint", said.decode("utf-8", "replace"))
    finally:
        holder.kill()
        holder.wait()
    tables, schema = _fingerprint(out), _schema(out)
    member = {"role": "pg-db", "name": name, "engine": f"pg_dump {job['major']}", **stored, "fingerprint": tables}
    status["members"].append({**member, "schema": schema})
    roles = _as_postgres(
        _bin(job, "pg_dumpall"), "-w", "--globals-only", "-h", "/var/run/postgresql", "-p", str(job["port"])
    )
    stored = repository.backup([*tags, "role=globals"], "globals.sql", roles)
    engine = f"pg_dumpall {job['major']}"
    status["members"].append({"role": "globals", "name": "globals.sql", "engine": engine, **stored})


def _fingerprint(out: bytes) -> dict:
    rows = [json.loads(line) for line in out.decode().splitlines() if line.startswith("[")]
    return {name: [count, one, two] for name, count, one, two in rows}


def _schema(out: bytes) -> list:
    found = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    return [[one["name"], one["sha256"]] for one in found]


def drill(job: dict, repository: Repository, backup_: dict, scratch: Path, status: dict) -> None:
    """Restore into a scratch server without network, compare every table with the fingerprint, remove it again."""
    members = {one["role"]: one for one in backup_["members"]}
    dump = members["pg-db"]
    leftovers(scratch.parent)
    _room(scratch.parent, dump["bytes"])
    socket = Path("/run/implops-drill") / scratch.name
    times: dict = {}
    status["times_ms"] = times
    try:
        with _timed(times, "scratch"):
            scratch_folders("postgres", scratch, socket)
            _start(job, scratch / "data", socket)
        with _timed(times, "load"):
            _load(job, repository, members, socket)
        with _timed(times, "compare"):
            server = _psql(job, str(socket), PORT, job["database"])
            done = subprocess.run(server, input=(_SETTINGS + _TABLES).encode(), capture_output=True, cwd="/")
            if done.returncode:
                raise Failed("fingerprint", done.stderr.decode("utf-8", "replace"))
            compare(dump["fingerprint"], _fingerprint(done.stdout), status)
    finally:
        with _timed(times, "remove"):
            _remove(job, scratch, socket)
    status["restore_ms"] = times["scratch"] + times["load"]


PORT = 55440


def _start(job: dict, data: Path, socket: Path) -> None:
    init = [_bin(job, "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    _quiet("scratch", _as_postgres(*init, f"--locale={job['locale']}", "--no-sync", "-k"))
    settings = {
        "listen_addresses": "", "port": PORT, "unix_socket_directories": socket, "fsync": "off",
        "full_page_writes": "off", "synchronous_commit": "off", "wal_level": "minimal", "max_wal_senders": 0,
        "archive_mode": "off", "autovacuum": "off", "maintenance_work_mem": "64MB", "shared_buffers": "64MB",
    }  # fmt: skip
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    start = [
        _bin(job, "pg_ctl"),
        "-D",
        str(data),
        "-s",
        "-w",
        "-t",
        "120",
        "-l",
        str(data / "log"),
        "-o",
        options,
        "start",
    ]
    # No network: what the restored database would reach out to, it cannot.
    _quiet("scratch", ["unshare", "-n", "nice", "-n", "10", *_as_postgres(*start)])


def _load(job: dict, repository: Repository, members: dict, socket: Path) -> None:
    with repository.open(members["globals"]["snapshot"], members["globals"]["name"]) as reader:
        text, said = reader.stdout.read(), reader.stderr.read()
    if reader.returncode:
        raise Failed(reason(said), said.decode("utf-8", "replace"))
    psql = [_bin(job, "psql"), "-Xqw", "-h", str(socket), "-p", str(PORT), "-d", "postgres", "-f", "-"]
    # The scratch server has the role postgres already: that one complaint is expected, the roles are compared below.
    done = subprocess.run(_as_postgres(*psql), input=text, capture_output=True, cwd="/")
    errors = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "ERROR" in line]
    if done.returncode or any('role "postgres" already exists' not in line for line in errors):
        raise Failed("globals", "\n".join(errors))
    dump = members["pg-db"]
    restore = [
        _bin(job, "pg_restore"),
        "-w",
        "-h",
        str(socket),
        "-p",
        str(PORT),
        "-C",
        "-d",
        "postgres",
        "--exit-on-error",
    ]
    feed(_as_postgres(*restore, "--no-tablespaces", "--no-subscriptions"), repository, dump)


def feed(command: list, repository: Repository, dump: dict) -> None:
    """Give a dump to a loader while its SHA-256 is taken. Raises Failed unless every byte came and was taken."""
    digest = hashlib.sha256()
    with repository.open(dump["snapshot"], dump["name"]) as reader:
        loader = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
            preexec_fn=tied,
        )  # fmt: skip
        for block in iter(lambda: reader.stdout.read(1 << 20), b""):
            digest.update(block)
            # A loader that has given up still leaves a stream that must be read to its end.
            with contextlib.suppress(BrokenPipeError):
                loader.stdin.write(block)
        with contextlib.suppress(BrokenPipeError):
            loader.stdin.close()
        said, complaint = reader.stderr.read(), loader.stderr.read()
        loader.wait()
    if reader.returncode:
        raise Failed(reason(said), said.decode("utf-8", "replace"))
    if digest.hexdigest() != dump["sha256"]:
        raise Failed("read_back", dump["snapshot"])
    if loader.returncode:
        raise Failed("restore", complaint.decode("utf-8", "replace"))


def compare(expected: dict, found: dict, status: dict) -> None:
    """Table by table; the first difference with both values. Empty against empty is no proof of anything."""
    names = sorted(set(expected) | set(found))
    wrong = [name for name in names if expected.get(name) != found.get(name)]
    tables = [name for name in names if not name.startswith("objects ")]
    status["tables"] = {"compared": len(names), "equal": len(names) - len(wrong), "different": len(wrong)}
    status["rows"] = sum(int(found[name][0]) for name in tables if name in found and "." in name)
    status["verdict"] = "different" if wrong else "equal"
    if wrong:
        name = wrong[0]
        status["first_difference"] = {"name": name, "expected": expected.get(name), "found": found.get(name)}
        status["error"] = {"code": "different", "detail": name}


def _remove(job: dict, scratch: Path, socket: Path) -> None:
    data = scratch / "data"
    if (data / "postmaster.pid").exists():
        stop = [_bin(job, "pg_ctl"), "-D", str(data), "-s", "-m", "immediate", "-w", "-t", "60", "stop"]
        subprocess.run(_as_postgres(*stop), capture_output=True, cwd="/")
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(socket, ignore_errors=True)
    if scratch.exists():
        raise Failed("not_removed", str(scratch))


def scratch_folders(account: str, *folders: Path) -> None:
    """Folders that only the account of a scratch server can look into."""
    owner = pwd.getpwnam(account)
    for folder in folders:
        folder.mkdir(parents=True, mode=0o700)
        folder.parent.chmod(0o711)
        os.chown(folder, owner.pw_uid, owner.pw_gid)


def leftovers(place: Path) -> None:
    """What a killed drill left: its server is stopped by the process id in its own scratch folder."""
    for pid in place.glob("*/data/postmaster.pid"):
        with contextlib.suppress(OSError, ValueError):
            number = int(pid.read_text().splitlines()[0])
            if str(pid.parent).encode() in Path(f"/proc/{number}/cmdline").read_bytes():
                os.kill(number, 9)
                for _ in range(100):
                    if not Path(f"/proc/{number}").exists():
                        break
                    time.sleep(0.1)
    for one in place.glob("*"):
        shutil.rmtree(one, ignore_errors=True)


def _room(place: Path, size: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    free, wanted = shutil.disk_usage(place).free, int(size * 2 * _MARGIN) + 100 * 2**20
    if free < wanted:
        raise Unsure("no_room", f"{place}: {free // 2**20} MiB < {wanted // 2**20} MiB")


def _quiet(code: str, command: list) -> None:
    # A server that goes on running keeps its outputs: they must not be pipes that we wait for.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")
    if done.returncode:
        raise Failed(code, done.stderr.decode("utf-8", "replace"))


@contextlib.contextmanager
def _timed(times: dict, name: str):  # type: ignore[no-untyped-def]
    began = time.monotonic()
    try:
        yield
    finally:
        times[name] = round((time.monotonic() - began) * 1000)
