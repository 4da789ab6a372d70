"""One restic repository on the storage host, and the rule that only a whole stream becomes a snapshot."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import signal
import subprocess
import tempfile
from datetime import datetime

PASSWORD = "/etc/implops/backup/repo-password"  # noqa: S105 - the path, not the password
SSH = "ssh -F /etc/implops/backup/ssh_config implops-repo -s sftp"
CACHE = "/var/cache/implops/restic"
# No run removes more than a third of all runs: a clock gone wrong must not empty the repository at once.
SHARE = 3
# Seconds that an interrupted restic gets to end by itself.
_PATIENCE = 30
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """It did not work. ``code`` is a word of the catalogue, ``detail`` what the program said."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail.strip()[-1500:]


class Unsure(Failed):
    """It could not be told whether it is good."""


def tied() -> None:
    """In the child: die with the runner, or its death would read as the end of the data."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Repository:
    """``place`` as restic writes it: ``sftp:implops-repo:/backup/his/db1``."""

    def __init__(self, host: str, place: str) -> None:
        self.host, self.place = host, place

    def command(self, *arguments: str) -> list[str]:
        return [
            "restic", "-r", self.place, "--password-file", PASSWORD, "--cache-dir", CACHE,
            "-o", f"sftp.command={SSH}", *arguments,
        ]  # fmt: skip

    def call(self, *arguments: str, seconds: int = 600) -> str:
        """What restic prints. Raises Failed with a code made from its words."""
        try:
            done = subprocess.run(
                self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds,
                preexec_fn=tied,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed("repository_silent", f"{seconds} s") from None
        if done.returncode:
            raise Failed(reason(done.stderr), _text(done.stderr))
        return _text(done.stdout)

    def version(self) -> str:
        done = subprocess.run(["restic", "version"], capture_output=True, stdin=subprocess.DEVNULL)
        words = _text(done.stdout).split()
        return words[1] if len(words) > 1 else "?"

    def ready(self) -> bool:
        try:
            self.call("cat", "config", seconds=60)
        except Failed:
            return False
        return True

    def init(self) -> None:
        self.call("init", "--repository-version", "2", seconds=120)

    def unlock(self) -> None:
        """Locks that a killed run left; a live one is kept out by our own lock on this host."""
        self.call("unlock", seconds=120)

    def ids(self) -> set:
        return {one["id"] for one in json.loads(self.call("snapshots", "--json") or "[]")}

    def backup(self, tags: list, name: str, source: list, watch: object = None) -> dict:
        """Stream a program's output into a snapshot, then read it back. Raises Failed; nothing half is left.

        ``watch`` sees the stream's blocks until it answers True.
        """
        arguments = [
            "--json",
            "backup",
            "--host",
            self.host,
            "--tag",
            ",".join(tags),
            "--stdin",
            "--stdin-filename",
            name,
        ]
        sent = pump(source, self.command(*arguments), watch=watch)
        if not sent["ok"]:
            if sent["source_rc"] not in (0, -9):
                raise Failed("source", sent["source"])
            raise Failed(
                "empty" if not sent["bytes"] else reason(sent["restic"].encode()), sent["restic"] or sent["source"]
            )
        summary = _summary(sent["restic"])
        got = self.digest(summary["snapshot_id"], name)
        if got != (sent["bytes"], sent["sha256"]):
            raise Failed("read_back", f"{got[0]} != {sent['bytes']}")
        return {
            "snapshot": summary["snapshot_id"], "bytes": sent["bytes"], "sha256": sent["sha256"],
            "growth": _growth(summary), "verify": "read_to_end",
        }  # fmt: skip

    def paths(self, tags: list, paths: list) -> dict:
        arguments = ["--json", "backup", "--host", self.host, "--tag", ",".join(tags), "--exclude-caches"]
        # Exit status 3 (a file could not be read) has made a snapshot that is not whole: a failure all the same.
        summary = _summary(self.call(*arguments, "--", *paths, seconds=6 * 3600))
        return {
            "snapshot": summary["snapshot_id"], "files": summary["total_files_processed"],
            "bytes": summary["total_bytes_processed"], "growth": _growth(summary),
        }  # fmt: skip

    def open(self, snapshot: str, name: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command("dump", snapshot, f"/{name}"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=tied,
        )  # fmt: skip

    def digest(self, snapshot: str, name: str) -> tuple:
        """(bytes, sha256) of a stored stream, read to its end."""
        digest, size = hashlib.sha256(), 0
        with self.open(snapshot, name) as reader:
            for block in iter(lambda: reader.stdout.read(1 << 20), b""):
                digest.update(block)
                size += len(block)
            said = reader.stderr.read()
        if reader.returncode:
            raise Failed(reason(said), _text(said))
        return size, digest.hexdigest()

    def retain(self, job: str, keep: dict, never: set) -> dict:
        """Remove what the policy no longer keeps, by id, and look again. ``never``: runs that stay in any case."""
        listed = [
            one for one in json.loads(self.call("snapshots", "--json") or "[]") if f"job={job}" in one.get("tags", [])
        ]
        runs: dict = {}
        for one in listed:
            run = next((tag[4:] for tag in one["tags"] if tag.startswith("run=")), "")
            runs.setdefault(run, []).append(one)
        order = sorted(runs, key=lambda run: runs[run][0]["time"], reverse=True)
        kept = chosen([(run, moment(runs[run][0]["time"])) for run in order], keep) | never
        leave = [run for run in reversed(order) if run not in kept][: max(1, len(order) // SHARE)]
        gone = [one["id"] for run in leave for one in runs[run]]
        if gone:
            self.call("forget", *gone)
            left = self.ids() & set(gone)
            if left:
                raise Failed("retention_left", " ".join(sorted(left)))
            self.call("prune", seconds=6 * 3600)
        return {"listed": len(listed), "removed": len(gone)}


def moment(text: str) -> datetime:
    """restic prints nanoseconds; Python 3.9 reads microseconds."""
    head, dot, rest = text.partition(".")
    zone = next((rest[at:] for at, char in enumerate(rest) if char in "+-Z"), "") if dot else ""
    return datetime.fromisoformat((head + zone).replace("Z", "+00:00"))


def chosen(runs: list, keep: dict) -> set:
    """Of ``(run, time)``, newest first: the newest of each of the last days, weeks and months that the policy names."""
    kept: set = set()
    for unit, form in (("daily", "%Y-%m-%d"), ("weekly", "%G-%V"), ("monthly", "%Y-%m")):
        seen: list = []
        for run, when in runs:
            bucket = when.strftime(form)
            if bucket not in seen and len(seen) < keep.get(unit, 0):
                seen.append(bucket)
                kept.add(run)
    return kept


def pump(source: list, sink: list, chunk: int = 1 << 20, watch: object = None) -> dict:
    """Feed ``source``'s output to ``restic backup --stdin``. End of file is the commit; only a clean exit earns it."""
    digest, size, committed = hashlib.sha256(), 0, False
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as source_log:
        target = subprocess.Popen(sink, stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=tied)
        # When we are killed, the kernel closes our files first and tells our children afterwards, in the order of their
        # birth. The source holds a copy of the sink's input: without it the sink could see the end of its input, and
        # commit half a dump, before it is told to die.
        program = subprocess.Popen(
            source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=source_log, preexec_fn=tied,
            pass_fds=(target.stdin.fileno(),),
        )  # fmt: skip
        try:
            for block in iter(lambda: program.stdout.read1(chunk), b""):
                if watch and watch(block):
                    watch = None
                digest.update(block)
                size += len(block)
                target.stdin.write(block)
            target.stdin.flush()
            if program.wait() == 0 and size:
                target.stdin.close()
                committed = True
        except BrokenPipeError:
            # restic left first (disk full, line cut): let it say why.
            with contextlib.suppress(subprocess.TimeoutExpired):
                target.wait(60)
        finally:
            if not committed:
                _interrupt(target)  # while its input is still open
            program.kill()
            source_rc, sink_rc = program.wait(), target.wait()
        log.seek(0)
        source_log.seek(0)
        return {
            "ok": committed and sink_rc == 0, "source_rc": source_rc, "bytes": size, "sha256": digest.hexdigest(),
            "restic": _text(log.read()), "source": _text(source_log.read())[-1500:],
        }  # fmt: skip


