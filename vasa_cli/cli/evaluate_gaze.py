"""`vasa evaluate gaze`: eye contact in figures, on your own films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import click

from vasa_cli.cli.evaluate_controls import lines
from vasa_cli.cli.evaluate_motion import plain
from vasa_cli.cli.evaluate_options import (
    AS_JSON,
    INSTRUMENT,
    LIMIT,
    LIST,
    QUIET,
    WEIGHTS_DIR,
    listed,
    teller,
)
from vasa_cli.cli.render import FiniteFloat

ASKED = ((r"(mean|median) edited_", "at most 2"),)


@click.command(epilog="\b\nExample:\n  vasa evaluate gaze --data films/ --limit 12 --preview 8")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of films of people who look about.",
)
@LIMIT
@LIST
@click.option(
    "--preview",
    "preview_s",
    type=FiniteFloat(min=1.0),
    metavar="SECONDS",
    help="Only the beginning of each film.",
)
@INSTRUMENT
@AS_JSON
@QUIET
@WEIGHTS_DIR
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

    films = find_clips(data, limit=limit, names=listed(names))
    renderer = Renderer(weights_dir=weights_dir, device="cpu")
    own = shown.own_instrument(renderer.models.reader)
    figures = evaluate(
        films,
        renderer,
        own if instrument is None else shown.outside_instrument(instrument),
        seconds=preview_s,
        tell=teller(quiet=quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps(plain(figures)))
        return
    over_all = {name: figures[name] for name in ("mean", "median")}
    told = {"instrument": instrument or "vasa's own encoder", **over_all}
    click.echo("\n".join(lines(told, asked=ASKED)))
