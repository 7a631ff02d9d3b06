"""`vasa render`: one portrait and one sound file to one video."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.control_options import control_fields, control_options
from vasa_cli.cli.progress import progress_bar
from vasa_cli.config import (
    CRF_RANGE,
    DEVICES,
    FPS_RANGE,
    FRAMES,
    MIN_SPEECH_S,
    PROVENANCE_MODES,
    SAMPLING,
    SIZE_RANGE,
    RenderOptions,
    RenderResult,
)
from vasa_cli.errors import VasaError

DEFAULTS = RenderOptions()
# What broadcasters write, and what they mean by it.
NTSC_RATES = {
    Fraction(text): Fraction(base * 1000, 1001)
    for text, base in (("23.976", 24), ("23.98", 24), ("29.97", 30), ("59.94", 60))
}
MAX_FPS_DENOMINATOR = 100_000


class FrameRate(click.ParamType):
    """A frame rate as an exact fraction: 25, 29.97 or 30000/1001."""

    name = "rate"

    def convert(
        self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        try:
            fps = Fraction(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value} is no frame rate; give 25, 29.97 or 30000/1001", param, ctx)
        fps = NTSC_RATES.get(fps, fps)
        if not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
            self.fail(f"{value} is not in the range {FPS_RANGE[0]} to {FPS_RANGE[1]}", param, ctx)
        if fps.denominator > MAX_FPS_DENOMINATOR:
            self.fail(f"{value} has too many digits; give a fraction as 30000/1001", param, ctx)
        return fps


class FaceBox(click.ParamType):
    """A box in the photo: left, top, right and bottom in pixels."""

    name = "box"

    def convert(
        self,
        value: str | tuple[float, float, float, float],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, float, float, float]:
        if not isinstance(value, str):
            return value
        try:
            left, top, right, bottom = (float(side) for side in value.split(","))
        except ValueError:
            self.fail(f"{value} is no box; give four numbers as 120,80,360,320", param, ctx)
        if (
            not all(map(math.isfinite, (left, top, right, bottom)))
            or left >= right
            or top >= bottom
        ):
            self.fail(f"{value} is empty; give left,top,right,bottom in pixels", param, ctx)
        return left, top, right, bottom


class FiniteFloat(click.FloatRange):
    """A range of numbers that `nan` and `inf` are outside of."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


# The library checks what is there, with the same words for the command and for Python.
PATH = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExample:\n  vasa render photo.png speech.wav -o out/talk.mp4 --size 512 --seed 7"
)
@click.argument("photo", type=PATH)
@click.argument("speech", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The MP4 to write.  [default: beside SPEECH, under its name]",
)
@click.option(
    "--size",
    type=click.IntRange(*SIZE_RANGE),
    metavar="PIXELS",
    default=DEFAULTS.size,
    help="Side of the square video in pixels; with --frame photo its longer side.",
)
@click.option(
    "--fps",
    type=FrameRate(),
    default=DEFAULTS.fps,
    help="Frames a second: 25, 29.97, 30000/1001, ...",
)
@click.option(
    "--frame",
    type=click.Choice(FRAMES),
    default=DEFAULTS.frame,
    help="A square around the face, or the whole photo with the head moving in it.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=DEFAULTS.seed,
    help="Another seed moves otherwise; the same seed makes the same video.",
)
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", help="Where the networks run."
)
@click.option(
    "--crf",
    type=click.IntRange(*CRF_RANGE),
    metavar="N",
    default=DEFAULTS.crf,
    help="Quality of the video: 0 loses nothing, 51 nearly all.",
)
@click.option(
    "--preview",
    "preview_s",
    type=FiniteFloat(min=MIN_SPEECH_S),
    metavar="SECONDS",
    default=DEFAULTS.preview_s,
    help="Render only the beginning.",
)
@click.option(
    "--face-box",
    type=FaceBox(),
    metavar="L,T,R,B",
    default=DEFAULTS.face_box,
    help="Where the face is, in pixels of the upright photo, when it is not found by itself.",
)
@click.option(
    "--face",
    type=click.IntRange(min=1),
    metavar="N",
    default=DEFAULTS.face,
    help="Which face of several, counted from 1 on the left.  [default: the largest]",
)
@click.option(
    "--steps",
    "num_steps",
    type=click.IntRange(min=1),
    metavar="N",
    default=DEFAULTS.num_steps,
    help="Steps of the motion sampler.",
)
@click.option(
    "--guidance-audio",
    type=FiniteFloat(min=0),
    metavar="SCALE",
    default=DEFAULTS.guidance_audio,
    help="How strongly the sound drives the motion beyond what was learned; 0 adds nothing.",
)
@click.option(
    "--guidance-gaze",
    type=FiniteFloat(min=0),
    metavar="SCALE",
    default=DEFAULTS.guidance_gaze,
    help="How strongly the head goes along with a gaze that is asked; the eyes are exact anyway.",
)
@click.option(
    "--motion",
    type=PATH,
    metavar="FILE",
    default=DEFAULTS.motion,
    help="Perform this motion file, as of `vasa motion`, instead of sampling from the sound.",
)
@control_options
@click.option(
    "--watermark/--no-watermark",
    default=DEFAULTS.watermark,
    help="An invisible mark in every frame, which `vasa verify` finds.",
)
@click.option(
    "--provenance",
    type=click.Choice(PROVENANCE_MODES),
    default=DEFAULTS.provenance,
    help="Tags and a signature: auto signs when it can, required signs or fails, off writes none.",
)
@click.option(
    "--label",
    metavar="TEXT",
    default=DEFAULTS.label,
    help="A small visible text in the corner, as 'AI-generated'.",
)
@click.option(
    "--cert",
    "certificate",
    type=PATH,
    metavar="PEM",
    default=DEFAULTS.certificate,
    help="Certificate chain to sign with.  [default: from `vasa keys init`]",
)
@click.option(
    "--key",
    "private_key",
    type=PATH,
    metavar="PEM",
    default=DEFAULTS.private_key,
    help="Private key of --cert.",
)
@click.option(
    "--ingredient",
    is_flag=True,
    help="Sign the photo's file name and checksum into the video too.",
)
@click.option("-f", "--force", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no warnings.")
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights.  [default: $VASA_WEIGHTS, else those that came with vasa]",
)
def render(
    photo: Path,
    speech: Path,
    *,
    output: Path | None,
    size: int,
    fps: Fraction,
    frame: str,
    seed: int,
    device: str,
    crf: int,
    preview_s: float | None,
    face_box: tuple[float, float, float, float] | None,
    face: int | None,
    num_steps: int,
    guidance_audio: float,
    guidance_gaze: float,
    motion: Path | None,
    watermark: bool,
    provenance: str,
    label: str | None,
    certificate: Path | None,
    private_key: Path | None,
    ingredient: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **controls: Any,
) -> None:
    """Make the portrait PHOTO speak what is said in SPEECH.

    PHOTO is any picture, SPEECH any sound file or video with sound. The result goes to stdout, all
    else to stderr.
    """
    options = build_options(
        size=size,
        fps=fps,
        frame=frame,
        seed=seed,
        crf=crf,
        preview_s=preview_s,
        face_box=face_box,
        face=face,
        num_steps=num_steps,
        guidance_audio=guidance_audio,
        guidance_gaze=guidance_gaze,
        motion=motion,
        watermark=watermark,
        provenance=provenance,
        label=label,
        certificate=certificate,
        private_key=private_key,
        ingredient=ingredient,
        force=force,
        **controls,
    )
    from vasa_cli.video import default_output

    output = output or default_output(speech)
    # before torch loads, so that faults are told at once
    check_files(photo, speech, output, motion=motion, force=force)
    check_marks(options)

    from vasa_cli.pipeline import Renderer

    renderer = Renderer(weights_dir=weights_dir, device=device)
    with progress_bar(quiet=quiet or as_json) as progress:
        result = renderer.render(photo, speech, output, options=options, progress=progress)

    if not quiet:
        for warning in result.warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(json.dumps(result.as_json()) if as_json else result_line(result))


