"""`vasa evaluate gaze`: eye contact in figures, on your own films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import click

from vasa_cli.cli.evaluate_controls import lines
from vasa_cli.cli.evaluate_motion import plain
from vasa_cli.cli.render import FiniteFloat


@click.command(epilog="\b\nExample:\n  vasa evaluate gaze --data films/ --limit 12 --preview 8")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of films of people who look about.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many films, spread evenly.")
@click.option("--list", "names", type=click.File(), help="Only the films named in this file.")
@click.option(
    "--preview",
    "preview_s",
    type=FiniteFloat(min=1.0),
    metavar="SECONDS",
    help="Only the beginning of each film.",
)
@click.option(
    "--instrument",
    metavar="COMMAND",
    help="Program that measures instead of vasa's own encoder, called as COMMAND VIDEO --series"
    " FILE.npz.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--weights-dir", type=click.Path(path_type=Path), help="Folder of the weights.")
def gaze(
    data: Path,
    limit: int | None,
    names: TextIO | None,
    preview_s: float | None,
    instrument: str | None,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
) -> None:
    """Turn the eyes of every film into the camera, and measure how still they look there.

    Degrees that the gaze, of head and eyes together, is from its own median, as filmed and as
    edited by `vasa edit --gaze camera`. Without --instrument vasa judges itself.
    """
    from vasa_cli import shown
    from vasa_cli.evaluate import find_clips
    from vasa_cli.evaluate_gaze import evaluate
    from vasa_cli.pipeline import Renderer

    wanted = None if names is None else {line.strip() for line in names}
    films = find_clips(data, limit=limit, names=wanted)
    renderer = Renderer(weights_dir=weights_dir, device="cpu")
    own = shown.own_instrument(renderer.models.reader)
    figures = evaluate(
        films,
        renderer,
        own if instrument is None else shown.outside_instrument(instrument),
        seconds=preview_s,
        tell=(lambda line: None) if quiet or as_json else (lambda line: click.echo(line, err=True)),
    )
    if as_json:
        click.echo(json.dumps(plain(figures)))
        return
    over_all = {name: figures[name] for name in ("mean", "median")}
    told = {"instrument": instrument or "vasa's own encoder", **over_all}
    click.echo("\n".join(lines(told)))
