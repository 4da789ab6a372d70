"""The way to the database leaves nothing behind, not even when an import was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from implops.baseload import server
from implops.baseload.engines.mariadb import MariaDB
from implops.baseload.engines.postgresql import PostgreSQL
from implops.errors import DataError, HostError, InputError


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


@pytest.mark.parametrize(
    ("kind", "name", "written"),
    [
        (PostgreSQL, "passfile", '*:*:*:his_import:a\\:b\\\\c"d\n'),
        (MariaDB, "client.cnf", '[client]\npassword="a:b\\\\c\\"d"\n'),
    ],
)
def test_the_password_is_private_escaped_and_in_no_argument(
    tmp_path: Path, kind: type[server.Server], name: str, written: str
) -> None:
    one = kind(tmp_path, 5432, "his", "his_import", "db1")
    one.keep_password('a:b\\c"d')
    assert (tmp_path / name).read_text(encoding="utf-8") == written
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert not any("a:b" in word for word in [*one.arguments(), *one.environment().values()])
    with pytest.raises(InputError):
        one.keep_password("two\nlines")


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
        ("ERROR 1205 (HY000) at line 4: Lock wait timeout exceeded", HostError, "import.table_locked"),
        ("ERROR 1062 (23000) at line 7: Duplicate entry 'M1' for key 'PRIMARY'", DataError, "import.server_said"),
        ("ERROR 1114 (HY000) at line 7: The table 'mat' is full", DataError, "import.disk_full"),
        ("ERROR 1030 (HY000) at line 7: Got error 28 from storage engine", DataError, "import.disk_full"),
        ("psql:/dev/fd/6:2: 错误:  53100: 无法扩展文件: No space left on device", DataError, "import.disk_full"),
        ("ERROR 2002 (HY000): Can't connect to local server", HostError, "import.server_lost"),
        ("ERROR 2013 (HY000) at line 9: Lost connection to server during query", HostError, "import.server_lost"),
    ],
)
def test_the_servers_words_are_sorted_by_code_in_any_language(said: str, kind: type, key: str, tmp_path: Path) -> None:
    dialect = MariaDB if "(" in said or "--defaults" in said else PostgreSQL
    error = dialect(tmp_path, 1, "his", "his_import", "db1").failed(said)
    assert (type(error), error.key) == (kind, key)
    assert "\n" not in str(error)


def test_names_and_texts_are_quoted(tmp_path: Path) -> None:
    assert server.identifier("public", 'a"b') == '"public"."a""b"'
    postgresql, mariadb = (kind(tmp_path, 1, "his", "u", "db1") for kind in (PostgreSQL, MariaDB))
    assert postgresql.literal("it's \\ :x") == "'it''s \\ :x'"
    assert mariadb.literal("it's \\") == "_utf8mb4 x'69742773205c'"
    assert (postgresql.table("public", "t"), mariadb.table("public", "t")) == ('"public"."t"', '"his"."t"')
