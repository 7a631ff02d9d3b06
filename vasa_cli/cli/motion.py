"""`vasa motion`: motion as a file: sampled from a sound, looked at, cut, joined, resampled."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasa_cli.cli.render import PATH, FiniteFloat, FrameRate
from vasa_cli.config import FITS, PARTS

if TYPE_CHECKING:
    from vasa_cli.motion_file import Recording

SAMPLER = "vasa_cli.cli.sample"  # module and function that turn a sound into motion


class MotionGroup(click.Group):
    """A group whose first command may be left out: a sound after `motion` is sampled."""

    default = "sample"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [self.default] * (self._sampler() is not None) + super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._sampler() if cmd_name == self.default else super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {self.default, *self.commands, *ctx.help_option_names}
        if args and args[0] not in known and self._sampler() is not None:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] SPEECH")
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS] MOTION...", prefix=" " * 7)

    def _sampler(self) -> click.Command | None:
        try:
            command: click.Command = getattr(import_module(SAMPLER), self.default)
        except ModuleNotFoundError as error:
            if error.name != SAMPLER:
                raise
            return None
        return command


@click.group(
    cls=MotionGroup,
    no_args_is_help=True,
    epilog="\b\nExample:\n  vasa motion cut talk.safetensors --from 1.5 --to 4 -o part.safetensors",
)
def motion() -> None:
    """Make motion files from speech, and work on them.

    A motion file holds head pose and dynamics of every frame, whoever's face they are.
    """


def output_option(command: Any) -> Any:
    """-o and -f of a command that writes a motion file."""
    output = click.option(
        "-o", "--output", type=PATH, required=True, help="The motion file to write, .safetensors."
    )
    force = click.option("-f", "--force", is_flag=True, help="Replace an output that exists.")
    return output(force(command))


def weights_option(command: Any) -> Any:
    """--weights-dir of a command that needs to know what dynamics mean."""
    return click.option(
        "--weights-dir",
        type=PATH,
        help="Folder of the trained weights.  [default: as of vasa render]",
    )(command)


@motion.command(epilog="\b\nExample:\n  vasa motion info talk.safetensors --json")
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print all metadata as one JSON object.")
def info(file: Path, as_json: bool) -> None:
    """Show what the motion FILE holds and where it comes from."""
    from vasa_cli.motion_file import about, load_motion

    recording = load_motion(file)
    click.echo(json.dumps(about(recording)) if as_json else info_text(file, recording))


@motion.command(
    epilog="\b\nExample:\n  vasa motion cut talk.safetensors --from 1.5 --to 4 -o part.safetensors"
)
@click.argument("file", type=PATH)
@click.option(
    "--from", "start_s", type=FiniteFloat(min=0), default=0.0, metavar="S", help="Begin here."
)
@click.option(
    "--to", "end_s", type=FiniteFloat(min=0), metavar="S", help="End here.  [default: the end]"
)
@output_option
def cut(file: Path, start_s: float, end_s: float | None, output: Path, force: bool) -> None:
    """Keep the part of the motion FILE between two times in seconds."""
    from vasa_cli import motion_edit
    from vasa_cli.errors import UsageError

    recording = read(file, output, force=force)
    rate, length_s = recording.motion.fps, recording.duration_s
    end_s = length_s if end_s is None else end_s
    first, last = round(start_s * rate), min(round(end_s * rate), len(recording.motion)) - 1
    if first > last or end_s > length_s + float(1 / rate):
        raise UsageError(
            f"{start_s:g} to {end_s:g} s is no part of {file}, which lasts {length_s:.2f} s"
        )
    write(output, motion_edit.cut(recording, first, last))


@motion.command(
    epilog="\b\nExample:\n  vasa motion join a.safetensors b.safetensors --blend 0.3"
    " -o both.safetensors"
)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option(
    "--blend",
    "blend_s",
    type=FiniteFloat(min=0),
    default=0.0,
    metavar="S",
    help="Seconds over which one fades into the next.",
)
@output_option
def join(files: tuple[Path, ...], blend_s: float, output: Path, force: bool) -> None:
    """Put motion FILES one after the other, at the first one's frame rate."""
    from vasa_cli import motion_edit

    recordings = [read(file, output, force=force) for file in files]
    write(output, motion_edit.join(recordings, blend_s=blend_s))


@motion.command(
    epilog="\b\nExample:\n  vasa motion resample talk.safetensors --fps 60 -o talk60.safetensors"
)
@click.argument("file", type=PATH)
@click.option("--fps", type=FrameRate(), required=True, help="Frames a second: 24, 29.97, 60, ...")
@output_option
def resample(file: Path, fps: Fraction, output: Path, force: bool) -> None:
    """Convert the motion FILE to another frame rate; what happens when stays."""
    from vasa_cli import motion_edit

    write(output, motion_edit.resample(read(file, output, force=force), fps))


