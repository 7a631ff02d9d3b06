"""`vasa dub`: a film with new words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.film_options import (
    FACE,
    MARKS,
    RUNNING,
    SAMPLING,
    checked,
    tell_result,
    with_render_options,
)
from vasa_cli.cli.progress import progress_bar
from vasa_cli.cli.render import PATH
from vasa_cli.config import FITS, RenderOptions


@with_render_options("preview_s", *SAMPLING, *MARKS, *RUNNING)
@click.command(epilog="\b\nExample:\n  vasa dub talk.mp4 spanish.wav -o out/talk-es.mp4")
@click.argument("video", type=PATH)
@click.argument("speech", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The MP4 to write.  [default: beside VIDEO, as NAME-dubbed.mp4]",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    default="trim",
    help="Where VIDEO and SPEECH differ in length: end with the shorter, hold the last frame, loop"
    " the film, or stretch it.",
)
@FACE
def dub(
    video: Path,
    speech: Path,
    *,
    output: Path | None,
    fit: str,
    face: int | None,
    device: str,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **fields: Any,
) -> None:
    """Give the face in VIDEO the words of SPEECH: mouth and jaw move anew, all else stays.

    What lies outside the lower face is not changed before the marks are put in and the video is
    encoded. Frames in which a hand passes before the mouth are left as they are, and told.
    """
    from vasa_cli.audio import check_input
    from vasa_cli.video import check_output

    options = checked(RenderOptions(**fields))
    output = output or video.with_name(f"{video.stem}-dubbed.mp4")
    check_output(output, force=options.force, inputs=(video, speech))
    check_input(video, kind="video")
    check_input(speech, kind="sound")

    from vasa_cli import dub as library
    from vasa_cli.pipeline import Renderer

    renderer = Renderer(weights_dir=weights_dir, device=device)
    with progress_bar(quiet=quiet or as_json) as progress:
        result = library.dub(
            renderer, video, speech, output, options=options, fit=fit, face=face, progress=progress
        )
    tell_result(result, as_json=as_json, quiet=quiet)
