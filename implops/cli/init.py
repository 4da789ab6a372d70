"""``implops init DIR``: an annotated site file and the empty folders around it. Never overwrites."""

from __future__ import annotations

import os
from pathlib import Path

import click

from implops import texts

_FOLDERS = ("checks", "deploy_recipes", "mappings", "release", "secrets")


@click.command(
    name="init",
    help=texts.say("init.help") + "\n\n\b\n" + texts.say("init.examples"),
    short_help=texts.say("init.help"),
    epilog=texts.say("cli.codes"),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", default="", help=texts.say("init.option.name"))
def command(folder: Path, name: str) -> int:
    from implops import kit
    from implops.errors import InputError

    file = folder / "site.yml"
    if file.exists() or file.is_symlink():
        raise InputError("init.exists", path=file)
    text = kit.annotated_site().read_text(encoding="utf-8")
    if name:
        text = _named(text, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in _FOLDERS:
            (folder / one).mkdir(mode=0o700 if one == "secrets" else 0o755, exist_ok=True)
        (folder / "secrets").chmod(0o700)
        # O_EXCL: a file that appeared meanwhile is not ours to replace.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise InputError("init.cannot", path=error.filename or folder, why=error.strerror) from None
    click.echo(texts.say("init.done", path=file))
    click.echo(texts.say("init.next", path=file, secrets=folder / "secrets"), err=True)
    return 0


def _named(text: str, name: str) -> str:
    """The example's project name replaced. Raises InputError for what cannot stand in one line of YAML."""
    import json

    from implops.errors import InputError

    if not name.isprintable() or not 1 <= len(name) <= 200:
        raise InputError("init.name", name=name[:40])
    lines = text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith("  name: "))
    lines[at] = f"  name: {json.dumps(name, ensure_ascii=False)}\n"  # JSON strings are YAML strings
    return "".join(lines)