@motion.command(
    epilog="\b\nExample:\n  vasa motion mix film.safetensors talk.safetensors --take lips"
    " -o both.safetensors"
)
@click.argument("base", type=PATH)
@click.argument("other", type=PATH)
@click.option(
    "--take",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    required=True,
    help="Take this part from OTHER; may be repeated.",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    default="trim",
    help="How OTHER is made as long as BASE; trim only cuts it off.",
)
@output_option
@weights_option
def mix(
    base: Path,
    other: Path,
    parts: tuple[str, ...],
    fit: str,
    output: Path,
    force: bool,
    weights_dir: Path | None,
) -> None:
    """Put parts of the motion OTHER into the motion BASE, as its lips into a head that nods."""
    from vasa_cli import motion_edit
    from vasa_cli.loading import load_geometry
    from vasa_cli.motion_file import basis_of, check_basis
    from vasa_cli.weights import find_weights_dir

    below, above = (read(file, output, force=force) for file in (base, other))
    folder = find_weights_dir(weights_dir)
    for recording, file in ((below, base), (above, other)):
        check_basis(recording, file, basis_of(folder))
    geometry = load_geometry(folder)
    write(output, motion_edit.mix(below, above, parts, geometry, policy=fit))


@motion.command(
    epilog="\b\nExample:\n  vasa motion smooth film.safetensors --strength 2 -o calm.safetensors"
)
@click.argument("file", type=PATH)
@click.option(
    "--strength",
    type=FiniteFloat(min=0, max=4),
    default=1.0,
    help="How much of what looks like jitter is taken.",
)
@output_option
def smooth(file: Path, strength: float, output: Path, force: bool) -> None:
    """Take the jitter out of the motion FILE and leave what the face did."""
    from vasa_cli import motion_edit

    write(output, motion_edit.smoothed(read(file, output, force=force), strength))


@motion.command(epilog="\b\nExample:\n  vasa motion export talk.safetensors -o talk.csv")
@click.argument("file", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The CSV to write.")
@click.option("-f", "--force", is_flag=True, help="Replace an output that exists.")
@weights_option
def export(file: Path, output: Path, force: bool, weights_dir: Path | None) -> None:
    """Write the motion FILE as 52 ARKit blend shapes, in the layout of Live Link Face."""
    from vasa_cli.motion_file import basis_of, check_basis, load_motion
    from vasa_cli.video import check_output

    check_output(output, force=force, inputs=(file,), suffix=".csv")
    recording = load_motion(file)

    from vasa_cli.arkit import write_csv
    from vasa_cli.loading import load_arkit, load_geometry
    from vasa_cli.weights import find_weights_dir

    folder = find_weights_dir(weights_dir)
    check_basis(recording, file, basis_of(folder))
    write_csv(output, recording, load_arkit(folder), load_geometry(folder))
    click.echo(motion_line(output, recording))


@motion.command(
    name="import", epilog="\b\nExample:\n  vasa motion import take.csv -o take.safetensors"
)
@click.argument("file", type=PATH)
@click.option(
    "--fps", type=FrameRate(), help="Rate of its timecodes.  [default: what they say of it]"
)
@output_option
@weights_option
def import_csv(
    file: Path, fps: Fraction | None, output: Path, force: bool, weights_dir: Path | None
) -> None:
    """Read the CSV FILE of ARKit blend shapes, as Live Link Face writes it, into a motion."""
    from vasa_cli.audio import check_input
    from vasa_cli.motion_file import SUFFIX, basis_of, file_sha256
    from vasa_cli.video import check_output

    check_output(output, force=force, inputs=(file,), suffix=SUFFIX)
    check_input(file, kind="CSV")

    from vasa_cli.arkit import read_csv
    from vasa_cli.loading import load_arkit, load_geometry
    from vasa_cli.weights import find_weights_dir

    folder = find_weights_dir(weights_dir)
    recording = read_csv(file, load_arkit(folder), load_geometry(folder), fps=fps)
    write(output, replace(recording, basis=basis_of(folder), source_sha256=file_sha256(file)))


def read(file: Path, output: Path, *, force: bool) -> Recording:
    """A motion file, once it is known that the output can be written.

    Raises: UsageError and InputError, of the output or the file.
    """
    from vasa_cli.motion_file import SUFFIX, load_motion
    from vasa_cli.video import check_output

    check_output(output, force=force, inputs=(file,), suffix=SUFFIX)
    return load_motion(file)


def write(output: Path, recording: Recording) -> None:
    """Save a recording and say so on stdout."""
    from vasa_cli.motion_file import save_motion

    save_motion(output, recording)
    click.echo(motion_line(output, recording))


def motion_line(path: Path, recording: Recording) -> str:
    """What was made, for a reader: path, frames, seconds, rate."""
    n_frames, fps = len(recording.motion), float(recording.motion.fps)
    return (
        f"{click.format_filename(path)}: {n_frames} frames, {recording.duration_s:.2f} s"
        f" at {fps:g} fps"
    )


def info_text(path: Path, recording: Recording) -> str:
    """What `vasa motion info` prints."""
    import numpy as np

    pose = recording.motion.head_pose
    turn = ", ".join(
        f"{name} {low:+.1f} to {high:+.1f}"
        for name, low, high in zip(
            ("yaw", "pitch", "roll"), np.min(pose[:, :3], 0), np.max(pose[:, :3], 0)
        )
    )
    lines = [motion_line(path, recording), f"made by: {recording.made_by or 'unknown'}"]
    if recording.source:
        lines.append(f"source: {recording.source} (SHA-256 {recording.source_sha256[:12] or '-'})")
    lines.append(f"head: {turn} degrees from rest")
    lines.append(f"shots: {len(recording.shots)}")
    if recording.filled:
        gaps = ", ".join(f"{a}-{b}" for a, b in recording.filled)
        lines.append(f"filled frames: {gaps}")
    lines += [f"{key}: {value}" for key, value in recording.notes.items()]
    return "\n".join(lines)
