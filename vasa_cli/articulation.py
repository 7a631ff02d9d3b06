"""What lips must do whatever the sampler thinks: close for p, b and m, nearly for f and v.

A sampler trained on little speech smooths over closures of two frames, and a viewer misses nothing
so much: the McGurk effect hangs on them. The ear knows them well (90 % of frames), so its posterior
of a closure pulls the mouth's opening to zero for as long as it lasts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vasa_cli.models.audio_encoder import CLASSES, CLOSES_LIPS, LIP_TO_TEETH
from vasa_cli.motion import MOUTH_OPEN, Motion

# posterior from which a closure is suspected, and at which it is sure
SUSPECTED, SURE = 0.45, 0.8
# how much of the opening a class takes away
CLOSURES = {CLOSES_LIPS: 1.0, LIP_TO_TEETH: 0.65}


def closures(phones: np.ndarray, classes: tuple[str, ...], n_frames: int) -> np.ndarray:
    """How surely some classes are heard in each frame at half the ear's rate, (n_frames,), 0 to 1.

    A frame counts the two features before its middle and the two after it: a closure of 60 ms
    that falls between two frames must shut one of them.

    Args: phones (T, N_CLASSES) posteriors; T about 2 n_frames.
    """
    heard = phones[:, [CLASSES.index(name) for name in classes]].sum(1)
    index = 2 * np.arange(n_frames)[:, None] + np.arange(-1, 3)
    strongest = heard[index.clip(0, len(heard) - 1)].max(1)
    return np.clip((strongest - SUSPECTED) / (SURE - SUSPECTED), 0.0, 1.0)


def articulate(motion: Motion, phones: np.ndarray) -> Motion:
    """The same motion with the lips closed where the ear hears that they must be.

    Args: motion at 25 frames a second; phones (T, N_CLASSES) posteriors at 50.
    """
    dynamics = motion.dynamics.copy()
    for classes, taken in CLOSURES.items():
        dynamics[:, MOUTH_OPEN] *= 1 - taken * closures(phones, classes, len(motion))
    return replace(motion, dynamics=dynamics)
