"""``implops explain ID [SITE]``: what a check looks at, how it is read, what is demanded and why, how it is mended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from implops import texts

if TYPE_CHECKING:
    from implops.site import Site

# A Latin word is broken only where it alone is too long for a line.
_WORDS = re.compile(r"[!-~]{1,60}|.", re.DOTALL)
_LANGUAGE = texts.from_environment()


@click.command(
    name="explain",
    help=f"{texts.say('explain.help', lang=_LANGUAGE)}\n\n\b\n{texts.say('explain.examples', lang=_LANGUAGE)}",
    short_help=texts.say("explain.help", lang=_LANGUAGE),
)
@click.argument("id")
@click.argument("site", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--lang", type=click.Choice(texts.LANGUAGES), help=texts.say("cli.lang", lang=_LANGUAGE))
@click.option("-v", "--verbose", is_flag=True, help=texts.say("explain.option.verbose", lang=_LANGUAGE))
def command(id: str, site: Path | None, lang: str | None, verbose: bool) -> int:
    from implops.site import load

    if lang:
        texts.set_language(lang)
    say(id, load(site) if site else None, verbose=verbose)
    return 0


def say(id: str, site: Site | None, *, verbose: bool = False) -> None:
    """Print it; with a site the thresholds of every host and the layer that set each. Raises InputError."""
    from implops.check import explain, registry
    from implops.check.limits import Limits
    from implops.errors import InputError

    base = site.base if site else None
    checks = registry.load(base)
    if id.upper() not in checks:
        near = [one for one in checks if one.startswith(id.upper()[:3])] or list(checks)
        raise InputError("explain.unknown", id=id, known=" ".join(near[:12]))
    found = explain.explain(checks[id.upper()], checks, base)
    one = found.check
    click.echo(click.style(f"{one.id}  {texts.say(f'check.{one.id}.title')}", bold=True))
    _line("name", f"{one.name}({texts.say(f'explain.scope.{one.scope}')})")
    _line("why", texts.say(f"check.{one.id}.why"))
    _line("severity", texts.say(f"check.severity.{one.severity}"))
    _line("roles", " ".join(one.roles))
    _line("cost", texts.say(f"explain.cost.{found.cost}"))
    _line("stage", texts.say(f"explain.stage.{'planned' if found.deploy_aware else 'same'}"))
    for fact in found.facts:
        _line("read", texts.say("explain.fact", name=fact.name, doc=fact.doc, probe=fact.probe))
        for line in fact.lines:
            _line("command", line)
    for layer, role, need, want in found.limits:
        _line("limit", texts.say("explain.limit", layer=layer, role=role, need=need, want=want))
    if site:
        limits = Limits(site, checks)
        for host in site.hosts.values():
            limit = limits.of(one, host)
            if (limit.need, limit.want) != (None, None) and set(one.roles) & set(host.roles):
                need, want = (explain.shown(one, value) for value in (limit.need, limit.want))
                source = texts.say(f"check.source.{limit.source}")
                _line("here", texts.say("explain.here", host=host.name, need=need, want=want, source=source))
    _line("fix", texts.say(f"check.{one.id}.fix"))
    _line("machine", texts.say(f"fix.risk.{found.risk}") if found.risk else texts.say("explain.by_person"))
    _line("file", str(one.path))
    if verbose:
        for fact in found.facts:
            click.echo(f"\n# {fact.probe}")
            click.echo(fact.script.rstrip())


def _line(key: str, text: str) -> None:
    """Label and text, broken at 80 columns with the text below itself; Chinese signs are two columns wide."""
    from rich.cells import cell_len

    label = texts.say(f"explain.label.{key}")
    indent, line = 14, ""
    lines = []
    for word in _WORDS.findall(text):
        if line and indent + cell_len(line + word) > 80:
            lines.append(line)
            line = ""
        if line or word != " ":
            line += word
    lines.append(line)
    pad = " " * max(1, indent - 2 - cell_len(label))
    click.echo(f"  {label}{pad}{lines[0]}")
    for more in lines[1:]:
        click.echo(" " * indent + more)
