"""The invisible watermark: a faint pattern in the brightness of every frame, and its detector.

The pattern is noise of equal strength and, for each key, its own phase at every spatial frequency
of a band. It is defined over the frame's width and height, whatever these are in pixels, so that
resizing to a canonical grid undoes any rescaling. The detector compares phases alone: with a key
that is independent of the video, each comparison is the cosine of a uniform angle, so that the
chance of a false alarm has a bound that holds for every video, whatever its content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterable

import numpy as np
from PIL import Image

KEY = 0x76617361  # of all that vasa makes; another key is another, unrelated pattern
BAND_CYCLES = (6, 40)  # over the frame's width and height: finer is lost at 360p, coarser shows
FLAT_GAIN = 0.9  # levels of 255, root mean square of the pattern where the picture is even
TOP_GAIN = 2.2  # where it is busy and hides more
ACTIVITY_GAIN = 0.1  # added for each level of the local standard deviation
FRAME_GAIN = 1.8  # of a whole frame at most: a PSNR of 43.0 dB before rounding

THRESHOLD = 6.5  # of the z-score: at most 2.1e-5 false alarms a video over all places searched
N_FRAMES = 48  # enough for the detector, spread over the video

_BLOCK = 8  # pixels a side, on which activity is measured
_STRIP = 64  # rows of a frame that are marked at a time
_GRID = 128  # samples a side of one whole frame in the search
_FINE_GRID = 256  # samples a side of a frame before it is cut down for the search
_LEAST_PART = 104  # samples that a cropped frame may have left: 81 % of a side
_PART_STEP = 2
_MEAN_SIGMA = 4.0  # fine samples, of the local mean that is taken away
_VARIANCE_SIGMA = 6.0
_NOISE_FLOOR = 1.5  # levels; the least local standard deviation that counts


class Watermarker:
    """Puts the pattern of one key into frames of one size.

    Args:
        height: pixels.
        width: pixels.
        key: which pattern.
    """

    def __init__(self, height: int, width: int, *, key: int = KEY) -> None:
        self._shape = (height, width, 3)
        self._pattern = pattern(height, width, key=key)
        n_rows, n_columns = math.ceil(height / _BLOCK), math.ceil(width / _BLOCK)
        rows = _interpolation(height, n_rows)
        self._strips = []  # rows of the frame, rows of blocks they need, weights of these
        for top in range(0, height, _STRIP):
            strip = slice(top, min(top + _STRIP, height))
            used = np.flatnonzero(rows[strip].any(axis=0))
            blocks = slice(int(used[0]), int(used[-1]) + 1)
            self._strips.append((strip, blocks, np.ascontiguousarray(rows[strip, blocks])))
        self._columns = np.ascontiguousarray(_interpolation(width, n_columns).T)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """A marked copy of a (H, W, 3) uint8 RGB frame; equal frames give equal copies."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, not {self._shape} uint8")
        gains = _block_gain(frame) @ self._columns  # (n_rows, W)
        marked = np.empty_like(frame)
        for strip, blocks, weights in self._strips:  # that the processor's cache holds
            gain = weights @ gains[blocks]
            gain *= self._pattern[strip]
            change = np.rint(gain, out=gain).astype(np.int16)
            level = np.empty(marked[strip].shape, np.int16)
            for channel in range(3):
                level[..., channel] = change
            level += frame[strip]
            marked[strip] = np.clip(level, 0, 255, out=level)
        return marked


@dataclass(frozen=True)
class Detection:
    """What the detector saw in one video."""

    z: float  # standard deviations of chance agreement
    false_alarm: float  # upper bound on the chance that an unmarked video scores as high
    n_frames: int  # looked at
    part: tuple[float, float]  # height and width that are left of the marked frame, 1.0 for all

    @property
    def found(self) -> bool:
        return self.z >= THRESHOLD


def detect(frames: Iterable[np.ndarray], *, key: int = KEY) -> Detection:
    """Look for the pattern of a key in frames of one video, resized or cropped as they may be.

    Args:
        frames: at least one (H, W, 3) uint8 RGB; the mark must be in the same place in all.

    Raises:
        ValueError: there is no frame.
    """
    return detect_each(frames, [key])[0]


