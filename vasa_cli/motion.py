"""What a face does over time: head poses and dynamics of every frame, whoever's face it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from vasa_cli.config import MOTION_FPS
from vasa_cli.geometry import (
    EXPLICIT,
    N_DYNAMICS,
    N_HEAD_POSE,
    FaceCode,
    Geometry,
    join_inner_lips,
)

MOUTH_OPEN = EXPLICIT.index("mouth_open")
LIDS = (EXPLICIT.index("lid_right"), EXPLICIT.index("lid_left"))
# The sampler is free with head, gaze, lids and brows; the rest of the face follows the sound, the
# lips by the articulator: on validation clips the mouth's opening as sampled freely correlates with
# the real one at 0.35, with noise withheld at 0.44.
FREE = EXPLICIT[:4] + ("brow_height",)
FACE_LIBERTY = 0.2
# At 1.65 the head turns by 0.18 degrees a frame, at 1.8 by 0.19, at 1.95 by 0.21; people's by 0.12
# (median) to 0.27 (mean) once what their labels tremble by is taken away. At 1.95 it goes with the
# voice less, and wanders more in ten minutes. A livelier style than any that was filmed would do
# too, but blinks twice as often.
HEAD_LIBERTY = 1.8
LIDS_LIBERTY = 1.75  # blinks are rare, and the sampler is shy of what is rare: 2 a minute at 1.0
TRUSTED = 0.4  # correlation with real faces from which the articulator decides, not the sampler
# Frames over which a step between two sampled windows, or from the photo to the first, is taken
# out. Any step of a head is seen. Eyes that settle within 5 frames jump. Lips follow the sound and
# have no seams.
HEAD_SETTLES, FACE_SETTLES = 20, 12
SILENCE_FRAMES = 7  # a silence must last about so long to rest the mouth
SILENCE_FROM, SILENCE_SURE = 0.5, 0.85  # mean posterior at which the lips begin to meet, and meet
KEPT_EXPRESSION = 0.6  # share of the photo's own expression that stays while it speaks


@dataclass(frozen=True)
class Motion:
    """Changes from a face at rest, frame by frame.

    head_pose: (T, 6) yaw, pitch, roll in degrees, x and y in crop units, logarithm of the
        distance, all as changes from the photo.
    dynamics: (T, N_DYNAMICS) changes from rest in standard deviations; the mouth's opening is
        measured from closed lips.
    """

    head_pose: np.ndarray
    dynamics: np.ndarray
    fps: Fraction = Fraction(MOTION_FPS)

    def __len__(self) -> int:
        return len(self.head_pose)

    def resample(self, fps: Fraction, n_frames: int) -> Motion:
        """The same motion at another rate, cubic between frames.

        Frame k is shown at (k + 0.5) / fps seconds.
        """
        if fps == self.fps and n_frames == len(self):
            return self
        position = (np.arange(n_frames) + 0.5) * float(self.fps / fps) - 0.5
        both = np.concatenate([self.head_pose, self.dynamics], 1)
        both = catmull_rom(both, np.clip(position, 0, len(self) - 1))
        return Motion(both[:, :N_HEAD_POSE], both[:, N_HEAD_POSE:], fps)


def liberty() -> np.ndarray:
    """How much chance each column of head pose and dynamics is left, (6 + N_DYNAMICS,) float32."""
    share = np.full(N_HEAD_POSE + N_DYNAMICS, FACE_LIBERTY, np.float32)
    share[:N_HEAD_POSE] = HEAD_LIBERTY
    share[[N_HEAD_POSE + EXPLICIT.index(name) for name in FREE]] = 1.0
    share[[N_HEAD_POSE + k for k in LIDS]] = LIDS_LIBERTY
    return share


def articulated(trust: np.ndarray) -> np.ndarray:
    """Which columns the articulator decides, (6 + N_DYNAMICS,) bool.

    Args: trust (N_DYNAMICS,) how well each of the dynamics follows from sound.
    """
    chosen = np.zeros(N_HEAD_POSE + N_DYNAMICS, bool)
    chosen[N_HEAD_POSE:] = trust >= TRUSTED
    chosen[[N_HEAD_POSE + EXPLICIT.index(name) for name in FREE]] = False
    chosen[[N_HEAD_POSE + k for k in LIDS]] = False
    return chosen


def settling() -> np.ndarray:
    """Frames over which each column of head pose and dynamics meets what was, (6 + N_DYNAMICS,)."""
    frames = np.full(N_HEAD_POSE + N_DYNAMICS, FACE_SETTLES, np.float32)
    frames[:N_HEAD_POSE] = HEAD_SETTLES
    return frames


def catmull_rom(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows of `values` (T, D) at fractional positions (N,), by the Catmull-Rom cubic."""
    base = np.floor(position).astype(int)
    t = (position - base)[:, None].astype(values.dtype)
    p0, p1, p2, p3 = (values[np.clip(base + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    return 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )


def resting_dynamics(code: FaceCode, limits: np.ndarray) -> np.ndarray:
    """What this face does when it says nothing, (N_DYNAMICS,).

    The photo's expression, softened, with the lips together and eyes as they are.

    Args: limits (2, N_DYNAMICS), smallest and largest value kept.
    """
    rest = np.clip(code.dynamics, limits[0], limits[1])
    kept = np.full(N_DYNAMICS, KEPT_EXPRESSION)
    kept[:2] = 1.0  # gaze
    kept[list(LIDS)] = 1.0
    rest = rest * kept
    rest[MOUTH_OPEN] = 0.0
    return rest


def rest_in_silence(silence: np.ndarray) -> np.ndarray:
    """Share of the mouth's opening, (T,), that is left where the ear is sure that nobody speaks.

    Args: silence (T,) the ear's posterior of silence, one a frame.
    """
    reach = np.ones(SILENCE_FRAMES) / SILENCE_FRAMES
    padded = np.pad(silence, SILENCE_FRAMES // 2, mode="edge")
    lasting = np.convolve(padded, reach, mode="valid")[: len(silence)]
    left: np.ndarray = 1 - ((lasting - SILENCE_FROM) / (SILENCE_SURE - SILENCE_FROM)).clip(0, 1)
    return left


def perform(motion: Motion, code: FaceCode, geometry: Geometry) -> np.ndarray:
    """The points (T, 478, 3) in crop units of one face performing a motion."""
    # a gap of the photo's lips that the bases leave over would keep them apart for ever
    code = replace(code, detail=join_inner_lips(code.detail))
    head_pose = code.head_pose[None] + motion.head_pose
    head_pose[:, 5] = code.head_pose[5] * np.exp(motion.head_pose[:, 5])
    dynamics = resting_dynamics(code, geometry.dynamics_limit) + motion.dynamics
    return geometry.landmarks(code, head_pose=head_pose, dynamics=dynamics)


def from_video(head_pose: np.ndarray, dynamics: np.ndarray) -> Motion:
    """Motion of a filmed face: changes from its own median pose and expression.

    The mouth's opening is measured from closed lips.

    Args: head_pose (T, 6) and dynamics (T, N_DYNAMICS) as `Geometry.fit_sequence` gives them.
    """
    pose = head_pose.copy()
    pose[:, 5] = np.log(pose[:, 5])
    rest = np.median(dynamics, 0)
    rest[MOUTH_OPEN] = 0.0
    return Motion(pose - np.median(pose, 0), dynamics - rest)


def without_gaps(motion: Motion, found: np.ndarray) -> Motion:
    """The same motion, frames without a face drawn straight between their neighbours.

    Args: found (T,) False where no face was found.
    """
    seen, every = np.flatnonzero(found), np.arange(len(motion))

    def filled(values: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(every, seen, column[seen]) for column in values.T], 1)

    return replace(motion, head_pose=filled(motion.head_pose), dynamics=filled(motion.dynamics))
