"""One booted site for all stories that do not hurt each other; a story that does asks for ``fresh_site``."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from power import implops, write_demo, write_site

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
    for site in _booted(write_demo(write_site(tmp_path_factory.mktemp("deployed")))):
        implops("check", site.path)
        implops("bundle", "build", site.path, timeout=900)
        implops("deploy", site.path, "--yes", timeout=900)
        yield site