def _interrupt(target: subprocess.Popen) -> None:
    """End restic without a snapshot. A signal that comes before it has set its handler can be lost: ask again."""
    for _ in range(_PATIENCE):
        target.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            target.wait(1)
            return
    target.kill()


def reason(stderr: bytes) -> str:
    """A code for restic's words (0.14 has one exit status for all of them)."""
    text = _text(stderr)
    for words, code in (
        ("wrong password", "repository_password"),
        ("Host key verification failed", "repository_key"),
        ("Permission denied", "repository_login"),
        ("No space left", "repository_full"),
        ("file does not exist", "repository_missing"),
        ("Is there a repository", "repository_missing"),
        ("already locked", "repository_locked"),
        ("Connection refused", "repository_unreachable"),
        ("Connection timed out", "repository_unreachable"),
        ("No route to host", "repository_unreachable"),
        ("connection lost", "repository_unreachable"),
        ("unable to start the sftp session", "repository_unreachable"),
        ("could not be read", "unreadable"),
    ):
        if words in text:
            return code
    return "repository"


def _summary(output: str) -> dict:
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):
            one = json.loads(line)
            if isinstance(one, dict) and one.get("message_type") == "summary" and one.get("snapshot_id"):
                return one
    raise Failed("repository", output)


def _growth(summary: dict) -> int:
    return int(summary.get("data_added_packed") or summary["data_added"])


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
