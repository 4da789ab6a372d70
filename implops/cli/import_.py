"""``implops import …``: base data inspected, mapped, checked, loaded, proved, backed up, documented."""

from __future__ import annotations

import click

from implops import texts
from implops.cli.import_check import check
from implops.cli.import_inspect import inspect, map_
from implops.cli.import_run import dry_run, run

command = click.Group("import", commands=[inspect, map_, check, dry_run, run], help=texts.say("import.help"))
