"""`vasa evaluate controls`: whether gaze, distance, emotion and pose are as asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Sequence

import click

from vasa_cli.cli.evaluate_options import (
    AS_JSON,
    INSTRUMENT,
    LIMIT,
    QUIET,
    WEIGHTS_DIR,
    teller,
)
from vasa_cli.cli.render import FiniteFloat
from vasa_cli.config import SIZE_RANGE, RenderOptions

PATH = click.Path(exists=True, path_type=Path)
# What is asked of a figure, by how its name begins.
ASKED = (
    (r"(gaze|pose) mean_error_deg", "at most 2"),
    (r"distance", "at most 0.02"),
    (r"emotion \w+ \w+ faces", "9 in 10 portraits"),
    (r"emotion \w+ lip_correlation_change", "-0.05 to 0.05"),
    (r"emotion \w+ identity_falls", "at most 0.05"),
    (r"head_motion", "as asked, within 15 %"),
    (r"blinks 0$", "0"),
    (r"step_frames_late", "at most 2"),
)


@click.command(
    epilog="\b\nExample:\n  vasa evaluate controls me.jpg portraits/ --speech speech.wav --limit 10"
)
@click.argument("portraits", nargs=-1, required=True, type=PATH)
@click.option("--speech", required=True, type=PATH, help="Sound with speech.")
@LIMIT
@click.option(
    "--validation",
    is_flag=True,
    help="Of folders only people that `vasa train` keeps out, where it was trained on them.",
)
@click.option(
    "--preview",
    "preview_s",
    type=FiniteFloat(min=1.0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Of the speech that is shown where time matters.",
)
@click.option("--size", type=click.IntRange(*SIZE_RANGE), default=384, show_default=True)
@INSTRUMENT
@click.option("--judge", type=PATH, help="MobileFaceNet checkpoint, for identity.")
@AS_JSON
@QUIET
@WEIGHTS_DIR
def controls(
    portraits: tuple[Path, ...],
    speech: Path,
    limit: int | None,
    validation: bool,
    preview_s: float,
    size: int,
    instrument: str | None,
    judge: Path | None,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
) -> None:
    """Film PORTRAITS with every control in steps, and measure the films.

    PORTRAITS are pictures, or folders of them; each is filmed once, all settings one after the
    other. Each figure stands beside what is asked of it. Without --instrument vasa judges itself.
    """
    from vasa_cli import evaluate_controls as measuring
    from vasa_cli import shown
    from vasa_cli.control_trials import Stage
    from vasa_cli.pipeline import Renderer
    from vasa_cli.training.features import load_features

    found = find_portraits(portraits, limit=limit, validation=validation)
    renderer = Renderer(weights_dir=weights_dir, device="cpu")
    own = shown.own_instrument(renderer.models.reader)
    figures = measuring.evaluate(
        found,
        Stage(renderer, speech, RenderOptions(size=size, preview_s=preview_s, crf=12)),
        own if instrument is None else shown.outside_instrument(instrument),
        judge=load_features(judge) if judge else None,
        tell=teller(quiet=quiet or as_json),
    )
    figures = {"instrument": instrument or "vasa's own encoder"} | figures
    click.echo(json.dumps(figures) if as_json else "\n".join(lines(figures)))


def find_portraits(
    places: Sequence[Path], *, limit: int | None, validation: bool = False
) -> list[Path]:
    """Pictures that are given, and those of folders, spread evenly where they are limited.

    Args: limit holds for each folder, of which `validation` takes only people kept out of training.

    Raises: InputError when there is none.
    """
    import numpy as np

    from vasa_cli.errors import InputError
    from vasa_cli.training.data import find_items

    found: list[Path] = []
    for place in places:
        if place.is_file():
            found.append(place)
            continue
        items = [i for i in find_items(place, place, labelled=False) if i.kind == "picture"]
        inside = [i.path for i in items if i.validation or not validation]
        n = len(inside) if limit is None else min(limit, len(inside))
        found += [inside[k] for k in np.linspace(0, len(inside) - 1, n).astype(int)]
    if not found:
        raise InputError(f"no picture in {', '.join(map(str, places))}; give portraits")
    return found


def lines(
    figures: dict[str, Any], path: str = "", *, asked: Sequence[tuple[str, str]] = ASKED
) -> list[str]:
    """Nested figures as lines of text, one a figure, beside what is asked of it."""
    made = []
    for key, value in figures.items():
        name = f"{path} {key}".strip()
        if isinstance(value, dict):
            made += lines(value, name, asked=asked)
        else:
            shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
            wish = next((text for start, text in asked if re.match(start, name)), "")
            made.append(f"{name:44} {shown:12}{wish}".rstrip())
    return made
