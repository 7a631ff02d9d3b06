"""Figures of motion, from its arrays alone: lips, eyes, head, jitter, drift, seams, correlations.

Lengths are in mean face heights, angles in degrees, both as changes from rest; frames are the
motion's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Mapping, Sequence

import numpy as np

from vasa_cli.geometry import (
    EXPLICIT,
    LIPS,
    N_DYNAMICS,
    N_IDENTITY,
    RIGID,
    FaceCode,
    Geometry,
    face_measures,
    gaze_angles,
)
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, perform

LOWER_LIP = (87, 14, 317)
UPPER_LIP = (82, 13, 312)
SHUT, HALF_OPEN = (
    0.6,
    0.8,
)  # of the eyes' usual opening: a blink goes below one, and lasts below two
BLOCK_FRAMES = 500
LONGEST_BLINK_S = 0.5  # below SHUT; what lasts longer is a look down, or sleep


@dataclass(frozen=True, eq=False)
class Face:
    """What a performance shows in every frame, whoever's face performs it."""

    fps: Fraction
    opening: np.ndarray  # (T,) gap of the inner lips, 0 where they touch
    width: np.ndarray  # (T,) of the mouth, as a change
    lower_lip: np.ndarray  # (T,) how far the lower lip is below the line where lips meet at rest
    eyes: np.ndarray  # (T,) opening of both eyes, 1 at rest
    brows: np.ndarray  # (T,) height, as a change
    gaze: np.ndarray  # (T, 2) yaw and pitch of the eyes in the head
    angles: np.ndarray  # (T, 3) yaw, pitch and roll of the head


def read_face(motion: Motion, geometry: Geometry) -> Face:
    """What a motion shows on the mean face."""
    unit = geometry.displacement(np.eye(N_DYNAMICS))  # (N_DYNAMICS, 478, 3)
    changes = motion.dynamics @ face_measures(unit)  # (T, N_EXPLICIT)
    rest = face_measures(geometry.mean)
    gap = changes[:, MOUTH_OPEN]
    lids = 1 + changes[:, LIDS] / rest[list(LIDS)]
    drop = motion.dynamics @ unit[:, LOWER_LIP, 1].mean(1)
    overlap = np.clip(-gap, 0, None)  # lips that would cross meet in the middle
    return Face(
        fps=motion.fps,
        opening=np.clip(gap, 0, None),
        width=changes[:, EXPLICIT.index("mouth_width")],
        lower_lip=drop + overlap / 2,
        eyes=np.clip(lids, 0, None).mean(1),
        brows=changes[:, EXPLICIT.index("brow_height")],
        gaze=_gaze(motion, geometry),
        angles=motion.head_pose[:, :3],
    )


def _gaze(motion: Motion, geometry: Geometry) -> np.ndarray:
    """(T, 2) degrees from rest; a block at a time, since all points of all frames are many."""
    only = np.where(np.arange(N_DYNAMICS) < 2, motion.dynamics, 0.0)
    blocks = [
        gaze_angles(geometry.mean + geometry.displacement(only[k : k + BLOCK_FRAMES]))
        for k in range(0, len(only), BLOCK_FRAMES)
    ]
    angles: np.ndarray = np.concatenate(blocks) - gaze_angles(geometry.mean)
    return angles


def mean_face_code() -> FaceCode:
    """The mean face, looking ahead."""
    pose = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return FaceCode(np.zeros(N_IDENTITY), pose, np.zeros(N_DYNAMICS), np.zeros((478, 3)))


# --- eyes ---


def blinks(eyes: np.ndarray, fps: Fraction) -> list[tuple[float, float]]:
    """Middle and length in seconds of every blink in an opening of the eyes (T,).

    A blink is a dip below SHUT of the median for less than LONGEST_BLINK_S; it lasts from where the
    opening falls through HALF_OPEN until it is back, to a fraction of a frame.
    """
    usual = float(np.median(eyes))
    found: list[tuple[float, float]] = []
    for first, last in _runs(eyes < SHUT * usual):
        if (last - first) / float(fps) >= LONGEST_BLINK_S:
            continue
        level = HALF_OPEN * usual
        before = np.flatnonzero(eyes[:first] >= level)
        after = np.flatnonzero(eyes[last:] >= level)
        if not len(before) or not len(after):
            continue  # cut off by the beginning or the end
        a, b = int(before[-1]), last + int(after[0])
        start = a + (eyes[a] - level) / (eyes[a] - eyes[a + 1])
        stop = b - (eyes[b] - level) / (eyes[b] - eyes[b - 1])
        span = ((start + stop + 1) / 2 / float(fps), (stop - start) / float(fps))
        if not found or span != found[-1]:  # two dips of one blink
            found.append(span)
    return found


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Beginning and end (exclusive) of each run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


