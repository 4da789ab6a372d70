"""One changing run per site; the next is told who holds it; a dead holder holds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from implops import lock
from implops.errors import LockError
from implops.site import Site

_HOLDER = """
import sys
from pathlib import Path
from implops import lock
with lock.hold(Path(sys.argv[1]), "deploy", sys.argv[2], "张工/1042"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _other(folder: Path, run: str = "01RUN") -> subprocess.Popen[bytes]:
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder), run], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    return other


def test_the_holder_is_named(site: Site) -> None:
    with _other(site.state) as other:
        with pytest.raises(LockError) as caught, lock.hold(site.state, "deploy", "01NEXT", "李工"):
            raise AssertionError("two at once")
        holder = lock.holder(site.state)
        other.communicate()
    assert caught.value.code == 4
    for word in ("张工/1042", "01RUN", "deploy", str(other.pid)):
        assert word in str(caught.value)
    assert holder is not None
    assert holder["run"] == "01RUN"
    assert lock.holder(site.state) is None
    with lock.hold(site.state, "deploy", "01NEXT", "李工"):
        pass


def test_a_killed_holder_holds_nothing(site: Site) -> None:
    with _other(site.state) as other:
        other.kill()
    assert lock.holder(site.state) is None
    with lock.hold(site.state, "deploy", "01NEXT", "李工"):
        assert lock.holder(site.state) is not None


def test_nobody_has_ever_held_it(site: Site) -> None:
    assert lock.holder(site.state) is None


def test_what_was_killed_before_its_first_record_is_carried_on_under_its_name(site: Site) -> None:
    run = "01M8ASGAWBKQW9ZJERZ3C5J8JZ"
    with _other(site.state, run) as other:
        assert lock.left_behind(site.state, "deploy", lambda run: False) == ""  # it lives
        other.kill()
    assert lock.left_behind(site.state, "deploy", lambda run: False) == run
    assert lock.left_behind(site.state, "deploy", lambda run: True) == ""  # that one is resumed
    assert lock.left_behind(site.state, "rollback", lambda run: False) == ""
    with lock.hold(site.state, "deploy", run, "张工/1042"):
        pass
    assert lock.left_behind(site.state, "deploy", lambda run: False) == ""  # it came to its end
