"""Heads that move with the voice: more where it is loud, less where it rests.

Filmed talkers move their heads 1.8 degrees off a mean over 0.35 s while they speak loudly and 0.7
while they are silent (58 minutes, 219 clips), and a little before the voice. Sampled heads move by
1.1 to 1.3 wherever it is: their sampler hears the loudness, but draws nearly the mean of what
people might do. So what of a head's movement is quick is scaled by the loudness, as theirs is. Its
speed then goes with the loudness at 0.21 (people 0.18, sampled 0.07), and it turns by 0.27 degrees
a frame (people 0.27, sampled 0.19).
"""

from __future__ import annotations

import numpy as np

from vasa_cli.smoothing import windows

SLOW_S = 0.6  # on either side of a frame, over whose mean a movement is quick
LOUD_S = 0.12  # on either side of a frame, over which its loudness is a mean
LEAD_S = 0.2  # by which heads move before the voice, where the two go together best
QUIET, LOUDER, MOST = 0.65, 1.0, 1.85  # scale at least, a unit of loudness more, and at most
SCALE = 0.85  # at a loudness of nought, where a voice begins
N_MOVED = 5  # yaw, pitch, roll, x and y; the distance does not go with a voice


def reach(fps: float) -> int:
    """Frames on either side that bear on one in `stressed`."""
    return round(SLOW_S * fps)


def scales(loudness: np.ndarray, fps: float) -> np.ndarray:
    """How much a head's quick movements are scaled, (T,), by a voice's loudness (T,).

    Args: loudness at the motion's rate, 0 to about 1 in speech, below in silence, as
        `SpeechFeatures.energy` has it.
    """
    heard = windows(loudness.astype(np.float64), round(LOUD_S * fps)).mean(-1)
    lead = np.minimum(np.arange(len(heard)) + round(LEAD_S * fps), len(heard) - 1)
    return np.asarray(np.clip(SCALE + LOUDER * heard[lead], QUIET, MOST))


def stressed(head_pose: np.ndarray, scale: np.ndarray, fps: float) -> np.ndarray:
    """Head poses (T, 6) whose quick movements are scaled by (T,)."""
    made = head_pose.copy()
    moved = head_pose[:, :N_MOVED]
    quick = moved - windows(moved, reach(fps)).mean(-1)
    made[:, :N_MOVED] += quick * (scale[:, None] - 1)
    return made