# --- head ---


def turn_per_frame(angles: np.ndarray) -> float:
    """Mean change of yaw, pitch and roll (T, 3) from frame to frame: VASA-1's delta-P."""
    return float(np.abs(np.diff(angles, axis=0)).mean())


def head_speed(angles: np.ndarray) -> np.ndarray:
    """Degrees a frame that the head turns, over all three angles: (T, 3) to (T,)."""
    step = np.linalg.norm(np.diff(angles, axis=0), axis=1)
    padded = np.concatenate([step[:1], step, step[-1:]])
    return (padded[1:] + padded[:-1]) / 2


def jitter(motion: Motion, geometry: Geometry) -> dict[str, float]:
    """Mean second difference of points of the "head" and, in the head's own frame, of the "lips".

    On the mean face, in crop units of a head at its usual size and in face heights.
    """
    code = mean_face_code()
    stiff = replace(motion, dynamics=np.zeros_like(motion.dynamics))
    still = replace(motion, head_pose=np.zeros_like(motion.head_pose))
    head = perform(stiff, code, geometry)[:, RIGID, :2]
    lips = perform(still, code, geometry)[:, LIPS, :2]
    return {
        name: float(np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean())
        for name, points in (("head", head), ("lips", lips))
    }


def drift(values: np.ndarray, *, n_parts: int = 10) -> dict[str, float]:
    """Whether a long series (T, D) wanders off or changes its size, as the worst of its columns.

    "trend_size": the change that a straight line through the means of `n_parts` equal parts makes
    from end to end; "trend": the same in standard deviations of the series; "spread": that of the
    last third over the first third.
    """
    spread = values.std(0) + 1e-9
    length = len(values) // n_parts
    means = values[: n_parts * length].reshape(n_parts, length, -1).mean(1)  # (n_parts, D)
    slope = np.polyfit(np.linspace(0, 1, n_parts), means, 1)[0]
    third = len(values) // 3
    grown = (values[-third:].std(0) + 1e-9) / (values[:third].std(0) + 1e-9)
    return {
        "trend_size": float(np.abs(slope).max()),
        "trend": float((np.abs(slope) / spread).max()),
        "spread": float(grown.max()),
    }


def seam_ratio(values: np.ndarray, window: int, *, order: int = 1) -> float:
    """Mean change across the seams between windows over that elsewhere.

    Args: values (T, D), columns in comparable units; order 1 for velocity, 2 for acceleration.
    """
    change = np.abs(np.diff(values, n=order, axis=0)).mean(1)
    place = np.arange(len(change)) % window
    across = place >= window - order  # differences that span the last frame and the next first
    return float(change[across].mean() / (change[~across].mean() + 1e-12))


# --- correlations ---


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, of two series (T,); NaN where one does not vary."""
    if len(a) < 3 or min(a.std(), b.std()) < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def lag_curve(late: np.ndarray, early: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """Correlations (L,) of `late` with `early` so many frames before; NaN where steady."""
    n = min(len(late), len(early))
    late, early = late[:n], early[:n]
    return np.array(
        [
            correlation(late[max(0, k) : n + min(0, k)], early[max(0, -k) : n - max(0, k)])
            for k in lags
        ]
    )


def peak(curve: np.ndarray, lags: Sequence[int]) -> tuple[float, float]:
    """Highest value of a curve over lags, and where it is, between frames by a parabola.

    Both are NaN where all of the curve is.
    """
    if np.isnan(curve).all():
        return float("nan"), float("nan")
    k = int(np.nanargmax(curve))
    if not 0 < k < len(curve) - 1:
        return float(curve[k]), float(lags[k])
    left, top, right = curve[k - 1 : k + 2]
    bend = left - 2 * top + right
    shift = 0.0 if bend > -1e-12 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))
    return float(top - 0.25 * (left - right) * shift), lags[k] + shift


def over_speakers(figures: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """Mean over speakers of each one's mean over clips, what is NaN left out."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a speaker with steady clips only is NaN
        means = [
            np.nanmean(np.stack([np.asarray(x) for x in some]), 0) for some in figures.values()
        ]
        return np.asarray(np.nanmean(np.stack(means), 0))


def smooth(series: np.ndarray, n_frames: int) -> np.ndarray:
    """A running mean (T,) over an odd number of frames."""
    padded = np.pad(series, n_frames // 2, mode="edge")
    return np.convolve(padded, np.ones(n_frames) / n_frames, mode="valid")


def share(flags: np.ndarray) -> float:
    """Of True; NaN where there is nothing."""
    return float(flags.mean()) if len(flags) else float("nan")
