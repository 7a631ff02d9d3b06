"""`vasa plot`: a motion file as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vasa_cli.cli.render import PATH, FiniteFloat

if TYPE_CHECKING:
    from vasa_cli.audio import Audio
    from vasa_cli.plot import Span


@click.command(epilog="\b\nExample:\n  vasa plot talk.safetensors --speech speech.wav -o talk.png")
@click.argument("motion", type=PATH)
@click.option("--speech", type=PATH, metavar="SOUND", help="Draw the waveform and its lip shapes.")
@click.option("-o", "--output", type=PATH, help="The PNG to write.  [default: beside MOTION]")
@click.option(
    "--from", "start_s", type=FiniteFloat(min=0), default=0.0, metavar="S", help="Begin here."
)
@click.option(
    "--to", "stop_s", type=FiniteFloat(min=0), metavar="S", help="End here.  [default: the end]"
)
@click.option("-f", "--force", is_flag=True, help="Replace an output that exists.")
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights.  [default: $VASA_WEIGHTS, else those that came with vasa]",
)
def plot(
    motion: Path,
    *,
    speech: Path | None,
    output: Path | None,
    start_s: float,
    stop_s: float | None,
    force: bool,
    weights_dir: Path | None,
) -> None:
    """Draw mouth, head, gaze, eyes and brows of the motion file MOTION over time.

    With its sound, the colours under the waveform say what the ear hears: lips closed (p b m), lip
    to teeth (f v), rounded, spread or open.
    """
    from vasa_cli.audio import check_input, load_audio
    from vasa_cli.errors import UsageError
    from vasa_cli.loading import load_geometry
    from vasa_cli.motion_edit import cut
    from vasa_cli.motion_figures import read_face
    from vasa_cli.motion_file import basis_of, check_basis, load_motion
    from vasa_cli.plot import draw_plot, save_plot
    from vasa_cli.video import check_output
    from vasa_cli.weights import find_weights_dir

    output = output or motion.with_suffix(".png")
    inputs = (motion,) if speech is None else (motion, speech)
    check_output(output, force=force, inputs=inputs, suffix=".png")
    if speech is not None:
        check_input(speech, kind="sound")
    recording = load_motion(motion)
    folder = find_weights_dir(weights_dir)
    check_basis(recording, motion, basis_of(folder))
    fps, length_s = recording.motion.fps, recording.duration_s
    first = round(start_s * fps)
    last = min(round((length_s if stop_s is None else stop_s) * fps), len(recording.motion)) - 1
    if first > last:
        raise UsageError(f"nothing of {motion} is asked for; it lasts {length_s:.2f} s")
    begins_s = float(first / fps)
    shown = cut(recording, first, last)
    audio: Audio | None = None
    heard: list[Span] = []
    if speech is not None:
        audio, heard = sound_from(load_audio(speech), begins_s, folder)
    picture = draw_plot(
        read_face(shown.motion, load_geometry(folder)),
        title=f"{motion.name}: {len(shown.motion)} frames at {float(fps):g} fps",
        audio=audio,
        heard=heard,
        start_s=begins_s,
    )
    save_plot(output, picture)
    click.echo(f"{click.format_filename(output)}: {picture.width}x{picture.height}")


def sound_from(audio: Audio, start_s: float, weights_dir: Path) -> tuple[Audio, list[Span]]:
    """The sound from a time on, and what its ear hears in it."""
    import torch

    from vasa_cli.loading import build
    from vasa_cli.models.audio_encoder import AudioEncoder
    from vasa_cli.plot import heard_spans
    from vasa_cli.speech import FEATURE_FPS, SpeechReader

    ear, _ = build("audio_encoder", AudioEncoder, weights_dir, torch.device("cpu"))
    phones = SpeechReader(ear).read(audio).phones[round(start_s * FEATURE_FPS) :]
    rest = audio.samples[round(start_s * audio.sample_rate) :]
    return replace(audio, samples=rest), heard_spans(phones, feature_fps=FEATURE_FPS)
