"""`vasa extract`: the motion of a filmed face, as a motion file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vasa_cli.cli.motion import motion_line
from vasa_cli.cli.progress import progress_bar
from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.config import DEVICES, Progress


@click.command(epilog="\b\nExample:\n  vasa extract talk.mp4 -o talk.safetensors")
@click.argument("video", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The motion file to write.  [default: beside VIDEO, under its name]",
)
@click.option(
    "--face",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which face of several, counted from 1 on the left.  [default: the largest]",
)
@click.option(
    "--smooth",
    "strength",
    type=FiniteFloat(min=0, max=4),
    metavar="STRENGTH",
    default=1.0,
    help="How much of the tracker's jitter is taken; 0 takes none.",
)
@click.option("-f", "--force", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no warnings.")
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", help="Where the networks run."
)
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights.  [default: as of vasa render]",
)
def extract(
    video: Path,
    *,
    output: Path | None,
    face: int | None,
    strength: float,
    force: bool,
    as_json: bool,
    quiet: bool,
    device: str,
    weights_dir: Path | None,
) -> None:
    """Write the motion of the face in VIDEO: head pose and dynamics of every frame.

    Frames without a face are drawn from their neighbours; they, cuts and whatever else was odd are
    told on stderr.
    """
    from vasa_cli.motion_file import SUFFIX, about, basis_of, save_motion
    from vasa_cli.video import check_output

    output = output or video.with_suffix(SUFFIX)
    check_output(output, force=force, inputs=(video,), suffix=SUFFIX)

    from vasa_cli.film import open_film

    film = open_film(video)

    from vasa_cli import extraction
    from vasa_cli.loading import choose_device, load_reader
    from vasa_cli.weights import find_weights_dir

    folder = find_weights_dir(weights_dir)
    reader = load_reader(folder, choose_device(device))
    with progress_bar(quiet=quiet or as_json) as progress:
        tell = progress or (lambda step: None)
        found = extraction.extract(
            film,
            reader,
            face=face,
            strength=strength,
            basis=basis_of(folder),
            tell=lambda done, total: tell(Progress("film", done, total)),
        )
    save_motion(output, found.recording)
    if not quiet:
        for warning in found.warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
    if as_json:
        plain = {"output": str(output)} | about(found.recording)
        click.echo(json.dumps(plain | {"warnings": list(found.warnings)}))
    else:
        click.echo(motion_line(output, found.recording))
