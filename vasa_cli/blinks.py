"""Blinks in a motion: found, taken out, and made more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHUT, OPEN = 0.6, 0.9  # shares of the usual opening: a blink goes under one, and ends at the other
LONGEST_S = 0.6  # lids down for longer are not blinking
LOWEST = 0.75  # share of the usual opening under which lids without blinks never go


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


def lids_up(openings: np.ndarray, blink: Blink) -> np.ndarray:
    """Openings (n, 2) of a blink's frames had the lids stayed up: straight from side to side."""
    before, after = max(blink.start - 1, 0), min(blink.stop, len(openings) - 1)
    if blink.start == 0:
        return np.repeat(openings[after : after + 1], blink.stop - blink.start, 0)
    if blink.stop == len(openings):
        return np.repeat(openings[before : before + 1], blink.stop - blink.start, 0)
    share = (np.arange(blink.start, blink.stop) - before)[:, None] / (after - before)
    return openings[before] + (openings[after] - openings[before]) * share
