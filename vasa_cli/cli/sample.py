"""`vasa motion sample`: the motion of a speech as a file, without a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from vasa_cli.cli.control_options import control_fields, control_options
from vasa_cli.cli.motion import motion_line, output_option
from vasa_cli.cli.progress import progress_bar
from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.cli.render import render as render_command
from vasa_cli.config import MIN_SPEECH_S, SAMPLING, RenderOptions

SHARED = ("device", "as_json", "quiet", "weights_dir")  # options that are those of `vasa render`


def _with_render_options(command: click.Command) -> click.Command:
    shared = {param.name: param for param in render_command.params}
    command.params += [shared[name] for name in (*SAMPLING, *SHARED)]
    return command


@click.command(epilog="\b\nExample:\n  vasa motion sample speech.wav -o talk.safetensors --seed 7")
@click.argument("speech", type=PATH)
@output_option
@control_options
@click.option(
    "--preview",
    "preview_s",
    type=FiniteFloat(min=MIN_SPEECH_S),
    metavar="SECONDS",
    help="Sample only the beginning.",
)
def sample(
    speech: Path,
    *,
    output: Path,
    force: bool,
    device: str,
    as_json: bool,
    quiet: bool,
    weights_dir: Path | None,
    **options: Any,
) -> None:
    """Sample the motion that fits SPEECH and write it as a motion file.

    The word sample may be left out. `vasa render --motion` performs the file, with the same frames
    as when it samples by itself. Controls are applied for a face that looks straight into the
    camera; give them to `vasa render` instead to have them exact for a photo.
    """
    from vasa_cli.audio import check_input, load_audio
    from vasa_cli.motion_file import SUFFIX, as_stored, save_motion
    from vasa_cli.video import check_output

    check_input(speech, kind="sound")  # before torch loads, so that faults are told at once
    check_output(output, force=force, inputs=(speech,), suffix=SUFFIX)

    from vasa_cli.controls import apply_controls
    from vasa_cli.motion_figures import mean_face_code
    from vasa_cli.pipeline import Renderer, sound_warnings

    chosen = RenderOptions(**control_fields(options))
    audio = load_audio(speech, max_seconds=chosen.preview_s)
    renderer = Renderer(weights_dir=weights_dir, device=device)
    with progress_bar(quiet=quiet or as_json) as progress:
        recording = renderer.record(audio, chosen, progress or (lambda step: None))
    models = renderer.models
    motion, limits = apply_controls(
        recording.motion,
        chosen,
        code=mean_face_code(),
        geometry=models.geometry,
        emotions=models.emotions,
        seed=recording.seed or 0,
    )
    recording = replace(recording, motion=as_stored(motion))
    save_motion(output, recording)
    warnings = [*sound_warnings(audio), *limits]
    for warning in () if quiet else warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    plain = {
        "output": str(output),
        "n_frames": len(recording.motion),
        "fps": float(recording.motion.fps),
        "duration_s": recording.duration_s,
        "seed": recording.seed,
        "warnings": warnings,
    }
    line = f"{motion_line(output, recording)}, seed {recording.seed}"
    click.echo(json.dumps(plain) if as_json else line)


sample = _with_render_options(sample)
