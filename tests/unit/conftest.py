"""What the unit tests share: the annotated example as a site in an empty folder, its store, a clean process state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from implops import kit, texts
from implops.secrets import redactor
from implops.site import Site, load
from implops.store import Store

# A busy machine is no fault of the code: an example has no time limit.
settings.register_profile("implops", deadline=None)
settings.load_profile("implops")


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Language and known secrets belong to the process; no test leaves them to the next."""
    known = set(redactor._known)
    yield
    texts.set_language("zh-Hans")
    redactor._known, redactor.count = known, 0


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """docs/site.yml as ``tmp_path/site.yml``."""
    path = tmp_path / "site.yml"
    path.write_text(kit.annotated_site().read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.fixture
def site(example: Path) -> Site:
    return load(example)


@pytest.fixture
def carried(site: Site) -> Site:
    """The same, with what an engineer carries beside it: secrets, a release, schema files (of no content)."""
    vault = site.base / "secrets"
    vault.mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic"):
        (vault / name).touch(mode=0o600)
        (vault / name).write_text(f"pw-{name}-1\n", encoding="ascii")
    (site.base / "release" / "schema").mkdir(parents=True)
    for name in ("his-1.0.0.war", "schema/001_base.sql", "schema/002_departments.sql"):
        (site.base / "release" / name).write_bytes(b"-- x\n")
    return site


@pytest.fixture
def store(site: Site) -> Store:
    return Store.of(site.state)
