"""Users' own checks: a bad one is bad, a broken one is never good."""

from __future__ import annotations

import pytest

from implops import kit
from implops.errors import KitError
from implops.site import Site
from implops.verify import system


@pytest.fixture(autouse=True)
def _only_mine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the user's own files: the shipped ones ask real hosts."""
    (site.base / "checks" / "system").mkdir(parents=True)
    monkeypatch.setattr(kit, "shipped", lambda: site.base)


def write(site: Site, text: str) -> None:
    (site.base / "checks" / "system" / "test_mine.py").write_text(text, encoding="utf-8")


def test_each_outcome_is_told_with_its_reason(site: Site) -> None:
    write(
        site,
        "import pytest\n\n\ndef test_good(site):\n    assert site.project.code == 'HIS'\n\n\n"
        "def test_bad():\n    assert 1 == 2, 'one is not two'\n\n\n"
        "def test_left_out():\n    pytest.skip('no licence yet')\n",
    )
    found = {one["check"]: one for one in system.run(site)}
    assert [one["state"] for one in found.values()] == ["pass", "fail", "skip"]
    assert "one is not two" in found["test_mine.py::test_bad"]["said"]
    assert "no licence yet" in found["test_mine.py::test_left_out"]["said"]


def test_a_host_that_cannot_be_reached_is_not_measured(site: Site) -> None:
    write(site, "ROLES = ('db',)\n\n\ndef test_it(host):\n    assert host.file('/etc/hosts').exists\n")
    found = system.run(site)
    assert [(one["host"], one["state"]) for one in found] == [("db1", "error")]


@pytest.mark.parametrize("text", ["def test_(:\n", "import no_such_module_of_ours\n\n\ndef test_it():\n    pass\n"])
def test_a_file_that_cannot_be_read_is_an_error(site: Site, text: str) -> None:
    write(site, text)
    assert [one["state"] for one in system.run(site)] == ["error"]


def test_a_file_without_checks_is_not_a_pass(site: Site) -> None:
    write(site, "VALUE = 1\n")
    with pytest.raises(KitError):
        system.run(site)


def test_a_session_that_dies_is_not_a_pass(site: Site) -> None:
    write(site, "import os\n\n\ndef test_good():\n    pass\n\n\ndef test_dies():\n    os._exit(0)\n")
    with pytest.raises(KitError):
        system.run(site)


def test_without_files_there_is_nothing_to_run(site: Site) -> None:
    assert system.run(site) == []
