"""What of a command gets into the record: what its author wrote, never a secret, never a body, never without bound."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implops.bundle.apt import install_command, reinstall_command
from implops.deploy import commands, shell
from implops.secrets import Redactor
from implops.verify import logs


class Writing(str):
    """As ``ops.Writing``: a command that brings these files to their content."""

    files: tuple[shell.File, ...]


def writing(*files: shell.File) -> Writing:
    one = Writing("base64 -d > part")
    one.files = files
    return one


def shown(command: str) -> dict[str, Any]:
    (one,) = commands.recorded([command])["commands"]
    return dict(one)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redactor]:
    redactor = Redactor()
    monkeypatch.setattr(commands, "redactor", redactor)
    yield redactor


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_the_wrapper_is_taken_off_whatever_is_inside(command: str) -> None:
    assert shell.plain(shell.guarded(command, 60)) == command
    assert shell.plain(shell.job(command, 900)) == command


def test_what_is_not_wrapped_stays_as_it_is() -> None:
    for command in ("echo 'a b'", "flock -w 5 /tmp/x true", f"{shell.SETTLED}; ls"):
        assert shell.plain(command) == command


@pytest.mark.parametrize("secret", ["hunter2-long", 'it\'s "quoted" $HOME', "a'b'c'd-e"])
def test_a_secret_in_a_command_is_blanked_before_it_is_cut(known: Redactor, secret: str) -> None:
    known.add(secret)
    for command in (f"login {shlex.quote(secret)}", f"echo {'x ' * 195}{shlex.quote(secret)} {'y ' * 300}"):
        for wrapped in (command, shell.guarded(command, 60), shell.job(command, 900)):
            told = json.dumps(commands.recorded([wrapped]))
            assert "***" in told
            assert not [part for part in (secret[:6], secret[-6:]) if json.dumps(part)[1:-1] in told]


def test_a_body_is_no_part_of_it() -> None:
    body = base64.b64encode(bytes(range(256))).decode()
    one = shown(f"echo {body} | base64 -d > /etc/x")
    assert one["text"] == "echo … | base64 -d > /etc/x"


def test_a_long_command_keeps_its_ends_and_the_digest_of_all_of_it() -> None:
    command = "begin; " + "true; " * 400 + "end"
    one = shown(command)
    assert one["text"].startswith("begin; true") and one["text"].endswith("true; end")
    assert len(one["text"]) <= commands.HEAD + commands.TAIL + 3
    assert one["cut"] == len(command) - len(one["text"])
    assert one["sha256"] == hashlib.sha256(command.encode()).hexdigest()
    assert shown("ls -l") == {"text": "ls -l", "cut": 0, "sha256": ""}


def test_however_much_an_operation_does_its_record_is_bounded() -> None:
    files = [shell.File(f"/etc/{number}", "x") for number in range(200)]
    told = commands.recorded([*("echo " + "x y " * 9000 for _ in range(500)), writing(*files)])
    assert (len(told["commands"]), len(told["files"])) == (commands.COMMANDS, commands.FILES)
    assert told["more"] == 700 - commands.COMMANDS - commands.FILES
    assert len(json.dumps(told)) < 20_000
    assert commands.recorded([]) == {}


def test_files_stand_for_their_command_and_only_those_for_everybody_have_a_digest() -> None:
    told = commands.recorded([writing(shell.File("/etc/a", "x", user="bind"), shell.File("/etc/key", "x", "640"))])
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert told == {"files": [
        {"path": "/etc/a", "mode": "644", "owner": "bind:root", "sha256": sha256},
        {"path": "/etc/key", "mode": "640", "owner": "root:root", "sha256": ""},
    ]}  # fmt: skip


def test_of_an_installation_the_packages_are_shown() -> None:
    script = f"list() {{ dpkg-query -W; }}\n[ -e {shell.INSTALLING} ]\n{install_command(['nginx-light', 'jq'])} && "
    one = shown(shell.job(script + reinstall_command("again"), 900))
    assert one["text"] == "… apt-get -q -y --no-remove install -- nginx-light jq …"
    assert one["cut"] > 0 and one["sha256"]


def test_of_a_restart_the_check_and_the_restart_are_shown() -> None:
    said = "{ journalctl -q -o cat -n 4 --no-pager _SYSTEMD_UNIT=x.service >&2; false; }"
    note = f"mkdir -p {shell.STATE}/applied && echo {'a' * 64} > {shell.STATE}/applied/x.part"
    verb = f"stop x && {{ {logs.note(['/var/log/x.log'])}; }} && systemctl start x"
    for check, do, told in (
        ("nginx -t", "reload x", "systemctl daemon-reload && { nginx -t; } && systemctl reload x …"),
        ("true", verb, "systemctl daemon-reload && systemctl stop x && … && systemctl start x …"),
    ):
        command = f"systemctl daemon-reload && {{ {check}; }} && {{ systemctl {do} || {said}; }} && {note}"
        assert shown(shell.guarded(command, 60))["text"] == told