def detect_each(frames: Iterable[np.ndarray], keys: Iterable[int]) -> list[Detection]:
    """`detect` for several keys; each costs a tenth of what the first one does.

    Raises:
        ValueError: there is no frame.
    """
    total, n_frames = np.zeros((_FINE_GRID, _FINE_GRID), np.float32), 0
    for frame in frames:
        total += _normalised(frame)
        n_frames += 1
    if n_frames == 0:
        raise ValueError("no frame to look for a watermark in")
    seen: dict[tuple[int, int], np.ndarray] = {}  # the phases of each part, whatever the key

    def score(part: tuple[int, int], key: int) -> float:
        if part not in seen:
            seen[part] = _phases(total, part)
        return _best_z(seen[part], part, key)

    return [_search(score, key, n_frames) for key in keys]


def _search(score: Callable[[tuple[int, int], int], float], key: int, n_frames: int) -> Detection:
    """The part of the marked frame that agrees best with a key."""
    coarse = range(_LEAST_PART, _GRID + 1, _PART_STEP)
    parts = {(n_y, n_x) for n_y in coarse for n_x in coarse}
    scores = {part: score(part, key) for part in sorted(parts)}
    n_y, n_x = max(scores, key=lambda part: scores[part])
    near = {(y, x) for y in (n_y - 1, n_y, n_y + 1) for x in (n_x - 1, n_x, n_x + 1)}
    for part in sorted(near - parts):
        if max(part) <= _GRID:
            scores[part] = score(part, key)
    best = max(scores, key=lambda part: scores[part])
    n_places = sum((_GRID - y + 1) * (_GRID - x + 1) for y, x in scores)
    z = scores[best]
    return Detection(
        z=z,
        false_alarm=false_alarm_bound(z, n_places=n_places),
        n_frames=n_frames,
        part=(best[0] / _GRID, best[1] / _GRID),
    )


def false_alarm_bound(z: float, *, n_places: int) -> float:
    """The chance, at most, that an unmarked video scores z or more in any of so many places.

    Source: a sum of K cosines of independent uniform angles has the moment generating function
    I0(s)^K <= exp(K s^2 / 4), so by Chernoff the chance of z or more is at most exp(-z^2 / 2).
    """
    return min(1.0, n_places * math.exp(-z * z / 2)) if z > 0 else 1.0


