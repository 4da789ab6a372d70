"""The way to the database leaves nothing behind, not even when an import was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from implops.baseload import server
from implops.errors import DataError, HostError


def test_the_folder_of_a_killed_import_is_swept_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PLACE", str(tmp_path))
    for name in ("dead", "living", "other"):
        folder = tmp_path / f"{server._PREFIX if name != 'other' else 'x-'}{name}"
        folder.mkdir()
        (folder / "alive").touch()
        (folder / "passfile").write_text("secret", encoding="ascii")
        os.utime(folder, (0, 0))
    hold = (
        "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.flock(f,fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    living = tmp_path / f"{server._PREFIX}living"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(living / "alive")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        server._sweep()
        assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "x-other"]
        holder.kill()
    server._sweep()
    assert not living.exists()


def test_the_passfile_is_private_and_escaped(tmp_path: Path) -> None:
    server._passfile(tmp_path, "his_import", "a:b\\c")
    assert (tmp_path / "passfile").read_text(encoding="utf-8") == "*:*:*:his_import:a\\:b\\\\c\n"
    assert (tmp_path / "passfile").stat().st_mode & 0o777 == 0o600
    one = server.Server(tmp_path, 5432, "his", "his_import", "db1")
    assert not any("a:b" in word for word in [*one.arguments(), *one.environment().values()])


@pytest.mark.parametrize(
    ("said", "kind", "key"),
    [
        ("psql:<stdin>:2: ERROR:  55P03: canceling statement due to lock timeout", HostError, "import.table_locked"),
        ("psql:<stdin>:2: 错误:  23505: 重复键违反唯一约束\n详细信息:  键值已存在", DataError, "import.server_said"),
        (
            "psql: error: connection to server on socket failed: FATAL:  28P01: password",
            HostError,
            "import.server_lost",
        ),
        ("", HostError, "import.server_lost"),
    ],
)
def test_the_servers_words_are_sorted_by_code_in_any_language(said: str, kind: type, key: str) -> None:
    error = server.failed("db1", said)
    assert (type(error), error.key) == (kind, key)
    assert "\n" not in str(error)


def test_names_and_texts_are_quoted() -> None:
    assert server.identifier("public", 'a"b') == '"public"."a""b"'
    assert server.literal("it's \\ :x") == "'it''s \\ :x'"
