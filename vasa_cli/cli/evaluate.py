"""`vasa evaluate`: figures of the networks on your own clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import click

from vasa_cli.cli.evaluate_controls import controls
from vasa_cli.cli.evaluate_dub import dub
from vasa_cli.cli.evaluate_gaze import gaze
from vasa_cli.cli.evaluate_motion import motion
from vasa_cli.cli.evaluate_options import (
    AS_JSON,
    LIMIT,
    LIST,
    QUIET,
    WEIGHTS_DIR,
    listed,
    teller,
)
from vasa_cli.cli.evaluate_watermark import watermark


@click.group(epilog="\b\nExample:\n  vasa evaluate reenact --data clips/ --limit 20")
def evaluate() -> None:
    """Measure how well vasa does on your own material."""


@evaluate.command(epilog="\b\nExample:\n  vasa evaluate reenact --data clips/ --limit 20")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of face clips.",
)
@LIMIT
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="MobileFaceNet checkpoint, for perceptual distance and identity.",
)
@LIST
@AS_JSON
@QUIET
@WEIGHTS_DIR
def reenact(
    data: Path,
    limit: int | None,
    judge: Path | None,
    names: TextIO | None,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
) -> None:
    """Move the first frame of every clip like the others and compare it with them.

    Beside the decoder stand the photo unmoved (still) and the motion field alone (field).
    """
    import torch

    from vasa_cli import evaluate as measuring
    from vasa_cli.loading import load_models
    from vasa_cli.training.features import load_features

    clips = measuring.find_clips(data, limit=limit, names=listed(names))
    models = load_models(weights_dir, torch.device("cpu"))
    figures = measuring.evaluate(
        clips,
        models.reader,
        models.decoder,
        judge=load_features(judge) if judge else None,
        tell=teller(quiet=quiet or as_json),
    )
    click.echo(json.dumps(figures) if as_json else table(figures))


evaluate.add_command(dub)
evaluate.add_command(gaze)
evaluate.add_command(motion)
evaluate.add_command(watermark)
evaluate.add_command(controls)


def table(figures: dict[str, dict[str, float]]) -> str:
    """Figures as lines of text, one column a method."""
    keys = list(next(iter(figures.values())))
    lines = [f"{'':26}" + "".join(f"{m:>10}" for m in figures)]
    lines += [f"{key:26}" + "".join(f"{f[key]:10.3f}" for f in figures.values()) for key in keys]
    return "\n".join(lines)
