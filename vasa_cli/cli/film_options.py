"""What the commands that make videos from films share with `vasa render`: options and the end."""

from __future__ import annotations

import json
from typing import Callable

import click

from vasa_cli.cli.render import check_marks, render, result_line
from vasa_cli.config import RenderOptions, RenderResult

# By the names that RenderOptions has for them, or the command where it has none.
SAMPLING = ("seed", "num_steps", "guidance_audio")
MARKS = ("watermark", "provenance", "label", "certificate", "private_key")
FACE = click.option(
    "--face",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which face of several, counted from 1 on the left.  [default: the largest]",
)
RUNNING = ("crf", "device", "force", "as_json", "quiet", "weights_dir")


def with_render_options(*names: str) -> Callable[[click.Command], click.Command]:
    """Gives a command some options of `vasa render`, each with its own words and default."""
    known = {parameter.name: parameter for parameter in render.params}

    def decorate(command: click.Command) -> click.Command:
        command.params += [known[name] for name in names]
        return command

    return decorate


def checked(options: RenderOptions) -> RenderOptions:
    """The options, once it is known that label and signature can be made.

    Raises: UsageError, ProvenanceError as `check_marks` says.
    """
    check_marks(options)
    return options


def tell_result(result: RenderResult, *, as_json: bool, quiet: bool) -> None:
    """Warnings on stderr, the result on stdout."""
    if not quiet:
        for warning in result.warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(json.dumps(result.as_json()) if as_json else result_line(result))
