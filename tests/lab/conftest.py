"""One booted site for all stories that do not hurt each other; a story that does asks for ``fresh_site``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import ENGINES, Database, running
from loading import HEADER, MAPPING, TABLE
from power import implops, on_mariadb, write_site
from releases import fresh

from implops.site import Site


@pytest.fixture(autouse=True, scope="session")
def _environment() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("IMPLOPS_OPERATOR", "测试员/T001")
    patch.setenv("IMPLOPS_LANG", "zh-Hans")
    # A shell ignores Ctrl-C in what it starts in the background, and all children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    patch.undo()


def _booted(site: Site) -> Iterator[Site]:
    try:
        implops("lab", "up", site.path)
        yield site
    finally:
        implops("lab", "down", site.path, code=None)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The four hosts of docs/site.yml, bare, booted once for the whole session."""
    yield from _booted(write_site(tmp_path_factory.mktemp("site")))


@pytest.fixture
def fresh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same four hosts, just for this test."""
    yield from _booted(write_site(tmp_path_factory.mktemp("fresh")))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another site of its own: checked, bundled, deployed. Stories on it leave it running as they found it."""
    yield from fresh(tmp_path_factory.mktemp("deployed"))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same on MariaDB."""
    yield from fresh(tmp_path_factory.mktemp("mariadb"), on_mariadb)


@pytest.fixture(scope="session", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database server of each engine on this machine, for all tests of loading."""
    with running(Database, request.param) as database:
        yield database


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    """An empty table, an empty log."""
    if server.process is None or server.process.poll() is not None:
        server.start()
    server.sql(f"drop table if exists mat; {TABLE}; delete from implops_import_log")
    yield server
    server.sql("drop table if exists mat")


@pytest.fixture
def deliver(tmp_path: Path) -> Callable[..., Path]:
    """Writes a delivery and its mapping; returns the mapping's path."""

    def write(
        rows: str, *, mode: str = "insert", encoding: str = "utf-8", more: str = "", memo: str = "", where: str = ""
    ) -> Path:
        (tmp_path / "mat.csv").write_bytes((HEADER + rows).encode(encoding))
        target = ("" if mode == "insert" else f", mode: {mode}") + where
        path = tmp_path / "mat.yml"
        path.write_text(MAPPING.format(file="mat.csv", encoding=encoding, target=target, more=more, memo=memo),
                        encoding="utf-8")  # fmt: skip
        return path

    return write
