"""`vasa evaluate watermark`: what survives of vasa's marks, and how often they are seen wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from vasa_cli.cli.evaluate_motion import verdict
from vasa_cli.cli.evaluate_options import AS_JSON, LIMIT, LIST, QUIET, listed
from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.config import SIZE_RANGE, RenderOptions

if TYPE_CHECKING:
    from vasa_cli.evaluate_watermark import FalseAlarms, Figures, Survival

LEAST_RATE, MOST_ALARMS, LEAST_PSNR_DB, MOST_MS = 0.99, 1e-4, 42.0, 4.0


@click.command(epilog="\b\nExample:\n  vasa evaluate watermark --data clips/ --marked 20 --keys 5")
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of videos that bear no mark of vasa.",
)
@LIMIT
@LIST
@click.option(
    "--marked",
    type=click.IntRange(min=1),
    default=100,
    help="At most so many of them are marked and attacked, spread evenly.",
)
@click.option(
    "--keys",
    type=click.IntRange(min=1),
    default=60,
    help="Patterns that nobody used, for which each video is searched beside vasa's own.",
)
@click.option(
    "--seconds",
    type=FiniteFloat(min=0.04),
    default=2.0,
    help="Of each video, from its beginning, that are marked.",
)
@click.option(
    "--size",
    type=click.IntRange(*SIZE_RANGE),
    default=RenderOptions.size,
    help="Side of the marked videos in pixels: their middle squares, resized.",
)
@AS_JSON
@QUIET
@click.option("--weights-dir", type=PATH, help="Folder of the weights, whose checksums are signed.")
def watermark(
    data: Path,
    limit: int | None,
    names: TextIO | None,
    marked: int,
    keys: int,
    seconds: float,
    size: int,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
) -> None:
    """Mark videos as a render does, attack them with ffmpeg, and look for every mark.

    The same videos are searched, unmarked, for vasa's pattern and for patterns that nobody used, to
    count false alarms. Where vasa[provenance] is installed they are signed too, with a key made
    for that.
    """
    import torch

    from vasa_cli.evaluate import find_clips
    from vasa_cli.evaluate_watermark import evaluate
    from vasa_cli.weights import find_weights_dir

    def tell(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if size % 2:
        raise click.UsageError(f"H.264 needs an even size; give {size - 1} or {size + 1}")
    figures = evaluate(
        find_clips(data, limit=limit, names=listed(names)),
        n_marked=marked,
        n_keys=keys,
        seconds=seconds,
        size=size,
        weights_dir=find_weights_dir(weights_dir),
        n_threads=torch.get_num_threads(),
        tell=tell,
    )
    click.echo(json.dumps(figures.as_json()) if as_json else report(figures))


def report(figures: Figures) -> str:
    """A table of attacks by layer, then what else is asked of a watermark."""
    from vasa_cli.cli.batch_text import table
    from vasa_cli.evaluate_watermark import CONFIDENCE

    heads = ("done to the video", "comment", "XMP", "credentials", "watermark", "lowest score", "")
    rows: list[tuple[str, ...]] = [heads, *map(_row, figures.survivals)]
    psnr = f"{figures.worst_psnr_db:.1f} dB at worst, {figures.mean_psnr_db:.1f} on average"
    return "\n".join(
        [
            table(rows),
            "",
            f"marked: {figures.survivals[0].n_videos} videos, {figures.n_marked_frames} frames of"
            f" {figures.size}x{figures.size}",
            f"PSNR to the unmarked frame: {psnr};"
            f" {verdict(figures.worst_psnr_db, LEAST_PSNR_DB, None)}",
            f"marking a frame: {figures.frame_ms:.2f} ms of one core;"
            f" {verdict(figures.frame_ms, None, MOST_MS)}",
            _alarms("vasa's pattern", figures.own),
            f"{_alarms('patterns that nobody used', figures.foreign)};"
            f" the rate is below {figures.rate_bound:.1e} with {CONFIDENCE:.0%} confidence;"
            f" {verdict(figures.rate_bound, None, MOST_ALARMS)}",
        ]
    )


def _row(one: Survival) -> tuple[str, ...]:
    states = ", ".join(
        state if n == one.n_videos else f"{n} {state}" for state, n in one.credentials.items()
    )
    return (
        one.attack.name,
        f"{one.n_comments}/{one.n_videos}",
        f"{one.n_packets}/{one.n_videos}",
        states or "unsigned",
        f"{one.n_found}/{one.n_videos}",
        f"{one.lowest_z:.1f}",
        verdict(one.rate, LEAST_RATE, None) if one.attack.asked else "",
    )


def _alarms(what: str, seen: FalseAlarms) -> str:
    return (
        f"false alarms, {what}: {seen.n_found} in {seen.n_searches} searches of {seen.n_videos}"
        f" unmarked videos ({seen.n_frames} frames), highest score {seen.highest_z:.1f}"
    )
