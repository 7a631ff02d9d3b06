"""The 52 ARKit blend shapes: from dynamics to scores and back, and the CSV that others play.

The layout is Live Link Face's: a timecode, 52 scores from 0 to 1, and the rotations of head and
eyes. Left and right are the person's own, as Apple names them. Rotations are radians about ARKit's
axes: yaw > 0 to the viewer's right, pitch > 0 down, roll > 0 counter-clockwise to the viewer.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vasa_cli.audio import check_input
from vasa_cli.errors import InputError, ResourceError, UsageError
from vasa_cli.geometry import (
    EYEBALL_RADIUS_OVER_EYE_WIDTH,
    EYES,
    N_DYNAMICS,
    N_EXPLICIT,
    N_HEAD_POSE,
    Geometry,
    measure_matrix,
)
from vasa_cli.motion import Motion, catmull_rom
from vasa_cli.motion_file import Recording

_PAIRED_EYE = "Blink LookDown LookIn LookOut LookUp Squint Wide".split()
SHAPES = (
    *(f"Eye{name}{side}" for side in ("Left", "Right") for name in _PAIRED_EYE),
    *"JawForward JawRight JawLeft JawOpen".split(),
    *"MouthClose MouthFunnel MouthPucker MouthRight MouthLeft".split(),
    *(
        f"Mouth{name}{side}"
        for name in "Smile Frown Dimple Stretch".split()
        for side in ("Left", "Right")
    ),
    *"MouthRollLower MouthRollUpper MouthShrugLower MouthShrugUpper".split(),
    *(
        f"Mouth{name}{side}"
        for name in "Press LowerDown UpperUp".split()
        for side in ("Left", "Right")
    ),
    *"BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight".split(),
    *"CheekPuff CheekSquintLeft CheekSquintRight NoseSneerLeft NoseSneerRight TongueOut".split(),
)
ROTATIONS = (
    *"HeadYaw HeadPitch HeadRoll".split(),
    *"LeftEyeYaw LeftEyePitch LeftEyeRoll RightEyeYaw RightEyePitch RightEyeRoll".split(),
)
HEADER = ("Timecode", "BlendShapeCount", *SHAPES, *ROTATIONS)
# From vasa's degrees (right, up, clockwise) to ARKit's axes.
SIGNS = np.array([1.0, -1.0, -1.0])
LEAST_NOISE = 0.03  # standard deviation of a score
USUAL_FPS = 60  # of Live Link Face, where the timecodes do not tell


@dataclass(frozen=True, eq=False)
class ArkitMap:
    """The linear map between dynamics and scores, learned by `vasa train arkit`."""

    weights: np.ndarray  # (N_DYNAMICS, 52) score of one standard deviation
    bias: np.ndarray  # (52,) score of the neutral face
    noise: np.ndarray  # (52,) standard deviation of the teacher's score about the map's

    def scores(self, dynamics: np.ndarray) -> np.ndarray:
        """Scores 0 to 1, (T, 52), in the order of SHAPES, of dynamics (T, N_DYNAMICS)."""
        return np.clip(dynamics @ self.weights + self.bias, 0.0, 1.0)

    def dynamics(self, scores: np.ndarray) -> np.ndarray:
        """The likeliest dynamics (T, N_DYNAMICS) behind scores (T, 52).

        Dynamics have a mean of 0 and a deviation of 1 by their definition, scores a known one about
        the map: the maximum of the posterior is a ridge regression.
        """
        # what the teacher never saw move would count for more than all else
        noise = np.maximum(self.noise, LEAST_NOISE)
        scaled = self.weights / noise
        seen = (scores - self.bias) / noise
        found: np.ndarray = np.linalg.solve(
            scaled @ scaled.T + np.eye(len(scaled)), scaled @ seen.T
        ).T
        return found


def eye_rotations(dynamics: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Yaw and pitch of the eyes in the head, degrees from where they rest, (T, 2): right, up."""
    radius, unit = _eye_scale(geometry)
    return np.degrees(np.arcsin(np.clip(dynamics[:, :2] * unit / radius, -1, 1)))


