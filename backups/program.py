"""Files: what the deployment put on the host (releases, configuration, units), with a manifest of every file."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import stat
import time
from pathlib import Path

from postgresql import leftovers
from repository import Failed, Repository, Unsure


def _present(job: dict) -> list:
    return sorted({path for pattern in job["paths"] for path in glob.glob(pattern)})


def check(job: dict) -> None:
    """Raises Failed for a declared source that is missing or empty: restic itself would say nothing."""
    for pattern in job["paths"]:
        found = glob.glob(pattern)
        if not found:
            raise Failed("source_missing", pattern)
        for path in found:
            if os.path.isdir(path) and not any(os.scandir(path)):
                raise Failed("source_empty", path)


def manifest(root: str, paths: list) -> dict:
    """path -> "MODE SHA-256" of files, "MODE -> TARGET" of links, below ``root`` (empty: the host itself)."""
    found = {}
    for top in paths:
        for path in _walk(root + top):
            about = os.lstat(path)
            mode = f"{stat.S_IMODE(about.st_mode):o}"
            if stat.S_ISLNK(about.st_mode):
                found[path[len(root) :]] = f"-> {os.readlink(path)}"
            elif stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    digest = hashlib.sha256()
                    for block in iter(lambda: file.read(1 << 20), b""):
                        digest.update(block)
                found[path[len(root) :]] = f"{mode} {digest.hexdigest()}"
    return found


def _walk(top: str) -> list:
    if os.path.islink(top) or not os.path.isdir(top):
        return [top]
    found = []
    for folder, folders, files in os.walk(top):
        found += [os.path.join(folder, name) for name in files]
        found += [os.path.join(folder, name) for name in folders if os.path.islink(os.path.join(folder, name))]
    return found


def backup(job: dict, repository: Repository, tags: list, status: dict) -> None:
    paths = _present(job)
    files = manifest("", paths)
    stored = repository.paths([*tags, "role=files"], paths)
    digest = hashlib.sha256("\n".join(f"{path} {files[path]}" for path in sorted(files)).encode()).hexdigest()
    engine = f"restic {status['versions']['restic']}"
    status["members"].append(
        {
            "role": "files",
            "name": " ".join(paths),
            "engine": engine,
            "sha256": digest,
            "verify": "-",
            "manifest": files,
            **stored,
        }
    )


def drill(job: dict, repository: Repository, backup_: dict, scratch: Path, status: dict) -> None:
    """Restore into a scratch folder and compare every file with the manifest."""
    member = backup_["members"][0]
    leftovers(scratch.parent)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch.parent).free
    if free < member["bytes"] * 1.2 + 100 * 2**20:
        raise Unsure("no_room", f"{scratch.parent}: {free // 2**20} MiB")
    began = time.monotonic()
    try:
        scratch.mkdir(mode=0o700)
        repository.call("restore", member["snapshot"], "--target", str(scratch), "--verify", seconds=6 * 3600)
        loaded = time.monotonic()
        found = manifest(str(scratch), member["name"].split(" "))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    expected = member["manifest"]
    names = sorted(set(expected) | set(found))
    wrong = [name for name in names if expected.get(name) != found.get(name)]
    status["restore_ms"] = round((loaded - began) * 1000)
    status["times_ms"] = {"load": status["restore_ms"], "compare": round((time.monotonic() - loaded) * 1000)}
    status["files"] = {"compared": len(names), "equal": len(names) - len(wrong), "different": len(wrong)}
    status["verdict"] = "different" if wrong else "equal"
    if wrong:
        name = wrong[0]
        status["first_difference"] = {"name": name, "expected": expected.get(name), "found": found.get(name)}
        status["error"] = {"code": "different", "detail": name}
