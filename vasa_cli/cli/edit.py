"""`vasa edit`: a film of a face, changed where it is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.control_options import Control
from vasa_cli.cli.film_options import (
    FACE,
    MARKS,
    RUNNING,
    checked,
    tell_result,
    with_render_options,
)
from vasa_cli.cli.progress import progress_bar
from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.config import RenderOptions
from vasa_cli.control_values import EMOTIONS, GAZES, Emotion, Gaze


class FrameSpan(click.ParamType):
    """First and last frame as 40-52, or one frame as 40."""

    name = "frames"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", str(value))
        if found is None:
            self.fail(f"{value!r} is no span of frames; give 40-52", param, ctx)
        first = int(found[1])
        last = first if found[2] is None else int(found[2])
        if last < first:
            self.fail(f"{value!r} ends before it begins; give {last}-{first}", param, ctx)
        return first, last


@with_render_options("preview_s", *MARKS, *RUNNING)
@click.command(epilog="\b\nExample:\n  vasa edit talk.mp4 --gaze camera -o out/talk.mp4")
@click.argument("video", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The MP4 to write.  [default: beside VIDEO, as NAME-edited.mp4]",
)
@click.option(
    "--gaze",
    type=Control("gaze", "angles"),
    metavar="YAW,PITCH",
    help="Where the eyes look in the camera's frame, in degrees right and up, or one of"
    f" {', '.join(GAZES)}.  [default: as filmed]",
)
@click.option(
    "--blinks",
    type=FiniteFloat(min=0, max=60),
    metavar="N",
    help="Blinks a minute: too many go, missing ones are added.  [default: as filmed]",
)
@click.option(
    "--emotion",
    type=Control("emotion", "mix"),
    metavar="NAME:STRENGTH,...",
    help=f"Added to what the face shows, strengths 0 to 1: {', '.join(EMOTIONS)}.",
)
@click.option(
    "--steady",
    type=FiniteFloat(min=0, max=1),
    metavar="SHARE",
    default=0.0,
    help="Share of the head's quick movements that is taken, 0 to 1.",
)
@click.option(
    "--fill",
    type=FrameSpan(),
    multiple=True,
    metavar="FIRST-LAST",
    help="Frames, counted from 0, that are bad or missing: draw them from those around; may be"
    " repeated.",
)
@FACE
def edit(
    video: Path,
    *,
    output: Path | None,
    gaze: Gaze | None,
    blinks: float | None,
    emotion: Emotion | None,
    steady: float,
    fill: tuple[tuple[int, int], ...],
    face: int | None,
    device: str,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **fields: Any,
) -> None:
    """Change the face in VIDEO: eye contact, blinks, emotion, a steadier head, frames filled in.

    What lies around it, and the sound, stay as filmed.
    """
    from vasa_cli.audio import check_input
    from vasa_cli.video import check_output

    options = checked(RenderOptions(**fields))
    output = output or video.with_name(f"{video.stem}-edited.mp4")
    check_output(output, force=options.force, inputs=(video,))
    check_input(video, kind="video")

    from vasa_cli import edit as library
    from vasa_cli.pipeline import Renderer

    edits = library.Edits(gaze=gaze, blinks=blinks, emotion=emotion or (), steady=steady, fill=fill)
    renderer = Renderer(weights_dir=weights_dir, device=device)
    with progress_bar(quiet=quiet or as_json) as progress:
        result = library.edit(
            renderer, video, output, options=options, edits=edits, face=face, progress=progress
        )
    tell_result(result, as_json=as_json, quiet=quiet)