def build_options(**fields: Any) -> RenderOptions:
    """The options of one video from the values of the flags; `vasa batch` uses it too.

    Raises:
        click.UsageError: two flags contradict each other.
    """
    if fields["face"] is not None and fields["face_box"] is not None:
        raise click.UsageError("--face and --face-box both choose the face; give one of them")
    idle = [name for name in SAMPLING if fields[name] != getattr(DEFAULTS, name)]
    if fields["motion"] is not None and idle:
        flags = {param.name: param.opts[-1] for param in render.params}
        raise click.UsageError(
            f"with --motion {', '.join(map(flags.__getitem__, idle))} would change nothing;"
            " give one or the other"
        )
    return RenderOptions(**control_fields(fields))


def check_files(
    photo: Path, speech: Path, output: Path, *, motion: Path | None = None, force: bool
) -> None:
    """Refuses files that cannot be read or written.

    Raises:
        VasaError: of the first fault's kind, naming all of them.
    """
    from vasa_cli.audio import check_input
    from vasa_cli.video import check_output

    checks = [
        partial(check_input, photo, kind="picture"),
        partial(check_input, speech, kind="sound"),
        partial(check_output, output, force=force, inputs=(photo, speech)),
    ]
    if motion is not None:
        checks.append(partial(check_input, motion, kind="motion"))
    faults: list[VasaError] = []
    for check in checks:
        try:
            check()
        except VasaError as fault:
            faults.append(fault)
    if faults:
        raise type(faults[0])("; ".join(map(str, faults)))


def check_marks(options: RenderOptions) -> None:
    """Refuses a label that cannot be drawn and a signature that cannot be made.

    Raises:
        UsageError: the label cannot be drawn.
        ProvenanceError: a signature is required, and its package or key is missing or wrong.
    """
    from vasa_cli import label, provenance

    if options.label is not None:
        label.check_text(options.label)
    provenance.find_key(options)


def result_line(result: RenderResult) -> str:
    """What was made, for a reader: path, seconds, frames a second, seed, marks and time taken."""
    path = click.format_filename(result.output)
    made = f"{result.duration_s:.2f} s at {float(result.fps):g} fps"
    if result.seed is not None:
        made += f", seed {result.seed}"
    if result.provenance != "off":
        made += f"; {result.provenance}"
    return f"{path}: {made} (rendered in {result.elapsed_s:.1f} s on {result.device})"