def gaze_dynamics(rotations_deg: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The first two dynamics (T, 2) of eyes that are turned so; inverse of `eye_rotations`."""
    radius, unit = _eye_scale(geometry)
    return np.sin(np.radians(rotations_deg)) * radius / unit


def absolute_dynamics(recording: Recording) -> np.ndarray:
    """Dynamics (T, N_DYNAMICS) from the neutral face on; rest is neutral where it is not known."""
    dynamics = recording.motion.dynamics.copy()
    if recording.origin is not None:
        for shot, origin in zip(recording.shots, recording.origin):
            dynamics[shot] += origin[N_HEAD_POSE:]
    return dynamics


def absolute_angles(recording: Recording) -> np.ndarray:
    """Yaw, pitch, roll (T, 3) in degrees of a face; from rest where that is not known."""
    angles = recording.motion.head_pose[:, :3].copy()
    if recording.origin is not None:
        for shot, origin in zip(recording.shots, recording.origin):
            angles[shot] += origin[:3]
    return angles


def write_csv(path: Path, recording: Recording, arkit: ArkitMap, geometry: Geometry) -> None:
    """Write a motion as blend shapes; the file bears its name only when it is whole.

    Raises: ResourceError when it cannot be written.
    """
    dynamics = absolute_dynamics(recording)
    head = np.radians(absolute_angles(recording) * SIGNS)
    eyes = np.radians(eye_rotations(dynamics, geometry) * SIGNS[:2])
    eye = np.concatenate([eyes, np.zeros((len(eyes), 1))], 1)
    values = np.concatenate([arkit.scores(dynamics), head, eye, eye], 1)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for k, row in enumerate(values):
                words = (f"{value:.8f}" for value in row)
                writer.writerow((timecode(k, recording.motion.fps), len(row), *words))
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_csv(
    path: Path, arkit: ArkitMap, geometry: Geometry, *, fps: Fraction | None = None
) -> Recording:
    """The motion that blend shapes describe, as changes from the neutral face.

    Columns are found by their names. Rows that are missing are drawn from their neighbours.

    Args:
        fps: the rate of the timecodes; told from them when not given.

    Raises:
        InputError: no such file, no blend shapes in it, or values that are no numbers.
        UsageError: `fps` is below what the timecodes count to.
    """
    codes, columns = _read_table(path)
    told = _rate_of(codes)
    if fps is not None and round(fps) < told and told != USUAL_FPS:
        raise UsageError(
            f"timecodes of {path} count {told} frames a second, and --fps says {float(fps):g}"
        )
    rate = fps or told
    position = np.array([_position(code, rate, path) for code in codes])
    position -= position[0]
    if len(position) > 1 and (np.diff(position) <= 0).any():
        raise InputError(f"timecodes of {path} do not rise; export it anew")
    scores = np.stack([columns.get(name, np.zeros(len(codes))) for name in SHAPES], 1)
    dynamics = arkit.dynamics(scores)
    yaws, pitches = (
        [columns[f"{side}Eye{axis}"] for side in ("Left", "Right") if f"{side}Eye{axis}" in columns]
        for axis in ("Yaw", "Pitch")
    )
    if yaws and pitches:
        turned = np.degrees(np.stack([np.mean(yaws, 0), np.mean(pitches, 0)], 1)) * SIGNS[:2]
        dynamics[:, :2] = gaze_dynamics(turned, geometry)
    head = np.zeros((len(codes), N_HEAD_POSE))
    for k, name in enumerate(ROTATIONS[:3]):
        if name in columns:
            head[:, k] = np.degrees(columns[name]) * SIGNS[k]
    values = np.concatenate([head, dynamics], 1)
    even = np.arange(int(round(position[-1])) + 1)
    if len(even) != len(position) or np.abs(position - even).max() > 0.02:
        values = catmull_rom(values, np.interp(even, position, np.arange(len(position))))
    return Recording(
        Motion(values[:, :N_HEAD_POSE], values[:, N_HEAD_POSE:], rate),
        source=path.name,
        made_by="motion import",
    )


def timecode(frame: int, fps: Fraction) -> str:
    """HH:MM:SS:FF.000 of a frame, counted at the nearest whole rate."""
    base = max(1, round(fps))
    seconds, frames = divmod(frame, base)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}.000"


def _eye_scale(geometry: Geometry) -> tuple[float, np.ndarray]:
    """Radius of the mean face's eyeballs, and what one gaze dynamic moves, (2,), face heights."""
    widths = [
        np.linalg.norm(np.subtract(*geometry.mean[list(eye["corners"]), :2]))
        for eye in EYES.values()
    ]
    basis = geometry.dynamics_basis.reshape(-1, N_DYNAMICS)
    unit = np.diag(measure_matrix() @ basis[:, :N_EXPLICIT])[:2]
    return float(np.mean(widths)) * EYEBALL_RADIUS_OVER_EYE_WIDTH, unit


def _read_table(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Timecodes and the columns that are known, by their names in HEADER."""
    check_input(path, kind="CSV")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV of blend shapes: {error}") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    places = {name: names.index(name.lower()) for name in HEADER if name.lower() in names}
    n_shapes = len(set(places) & set(SHAPES))
    if "Timecode" not in places or n_shapes < len(SHAPES) // 2:
        raise InputError(
            f"{path} is not a CSV of blend shapes: of Timecode and the 52 names, as EyeBlinkLeft,"
            f" its first line has {n_shapes + ('Timecode' in places)}; export it in the layout of"
            " Live Link Face"
        )
    # the app writes rows without values while it sees no face
    rows = [row for row in rows[1:] if len(row) >= len(names)]
    if not rows:
        raise InputError(f"{path} has no row of values")
    columns = {}
    for name, place in places.items():
        if name in ("Timecode", "BlendShapeCount"):
            continue
        try:
            columns[name] = np.array([float(row[place]) for row in rows])
        except ValueError as error:
            raise InputError(f"column {name} of {path} holds what is no number: {error}") from error
        if not np.isfinite(columns[name]).all():
            raise InputError(f"column {name} of {path} holds what is no number")
    return [row[places["Timecode"]] for row in rows], columns


def _rate_of(codes: list[str]) -> Fraction:
    """The rate that timecodes count frames at: one more than their highest frame."""
    frames = [code.strip().split(":")[-1].split(".")[0] for code in codes]
    seconds = {code.strip().rsplit(":", 1)[0] for code in codes}
    if len(seconds) < 2 or not all(frame.isdecimal() for frame in frames):
        return Fraction(USUAL_FPS)
    return Fraction(max(int(frame) for frame in frames) + 1)


def _position(code: str, fps: Fraction, path: Path) -> float:
    """Which frame a timecode HH:MM:SS:FF.fff names."""
    try:
        hours, minutes, seconds, frames = (float(part) for part in code.strip().split(":"))
    except ValueError:
        hours = math.nan
    if not math.isfinite(hours):
        raise InputError(f"{code!r} in {path} is no timecode as 00:00:01:12.000")
    return (hours * 3600 + minutes * 60 + seconds) * round(fps) + frames
