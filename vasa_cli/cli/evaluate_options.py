"""What the commands that measure on your own material share: options, and how they tell."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, TextIO

import click

LIMIT = click.option(
    "--limit", type=click.IntRange(min=1), help="At most so many of each folder, spread evenly."
)
LIST = click.option("--list", "names", type=click.File(), help="Only the clips named in this file.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress.")
INSTRUMENT = click.option(
    "--instrument",
    metavar="COMMAND",
    help="Program that measures instead of vasa's own encoder, called as COMMAND VIDEO --series"
    " FILE.npz.",
)
WEIGHTS_DIR = click.option(
    "--weights-dir", type=click.Path(path_type=Path), help="Folder of the weights."
)


def listed(names: TextIO | None) -> set[str] | None:
    """The file names that --list gives; None where it is not given."""
    return None if names is None else {line.strip() for line in names}


def teller(*, quiet: bool) -> Callable[[str], None]:
    """Tells progress on stderr, a line at a time, or not at all."""
    return (lambda line: None) if quiet else (lambda line: click.echo(line, err=True))
