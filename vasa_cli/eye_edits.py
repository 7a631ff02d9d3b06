"""Eyes of a filmed face made to look elsewhere, and to blink less or more.

Openings are shares of the mean face's: 1 as there, 0 shut. Gaze is degrees in the camera's frame:
yaw to the picture's right, pitch up; (0, 0) looks into the camera.
"""

from __future__ import annotations

import numpy as np

from vasa_cli.blinks import Blink, find_blinks, lids_up
from vasa_cli.face_parts import smoothstep
from vasa_cli.gaze import DRAWN, GAZE, Eyes, gaze_vector
from vasa_cli.geometry import FaceCode, Geometry

# A blink of somebody who has none to take for a pattern: openings every 40 ms.
USUAL_BLINK = (0.85, 0.35, 0.05, 0.08, 0.3, 0.6, 0.82, 0.95)
USUAL_STEP_S = 0.04
LEAST_APART_S = 0.8  # from one blink to the next that is added
ASIDE_SHARE = 0.8  # of faces that are given a new gaze, those that do not look into the camera
# As `gaze.READ`, across and up, for frames, whose far looks are read with more noise than a photo's
# straight one. Set by twelve films of people who look about, who are brought to 3.1 degrees across
# on average; with a photo's 1.2 to 3.8, with 1.6 to 3.2.
READ_IN_FILMS = np.array([1.4, 1.0])
TURNED_DEG = (25.0, 40.0)  # of the head, from which on eyes are left ever more as they were


def aimed(
    dynamics: np.ndarray,
    head_pose: np.ndarray,
    gaze_deg: tuple[float, float],
    code: FaceCode,
    geometry: Geometry,
) -> tuple[np.ndarray, float]:
    """Gaze dynamics (T, 2) to draw eyes that look where they should, and the most degrees missed.

    Every frame is drawn from itself: its irises go by what the wanted gaze differs from their own,
    and further, as irises are drawn less far than they are asked to go.

    Args:
        dynamics: (T, N_DYNAMICS) of the frames, from the neutral face on.
        head_pose: (T, 6) of the frames.
        gaze_deg: yaw and pitch in the camera's frame.
        code: the person at rest, by which it is told where a straight look leads.
    """
    eyes = Eyes.of(code, geometry, elsewhere_share=ASIDE_SHARE)
    rest, own = code.dynamics[list(GAZE)], dynamics[:, GAZE]
    to = np.repeat(gaze_vector(np.array(gaze_deg, np.float64))[None], len(own), 0)
    further = DRAWN / READ_IN_FILMS
    wanted = rest + eyes.dynamics(to, head_pose[:, :3], code.head_pose[:3]) / further
    drawn, lost_deg = eyes.limited(own - rest + (wanted - own) * further)
    turn = (rest + drawn - own) * kept_turn(head_pose)[:, None]
    return own + turn, float(lost_deg)


def kept_turn(head_pose: np.ndarray) -> np.ndarray:
    """How much of a new gaze a head is given, (T,): the eyes of a profile are left alone."""
    near, far = TURNED_DEG
    return 1 - smoothstep((np.abs(head_pose[:, :2]).max(1) - near) / (far - near))


def with_blinks(openings: np.ndarray, fps: float, *, a_minute: float) -> np.ndarray:
    """Openings (T, 2) with so many blinks a minute, to the nearest one.

    Blinks that are too many go, spread evenly. What is missing is put in where the eyes have been
    open for longest, each like the person's own.
    """
    found = find_blinks(openings.mean(1), fps=fps)
    wanted = round(a_minute * len(openings) / fps / 60)
    made = openings.copy()
    if len(found) > wanted:
        kept = set(np.linspace(0, len(found) - 1, wanted).round().astype(int).tolist())
        for k, blink in enumerate(found):
            if k not in kept:
                made[blink.start : blink.stop] = lids_up(openings, blink)
        return made
    shape = _own_blink(openings, found, fps)
    taken = [(blink.start + blink.stop) / 2 for blink in found]
    for _ in range(wanted - len(found)):
        middle = _emptiest(taken, len(openings))
        start = round(middle - len(shape) / 2)
        room = min([abs(middle - t) for t in taken], default=np.inf) / fps
        if start < 0 or start + len(shape) > len(openings) or room < LEAST_APART_S:
            break
        made[start : start + len(shape)] *= shape[:, None]
        taken = sorted([*taken, middle])
    return made


def _own_blink(openings: np.ndarray, found: list[Blink], fps: float) -> np.ndarray:
    """The pattern of a blink (n,), shares of the opening before: the person's deepest, or usual."""
    whole = [blink for blink in found if blink.start > 0 and blink.stop < len(openings)]
    if whole:
        deepest = min(whole, key=lambda b: float(openings[b.start : b.stop].min()))
        shut = openings[deepest.start : deepest.stop]
        pattern = shut / np.maximum(lids_up(openings, deepest), 1e-3)
        return np.clip(pattern.mean(1), 0, 1)
    times_s = np.arange(0, (len(USUAL_BLINK) - 1) * USUAL_STEP_S + 1e-9, 1 / fps)
    return np.interp(times_s, np.arange(len(USUAL_BLINK)) * USUAL_STEP_S, USUAL_BLINK)


def _emptiest(taken: list[float], n_frames: int) -> float:
    """The middle of the longest stretch of frames without a blink."""
    edges = [0.0, *taken, float(n_frames)]
    k = int(np.argmax(np.diff(edges)))
    return (edges[k] + edges[k + 1]) / 2
