"""What a viewer could see of a face in a video, frame by frame, read off its landmarks.

The quantities and their names are those that any instrument for `vasa evaluate controls` gives.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

import numpy as np

from vasa_cli.errors import InputError, ResourceError, UsageError
from vasa_cli.face import FaceReader
from vasa_cli.geometry import (
    BROWS,
    EYEBALL_RADIUS_OVER_EYE_WIDTH,
    EYES,
    MOUTH_CORNERS,
    rotation_angles,
)
from vasa_cli.track import track
from vasa_cli.video import read_video

QUANTITIES = (
    *("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch", "eye_open"),
    *("mouth_open", "mouth_width", "corner_lift", "corner_skew", "brow_height", "face_height"),
)
Series = dict[str, np.ndarray]  # of each quantity, (T,); NaN where no face was found
Instrument = Callable[[Path], Series]

RIGHT, LEFT = (263, 362, 454, 356), (33, 133, 234, 127)
CHIN, FOREHEAD = (152, 199, 17), (10, 151, 9)
UPPER_LIP, LOWER_LIP = (82, 13, 312), (87, 14, 317)


def shown_series(points: np.ndarray) -> Series:
    """Everything that is measured of points (T, 478, 3) in pixels.

    Angles in degrees, gaze in the head; eye opening over the eye's width; the height in pixels; all
    else over the face's height: corner_lift how far the lips' corners are above the upper lip,
    corner_skew how far the one on the viewer's right is above the other, along the face.
    """
    right = points[:, RIGHT].mean(1) - points[:, LEFT].mean(1)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    away = np.cross(right, points[:, CHIN].mean(1) - points[:, FOREHEAD].mean(1))
    away = away / np.linalg.norm(away, axis=1, keepdims=True)
    down = np.cross(away, right)
    angles = rotation_angles(np.stack([right, down, away], 2))
    height = np.linalg.norm(points[:, 10] - points[:, 152], axis=1)
    eyes = [_eye(points, side) for side in EYES]
    opening, gaze = (np.mean(column, 0) for column in zip(*eyes))
    eye_line = points[:, [33, 133, 362, 263]].mean(1)
    brows = [np.linalg.norm(points[:, brow].mean(1) - eye_line, axis=1) for brow in BROWS]
    upper, lower = points[:, UPPER_LIP].mean(1), points[:, LOWER_LIP].mean(1)
    corners = points[:, MOUTH_CORNERS]
    return {
        **dict(zip(("yaw", "pitch", "roll"), angles.T)),
        "gaze_yaw": gaze[:, 0],
        "gaze_pitch": gaze[:, 1],
        "eye_open": opening,
        "mouth_open": np.linalg.norm(upper - lower, axis=1) / height,
        "mouth_width": np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1) / height,
        "corner_lift": (upper[:, 1] - corners[:, :, 1].mean(1)) / height,
        "corner_skew": ((corners[:, 0] - corners[:, 1]) * down).sum(1) / height,
        "brow_height": np.mean(brows, 0) / height,
        "face_height": height,
    }


def _eye(points: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Opening (T,) over the width, and gaze (T, 2) in degrees, of one eye."""
    eye = EYES[side]
    start, end = (points[:, k] for k in eye["corners"])
    width = np.linalg.norm(end - start, axis=1)
    along = (end - start)[:, :2]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    offset = points[:, eye["iris"][0], :2] - (start + end)[:, :2] / 2
    across = (offset * along).sum(1)
    down = along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]
    reach = np.stack([across, -down], 1) / (width * EYEBALL_RADIUS_OVER_EYE_WIDTH)[:, None]
    gap = points[:, eye["lower"]].mean(1) - points[:, eye["upper"]].mean(1)
    return np.linalg.norm(gap, axis=1) / width, np.degrees(np.arcsin(np.clip(reach, -1, 1)))


def own_instrument(reader: FaceReader) -> Instrument:
    """Reads decoded frames with vasa's own detector and encoder."""

    def measure(video: Path) -> Series:
        seen = track(read_video(video), reader, name=video.name)
        series = shown_series(seen.points.astype(np.float64))
        return {name: np.where(seen.found, values, np.nan) for name, values in series.items()}

    return measure


def outside_instrument(command: str) -> Instrument:
    """Another program, called as `COMMAND VIDEO --series FILE.npz`, that writes the quantities.

    What it does not write is worked out from its `points` (T, 478, 3) in pixels, if it has them.

    Raises: UsageError when the command is empty.
    """
    words = shlex.split(command)
    if not words:
        raise UsageError("the instrument is empty; give the program that measures a video")

    def measure(video: Path) -> Series:
        with tempfile.TemporaryDirectory(prefix="vasa-") as folder:
            path = Path(folder) / "series.npz"
            call = [*words, str(video), "--series", str(path)]
            try:
                done = subprocess.run(call, capture_output=True, text=True, check=False)
            except OSError as error:
                raise UsageError(f"{words[0]} cannot be run: {error.strerror}") from error
            if done.returncode or not path.exists():
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise ResourceError(f"{words[0]} could not measure {video.name}: {last}")
            with np.load(path) as stored:
                given = {name: stored[name] for name in QUANTITIES if name in stored}
                if "points" in stored:
                    given = shown_series(stored["points"].astype(np.float64)) | given
            missing = [name for name in QUANTITIES if name not in given]
            if missing:
                raise InputError(f"{words[0]} does not measure {', '.join(missing)}")
            return {name: given[name].astype(np.float64) for name in QUANTITIES}

    return measure
