"""Smoothing that takes a tracker's jitter and leaves what the face did.

Each value is replaced by a parabola fitted through its neighbours. How many neighbours is chosen
for every frame and every column by itself: as many as the noise alone can explain. A still brow is
averaged over half a second, a blink or lips that shut over nothing.

Source: Katkovnik 1999, a new method for varying adaptive bandwidth selection (the intersection of
confidence intervals); Savitzky and Golay 1964 for the fits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

HALF_WIDTHS = (0, 2, 3, 4, 6, 8, 12)  # frames on either side; 0 leaves a value alone
CONFIDENCE = 1.0  # standard deviations by which estimates of different widths may disagree
NOISE_WINDOW = 9  # frames over which noise is measured
NOISE_QUANTILE = 0.1  # of those windows, so that a face that moves most of the time is not noise
# What white noise of deviation 1 reads at that quantile: measured on a million frames.
NOISE_READS = 0.555
ENOUGH_FRAMES = 12  # of a shorter piece the noise cannot be told


def windows(values: np.ndarray, around: int) -> np.ndarray:
    """What lies around each of the values (T, ...), the ends held: (T, ..., 2 around + 1)."""
    beyond = [(around, around), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, beyond, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1, 0)


def smooth(values: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """The same motion without jitter.

    Args: values (T, D), one shot; strength scales the noise that is assumed: 0 changes nothing.
    """
    if strength == 0 or len(values) < ENOUGH_FRAMES:
        return values.copy()
    return smooth_with(values, noise_level(values) * strength)


def smooth_with(values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Values (T, D) smoothed, the standard deviation of their noise being known, (D,)."""
    chosen = values.astype(np.float64)
    low = chosen - CONFIDENCE * noise
    high = chosen + CONFIDENCE * noise
    agree = np.ones(values.shape, bool)
    for half in HALF_WIDTHS[1:]:
        if 2 * half + 1 > len(values):
            break
        weights = parabola_weights(half)
        estimate = _filtered(values, weights, half)
        reach = CONFIDENCE * noise * np.sqrt(np.square(weights).sum())
        low, high = np.maximum(low, estimate - reach), np.minimum(high, estimate + reach)
        agree &= low <= high
        chosen = np.where(agree, estimate, chosen)
    return chosen


def noise_level(values: np.ndarray) -> np.ndarray:
    """The standard deviation of the noise in each column of values (T, D), (D,).

    Third differences take away what is smooth; a low quantile takes away what is not noise.
    """
    third = np.diff(values, n=3, axis=0)
    width = min(NOISE_WINDOW, len(third))
    squares = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), third**2]), 0)
    local = np.sqrt(np.maximum(squares[width:] - squares[:-width], 0) / width)
    return np.quantile(local, NOISE_QUANTILE, axis=0) / (np.sqrt(20.0) * NOISE_READS)


@lru_cache(maxsize=None)
def parabola_weights(half: int) -> np.ndarray:
    """Weights (2 half + 1,) whose sum with as many values is the fitted parabola's middle."""
    t = np.arange(-half, half + 1)
    design = np.stack([np.ones_like(t), t, t**2], 1).astype(np.float64)
    weights: np.ndarray = np.linalg.pinv(design)[0]
    return weights


def _filtered(values: np.ndarray, weights: np.ndarray, half: int) -> np.ndarray:
    """Weighted sums over (T, D), both ends continued by point reflection."""
    head = 2 * values[:1] - values[half:0:-1]
    tail = 2 * values[-1:] - values[-2 : -half - 2 : -1]
    padded = np.concatenate([head, values, tail])
    total = np.zeros(values.shape)
    for k, weight in enumerate(weights):
        total += weight * padded[k : k + len(values)]
    return total
