"""``implops VERB …``: a verb is a file of this folder; it is imported only when it is called.

Every verb file defines ``command`` (a click command or group) and has its one-line help under ``VERB.help`` of the
catalogue, so that ``implops --help`` imports no verb.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from pathlib import Path

import click

from implops import __version__, texts
from implops.errors import ImplopsError

# Parts that verbs share, and parts of a verb that has several.
_NOT_VERBS = {
    "__init__", "main", "output", "forms", "mending", "steps", "turns", "going_back", "planning", "upgrading",
    "import_inspect", "findings", "import_check", "import_run", "import_ask",
}  # fmt: skip
# This machine's disk takes nothing more.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# The order of the process; a verb that is not in this list comes after it.
_ORDER = (
    "init",
    "lab",
    "trust",
    "check",
    "explain",
    "collect",
    "bundle",
    "deploy",
    "rollback",
    "undo",
    "import",
    "verify",
    "backup",
)


def _verbs() -> list[str]:
    names = [path.stem.rstrip("_") for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_VERBS]
    return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


class Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return _verbs()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _verbs():
            return None
        # ``import`` is a keyword: its file is import_.py.
        module = importlib.import_module(f"implops.cli.{name}" if name != "import" else "implops.cli.import_")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(texts.say("cli.verbs")):
            rows = [(name, texts.say(f"{name}.help")) for name in _verbs()]
            if rows:
                formatter.write_dl(rows)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=texts.say("cli.about", lang=texts.from_environment()),
    epilog=texts.say("cli.codes", lang=texts.from_environment()),
)
@click.version_option(__version__, prog_name="implops")
def commands() -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with the exit code of the contract (see errors.py)."""
    os.umask(0o077)
    texts.set_language(texts.from_environment())
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = commands.main(args=arguments, prog_name="implops", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except ImplopsError as error:
        click.echo(f"implops: {error}", err=True)
        sys.exit(error.code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"\nimplops: {texts.say('cli.interrupted')}", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left (``| head``): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        click.echo(
            f"implops: {texts.say('cli.no_room', path=error.filename or Path.cwd(), why=error.strerror)}", err=True
        )
        sys.exit(3)


def _terminated(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
