"""``implops bundle build|verify SITE``, ``bundle diff OLD NEW``: everything a site needs in one file, proved whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from implops import texts
from implops.cli.output import Session, verb

if TYPE_CHECKING:
    from implops.bundle import Bundle

_LANGUAGE = texts.from_environment()


@click.group("bundle", help=texts.say("bundle.help", lang=_LANGUAGE))
def command() -> None:
    pass


@verb("bundle.build", name="build")
@click.option(
    "--release",
    "releases",
    metavar="[HOST=]RELEASE",
    multiple=True,
    help=texts.say("bundle.build.release", lang=_LANGUAGE),
)
@click.option("--refresh", is_flag=True, help=texts.say("bundle.build.refresh", lang=_LANGUAGE))
def build(session: Session, releases: tuple[str, ...], refresh: bool) -> int:
    from implops.bundle import artifacts
    from implops.bundle import build as core
    from implops.bundle.build import folder, target_releases
    from implops.deploy import recipes
    from implops.store import record
    from implops.units import format_size

    site = session.site
    suites = target_releases(site, releases, _seen(session))
    named = " ".join(sorted(set(suites.values())))
    files = artifacts(site)
    packages = recipes.packages(site)
    before = set(folder(site).iterdir())
    with record(session.store, site, "bundle", session.operator, {"release": suites}) as run:
        with session.phase(texts.say("bundle.build.title", release=named)):
            bundle = core(site, packages, files, session.story, release=suites, refresh=refresh)
        run.finish("pass", _finished(bundle))
    if bundle.path in before:
        session.story(texts.say("bundle.build.same"))
    if session.as_json:
        session.answer({"run": run.id, **_finished(bundle), "built": bundle.path not in before})
        return 0
    session.console.print(_table(bundle), crop=False)
    about: dict[str, Any] = {"files": len(bundle.items), "size": format_size(bundle.size), "sha256": bundle.sha256}
    click.echo(texts.say("bundle.build.done", path=bundle.path, **about))
    return 0


@verb("bundle.verify", name="verify")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=texts.say("bundle.verify.file", lang=_LANGUAGE),
)
def verify(session: Session, file: Path | None) -> int:
    from implops.bundle import latest, signer
    from implops.bundle import verify as core
    from implops.units import format_size

    bundle = core((file or latest(session.site)).absolute())
    signed_by = signer(session.site, bundle)
    made = [one for one in session.store.events(kind="bundle.finished") if one.payload.get("sha256") == bundle.sha256]
    if session.as_json:
        session.answer({"path": str(bundle.path), **_finished(bundle), "recorded": made[-1].run if made else None,
                        "signer": signed_by})  # fmt: skip
        return 0
    about: dict[str, Any] = {"files": len(bundle.items), "size": format_size(bundle.size), "sha256": bundle.sha256}
    click.echo(texts.say("bundle.verify.good", path=bundle.path, **about))
    if signed_by:
        click.echo(texts.say("bundle.verify.signed", signer=signed_by))
    elif bundle.signature:
        click.echo(texts.say("bundle.verify.unjudged"))
    if made:
        click.echo(texts.say("bundle.verify.recorded", run=made[-1].run))
    else:
        click.echo(texts.say("bundle.verify.unrecorded"))
    return 0


@click.command(
    "diff", help=texts.say("bundle.diff.help", lang=_LANGUAGE), epilog=texts.say("cli.codes", lang=_LANGUAGE)
)
@click.argument("old", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help=texts.say("cli.json", lang=_LANGUAGE))
def diff(old: Path, new: Path, as_json: bool) -> int:
    import json
    from dataclasses import asdict

    from implops.bundle import diff as core
    from implops.bundle import verify as read

    found = core(read(old.absolute()), read(new.absolute()))
    if as_json:
        click.echo(json.dumps({"differences": [asdict(one) for one in found]}, ensure_ascii=False, indent=2))
        return 0
    for one in found:
        kind = texts.say(f"bundle.diff.{one.kind}")
        click.echo(texts.say("bundle.diff.line", kind=kind, name=one.name, before=one.before, after=one.after))
    click.echo(texts.say("bundle.diff.count", count=len(found)) if found else texts.say("bundle.diff.same"))
    return 0


command.add_command(build)
command.add_command(diff)
command.add_command(verify)


def _seen(session: Session) -> dict[str, str]:
    """Host -> Debian release that the last check of it saw."""
    found = {}
    for event in session.store.events(kind="host.checked"):
        found[event.payload["host"]] = event.payload["about"].get("release", "-")
    return found


def _finished(bundle: Bundle) -> dict[str, Any]:
    """What the record keeps: the file by its name, for the folder moves with the site."""
    return {
        "file": bundle.path.name,
        "sha256": bundle.sha256,
        "manifest_sha256": bundle.digest,
        "size": bundle.size,
        "files": len(bundle.items),
        "release": {host: bundle.release_of(host) for host in bundle.manifest["hosts"]},
        "arch": bundle.arch,
        "dated": bundle.manifest["dated"],
        "packages": bundle.versions,
        "hosts": {host: one["packages"] for host, one in bundle.manifest["hosts"].items()},
        "artifacts": {
            item.path: {"sha256": item.sha256, "size": item.size, "kind": item.kind}
            for item in bundle.items.values()
            if item.kind in ("artifact", "schema")
        },
    }


def _table(bundle: Bundle) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(("host", "release", "packages", "debs", "files")):
        side: Any = "right" if number > 1 else "left"
        table.add_column(texts.say(f"bundle.column.{column}"), justify=side, no_wrap=True)
    for host, one in bundle.manifest["hosts"].items():
        table.add_row(host, one["release"], *(str(len(one[column])) for column in ("packages", "debs", "files")))
    return table
