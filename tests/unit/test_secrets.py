"""Secrets are references; a value never prints and never reaches a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.errors import InputError
from implops.secrets import Redactor, Secret, SecretRef, redactor


def test_a_secret_prints_as_stars() -> None:
    secret = Secret("hunter2-long")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.reveal() == "hunter2-long"


@pytest.mark.parametrize("text", ["hunter2", "file:", "env: ", "vault:x", "", "FILE:x"])
def test_a_value_is_no_reference(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^secret\|\*\*\*\|"):
        SecretRef(text, tmp_path)


def test_a_file_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_text("s3cret-word\n", encoding="utf-8")
    path.chmod(0o640)
    with pytest.raises(InputError) as caught:
        SecretRef("file:db", tmp_path).resolve()
    assert caught.value.key == "secrets.mode"
    path.chmod(0o600)
    assert SecretRef("file:db", tmp_path).resolve().reveal() == "s3cret-word"
    assert redactor.text("password=s3cret-word;") == "password=***;"


def test_what_cannot_be_had_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPLOPS_TEST_SECRET", raising=False)
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "binary").touch(mode=0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    cases = {
        "file:none": "file", "file:empty": "empty", "file:binary": "file", "env:IMPLOPS_TEST_SECRET": "env",
        "command:false": "command", "command:no-such-program": "command", "command:echo 'x": "command",
    }  # fmt: skip
    for reference, key in cases.items():
        with pytest.raises(InputError) as caught:
            SecretRef(reference, tmp_path).resolve()
        assert caught.value.key == f"secrets.{key}"
        assert str(caught.value)


def test_environment_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLOPS_TEST_SECRET", "from-environment")
    assert SecretRef("env:IMPLOPS_TEST_SECRET", tmp_path).resolve().reveal() == "from-environment"
    assert SecretRef("command:printf 'a b%s' c", tmp_path).resolve().reveal() == "a bc"


def test_a_prompt_without_a_terminal_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(InputError) as caught:
        SecretRef("prompt:", tmp_path).resolve()
    assert caught.value.key == "secrets.prompt"


def test_redaction_reaches_every_depth_and_counts() -> None:
    one = Redactor()
    one.add("hunter2-long")
    value = {"argv": ["psql", "hunter2-long"], "more": {"text": "a hunter2-long b hunter2-long"}, "count": 3}
    assert one.value(value) == {"argv": ["psql", "***"], "more": {"text": "a *** b ***"}, "count": 3}
    assert one.data(b"\xffhunter2-long\x00") == b"\xff***\x00"
    assert one.count == 4


def test_of_two_secrets_the_longer_goes_first() -> None:
    one = Redactor()
    one.add("hunter2")
    one.add("hunter2-long")
    assert one.text("hunter2-long") == "***"


def test_a_word_too_short_to_be_a_secret_blanks_nothing() -> None:
    one = Redactor()
    one.add("his")
    assert one.text("/data/his") == "/data/his"
