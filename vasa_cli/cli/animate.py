"""`vasa animate`: a portrait performs what a film or a motion file shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.film_options import (
    MARKS,
    RUNNING,
    SAMPLING,
    checked,
    tell_result,
    with_render_options,
)
from vasa_cli.cli.progress import progress_bar
from vasa_cli.cli.render import PATH, FiniteFloat, FrameRate
from vasa_cli.config import FITS, PARTS, RenderOptions


@with_render_options(
    *("size", "frame", "preview_s", "face_box", "face", *SAMPLING, *MARKS, "ingredient", *RUNNING)
)
@click.command(epilog="\b\nExample:\n  vasa animate photo.png dance.mp4 -o out/dance.mp4")
@click.argument("photo", type=PATH)
@click.argument("driver", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The MP4 to write.  [default: beside DRIVER, as NAME-animated.mp4]",
)
@click.option(
    "--only",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Take only this part of the motion; may be repeated.  [default: all; all but the lips with"
    " --speech]",
)
@click.option(
    "--speech",
    type=PATH,
    metavar="SOUND",
    help="Let this sound be heard, and drive what is not taken from DRIVER.",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    default="trim",
    help="How the motion is made as long as --speech; trim only cuts it off.",
)
@click.option(
    "--neutral",
    default="median",
    metavar="FRAME",
    help="What counts as rest: median of each shot, first, or a frame's number from 0.",
)
@click.option(
    "--absolute",
    is_flag=True,
    help="Turn and expression as filmed, not as changes from rest.",
)
@click.option(
    "--driver-face",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which face of DRIVER, counted from 1 on the left.  [default: the largest]",
)
@click.option(
    "--smooth",
    type=FiniteFloat(min=0, max=4),
    metavar="STRENGTH",
    default=1.0,
    help="How much of the tracker's jitter is taken; 0 takes none.",
)
@click.option("--fps", type=FrameRate(), help="Frames a second.  [default: as DRIVER has]")
def animate(
    photo: Path,
    driver: Path,
    *,
    output: Path | None,
    parts: tuple[str, ...],
    speech: Path | None,
    fit: str,
    neutral: str,
    absolute: bool,
    driver_face: int | None,
    smooth: float,
    fps: Fraction | None,
    device: str,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **fields: Any,
) -> None:
    """Make the portrait PHOTO perform DRIVER, a video or a motion file.

    The motion is taken as changes from rest, and lips that touch, touch. The sound of a video is
    kept.
    """
    from vasa_cli.audio import check_input
    from vasa_cli.video import check_output

    if fps is not None:
        fields["fps"] = fps
    options = checked(RenderOptions(**fields))
    output = output or driver.with_name(f"{driver.stem}-animated.mp4")
    inputs = (photo, driver, *([speech] if speech else []))
    check_output(output, force=options.force, inputs=inputs)
    for path, kind in zip(inputs, ("picture", "video or motion", "sound")):
        check_input(path, kind=kind)

    from vasa_cli import animate as library
    from vasa_cli.pipeline import Renderer

    driving = library.Driving(
        parts=parts,
        neutral=neutral,
        absolute=absolute,
        speech=speech,
        fit=fit,
        face=driver_face,
        smooth=smooth,
    )
    renderer = Renderer(weights_dir=weights_dir, device=device)
    with progress_bar(quiet=quiet or as_json) as progress:
        result = library.animate(
            renderer,
            photo,
            driver,
            output,
            options=options,
            driving=driving,
            fps_from_driver=fps is None,
            progress=progress,
        )
    tell_result(result, as_json=as_json, quiet=quiet)
