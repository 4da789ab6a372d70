"""Put on the path of a benchmark's processes: writes every trip to a host as a JSON line into IMPLOPS_TRACE/PID.jsonl."""

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


def watch_remote(module: Any) -> None:
    real = module.Connection._trip

    def trip(self: Any, command: str, stdin: Any, timeout: float, limit: int) -> Any:
        began = time.monotonic()
        result = real(self, command, stdin, timeout, limit)
        write(kind="trip", host=self.name, ms=round((time.monotonic() - began) * 1000))
        return result

    module.Connection._trip = trip


def watch_worker(module: Any) -> None:
    from gevent.local import local

    here = local()
    step, carry = module.Worker.step, module.Carrier.run_shell_command

    def traced_step(self: Any, order: dict[str, Any]) -> None:
        here.step = order["step"]
        step(self, order)

    def traced(self: Any, command: Any, *words: Any, **named: Any) -> Any:
        stdin = named.get("_stdin") or ""
        op = self.host.current_op_hash
        good, output = carry(self, command, *words, **named)
        text = command.get_raw_value() if hasattr(command, "get_raw_value") else str(command)
        name = sorted(self.state.op_meta[op].names)[0] if op else ""
        body = base64.b64encode((stdin if isinstance(stdin, str) else "\n".join(stdin)).encode()).decode()
        files = [[one.path, one.mode, one.user, one.group] for one in getattr(command, "files", ())]
        write(kind="command", host=self.host.name, step=here.step, op=name, command=text, stdin=body, files=files)
        return good, output

    module.Worker.step, module.Carrier.run_shell_command = traced_step, traced


class Finder:
    """Patches the two modules right after they are imported."""

    patches = {"implops.remote": watch_remote, "implops.deploy.worker": watch_worker}  # noqa: RUF012

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in cls.patches:
            return None
        patch = cls.patches.pop(name)
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        try:
            from importlib.util import find_spec

            spec = find_spec(name)
        finally:
            sys.meta_path.insert(0, cls)  # type: ignore[arg-type]
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def then(module: Any) -> None:
            execute(module)
            patch(module)

        spec.loader.exec_module = then  # type: ignore[method-assign]
        return spec


if PLACE:
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
