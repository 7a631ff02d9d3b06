"""Blinks in a motion: found, taken out, and made more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.face_parts import smoothstep
from vasa_cli.smoothing import windows

SHUT, OPEN = 0.6, 0.9  # shares of the usual opening: a blink goes under one, and ends at the other
LONGEST_S = 0.6  # lids down for longer are not blinking
LOWEST = 0.75  # share of the usual opening under which lids without blinks never go
# A sampler takes the mean of blinks that it cannot place: its lids go down by 0.4 to 0.47 of the
# opening, where people's go down by 0.78 in the median of 649 blinks, as the mesh sees shut eyes.
HALF_BLINKS = (0.30, 0.40)  # share by which lids go down from which on it is none, and surely one
WHOLE_BLINK = 0.98  # what is made of it
AROUND_S = 0.5  # to either side, over which lids are mostly up
BESIDE_S = 0.28  # to either side, over which one blink lasts


@dataclass(frozen=True)
class Blink:
    """Frames start to stop - 1 of one blink, lids going down and up again."""

    start: int
    stop: int

    @property
    def centre(self) -> int:
        return (self.start + self.stop) // 2


def find_blinks(opening: np.ndarray, *, fps: float) -> list[Blink]:
    """The blinks of an eye opening (T,), in order.

    A blink is a dip under SHUT of the median, down from and up to OPEN of it, in LONGEST_S.
    """
    usual = float(np.median(opening))
    below = np.concatenate([[False], opening < OPEN * usual, [False]])
    edges = np.flatnonzero(np.diff(below.astype(int)))
    found = []
    for start, stop in zip(edges[::2], edges[1::2]):
        if (stop - start) / fps <= LONGEST_S and opening[start:stop].min() < SHUT * usual:
            found.append(Blink(int(start), int(stop)))
    return found


def scale_blinks(openings: np.ndarray, scale: np.ndarray, *, fps: float) -> np.ndarray:
    """Openings (T, 2) of both eyes, 0 shut, with `scale` blinks for each one that there is.

    At 1 nothing changes. Below, blinks are left out, evenly; above, each is repeated on the way to
    the next. Where the scale is 0 the lids never go down far, blinks or not.

    Args: scale (T,).
    """
    made = openings.copy()
    n_frames = len(openings)
    blinks = find_blinks(openings.mean(1), fps=fps)
    ends = [blink.start for blink in blinks[1:]] + [n_frames]
    due = 0.5
    for blink, end in zip(blinks, ends):
        wanted = float(scale[blink.centre])
        n = int(np.floor(due + wanted)) - int(np.floor(due))
        due += wanted
        pulse = openings[blink.start : blink.stop] - lids_up(openings, blink)
        if n == 0:
            made[blink.start : blink.stop] -= pulse
        for k in range(1, n):
            start = blink.start + round((end - blink.start) * k / n)
            stop = start + len(pulse)
            if start >= blink.stop and stop <= end:
                made[start:stop] += pulse
    lowest = LOWEST * np.median(openings, axis=0)
    return np.where((scale == 0)[:, None], np.maximum(made, lowest), made)


def whole_blinks(openings: np.ndarray, *, fps: float) -> np.ndarray:
    """Sampled openings (T, 2) of both eyes with every blink one that shuts them.

    A dip keeps its place and grows in depth, most where it is deepest, so that it lasts no longer.
    No more than `reach` frames on either side bear on one.
    """
    both, (around, beside) = openings.mean(1), _around(fps)
    usual = np.median(windows(both, around), -1)
    depth = np.clip(1 - both / usual, 0, WHOLE_BLINK)
    deepest = windows(depth, beside).max(-1)
    none, surely = HALF_BLINKS
    blinks = smoothstep((deepest - none) / (surely - none))
    wanted = WHOLE_BLINK * (depth / np.maximum(deepest, none)) ** 2
    lower = np.maximum(depth, depth + (wanted - depth) * blinks)
    shut: np.ndarray = openings * ((1 - lower) / (1 - depth))[:, None]
    return shut


def reach(fps: float) -> int:
    """Frames on either side that bear on one in `whole_blinks`."""
    return sum(_around(fps))


def _around(fps: float) -> tuple[int, int]:
    return round(AROUND_S * fps), round(BESIDE_S * fps)


def lids_up(openings: np.ndarray, blink: Blink) -> np.ndarray:
    """Openings (n, 2) of a blink's frames had the lids stayed up: straight from side to side."""
    before, after = max(blink.start - 1, 0), min(blink.stop, len(openings) - 1)
    if blink.start == 0:
        return np.repeat(openings[after : after + 1], blink.stop - blink.start, 0)
    if blink.stop == len(openings):
        return np.repeat(openings[before : before + 1], blink.stop - blink.start, 0)
    share = (np.arange(blink.start, blink.stop) - before)[:, None] / (after - before)
    return openings[before] + (openings[after] - openings[before]) * share
