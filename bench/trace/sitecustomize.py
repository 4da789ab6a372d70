"""On the path of a benchmark's processes: every trip to a host becomes a JSON line of IMPLOPS_TRACE/PID.jsonl."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PLACE = os.environ.get("IMPLOPS_TRACE", "")


def write(**entry: Any) -> None:
    with Path(PLACE, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": time.time(), **entry}) + "\n")


def operation() -> str:
    """The operation of the recipe that is running, when this is the worker; empty otherwise."""
    if not hasattr(sys.modules["__main__"], "Worker"):
        return ""
    from pyinfra.context import ctx_host, host, state

    op = host.current_op_hash if ctx_host.isset() else None
    return sorted(state.op_meta[op].names)[0] if op else ""


def watch(module: Any) -> None:
    trip, command = module.Connection._trip, module.Connection.command

    def traced_trip(self: Any, *words: Any) -> Any:
        began = time.monotonic()
        result = trip(self, *words)
        write(kind="trip", host=self.name, op=operation(), ms=round((time.monotonic() - began) * 1000))
        return result

    def traced_command(self: Any, script: str, stdin: bytes = b"", **named: Any) -> Any:
        result = command(self, script, stdin, **named)
        body = base64.b64encode(stdin).decode()
        write(kind="command", host=self.name, op=operation(), command=script, stdin=body)
        return result

    module.Connection._trip, module.Connection.command = traced_trip, traced_command


class Finder:
    """Watches implops.remote from the moment it is imported."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "implops.remote":
            return None
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        from importlib.util import find_spec

        spec = find_spec(name)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def then(module: Any) -> None:
            execute(module)
            watch(module)

        spec.loader.exec_module = then  # type: ignore[method-assign]
        return spec


if PLACE:
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
