"""Users' own checks: a Python file with its own fact and probe, and pytest files over connections held open."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from implops import kit
from implops.check import custom
from implops.check.gather import Seen
from implops.errors import HostError
from implops.remote import Result
from implops.site import Site


class Held:
    """A connection that is open already: what was run on it."""

    def __init__(self, name: str) -> None:
        self.name, self.ran = name, list[str]()

    def command(self, text: str, **_: object) -> Result:
        self.ran.append(text)
        if "lost" in text:
            raise HostError("remote.lost", host=self.name)
        return Result(self.name, 0 if "good" in text else 1, b"out\xff", b"err", 0.1)


@pytest.fixture
def seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Seen]:
    (site.base / "checks" / "testinfra").mkdir(parents=True)
    monkeypatch.setattr(kit, "shipped", lambda: site.base)
    found = {name: Seen(host, connection=Held(name)) for name, host in site.hosts.items()}  # type: ignore[arg-type]
    found["dns1"].connection = None
    return found


def write(site: Site, text: str, name: str = "test_mine.py") -> Path:
    path = site.base / "checks" / "testinfra" / name
    path.write_text(text, encoding="utf-8")
    return path


TESTS = '''
import pytest
ROLES = ("db", "dns")


def test_good(host):
    """字体已安装"""
    assert host.run("good").stdout_bytes == b"out\\xff"


def test_bad(host):
    assert host.run("no").rc == 0, "it is not there"


def test_raises(host):
    host.no_such_thing()


def test_lost(host):
    host.run("lost")


@pytest.mark.parametrize("port", [80, 443])
def test_each(host, port):
    pytest.skip("not yet")
'''


def test_each_outcome_is_a_verdict_with_a_stable_id(site: Site, seen: dict[str, Seen]) -> None:
    write(site, TESTS)
    found = {(one.id, one.result.target): one for one in custom.verdicts(site, seen)}
    # Only hosts that answered and that the file asks for.
    assert {one.host for one in found.values()} == {"db1"}
    assert {key: one.state for key, one in found.items()} == {
        ("T.mine.good", ""): "pass", ("T.mine.bad", ""): "fail", ("T.mine.raises", ""): "error",
        ("T.mine.lost", ""): "error", ("T.mine.each", "80"): "skip", ("T.mine.each", "443"): "skip",
    }  # fmt: skip
    assert found["T.mine.good", ""].result.params["title"] == "字体已安装"
    assert "it is not there" in found["T.mine.bad", ""].result.params["detail"]
    assert "AttributeError" in found["T.mine.raises", ""].result.params["detail"]
    held = seen["db1"].connection
    assert isinstance(held, Held)
    assert held.ran == ["good", "no", "lost"]
    assert [one.id for one in custom.verdicts(site, seen, ["T.mine.bad"])] == ["T.mine.bad"]
    assert custom.verdicts(site, seen, ["MEM01"]) == []


def test_a_file_that_cannot_run_is_an_error_of_the_site_and_never_a_pass(site: Site, seen: dict[str, Seen]) -> None:
    write(site, "SEVERITY = 'warn'\ndef test_good(host):\n    pass\n")
    write(site, "import os\n\n\ndef test_dies():\n    os._exit(0)\n", "test_worse.py")
    (one,) = custom.verdicts(site, seen)
    assert (one.id, one.host, one.state, one.blocks) == ("T.*", "*", "error", True)
    write(site, "def test_(:\n", "test_worse.py")
    found = custom.verdicts(site, seen)
    assert [(one.id, one.state) for one in found if one.host == "*"] == [("T.worse.*", "error")]


def test_without_files_nothing_is_started(site: Site, seen: dict[str, Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom.pytests, "subprocess", SimpleNamespace())
    assert custom.verdicts(site, seen) == []
