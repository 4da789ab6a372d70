"""The process that runs recipes: pyinfra in immediate mode. The only user of its API beside ``ops`` and ``carrier``.

gevent patches this process, so nothing else lives in it: no database, no terminal. It speaks JSON lines. Input:
one greeting, then one message a step; output: ``op`` and ``step`` messages. Secrets come over standard input
only. End of file on standard input (our parent has ended or was killed) lets no further operation begin.
A step that interrupts what users use tells ``changing`` before its first change and waits for ``go``.
"""

from gevent import monkey

monkey.patch_all()

import difflib  # noqa: E402 - gevent's patch comes before everything that opens sockets or threads
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from secrets import token_hex  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.event import AsyncResult  # noqa: E402
from gevent.fileobject import FileObjectThread  # noqa: E402
from gevent.lock import RLock  # noqa: E402
from pyinfra.api import BaseStateCallback, Config, Inventory, State  # noqa: E402
from pyinfra.api.exceptions import NestedOperationError  # noqa: E402
from pyinfra.api.host import Host as PyinfraHost  # noqa: E402
from pyinfra.api.state import StateStage  # noqa: E402
from pyinfra.context import ctx_host, ctx_state  # noqa: E402

from implops import kit  # noqa: E402
from implops.deploy import commands, foreseen, ops, probes  # noqa: E402
from implops.deploy.carrier import COMMAND_SECONDS, Carrier, FactUnknown, Stopped, StrictLog, StrictState  # noqa: E402
from implops.deploy.foreseen import Foreseen  # noqa: E402
from implops.deploy.shell import plain  # noqa: E402
from implops.errors import ImplopsError  # noqa: E402
from implops.remote import Connection, ConnectionLost, connect  # noqa: E402
from implops.secrets import Secret, redactor  # noqa: E402
from implops.site import Site, load  # noqa: E402

_OUTPUT_KEPT, _SAID_KEPT = 4000, 400


