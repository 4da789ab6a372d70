"""What every verb shares: the site argument, common options, where things are printed.

stdout is the answer, stderr the story. With ``--json`` stdout is one JSON document and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from implops import texts
from implops.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from implops.site import Site
    from implops.store import Store

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """One invocation on one site: site, store, operator, and how to talk to the user."""

    def __init__(self, path: Path, *, as_json: bool, quiet: bool, verbose: bool, operator: str | None) -> None:
        self.path, self.as_json, self.quiet, self.verbose = path, as_json, quiet, verbose
        self._operator = operator

    @cached_property
    def site(self) -> Site:
        from implops.site import load

        return load(self.path)

    @cached_property
    def store(self) -> Store:
        from implops.store import Store

        return Store.of(self.site.state)

    @cached_property
    def operator(self) -> str:
        """``NAME/STAFF-NUMBER``. Raises InputError: a run that writes a record has a person behind it."""
        given = self._operator or os.environ.get("IMPLOPS_OPERATOR") or _configured()
        if not given or not given.strip():
            raise InputError("cli.no_operator")
        return given.strip()

    @cached_property
    def console(self) -> Console:
        """stdout for people (tables)."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=False)

    def story(self, text: str) -> None:
        """A line of progress on stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def answer(self, value: dict[str, Any]) -> None:
        """The one JSON document on stdout."""
        from implops.secrets import redactor

        click.echo(_laid_out(redactor.value(value)))

    def ask(self, question: str, *, yes: bool) -> None:
        """Confirm on the terminal; InputError without one, click.Abort on no."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise InputError("cli.no_answer")
        if not click.confirm(question, default=False, err=True):
            click.echo(texts.say("cli.declined"), err=True)
            raise click.exceptions.Exit(130)

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Print the title, then how long it took."""
        from implops.units import format_seconds

        started = time.monotonic()
        self.story(title)
        yield
        self.story(f"  {format_seconds(time.monotonic() - started)}")


def _configured() -> str | None:
    path = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "implops" / "config.toml"
    if not path.is_file():
        return None
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8")).get("operator")
    except tomllib.TOMLDecodeError:
        return None
    return value if isinstance(value, str) else None


def _laid_out(answer: object) -> str:
    """JSON with an item a line: for eyes and for grep, and made by the fast encoder (an indented one is not: it took
    half of what a check of many hosts costs after the last answer is in).
    """

    def plain(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    def items(value: object) -> str:
        if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
            return "[\n    " + ",\n    ".join(map(plain, value)) + "\n  ]"
        if isinstance(value, dict) and any(isinstance(one, dict | list) for one in value.values()):
            return "{\n    " + ",\n    ".join(f"{plain(key)}: {plain(one)}" for key, one in value.items()) + "\n  }"
        return plain(value)

    if not isinstance(answer, dict) or not answer:
        return plain(answer)
    return "{\n  " + ",\n  ".join(f"{plain(key)}: {items(one)}" for key, one in answer.items()) + "\n}"


def verb(area: str, *, name: str | None = None) -> Callable[[Callable[..., int | None]], click.Command]:
    """A click command on a site: ``function(session, **options) -> exit code``; help is ``AREA.help`` + examples."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        from functools import update_wrapper

        def run(
            site: Path, json: bool, lang: str | None, quiet: bool, verbose: bool, operator: str | None, **options: Any
        ) -> int:
            if lang:
                texts.set_language(lang)
            session = Session(site, as_json=json, quiet=quiet, verbose=verbose, operator=operator)
            return function(session, **options) or 0

        wrapped = update_wrapper(run, function)
        language = texts.from_environment()
        for decorator in reversed(_common(language)):
            wrapped = decorator(wrapped)
        helped = texts.say(f"{area}.help", lang=language)
        examples = texts.find(f"{area}.examples", lang=language)
        command: click.Command = click.command(
            name=name or function.__name__.rstrip("_"),
            help=f"{helped}\n\n\b\n{examples}" if examples else helped,
            short_help=helped,
            epilog=texts.say("cli.codes", lang=language),
        )(wrapped)
        return command

    return decorate


def _common(language: str) -> list[Callable[[F], F]]:
    def text(key: str) -> str:
        return texts.say(f"cli.{key}", lang=language)

    return [
        click.argument("site", type=click.Path(path_type=Path, dir_okay=False)),
        click.option("--json", is_flag=True, help=text("json")),
        click.option("--lang", type=click.Choice(texts.LANGUAGES), help=text("lang")),
        click.option("-q", "--quiet", is_flag=True, help=text("quiet")),
        click.option("-v", "--verbose", is_flag=True, help=text("verbose")),
        click.option("--operator", help=text("operator")),
    ]
