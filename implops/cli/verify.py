"""``implops verify SITE``: every module asked, the users' own system checks run, 系统检查表 printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.store.run import Run

_MODULE_SECONDS = 30.0
_STABLE_SECONDS = 2.0


@verb("verify")
def verify(session: Session) -> int:
    from implops.cli.forms import emit
    from implops.errors import InputError
    from implops.store import record

    site = session.site
    if site.system is None:
        raise InputError("verify.no_system", site=session.path.name)
    run_id = ""
    try:
        with record(session.store, site, "verify", session.operator, {}) as run:
            run_id = run.id
            modules = _modules(session, run)
            checks = _checks(session, run)
            states = [one["state"] for one in (*modules, *checks)]
            bad, unsure = "fail" in states, "error" in states or "absent" in states
            conclusion = "fail" if bad else "unknown" if unsure else "conditional" if "warn" in states else "pass"
            totals = {state: states.count(state) for state in sorted(set(states))}
            run.finish(conclusion, {"totals": totals})
    finally:
        if run_id:
            emit(session, "verify", run_id)
    _answer(session, modules, checks, conclusion)
    return 1 if bad else 3 if unsure else 0


def _modules(session: Session, run: Run) -> list[dict[str, Any]]:
    """Every module on every application host; a host that cannot be asked is absent in all of them."""
    from implops.errors import HostError, ImplopsError
    from implops.remote import connect, each
    from implops.site import Host
    from implops.verify.kinds import subject
    from implops.verify.modules import Answer, ask_all, modules_of

    site = session.site
    assert site.system
    hosts = [host for host in site.hosts.values() if modules_of(site, host)]

    def ask(host: Host) -> list[Answer]:
        with connect(site, host) as connection:
            wanted = modules_of(site, host)
            return ask_all(site, connection, wanted, deadline=_MODULE_SECONDS, stable_for=_STABLE_SECONDS)

    found = []
    with session.phase(texts.say("verify.asking", count=len(site.system.modules))):
        answers = each(hosts, ask)
    for name, answer in answers.items():
        if isinstance(answer, ImplopsError) and not isinstance(answer, HostError):
            raise answer
        for number, module in enumerate(modules_of(site, site.hosts[name])):
            about: dict[str, Any] = {
                "name": module.name,
                "requirement": module.requirement,
                "expect": _expected(module),
            }
            if isinstance(answer, ImplopsError):
                error = {"key": answer.key, "params": {key: str(value) for key, value in answer.params.items()}}
                about |= {
                    "module": module.id,
                    "host": name,
                    "url": module.url or subject(module, site.hosts[name].address),
                    "state": "absent",
                    "status": None,
                    "ms": 0,
                }
                run.event("module.finished", {**about, "error": error})
                found.append({**about, "error": error})
            else:
                one = answer[number]
                evidence = (run.keep(one.body),) if one.body else ()
                found.append({**one.payload(), **about})
                run.event("module.finished", found[-1], evidence)
    return found


def _expected(module: Any) -> dict[str, Any]:
    """What was asked of the module, for the form: no words, only values."""
    if module.kind != "url":
        return {"value": module.sql.value} if module.sql else {}
    expect = module.expect
    wanted = {"status": expect.status, "text": expect.text, "time": expect.time, "json": dict(expect.json_)}
    return {name: value for name, value in wanted.items() if value}


def _checks(session: Session, run: Run) -> list[dict[str, Any]]:
    from implops.verify import system

    files = system.files(session.site)
    if not files:
        return []
    with session.phase(texts.say("verify.checking", count=len(files))):
        found = system.run(session.site)
    for one in found:
        run.event("system_check.finished", one)
    return found


def _answer(session: Session, modules: list[dict[str, Any]], checks: list[dict[str, Any]], conclusion: str) -> None:
    from rich.table import Table

    from implops.units import format_seconds
    from implops.verify.modules import reason

    if session.as_json:
        session.answer({"conclusion": conclusion, "modules": modules, "checks": checks})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("item", "host", "requirement", "found", "took", "result"):
        table.add_column(
            texts.say(f"verify.column.{name}"), overflow="fold", justify="right" if name == "took" else "left"
        )
    for one in modules:
        told = texts.say(one["error"]["key"], **one["error"]["params"]) if one["state"] == "absent" else reason(one)
        table.add_row(one["name"], one["host"], one["requirement"], told, format_seconds(one["ms"] / 1000),
                      texts.say(f"form.result.{one['state']}"))  # fmt: skip
    for one in checks:
        said = one["said"].splitlines()[0][:100] if one["said"] else "—"
        table.add_row(one["check"], one["host"] or "—", "—", said, format_seconds(one["ms"] / 1000),
                      texts.say(f"form.result.{one['state']}"))  # fmt: skip
    session.console.print(table)
    click.echo(texts.say("verify.concluded", result=texts.say(f"form.conclusion.{conclusion}"), modules=len(modules),
                         checks=len(checks)))  # fmt: skip


command = verify
