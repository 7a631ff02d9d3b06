"""A motion in pieces, one after the other.

Its first frames can be drawn while its last are still sampled.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Callable, Iterable, Iterator

import numpy as np

from vasa_cli.motion import Motion, catmull_rom
from vasa_cli.motion_edit import part, stacked, unstacked

NEXT_ROWS = 2  # that the cubic looks at from the one it stands on


def whole(pieces: Iterable[Motion]) -> Motion:
    """All pieces, at least one of them, as one motion."""
    motions = list(pieces)
    return unstacked(np.concatenate([stacked(one) for one in motions]), motions[0].fps)


def regrouped(pieces: Iterable[Motion], n_frames: int) -> Iterator[Motion]:
    """The same frames in pieces of so many each, but for the last, which may be shorter."""
    held: list[Motion] = []
    for piece in pieces:
        held = [whole([*held, piece])]
        while len(held[0]) >= n_frames:
            yield part(held[0], slice(0, n_frames))
            held = [part(held[0], slice(n_frames, None))]
    if held and len(held[0]):
        yield held[0]


def filtered(
    pieces: Iterable[Motion], change: Callable[[Motion, int], Motion], reach: int
) -> Iterator[Motion]:
    """Pieces of what a change makes of the whole, as soon as they are settled.

    Args: change, of some frames and the number of their first, in which no more than `reach` frames
        on either side bear on one.
    """
    held, before = np.empty((0, 0)), 0  # frames and how many of them were given already
    first = 0  # number of the first that is held
    piece = None
    for piece in pieces:
        held = np.concatenate([held, stacked(piece)]) if len(held) else stacked(piece)
        settled = len(held) - reach
        if settled > before:
            yield part(change(unstacked(held, piece.fps), first), slice(before, settled))
            kept = max(settled - reach, 0)
            held, before, first = held[kept:], settled - kept, first + kept
    if piece is not None and before < len(held):
        yield part(change(unstacked(held, piece.fps), first), slice(before, None))


def resampled(pieces: Iterable[Motion], fps: Fraction, n_frames: int) -> Iterator[Motion]:
    """Pieces of what `Motion.resample` makes of the whole, each as soon as it is settled."""
    rows, first, done = np.empty((0, 0)), 0, 0  # what is held, from which row; frames given

    def up_to(end: int, position: np.ndarray) -> Motion:
        return unstacked(catmull_rom(rows, position[done:end] - first), fps)

    position = np.empty(0)
    for piece in pieces:
        if not len(position):
            rate = float(piece.fps / fps)
            position = np.maximum((np.arange(n_frames) + 0.5) * rate - 0.5, 0)
            rows = stacked(piece)
        else:
            rows = np.concatenate([rows, stacked(piece)])
        settled = int(np.searchsorted(position, first + len(rows) - NEXT_ROWS))
        if settled > done:
            yield up_to(settled, position)
            done = settled
            used = max(int(position[done - 1]) - 1 - first, 0)
            rows, first = rows[used:], first + used
    if done < n_frames:
        yield up_to(n_frames, np.minimum(position, first + len(rows) - 1))
