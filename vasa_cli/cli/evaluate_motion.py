"""`vasa evaluate motion`: the sampler in figures, on your own clips and on known phones."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, TextIO

import click

from vasa_cli.cli.evaluate_options import AS_JSON, LIMIT, LIST, QUIET, listed
from vasa_cli.cli.render import FiniteFloat
from vasa_cli.cli.render import render as render_command
from vasa_cli.cli.train_options import CACHE_HELP, DEFAULT_CACHE
from vasa_cli.cli.film_options import SAMPLING
from vasa_cli.config import RenderOptions

SHARED = (*SAMPLING, "weights_dir")  # options that are those of `vasa render`
COLUMNS = {
    "bilabials_closed": "p b m shut",
    "open_vowels_closed": "a shut",
    "labiodentals_to_teeth": "f v up",
    "width": "width",
    "widest": "widest",
    "pauses_p95": "pauses",
    "turn": "turn",
}


@click.command(epilog="\b\nExample:\n  vasa evaluate motion --data clips/ --limit 20")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of clips of talking people.",
)
@click.option(
    "--cache",
    default=DEFAULT_CACHE,
    show_default=True,
    type=click.Path(path_type=Path),
    help=CACHE_HELP,
)
@LIMIT
@LIST
@click.option(
    "--validation",
    is_flag=True,
    help="Only people that `vasa train` keeps out, where it was trained on this folder.",
)
@click.option(
    "--minutes",
    type=FiniteFloat(min=0.5),
    default=10.0,
    show_default=True,
    help="Length of the speech on which head, blinks, drift and seams are measured.",
)
@AS_JSON
@QUIET
def motion(
    data: Path,
    cache: Path,
    limit: int | None,
    names: TextIO | None,
    validation: bool,
    minutes: float,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **sampling: Any,
) -> None:
    """Measure sampled motion against filmed people and against phones whose times are known.

    Clips are read by their labels in --cache, or by vasa's own face reader. Speech of known phones
    comes from espeak-ng and flite, where they are installed.
    """
    from vasa_cli.capp import load_capp
    from vasa_cli.evaluate_motion import evaluate
    from vasa_cli.pipeline import Renderer
    from vasa_cli.training import filmed, spoken
    from vasa_cli.weights import load_manifest

    options = RenderOptions(**sampling)

    def tell(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    items = filmed.choose(data, cache, limit=limit, names=listed(names), validation=validation)
    renderer = Renderer(weights_dir=weights_dir, device="cpu")
    models, files = renderer.models, load_manifest(renderer.weights_dir).files
    clips = filmed.read(
        items,
        models.reader,
        models.geometry,
        models.ear,
        cache=cache,
        key=files["geometry"].sha256[:6] + files["audio_encoder"].sha256[:6],
        tell=tell,
    )
    capp = load_capp(renderer.weights_dir)
    if capp is None:
        tell("left out synchrony: these weights have no capp; make it with `vasa train capp`")
    figures = evaluate(
        clips,
        spoken.spoken(tell),
        lambda audio, seed: renderer.sample_motion(audio, replace(options, seed=seed)),
        models.geometry,
        capp=capp,
        minutes=minutes,
        seed=options.seed,
        tell=tell,
    )
    click.echo(json.dumps(plain(figures)) if as_json else report(figures))


def _with_render_options(command: click.Command) -> click.Command:
    shared = {param.name: param for param in render_command.params}
    command.params += [shared[name] for name in SHARED]
    return command


motion = _with_render_options(motion)


def plain(value: Any) -> Any:
    """The same with null for what could not be measured, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def report(figures: Mapping[str, Any]) -> str:
    """Figures as text: sections with what is asked of them, then tables by voice and kind."""
    from vasa_cli.evaluate_motion import ASKED

    lines = []
    tables = {name: figures[name] for name in ("voices", "kinds") if figures.get(name)}
    for section, found in figures.items():
        if section in ("voices", "kinds"):
            continue
        lines.append(section)
        for name, value in found.items():
            line = f"  {name:26}{value:9.3f}"
            bounds = ASKED.get(f"{section}.{name}")
            lines.append(f"{line}  {verdict(value, *bounds)}" if bounds else line)
    for name, rows in tables.items():
        lines.append(f"{name:32}" + "".join(f"{title:>11}" for title in COLUMNS.values()))
        for row, found in rows.items():
            lines.append(f"  {row:30}" + "".join(f"{found[key]:11.3f}" for key in COLUMNS))
    return "\n".join(lines)


def verdict(value: float, low: float | None, high: float | None) -> str:
    """What is asked of a figure, and whether it is so."""
    met = (low is None or value >= low) and (high is None or value <= high)
    said = "not measured" if math.isnan(value) else "met" if met else "not met"
    if low is None or high is None:
        words = f"at most {high:g}" if low is None else f"at least {low:g}"
    else:
        words = f"{low:g} to {high:g}"
    return f"asked {words}: {said}"
