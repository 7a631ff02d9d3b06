"""`vasa compare`: two videos, or two folders of them, and whether they are alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vasa_cli.cli.render import PATH, FiniteFloat
from vasa_cli.config import DEVICES, CompareLimits
from vasa_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from vasa_cli.compare import Comparison, PointsOfFrame

LIMITS = CompareLimits()
DIFFERENT = 1


@click.command(epilog="\b\nExample:\n  vasa compare golden.mp4 new.mp4 --diff out/diff.png")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option(
    "--min-psnr",
    type=FiniteFloat(min=0),
    metavar="DB",
    default=LIMITS.min_psnr_db,
    help="The worst frame's peak signal-to-noise ratio; equal frames have 100.",
)
@click.option(
    "--min-ssim",
    type=FiniteFloat(max=1),
    metavar="S",
    default=LIMITS.min_ssim,
    help="The worst frame's structural similarity; equal frames have 1.",
)
@click.option(
    "--max-drift",
    type=FiniteFloat(min=0),
    metavar="D",
    default=LIMITS.max_drift,
    help="The worst frame's mean shift of the face's points, in face heights.  [default: not looked"
    " at]",
)
@click.option("--diff", type=PATH, help="Write the worst frames, and where they differ, as PNG.")
@click.option("--junit", type=PATH, help="Write a JUnit report for a CI service.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option(
    "--device", type=click.Choice(DEVICES), default="auto", help="Where points are found."
)
@click.option(
    "--weights-dir",
    type=PATH,
    help="Folder of the trained weights, for --max-drift.  [default: as of vasa render]",
)
@click.pass_context
def compare(
    ctx: click.Context,
    a: Path,
    b: Path,
    *,
    min_psnr: float,
    min_ssim: float,
    max_drift: float | None,
    diff: Path | None,
    junit: Path | None,
    as_json: bool,
    device: str,
    weights_dir: Path | None,
) -> None:
    """Compare the videos A and B: size, frames, rate, sound, and every frame.

    A and B may be folders: each MP4 in A is then compared with the one of its name in B. Exits with
    0 when all is alike, 1 when anything is not.
    """
    from vasa_cli import compare as library

    pairs = pair_up(a, b)
    limits = CompareLimits(min_psnr_db=min_psnr, min_ssim=min_ssim, max_drift=max_drift)
    points = None if max_drift is None else points_finder(weights_dir, device)
    seen = [library.compare(*pair, limits=limits, points=points) for pair in pairs]
    if junit:
        write_report(junit, library.junit(seen))
    drawable = [one for one in seen if one.worst_frames]
    if diff and drawable:
        library.save_diff(min(drawable, key=lambda one: one.min_psnr_db or 0.0), diff)
    passed = all(one.passed for one in seen)
    if as_json:
        plain = [one.as_json() for one in seen]
        folders = {"passed": passed, "pairs": plain}
        click.echo(json.dumps(folders if a.is_dir() else plain[0]))
    else:
        click.echo("\n".join(comparison_text(one) for one in seen))
    ctx.exit(0 if passed else DIFFERENT)


def pair_up(a: Path, b: Path) -> list[tuple[Path, Path]]:
    """The two files, or the MP4s of two folders by their names.

    Raises:
        UsageError: a file and a folder.
        InputError: a video of one folder is not in the other, or there is none.
    """
    if a.is_dir() != b.is_dir():
        raise UsageError(f"{a} and {b} are a folder and a file; give two of a kind")
    if not a.is_dir():
        return [(a, b)]
    names = [{path.name for path in folder.glob("*.mp4")} for folder in (a, b)]
    if not names[0]:
        raise InputError(f"there is no MP4 in {a}; give a folder of videos")
    if lacking := sorted(names[0] - names[1]):
        raise InputError(f"{', '.join(lacking)} of {a} not in {b}; render all before comparing")
    return [(a / name, b / name) for name in sorted(names[0])]


def points_finder(weights_dir: Path | None, device: str) -> PointsOfFrame:
    """Finds the 478 points of the largest face, with the weights that render."""
    import numpy as np

    from vasa_cli.loading import choose_device, load_models

    reader = load_models(weights_dir, choose_device(device)).reader

    def points(frame: np.ndarray) -> np.ndarray | None:
        faces = reader.detect(frame)
        if not faces:
            return None
        return np.asarray(reader.read_points(frame, max(faces, key=lambda face: face.height)))

    return points


def write_report(path: Path, report: bytes) -> None:
    """Writes the report of a CI service.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.write_bytes(report)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def comparison_text(comparison: Comparison) -> str:
    """A verdict, then a line for each check."""
    verdict = "alike" if comparison.passed else "different"
    lines = [f"{comparison.a} and {comparison.b}: {verdict}"]
    for check in comparison.checks:
        mark = click.style("ok  ", fg="green") if check.passed else click.style("fail", fg="red")
        lines.append(f"{mark}  {check.name:6}  {check.seen}")
    return "\n".join(lines)
