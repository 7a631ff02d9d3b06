"""`vasa evaluate dub`: dubbing in figures, on your own clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import click

from vasa_cli.cli.evaluate_motion import SHARED, plain
from vasa_cli.cli.evaluate_options import (
    AS_JSON,
    LIMIT,
    LIST,
    QUIET,
    listed,
    teller,
)
from vasa_cli.cli.film_options import with_render_options
from vasa_cli.config import RenderOptions


@with_render_options("preview_s", *SHARED)
@click.command(epilog="\b\nExample:\n  vasa evaluate dub --data clips/ --limit 8 --preview 5")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of clips of talking people, with sound.",
)
@LIMIT
@LIST
@AS_JSON
@QUIET
def dub(
    data: Path,
    limit: int | None,
    names: TextIO | None,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **fields: Any,
) -> None:
    """Dub every clip with its own sound and the next one's, and measure the lips.

    Figures are correlations over time of how far the lips are open, by vasa's own face encoder.
    """
    from vasa_cli.evaluate import find_clips
    from vasa_cli.evaluate_dub import evaluate
    from vasa_cli.pipeline import Renderer

    clips = find_clips(data, limit=limit, names=listed(names))
    figures = evaluate(
        clips,
        Renderer(weights_dir=weights_dir, device="cpu"),
        RenderOptions(**fields),
        tell=teller(quiet=quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps(plain(figures)))
        return
    for name, value in figures["mean"].items():
        click.echo(f"{name:16}{value:10.2f}")
