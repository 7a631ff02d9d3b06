"""Emotions: what each adds to face, head and tempo, learned by `vasa train emotions`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.control_values import EMOTIONS
from vasa_cli.geometry import EXPLICIT
from vasa_cli.motion import LIDS, MOUTH_OPEN

NEUTRAL, HAPPY = EMOTIONS.index("neutral"), EMOTIONS.index("happy")
CORNER_LIFT = EXPLICIT.index("corner_lift")
BROADEST_SMILE = 3.0  # of a photo, in full happinesses
CORNERS_FALL = -0.5  # standard deviations of the corners, under which no smile stays
GAZE_COLUMNS = (EXPLICIT.index("gaze_yaw"), EXPLICIT.index("gaze_pitch"))
BROW_HEIGHT = EXPLICIT.index("brow_height")
# How much further brows are lowered than is asked: where anger asks for 22 thousandths of a face's
# height, frames show 4 (6 portraits, by an independent face mesh), since many points of forehead
# and lids that stay hold the motion field back. Raised brows are drawn nearly as far as asked.
BROWS_DRAWN = 2.0
# The same of lips' corners: a smile asks for 11, and frames show 7.
CORNERS_DRAWN = {"happy": 1.5, "sad": 1.6}
# Share of the learned direction that full strength takes, so that a judge of identity knows the
# person: all of it costs 0.05 to 0.09 of the likeness to the photo (10 portraits, MobileFaceNet),
# so much about 0.05. Between people's own neutral and smiling photos it is 0.15.
FULL = {"sad": 0.69, "angry": 0.61, "surprised": 0.61, "fearful": 0.66, "disgusted": 0.80}
# What no emotion takes from the photo: where it looks, its lids, and lips that meet.
KEPT = (*GAZE_COLUMNS, *LIDS, MOUTH_OPEN)


@dataclass(frozen=True)
class Emotions:
    """Each emotion at full strength, by its place in EMOTIONS; neutral is noughts."""

    dynamics: np.ndarray  # (8, N_DYNAMICS) added to the face; gaze and mouth opening are nought
    head: np.ndarray  # (8, 3) degrees of yaw, pitch, roll added to the head
    tempo: np.ndarray  # (8,) how much and how fast the head moves, 1 as without

    def face(self, strengths: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """What is added to a face, (T, N_DYNAMICS).

        Neutral takes back what the photo's own expression adds to rest. Any other emotion takes
        back what of it says the contrary, and the photo's smile if the lips' corners do not rise:
        who is to look sad has to stop smiling.

        Args: strengths (T, 8); rest (N_DYNAMICS,) what the photo does when it says nothing.
        """
        own = rest.copy()
        own[list(KEPT)] = 0.0
        size = np.square(self.dynamics).sum(1)
        contrary = -(self.dynamics @ own) / np.where(size > 0, size, 1.0)  # (8,)
        directions = self.dynamics * (1 + np.clip(contrary, 0, 1))[:, None]
        directions[:, CORNER_LIFT] *= [CORNERS_DRAWN.get(name, 1.0) for name in EMOTIONS]
        smile = self.dynamics[HAPPY].copy()
        smile[list(KEPT)] = 0.0
        smile *= np.clip(own @ smile / max(float(smile @ smile), 1e-12), 0, BROADEST_SMILE)
        directions[self.dynamics[:, CORNER_LIFT] < CORNERS_FALL] -= smile
        brows = directions[:, BROW_HEIGHT]
        directions[:, BROW_HEIGHT] = np.where(brows < 0, BROWS_DRAWN, 1.0) * brows
        directions *= np.array([FULL.get(name, 1.0) for name in EMOTIONS])[:, None]
        directions[NEUTRAL] = -own
        return strengths @ directions

    def head_offset(self, strengths: np.ndarray) -> np.ndarray:
        """Degrees (T, 3) added to the head, for strengths (T, 8)."""
        return strengths @ self.head

    def head_tempo(self, strengths: np.ndarray) -> np.ndarray:
        """Factor (T,) on the head's movement, for strengths (T, 8)."""
        return 1 + strengths @ (self.tempo - 1)


def strengths_of(mix: tuple[tuple[str, float], ...]) -> np.ndarray:
    """A mix of names and strengths as (8,)."""
    found = np.zeros(len(EMOTIONS))
    for name, strength in mix:
        found[EMOTIONS.index(name)] = strength
    return found
