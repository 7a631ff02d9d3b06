"""Motion without the faults with which faces are read.

The face mesh, and the encoder that learned from it, read every picture by itself. What they read
trembles, and while lids are down they see a head that nods and comes nearer, by as much as two
degrees, 2 % and 4 pixels of 512, eyes that look down and brows that go up. A sampler learns that as
well as the rest; drawn, it is a head that shivers and starts at every blink.
"""

from __future__ import annotations

import math

import numpy as np

from vasa_cli.gaze import GAZE
from vasa_cli.geometry import EXPLICIT, N_HEAD_POSE
from vasa_cli.motion import LIDS, Motion
from vasa_cli.motion_edit import stacked, unstacked
from vasa_cli.smoothing import HALF_WIDTHS, smooth_with, windows

BROWS = EXPLICIT.index("brow_height")
# Standard deviation of what labels tremble by, of a column's spread over all clips: 0.11 of lids,
# 0.13 to 0.16 of gaze and brows, 0.15 to 0.27 of the rest of the face (medians of 1,619 clips).
TREMBLE = 0.15
# Of the bell under which a head is averaged. Of what filmed heads do between 2 and 4 Hz it leaves
# three quarters; of what lies above 8 Hz, which is as much as noise would be, nothing.
HEAD_SIGMA_S = 0.04
FILL_SIGMA_S = 0.1  # of that under which a blink is filled from what is around it
SIGMAS = 3.2  # after which a bell ends
OPEN_S = 0.6  # over which a median tells how far lids are up
BLINK_DEPTH = 0.5  # of the lids' dynamics under that, from which on a frame is a blink
LEAST_TRUST = 1e-3  # in head, gaze and brows while lids are down


def reach(fps: float) -> int:
    """Frames on either side that bear on one in `steadied`."""
    last = max(_reach(HEAD_SIGMA_S * fps), HALF_WIDTHS[-1])
    return _half_open(fps) + _reach(FILL_SIGMA_S * fps) + last


def steadied(motion: Motion, spread: np.ndarray, sampled: np.ndarray) -> Motion:
    """The same motion; head, gaze and brows carried over blinks, and nothing sampled trembles.

    Args:
        motion: at the rate of the labels.
        spread: (6 + N_DYNAMICS,) of each column over all clips.
        sampled: (6 + N_DYNAMICS,) bool, False where a column was decided otherwise and stays.
    """
    values, fps = stacked(motion).astype(np.float64), float(motion.fps)
    carried = [*range(N_HEAD_POSE), *(N_HEAD_POSE + k for k in (*GAZE, BROWS))]
    values[:, carried] = over_blinks(values[:, carried], motion.dynamics, fps)
    values[:, :N_HEAD_POSE] = averaged(values[:, :N_HEAD_POSE], HEAD_SIGMA_S * fps)
    face = np.flatnonzero(sampled)
    face = face[face >= N_HEAD_POSE]
    values[:, face] = smooth_with(values[:, face], TREMBLE * spread[face])
    return unstacked(values, motion.fps)


def steady_head(
    head_pose: np.ndarray, dynamics: np.ndarray, fps: float, *, strength: float = 1.0
) -> np.ndarray:
    """Head poses (T, 6) of a filmed face, carried over its blinks and averaged.

    Args:
        dynamics: (T, N_DYNAMICS), of which the lids tell blinks.
        strength: how much wider the bell is than that for sampled motion; 0 changes nothing.
    """
    if strength == 0:
        return head_pose.copy()
    return averaged(over_blinks(head_pose, dynamics, fps), strength * HEAD_SIGMA_S * fps)


def over_blinks(values: np.ndarray, dynamics: np.ndarray, fps: float) -> np.ndarray:
    """Values (T, D), where lids are down those that lines through the frames around say.

    Args: dynamics (T, N_DYNAMICS).
    Source: Knutsson and Westin 1993, normalized convolution, with a constant and a slope.
    """
    trust = _trusted(dynamics[:, LIDS].mean(1), fps)[:, None]
    sigma = FILL_SIGMA_S * fps
    around = _reach(sigma)
    offsets, even = np.arange(-around, around + 1), _bell(sigma)
    beyond = ((around, around), (0, 0))  # where nothing is trusted
    shares, weighted = np.pad(trust, beyond), np.pad(values * trust, beyond)
    n, slope, square = (_sums(shares, even * offsets**k) for k in range(3))
    total, lever = (_sums(weighted, even * offsets**k) for k in range(2))
    square = square + 1e-3 * n  # a line through one point is level
    line = (square * total - slope * lever) / (square * n - slope * slope)
    filled: np.ndarray = line + trust * (values - line)
    return filled


def averaged(values: np.ndarray, sigma: float) -> np.ndarray:
    """Means of values (T, D) under a bell, in frames; the ends are held."""
    around = _reach(sigma)
    return _sums(np.pad(values, ((around, around), (0, 0)), mode="edge"), _bell(sigma))


def _trusted(lids: np.ndarray, fps: float) -> np.ndarray:
    """How far what is read beside lids (T,) is right, (T,) LEAST_TRUST to 1."""
    half = _half_open(fps)
    depth = np.maximum(np.median(windows(lids, half), -1) - lids, 0) / BLINK_DEPTH
    trust: np.ndarray = LEAST_TRUST + (1 - LEAST_TRUST) * np.exp(-(depth**2))
    return trust


def _half_open(fps: float) -> int:
    return max(1, int(OPEN_S * fps / 2))


def _reach(sigma: float) -> int:
    return math.ceil(SIGMAS * sigma)


def _bell(sigma: float) -> np.ndarray:
    """A Gaussian (2 reach + 1,) whose sum is 1."""
    around = _reach(sigma)
    weights = np.exp(-0.5 * (np.arange(-around, around + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def _sums(padded: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums over rows of (T + n - 1, D): (T, D)."""
    n_frames = len(padded) - len(weights) + 1
    total = np.zeros((n_frames, padded.shape[1]))
    for k, weight in enumerate(weights):
        total += weight * padded[k : k + n_frames]
    return total
