"""`vasa evaluate dub`: dubbing in figures, on your own clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import click

from vasa_cli.cli.evaluate_motion import SHARED, plain
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
@click.option("--limit", type=click.IntRange(min=1), help="At most so many clips, spread evenly.")
@click.option("--list", "names", type=click.File(), help="Only the clips named in this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
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

    wanted = None if names is None else {line.strip() for line in names}
    clips = find_clips(data, limit=limit, names=wanted)
    figures = evaluate(
        clips,
        Renderer(weights_dir=weights_dir, device="cpu"),
        RenderOptions(**fields),
        tell=(lambda line: None) if quiet or as_json else (lambda line: click.echo(line, err=True)),
    )
    if as_json:
        click.echo(json.dumps(plain(figures)))
        return
    for name, value in figures["mean"].items():
        click.echo(f"{name:16}{value:10.2f}")
