"""The pytest plugin that runs users' own pytest files on the site's hosts, through testinfra.

A file has testinfra's ``host`` fixture; the commands go over the connection that implops holds open already (strict
host keys, the site's key, one sudo attempt): this process has no key and no password::

    ROLES = ("app",)          # optional: on which hosts; all by default

    def test_tomcat_runs_as_its_own_user(host):
        assert host.process.filter(user="tomcat", comm="java")

``with host.sudo():`` runs as root. ``site`` is the site model. A test that asserts wrongly has found a fault; one that
raises anything else has measured nothing. Results go to a file as JSON lines.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
from testinfra.backend.base import BaseBackend, CommandResult

from implops.secrets import redactor
from implops.site import Site, load

_SAID = 2000


class NotReached(Exception):
    """implops could not run a command on the host; the text says why."""


class Backend(BaseBackend):  # type: ignore[misc]
    """testinfra over implops's connections, which it reaches through a socket of this machine."""

    NAME = "implops"

    def __init__(self, host: str, path: str) -> None:
        super().__init__(host)
        self.path = path
        self._ask("")

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        text = self.get_command(command, *args)
        answer = self._ask(text)
        out, err = (base64.b64decode(answer[name]) for name in ("out", "err"))
        return self.result(answer["rc"], self.encode(text), out, err)

    def _ask(self, command: str) -> dict[str, Any]:
        """Run a command, or only open the connection when there is none."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(self.path)
            with channel.makefile("rwb") as file:
                file.write(json.dumps({"host": self.hostname, "command": command}).encode() + b"\n")
                file.flush()
                answer: dict[str, Any] = json.loads(file.readline())
        if "error" in answer:
            raise NotReached(answer["error"])
        return answer


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("implops")
    for name in ("site", "results", "socket", "hosts"):
        group.addoption(f"--implops-{name}", required=True)


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The site model."""
    return load(Path(request.config.getoption("--implops-site")))


@pytest.fixture
def host(_host_name: str, request: pytest.FixtureRequest) -> testinfra.host.Host:
    """testinfra's host, for every host that the file's ROLES name."""
    return testinfra.host.Host(Backend(_host_name, request.config.getoption("--implops-socket")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" in metafunc.fixturenames:
        about = load(Path(metafunc.config.getoption("--implops-site")))
        asked = metafunc.config.getoption("--implops-hosts").split(",")
        roles = getattr(metafunc.module, "ROLES", None)
        chosen = [about.hosts[name] for name in asked]
        names = [one.name for one in chosen if roles is None or set(roles) & set(one.roles)]
        metafunc.fixturenames.append("_host_name")
        metafunc.parametrize("_host_name", names, scope="session")


class Results:
    """One JSON line a check, in the order in which they ran; a last line says that the session came to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(redactor.value(line), ensure_ascii=False) + "\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        state = {"passed": "pass", "failed": "fail", "skipped": "skip"}[report.outcome]
        about = dict(report.user_properties)
        # A fixture that failed, or anything but an assertion, has measured nothing.
        if state == "fail" and (report.when != "call" or not about.get("implops-asserted")):
            state = "error"
        crash = getattr(report.longrepr, "reprcrash", None)
        said = str(crash.message) if crash else ""
        if state == "skip" and isinstance(report.longrepr, tuple):
            said = str(report.longrepr[2])
        self._write({
            **about["implops"], "state": state,  # type: ignore[dict-item]
            "said": said[:_SAID], "ms": round(report.duration * 1000),
        })  # fmt: skip

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            said, name = str(report.longrepr)[-_SAID:], Path(report.nodeid).name
            about = {"check": name, "host": "", "title": "", "severity": "fail", "target": ""}
            self._write({**about, "state": "error", "said": said, "ms": 0})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write({"end": int(exitstatus)})


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results(Path(config.getoption("--implops-results"))))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    if call.when == "setup":
        item.user_properties.append(("implops", _about(item)))
    if call.excinfo and call.when == "call":
        asserted = call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
        item.user_properties.append(("implops-asserted", asserted))
    # What we say ourselves is one line; a traceback would hide it.
    if call.excinfo and isinstance(call.excinfo.value, NotReached):
        call.excinfo.value.args = (str(call.excinfo.value),)
    yield


def _about(item: pytest.Item) -> dict[str, str]:
    """Which check, on which host, for which further parameters; its docstring's first line is its title."""
    called = getattr(item, "callspec", None)
    params = dict(called.params) if called else {}
    host = str(params.pop("_host_name", ""))
    name = getattr(item, "originalname", item.name)
    words = (getattr(getattr(item, "obj", None), "__doc__", "") or "").strip().splitlines()
    severity = getattr(getattr(item, "module", None), "SEVERITY", "fail")
    return {
        "check": f"{item.path.name}::{name}", "host": host, "title": words[0] if words else name,
        "severity": "warn" if severity == "warn" else "fail", "target": " ".join(map(str, params.values())),
    }  # fmt: skip