def pattern(height: int, width: int, *, key: int = KEY) -> np.ndarray:
    """The pattern over a whole frame, (H, W) float32 of mean 0 and standard deviation 1."""
    y, x, phases = _band(key)
    # Frequencies that a small frame cannot hold are left out.
    held = (np.abs(y) < height / 2) & (x < width / 2)
    y, x, phases = y[held], x[held], phases[held]
    spectrum = np.zeros((height, width // 2 + 1), np.complex128)
    spectrum[y, x] = phases * _half_sample(y / height + x / width)
    drawn = np.fft.irfft2(spectrum, (height, width))
    return (drawn / drawn.std()).astype(np.float32)


@lru_cache(maxsize=8)
def _band(key: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertical and horizontal frequencies, in cycles a frame, and the key's phase at each."""
    lowest, highest = BAND_CYCLES
    y, x = np.mgrid[-highest : highest + 1, 1 : highest + 1]
    # PCG64 and its doubles are the same on every machine and in every version of numpy.
    angles = np.random.Generator(np.random.PCG64(key)).random(y.shape) * 2 * np.pi
    radius = np.hypot(y, x)
    inside = (radius >= lowest) & (radius <= highest)
    return y[inside], x[inside], np.exp(1j * angles[inside])


def _half_sample(cycles: np.ndarray) -> np.ndarray:
    """Moves samples from the edges of pixels to their centres, where resizing keeps them."""
    moved: np.ndarray = np.exp(1j * np.pi * cycles)
    return moved


def _block_gain(frame: np.ndarray) -> np.ndarray:
    """How strong the pattern may be in each block, (n_rows, n_columns) float32 in levels."""
    blocks = np.asarray(Image.fromarray(frame).reduce(_BLOCK).convert("L"), np.float32)
    mean = _neighbour_mean(blocks)
    variance = _neighbour_mean(blocks * blocks) - mean * mean
    activity = np.sqrt(np.maximum(variance, 0))
    gain = np.clip(FLAT_GAIN + ACTIVITY_GAIN * activity, FLAT_GAIN, TOP_GAIN)
    root_mean_square = math.sqrt(float(np.mean(gain * gain)))
    return gain * np.float32(min(1.0, FRAME_GAIN / root_mean_square))


def _neighbour_mean(values: np.ndarray) -> np.ndarray:
    """Means over 3x3 neighbours, the edge repeated outwards."""
    padded = np.pad(values, 1, mode="edge")
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    mean: np.ndarray = (columns[:-2] + columns[1:-1] + columns[2:]) / np.float32(9)
    return mean


def _interpolation(n_to: int, n_from: int) -> np.ndarray:
    """A matrix that resizes n_from samples to n_to, smoothing where that makes them fewer."""
    unit = Image.fromarray(np.eye(n_from, dtype=np.float32))
    return np.asarray(unit.resize((n_from, n_to), Image.Resampling.BILINEAR))


_part_matrix = lru_cache(maxsize=None)(_interpolation)


@lru_cache(maxsize=None)
def _blur(sigma: float) -> np.ndarray:
    """A matrix that smooths the fine grid's samples, (fine, fine) float32."""
    i = np.arange(_FINE_GRID)
    weights = np.exp(-0.5 * ((i[:, None] - i) / sigma) ** 2)
    smooth: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return smooth


def _normalised(frame: np.ndarray) -> np.ndarray:
    """Brightness on the fine grid less its local mean, over its local variance.

    The mark is a small part of a busy place and a large one of an even place; dividing by the
    variance weighs each place by how much it can tell.
    """
    grey = Image.fromarray(frame).convert("L").convert("F")
    luma = np.asarray(grey.resize((_FINE_GRID, _FINE_GRID), Image.Resampling.BILINEAR))
    mean, variance = _blur(_MEAN_SIGMA), _blur(_VARIANCE_SIGMA)
    detail = luma - mean @ luma @ mean.T
    local = variance @ (detail * detail) @ variance.T
    normalised: np.ndarray = detail / (local + _NOISE_FLOOR**2)
    return normalised


def _phases(fine: np.ndarray, part: tuple[int, int]) -> np.ndarray:
    """The phase at each frequency of frames that are such a part of a frame: unit numbers."""
    n_y, n_x = part
    image = _part_matrix(n_y, _FINE_GRID) @ fine @ _part_matrix(n_x, _FINE_GRID).T  # (n_y, n_x)
    waves_y, waves_x = _waves()
    # The discrete Fourier transform, of the band's frequencies only: (n_vertical, n_horizontal).
    found = waves_y[:, :n_y].conj() @ image @ waves_x[:, :n_x].conj().T
    magnitude = np.abs(found)
    # Static content is far stronger than the mark at the low end: whitened, every frequency counts
    # alike. Of an empty picture nothing is left.
    return np.divide(found, magnitude, out=np.zeros_like(found), where=magnitude > 1e-4)


def _best_z(unit: np.ndarray, part: tuple[int, int], key: int) -> float:
    """The best z-score of a key, over all places of a part whose phases were seen."""
    n_y, n_x = part
    waves_y, waves_x = _waves()
    # A sum of cosines for each place.
    places_y, places_x = waves_y[:, : _GRID - n_y + 1], waves_x[:, : _GRID - n_x + 1]
    cosines = (places_y.T @ (unit.conj() * _expected(key)) @ places_x).real
    return float(cosines.max() / math.sqrt(len(_band(key)[0]) / 2)) + 0.0  # never -0.0


@lru_cache(maxsize=1)
def _waves() -> tuple[np.ndarray, np.ndarray]:
    """The band's vertical and horizontal waves on the grid: complex64 of unit size.

    A row a frequency, from -highest to highest and from 1 to highest cycles; a column a sample.
    """
    highest = BAND_CYCLES[1]
    samples = np.arange(_GRID)
    vertical, horizontal = np.arange(-highest, highest + 1), np.arange(1, highest + 1)
    return tuple(
        np.exp(2j * np.pi * (cycles[:, None] * samples % _GRID) / _GRID).astype(np.complex64)
        for cycles in (vertical, horizontal)
    )


@lru_cache(maxsize=8)
def _expected(key: int) -> np.ndarray:
    """The phases of a key's pattern on the grid, in the layout of `_phases`; 0 outside the band."""
    y, x, phases = _band(key)
    highest = BAND_CYCLES[1]
    expected = np.zeros((2 * highest + 1, highest), np.complex64)
    expected[y + highest, x - 1] = phases * _half_sample((y + x) / _GRID)
    return expected
