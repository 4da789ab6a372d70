"""The pytest plugin that runs users' system checks (``checks/system/*.py``) on the site's hosts, through testinfra.

A check is a pytest file with testinfra's ``host`` fixture; the commands go over implops's own connection (strict host
keys, the site's key, one sudo attempt)::

    ROLES = ("app",)          # optional: on which hosts; all by default

    def test_tomcat_runs_as_its_own_user(host):
        assert host.process.filter(user="tomcat", comm="java")

``with host.sudo():`` runs as root. ``site`` is the site model. Results go to a file as JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
from testinfra.backend.base import BaseBackend, CommandResult

from implops.errors import ImplopsError
from implops.remote import Connection, connect
from implops.secrets import redactor
from implops.site import Site, load

COMMAND_SECONDS = 120.0
_SAID = 2000


class Backend(BaseBackend):  # type: ignore[misc]
    """testinfra over our connection."""

    NAME = "implops"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.name)
        self.connection = connection

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        text = self.get_command(command, *args)
        result = self.connection.command(text, timeout=COMMAND_SECONDS)
        return self.result(result.rc, self.encode(text), result.out, result.err)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("implops")
    group.addoption("--implops-site", required=True)
    group.addoption("--implops-results", required=True)


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The site model."""
    return load(Path(request.config.getoption("--implops-site")))


@pytest.fixture(scope="session")
def _connections(site: Site) -> Iterator[dict[str, Connection]]:
    opened: dict[str, Connection] = {}
    yield opened
    for connection in opened.values():
        connection.close()


@pytest.fixture
def host(_host_name: str, site: Site, _connections: dict[str, Connection]) -> testinfra.host.Host:
    """testinfra's host, for every host that the file's ROLES name."""
    if _host_name not in _connections:
        _connections[_host_name] = connect(site, site.hosts[_host_name])
    return testinfra.host.Host(Backend(_connections[_host_name]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" in metafunc.fixturenames:
        about = load(Path(metafunc.config.getoption("--implops-site")))
        roles = getattr(metafunc.module, "ROLES", None)
        names = [one.name for one in about.hosts.values() if roles is None or set(roles) & set(one.roles)]
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
        # A fixture that failed (the host is away) has measured nothing.
        if report.when != "call" and state == "fail":
            state = "error"
        about: Any = dict(report.user_properties)["implops"]
        file, test, host_name = about
        crash = getattr(report.longrepr, "reprcrash", None)
        said = str(crash.message) if crash else ""
        if state == "skip" and isinstance(report.longrepr, tuple):
            said = str(report.longrepr[2])
        self._write({
            "check": f"{file}::{test}", "host": host_name, "state": state,
            "said": said[:_SAID], "ms": round(report.duration * 1000),
        })  # fmt: skip

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            said = str(report.longrepr)[-_SAID:]
            self._write({"check": Path(report.nodeid).name, "host": "", "state": "error", "said": said, "ms": 0})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write({"end": int(exitstatus)})


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results(Path(config.getoption("--implops-results"))))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    # An expected error of ours says more in one line than its traceback.
    if call.excinfo and isinstance(call.excinfo.value, ImplopsError):
        call.excinfo.value.args = (str(call.excinfo.value),)
    called = getattr(item, "callspec", None)
    host_name = called.params.get("_host_name", "") if called else ""
    about = (item.path.name, getattr(item, "originalname", item.name), host_name)
    if call.when == "setup":
        item.user_properties.append(("implops", about))
    yield
