"""What lips must do whatever the sampler thinks: close for p, b and m, nearly for f and v.

A sampler trained on little speech smooths over closures of two frames, and a viewer misses nothing
so much: the McGurk effect hangs on them. The ear knows them well (90 % of frames), so its posterior
of a closure pulls the mouth's opening to zero for as long as it lasts.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.models.audio_encoder import CLASSES, CLOSES_LIPS, LIP_TO_TEETH

# posterior from which a closure is suspected, and at which it is sure
SUSPECTED, SURE = 0.45, 0.8
# How far lips are shut one and two frames away from a closure. Around 918 closures in films the
# opening is 0.78, 0.10, 0, 0.09 and 0.66 of what it is three frames away; two frames are shut here.
APPROACH = (0.5, 0.15)
# how much of the opening a class takes away
CLOSURES = {CLOSES_LIPS: 1.0, LIP_TO_TEETH: 0.65}


def closures(phones: np.ndarray, classes: tuple[str, ...], n_frames: int) -> np.ndarray:
    """How surely some classes are heard in each frame at half the ear's rate, (n_frames,), 0 to 1.

    The surer of a frame's two features counts: a closure of 40 ms shuts a frame wherever it falls.

    Args: phones (T, N_CLASSES) posteriors; T about 2 n_frames.
    """
    heard = phones[:, [CLASSES.index(name) for name in classes]].sum(1)
    index = 2 * np.arange(n_frames)[:, None] + np.arange(2)
    strongest = heard[index.clip(0, len(heard) - 1)].max(1)
    return np.clip((strongest - SUSPECTED) / (SURE - SUSPECTED), 0.0, 1.0)


def approached(closed: np.ndarray) -> np.ndarray:
    """Closures (T,) with the way there and back: lips do not jump."""
    reached = closed.copy()
    for apart, share in enumerate(APPROACH, 1):
        reached[apart:] = np.maximum(reached[apart:], share * closed[:-apart])
        reached[:-apart] = np.maximum(reached[:-apart], share * closed[apart:])
    return reached


def articulate(phones: np.ndarray, n_frames: int) -> np.ndarray:
    """Share of the mouth's opening, (n_frames,), that is left where lips are heard to close.

    Args: phones (T, N_CLASSES) posteriors at 50 a second, for frames at 25.
    """
    left = np.ones(n_frames)
    for classes, taken in CLOSURES.items():
        left *= 1 - taken * approached(closures(phones, classes, n_frames))
    return left
