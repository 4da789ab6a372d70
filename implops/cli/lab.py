"""``implops lab up|status|down``: the hosts of a site file on this machine, to rehearse on and to test with."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.lab import HostStatus

command = click.Group(name="lab", help=texts.say("lab.help", lang=texts.from_environment()))


def _story(session: Session, key: str, params: dict[str, Any]) -> None:
    from implops.units import format_seconds

    if "ms" in params:
        params = {**params, "time": format_seconds(params["ms"] / 1000)}
    session.story(texts.say(f"lab.{key}", **params))


@verb("lab.up", name="up")
def up(session: Session) -> int:
    from implops import lab, lock
    from implops.units import format_seconds

    started = time.monotonic()
    with lock.hold(lab.folder(session.site), "lab up", "-", getpass.getuser()):
        found = lab.up(session.site, lambda key, params: _story(session, key, params))
    session.story(texts.say("lab.ready", hosts=len(found), time=format_seconds(time.monotonic() - started)))
    return _show(session, found)


@verb("lab.status", name="status")
def status(session: Session) -> int:
    from implops import lab

    return _show(session, lab.status(session.site))


@verb("lab.down", name="down")
def down(session: Session) -> int:
    from implops import lab, lock

    with lock.hold(lab.folder(session.site), "lab down", "-", getpass.getuser()):
        names = lab.down(session.site, lambda key, params: _story(session, key, params))
    session.story(texts.say("lab.removed" if names else "lab.nothing", hosts=len(names)))
    if session.as_json:
        session.answer({"removed": names})
    return 0


def _show(session: Session, found: list[HostStatus]) -> int:
    """The table of hosts; exit code 3 when one of them does not answer."""
    from dataclasses import asdict

    if session.as_json:
        session.answer({"hosts": [asdict(one) for one in found]})
    else:
        session.console.print(_table(found))
    return 0 if all(one.ssh for one in found) else 3


def _table(found: list[HostStatus]) -> Any:
    from rich.table import Table

    from implops.units import format_seconds

    table = Table(box=None, pad_edge=False)
    for column in ("host", "address", "state", "ssh", "uptime", "pid"):
        table.add_column(texts.say(f"lab.column.{column}"), justify="right" if column in ("uptime", "pid") else "left")
    for one in found:
        table.add_row(
            one.host,
            one.address,
            texts.say(f"lab.state.{one.state}"),
            texts.say("lab.answers" if one.ssh else "lab.silent"),
            format_seconds(one.uptime) if one.uptime is not None else "-",
            str(one.pid or "-"),
        )
    return table


for _one in (up, status, down):
    command.add_command(_one)