class Watch(BaseStateCallback):
    """Times operations, tells about each, and keeps the next one from beginning when asked to stop."""

    def __init__(self, worker: "Worker") -> None:
        self.worker = worker
        self.began: dict[tuple[str, str], float] = {}
        self.ended: dict[tuple[str, str], float] = {}

    def operation_host_start(self, state: State, host: PyinfraHost, op_hash: str) -> None:
        if self.worker.stopping:
            raise Stopped(host.name)
        self.began[host.name, op_hash] = time.monotonic()

    def operation_host_success(self, state: State, host: PyinfraHost, op_hash: str, retry_count: int = 0) -> None:
        self.ended[host.name, op_hash] = time.monotonic()

    def operation_host_error(
        self, state: State, host: PyinfraHost, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self.ended[host.name, op_hash] = time.monotonic()

    def took(self, host: PyinfraHost, op_hash: str) -> int:
        """Milliseconds; of an operation that has not come to its end, until now."""
        name = (host.name, op_hash)
        if name not in self.began:
            return 0
        return round((self.ended.get(name, time.monotonic()) - self.began[name]) * 1000)


class Worker:
    """Runs the steps that its parent sends, at most one a host at a time (the parent sees to that)."""

    def __init__(self, greeting: dict[str, Any], out: int) -> None:
        self.out, self.writing, self.stopping = out, RLock(), False
        for value in greeting["secrets"]:
            redactor.add(value)
        self.site: Site = load(Path(greeting["site"]))
        if self.site.model_sha256 != greeting["model"]:
            raise AssertionError("the site file changed under us")
        self.password = Secret(greeting["sudo_password"]) if greeting["sudo_password"] else None
        names = greeting["hosts"]
        self.state = StrictState(Inventory(([(name, {}) for name in names], {})), Config(), check_for_changes=False)
        self.watch = Watch(self)
        self.state.add_callback_handler(self.watch)
        for stage in (StateStage.Connect, StateStage.Prepare, StateStage.Execute):
            self.state.set_stage(stage)
        # A plan is made by the same recipes; their operations are registered, asked, and not carried out.
        self.state.is_executing = not greeting["plan"]
        self.numbers = dict.fromkeys(names, 0)
        self.foreseen = Foreseen(greeting["foreseen"])
        # Step -> whether it may change its host now.
        self.leaving: dict[str, AsyncResult[bool]] = {}
        # Global to the process, other than the host: greenlets of several hosts share it for as long as we run.
        ctx_state.set(self.state)

    def say(self, **message: Any) -> None:
        line = json.dumps(redactor.value(message), ensure_ascii=False).encode() + b"\n"
        with self.writing:
            os.write(self.out, line)

    def step(self, order: dict[str, Any]) -> None:
        """Run one step and tell how it ended; never raises."""
        began = time.monotonic()
        answer: dict[str, Any] = {"error": None, "changed": 0, "same": 0, "probes": [], "asked": []}
        for value in order["secrets"]:
            redactor.add(value)
        try:
            host = self._host(order["host"])
            host.connector.asked = answer["asked"]
            host.connector.leave = partial(self._leave, order["step"]) if order["leave"] else None
            if order["mode"] == "run":
                self._install(host, order, answer)
            if order["mode"] == "plan":
                self._plan(host, order, answer)
            elif answer["error"] is None:
                # What was changed gets its time to come up, and has to stay up; what was not is asked as it is.
                if answer["changed"]:
                    self.say(event="verifying", step=order["step"])
                self._verify(host.connector.connection, order, answer, patient=bool(answer["changed"]))
                if order["mode"] == "run" and answer["error"] and not answer["changed"]:
                    answer |= {"error": None, "probes": []}
                    self._verify(host.connector.connection, order, answer, patient=True)
            if answer["error"] is None and answer["changed"] and not order["probes"]:
                host.connector.connection.run("sync", timeout=COMMAND_SECONDS, sudo=True)
        except ImplopsError as error:
            params = {name: str(value) for name, value in error.params.items()}
            answer["error"] = {"code": "host", "exit": error.code, "key": error.key, "params": params}
            answer["lost"] = isinstance(error, ConnectionLost)
        except Exception as error:
            answer["error"] = {"code": "bug", "detail": f"{type(error).__name__}: {error}"[:_OUTPUT_KEPT]}
        self.say(event="step", step=order["step"], ms=round((time.monotonic() - began) * 1000), **answer)

    def _leave(self, step: str) -> None:
        """Nothing is changed before our parent says that nobody uses the host any more."""
        if not self.stopping:
            self.leaving[step] = AsyncResult()
            self.say(event="changing", step=step)
            may = self.leaving[step].get()
            del self.leaving[step]
            if may:
                return
        raise Stopped(step)

    def go(self, step: str, may: bool) -> None:
        self.leaving[step].set(may)

    def stop(self) -> None:
        self.stopping = True
        for one in self.leaving.values():
            one.set(False)

    def _host(self, name: str) -> PyinfraHost:
        host = self.state.inventory.get_host(name)
        if not host.connected:
            connection = connect(self.site, self.site.hosts[name])
            connection.sudo_password = self.password
            host.connector = Carrier(self.state, host, connection, self.foreseen)
            host.connected = True
            self.state.activate_host(host)
            if commands := self.foreseen.wanted(name):
                nonce = token_hex(8)
                told = connection.run(foreseen.script(commands, nonce), timeout=foreseen.ALL * 3.0, sudo=True)
                self.foreseen.add(name, foreseen.read(told.out, commands, nonce))
        return host

    def _install(self, host: PyinfraHost, order: dict[str, Any], answer: dict[str, Any]) -> None:
        host.data.override_datas.clear()
        host.data.override_datas.update(order["data"])
        module = kit.load(Path(order["path"]), "deploy_recipes")
        first, self.numbers[host.name] = len(host.op_hash_order), self.numbers[host.name] + 1
        error: dict[str, Any] | None = None
        with ctx_host.use(host):
            # Part of an operation's identity: unique for each step and host.
            host.loop_position = [self.numbers[host.name], host.name]
            try:
                getattr(module, order["call"])()
            except NestedOperationError:
                error = {"code": "failed", "detail": ""}
            except FactUnknown as unknown:
                error = {"code": "unknown", "detail": host.connector.unanswered or str(unknown)}
            except Stopped:
                error = {"code": "stopped", "detail": ""}
            finally:
                host.loop_position = []
                for op in host.op_hash_order[first:]:
                    self._tell(host, order, op, answer, error)
        if error and error["code"] != "stopped":
            # A host that goes down may still have told that our command was killed: that is no fault of the step.
            host.connector.connection.run("true", timeout=30.0)
        answer["error"] = error

    def _plan(self, host: PyinfraHost, order: dict[str, Any], answer: dict[str, Any]) -> None:
        """What the recipe would do to the host as it is now: its operations ask, and no command of theirs is run.

        A question that cannot be answered yet (the package that answers it comes with an earlier operation) leaves the
        rest of the recipe unknown; nothing is taken for granted.
        """
        host.data.override_datas.clear()
        host.data.override_datas.update(order["data"])
        module = kit.load(Path(order["path"]), "deploy_recipes")
        first, self.numbers[host.name] = len(host.op_hash_order), self.numbers[host.name] + 1
        rest = ""
        with ctx_host.use(host):
            host.loop_position = [self.numbers[host.name], host.name]
            try:
                getattr(module, order["call"])()
            except FactUnknown as unknown:
                rest = str(unknown)
            except ImplopsError as error:
                params = {name: str(value) for name, value in error.params.items()}
                answer["refused"] = {"key": error.key, "params": params}
            finally:
                host.loop_position = []
            for op in host.op_hash_order[first:]:
                if op in self.state.ops[host]:
                    self._tell_plan(host, order, op)
        if rest:
            self.say(event="op", step=order["step"], op="", status="unknown", ms=0, output=rest[:400])

    def _tell_plan(self, host: PyinfraHost, order: dict[str, Any], op: str) -> None:
        name = sorted(self.state.op_meta[op].names)[0]
        answer: dict[str, Any] = {"status": "same", "commands": [], "files": [], "output": ""}
        try:
            for command in self.state.ops[host][op].command_generator():
                answer["status"] = "would_change"
                answer["commands"].append(plain(str(command))[:1000])
                answer["files"] += [self._difference(host, one) for one in getattr(command, "files", ())]
        except FactUnknown as unknown:
            answer |= {"status": "unknown", "output": str(unknown)[:400]}
        self.say(event="op", step=order["step"], op=name, ms=0, **answer)

    def _difference(self, host: PyinfraHost, file: ops.File) -> dict[str, str]:
        """A unified diff of a text that everybody may read; of any other file nothing but its path."""
        if not int(file.mode, 8) & 0o004:
            return {"path": file.path, "diff": ""}
        path = shlex.quote(file.path)
        result = host.connector.connection.command(f"cat {path} 2>/dev/null", timeout=60, sudo=True)
        try:
            old = result.out.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            return {"path": file.path, "diff": ""}
        lines = difflib.unified_diff(old, file.text.splitlines(), file.path, file.path, lineterm="", n=2)
        return {"path": file.path, "diff": "\n".join(lines)[:_OUTPUT_KEPT]}

    def _tell(
        self, host: PyinfraHost, order: dict[str, Any], op: str, answer: dict[str, Any], error: dict[str, Any] | None
    ) -> None:
        if op not in self.state.ops[host]:
            return
        meta = self.state.ops[host][op].operation_meta
        name = sorted(self.state.op_meta[op].names)[0]
        if not meta.is_complete():
            status, out = "unfinished", ""
        else:
            status = "failed" if meta.did_error() else "changed" if meta.did_change() else "same"
            out = "\n".join([*meta.stdout_lines, *meta.stderr_lines])[-_OUTPUT_KEPT:]
        if status in ("changed", "same"):
            answer[status] += 1
        elif error is not None and not error["detail"]:
            error["detail"], error["op"] = out, name
        ms, ran = self.watch.took(host, op), commands.recorded(host.connector.sent.pop(op, []))
        self.say(event="op", step=order["step"], op=name, status=status, ms=ms, output=out, **ran)

    def _verify(self, connection: Connection, order: dict[str, Any], answer: dict[str, Any], *, patient: bool) -> None:
        if not order["probes"]:
            return
        if not patient and (known := self._known(connection.name, order["probes"])):
            answer["probes"] = known
            return
        waits = sum(one["deadline_s"] + one["stable_s"] + 25 for one in order["probes"])
        # The journal will say that this step is done: a power cut must not take it back.
        flush = bool(answer["changed"])
        script = probes.script(order["probes"], patient=patient, flush=flush)
        result = connection.run(script, timeout=waits + (COMMAND_SECONDS if flush else 30.0), sudo=True)
        said, detail = probes.said(result.err.decode("utf-8", "replace"))
        states = {}
        for line in result.text.splitlines():
            words = line.split()
            if len(words) == 3 and words[0].isdigit() and words[1] in ("ok", "bad"):
                states[int(words[0])] = (words[1], int(words[2]))
        for number, one in enumerate(order["probes"]):
            state, ms = states.get(number, ("unknown", 0))
            told = {} if state == "ok" else {"said": said.get(number, "")[:_SAID_KEPT]}
            answer["probes"].append({"id": one["id"], "state": state, "ms": ms, **told})
        bad = [one["id"] for one in answer["probes"] if one["state"] != "ok"]
        if bad or result.rc:
            answer["error"] = {"code": "probe", "probes": bad, "detail": detail.strip()[-_OUTPUT_KEPT:]}

    def _known(self, name: str, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All probes as they were answered already; nothing unless every one of them is good."""
        answers = [self.foreseen.take(name, one["shell"]) for one in wanted]
        return [
            {"id": one["id"], "state": "ok", "ms": answer.ms}
            for one, answer in zip(wanted, answers, strict=True) if answer is not None
        ] if all(answers) else []  # fmt: skip


def main() -> None:
    # Whatever a recipe prints goes to stderr: a stray line must not stand between our messages.
    out = os.dup(1)
    os.dup2(2, 1)
    log = logging.getLogger("pyinfra")
    log.propagate = False
    log.addHandler(StrictLog(logging.WARNING))
    source = FileObjectThread(sys.stdin.buffer, "rb", close=False)
    greeting = source.readline()
    if not greeting:
        return  # nobody wants us after all
    worker = Worker(json.loads(greeting), out)
    running = []
    for line in iter(source.readline, b""):
        message = json.loads(line)
        if "go" in message:
            worker.go(message["step"], message["go"])
        else:
            running.append(gevent.spawn(worker.step, message))
    worker.stop()
    gevent.joinall(running)


if __name__ == "__main__":
    main()
