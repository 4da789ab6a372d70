"""``implops rollback SITE``: back to the last good release; what it cannot undo is said before it begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.cli.going_back import Intent
    from implops.remote import Connection
    from implops.store import Event

_LANGUAGE = texts.from_environment()
# The record and its evidence.
_DISK = 50 * 2**20


@verb("rollback")
@click.option("--to", default="", metavar="RELEASE", help=texts.say("rollback.option.to", lang=_LANGUAGE))
@click.option(
    "--with-database", default="", metavar="BACKUP", help=texts.say("rollback.option.database", lang=_LANGUAGE)
)
@click.option("--reason", default="", help=texts.say("rollback.option.reason", lang=_LANGUAGE))
@click.option("--yes", is_flag=True, help=texts.say("deploy.yes", lang=_LANGUAGE))
@click.option("--resume", metavar="RUN", help=texts.say("rollback.option.resume", lang=_LANGUAGE))
@click.option("--break-lock", metavar="REASON", default="", help=texts.say("deploy.break_lock", lang=_LANGUAGE))
def rollback(
    session: Session, to: str, with_database: str, reason: str, yes: bool, resume: str | None, break_lock: str
) -> int:
    from implops import lock
    from implops.cli import going_back
    from implops.cli.forms import emit
    from implops.deploy import hosts as reached
    from implops.errors import ImplopsError, InputError
    from implops.machine import ready
    from implops.store import record
    from implops.store.events import new_run

    site, store = session.site, session.store
    if site.system is None:
        raise InputError("rollback.no_system", site=session.path.name)
    earlier = None if resume is None else _unfinished(session, resume)
    if earlier:
        to = earlier.payload["release"]["id"]
        with_database = earlier.payload["backup"]["run"] if earlier.payload["backup"] else ""
        reason = earlier.payload["reason"]
    machine = ready(site.state, disk=_DISK)
    run_id = earlier.run if earlier else lock.left_behind(site.state, "rollback", store.knows) or new_run()
    # The locks of a rollback that a deployment began are that deployment's.
    automatic = earlier is not None and earlier.payload["automatic"]
    lock_run = earlier.payload["of_run"] if earlier and automatic else run_id
    hosts = [one for one in site.hosts.values() if {"app", "db"} & set(one.roles)]
    with lock.hold(site.state, "rollback", run_id, session.operator):
        try:
            with reached.held(
                site, hosts, lock_run, session.operator, break_lock, "rollback", reason.strip()
            ) as connections:
                intent = _intend(session, connections.open, to, with_database, reason, bool(earlier))
                going_back.announce(session, intent)
                session.ask(texts.say("rollback.ask", release=intent.way.release.id), yes=yes)
                if earlier and automatic:
                    intent = replace(intent, of_run=lock_run, automatic=True)
                about = {**intent.about(), "machine_state": machine, "resumed": bool(earlier)}
                with record(store, site, "rollback", session.operator, about, run_id) as run:
                    for pushed_aside in connections.broken:
                        run.event("lock.broken", {"reason": break_lock, **pushed_aside})
                    # What has been neither brought forward nor back is for this run alone to go on with.
                    connections.keep = True
                    code = going_back.carry_out(session, connections.open, run, intent)
                    assert run.finished
                    # A backup that could not be restored has changed nothing.
                    connections.keep = code != 0 and "error" not in run.finished.payload
                    if code == 0:
                        going_back.settle(session, connections.open, _home(session), site.deploy.keep)
        except (ImplopsError, KeyboardInterrupt):
            emit(session, "rollback", run_id)
            raise
        emit(session, "rollback", run_id)
    assert run.finished
    return _answer(session, run.finished, code)


def _home(session: Session) -> str:
    from implops.deploy import release

    assert session.site.system
    return release.place(session.site.system.name)


def _unfinished(session: Session, word: str) -> Event:
    """Raises InputError for an unknown run, or one that came to a good end."""
    from implops.errors import InputError

    starts = [one for one in session.store.events(kind="rollback.started") if not one.payload["resumed"]]
    found = starts[-1:] if word == "last" else [one for one in starts if word and word.upper() in one.run]
    if len(found) != 1:
        raise InputError("rollback.no_such_run", run=word, known=" ".join(one.run for one in starts[-3:]) or "-")
    ended = session.store.events(kind="rollback.finished", run=found[0].run)
    if ended and ended[-1].payload["conclusion"] == "pass":
        raise InputError("deploy.already_good", run=found[0].run)
    return found[0]


def _intend(
    session: Session, open_: dict[str, Connection], to: str, with_database: str, reason: str, resumed: bool
) -> Intent:
    from implops.backup import restore
    from implops.cli import going_back
    from implops.deploy import rollback as way_back
    from implops.errors import InputError

    site, store = session.site, session.store
    named = restore.find(store, site, with_database) if with_database else None
    if named and named.host not in open_:
        raise InputError("rollback.no_such_backup", backup=with_database, known="-")
    found = going_back.releases(open_, _home(session), [one.name for one in site.with_role("app")])
    verbs = ("deploy.started", "deploy.finished", "rollback.started", "rollback.finished")
    last = [one for one in store.events() if one.kind in verbs][-1:]
    failed = any(one.payload.get("conclusion") != "pass" for one in last)
    way = way_back.choose(found, to, failed_run=failed)
    if not way.hosts and not named and not resumed:
        raise InputError("rollback.nothing", release=way.release.id)
    now = None
    if site.database and site.with_role("db"):
        now = way_back.executed(site, open_[site.only("db").name])
    if now is None:
        seen = [one.find(one.current) for one in found.values()]
        now = max((one.schema for one in seen if one), key=len, default=())
    if named and (files := way_back.unlike(way.release.schema, named.schema)):
        about = {"backup": named.run, "release": way.release.id, "files": ", ".join(files)}
        raise InputError("rollback.other_schema", **about)
    if resumed:
        # A run that was cut off may have switched a host, and not yet what runs there.
        way = replace(way, hosts=tuple(way.leaving))
    migrated = way_back.since(way.release.schema, now)
    return going_back.Intent(way, migrated, named, reason.strip())


def _answer(session: Session, finished: Event, code: int) -> int:
    payload: dict[str, Any] = finished.payload
    if session.as_json:
        session.answer({"run": finished.run, **payload})
    elif payload["conclusion"] == "pass":
        click.echo(texts.say("rollback.done", release=payload["release"]["id"], modules=len(payload["modules"])))
    else:
        click.echo(texts.say("rollback.way_out", site=session.path, run=finished.run), err=True)
    return code


command = rollback
