"""The controls applied to a motion: gaze, distance, emotion, pose, scales and timelines.

A motion is changed before it is performed, for one face at a time: what is asked in degrees and
ratios becomes head poses and dynamics of this face, in closed form, so that the landmarks show it.
Nothing here looks at a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping

import numpy as np

from vasa_cli.blinks import scale_blinks
from vasa_cli.config import Controls
from vasa_cli.control_values import EMOTIONS
from vasa_cli.emotion import Emotions, strengths_of
from vasa_cli.gaze import (
    GAZE,
    Eyes,
    as_condition,
    beyond_ease,
    gaze_vector,
    head_follows,
    saccades,
    soft_limit,
)
from vasa_cli.geometry import (
    CROP_FACE_HEIGHT,
    FaceCode,
    Geometry,
    face_measures,
    rotation_angles,
    rotation_matrix,
)
from vasa_cli.motion import LIDS, Motion, resting_dynamics
from vasa_cli.timeline import Keyframe, Timeline

# How much further a head is turned than is asked for: frames drawn for poses of 20, 15 and 15
# degrees show 0.86, 0.97 and 1.0 of the change (8 portraits, by an independent face mesh), since
# the decoder falls short of its landmarks in yaw.
TURN_DRAWN = np.array([1.16, 1.10, 1.01])
# How far from the photo the decoder has pixels for, in degrees of yaw, pitch and roll as asked for:
# exact up to the first, never beyond the second.
TURN_EXACT = np.array([26.0, 20.0, 30.0])
TURN_LIMIT = np.array([38.0, 28.0, 45.0])
LOG_DISTANCE_EXACT, LOG_DISTANCE_LIMIT = np.log(1.4), np.log(1.8)

NECK_BASE_BELOW_CHIN = 0.42  # face heights; the person is scaled about this point
LIFE_S = 1.5  # width of the running mean that is taken from the head's movement where it is held
LIDS_PER_DEGREE = (0.022, 0.04)  # of the eyes' gap, down and up; see `follow_gaze`
LIDS_RANGE = (0.6, 1.35)

_SCALES = ("gaze_wander", "distance", "head_motion", "expression", "blink", "still")


@dataclass(frozen=True)
class Tracks:
    """What is asked in every frame."""

    gaze: np.ndarray  # (T, 2) degrees
    gaze_held: np.ndarray  # (T,) 0 as the speech has it, 1 as asked
    pose: np.ndarray  # (T, 3) degrees
    pose_held: np.ndarray  # (T,)
    pose_offset: np.ndarray  # (T, 3)
    emotion: np.ndarray  # (T, 8) strengths
    gaze_wander: np.ndarray  # (T,) as are all below
    distance: np.ndarray
    head_motion: np.ndarray
    expression: np.ndarray
    blink: np.ndarray

    @staticmethod
    def of(controls: Controls, times_s: np.ndarray) -> Tracks:
        """The options' values, and the timeline's where it names a control, at given times (T,)."""
        timeline = controls.timeline or Timeline(())

        def rows(name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
            keyframes = timeline.track(name)
            return follow(keyframes, getattr(controls, name), times_s, width, name=name)

        gaze, gaze_held = rows("gaze", 2)
        pose, pose_held = rows("pose", 3)
        scales = {name: rows(name, 1)[0][:, 0] for name in _SCALES}
        moving = 1 - scales.pop("still")
        scales["head_motion"] = scales["head_motion"] * moving
        scales["gaze_wander"] = scales["gaze_wander"] * moving
        return Tracks(
            gaze,
            gaze_held,
            pose,
            pose_held,
            rows("pose_offset", 3)[0],
            rows("emotion", len(EMOTIONS))[0],
            **scales,
        )


def asked_gaze(controls: Controls, n_frames: int, fps: float) -> np.ndarray | None:
    """What the sampler is told of where eyes are to look, (T, 3) as of `gaze.as_condition`.

    None where no gaze is asked.
    """
    tracks = Tracks.of(controls, (np.arange(n_frames) + 0.5) / fps)
    if not tracks.gaze_held.any():
        return None
    return as_condition(beyond_ease(tracks.gaze), tracks.gaze_held)


def follow(
    keyframes: tuple[Keyframe, ...], start: Any, times_s: np.ndarray, width: int, *, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """A control's values (T, width) along its keyframes, and how far it is held (T,), 0 to 1.

    Args: start is the option's value, which stands at time 0 and until the first keyframe.
    """

    def row(value: Any) -> tuple[np.ndarray, float]:
        if value is None:
            return np.zeros(width), 0.0
        plain = strengths_of(value) if name == "emotion" else np.reshape(value, -1)
        return np.asarray(plain, np.float64), 1.0

    if not keyframes or keyframes[0].time > 0:
        keyframes = (Keyframe(0.0, start, "step"), *keyframes)
    held = np.array([row(one.value)[1] for one in keyframes])
    values = np.stack([row(one.value)[0] for one in keyframes])  # (K, width)
    for k in range(1, len(keyframes)):  # what is let go of keeps its direction while it fades
        if not held[k]:
            values[k] = values[k - 1]
        elif not held[k - 1]:
            values[k - 1] = values[k]
    starts = np.array([one.time for one in keyframes])
    last = np.clip(np.searchsorted(starts, times_s, side="right") - 1, 0, len(starts) - 1)
    after = np.minimum(last + 1, len(starts) - 1)
    span = np.where(after > last, starts[after] - starts[last], 1.0)
    share = np.clip((times_s - starts[last]) / span, 0, 1) * (after > last)
    eased = np.array([ease(s, keyframes[k].ease) for s, k in zip(share, after)])
    blended = values[last] + (values[after] - values[last]) * eased[:, None]
    return blended, held[last] + (held[after] - held[last]) * eased


def ease(share: float, kind: str) -> float:
    """How far a value has come, 0 to 1, when `share` of the time between two keyframes is over."""
    shapes: Mapping[str, float] = {
        "step": 0.0,
        "linear": share,
        "smooth": share * share * (3 - 2 * share),
        "in": share * share,
        "out": share * (2 - share),
    }
    return shapes[kind]


def apply_controls(
    motion: Motion,
    controls: Controls,
    *,
    code: FaceCode,
    geometry: Geometry,
    emotions: Emotions,
    seed: int = 0,
) -> tuple[Motion, tuple[str, ...]]:
    """The motion as the controls want it of one face, and what could not be had in full.

    Args: motion at the rate at which it is shown; code of the face that will perform it; seed of
        the small saccades.
    """
    if not controls.asked or not len(motion):
        return motion, ()
    times_s = (np.arange(len(motion)) + 0.5) / float(motion.fps)
    tracks = Tracks.of(controls, times_s)
    rest = resting_dynamics(code, geometry.dynamics_limit)
    warnings: list[str] = []
    head, turn = move_head(motion, tracks, code, geometry, emotions, warnings)
    eyes = aim_eyes(motion, turn, tracks, code, geometry, times_s, seed, warnings)
    dynamics = motion.dynamics.copy()
    openings = lid_openings(dynamics, rest, geometry)
    openings = scale_blinks(openings, tracks.blink, fps=float(motion.fps))
    face = [k for k in range(dynamics.shape[1]) if k not in (*GAZE, *LIDS)]
    dynamics[:, face] *= tracks.expression[:, None]
    felt = emotions.face(tracks.emotion, rest)
    wider = lid_openings(felt, np.zeros_like(rest), geometry)
    openings = openings * wider * follow_gaze(code, geometry, motion.dynamics, eyes)
    dynamics[:, face] += felt[:, face]
    dynamics[:, LIDS] = lids_of(openings, rest, geometry)
    dynamics[:, GAZE] = eyes
    return replace(motion, head_pose=head, dynamics=dynamics), tuple(warnings)


def move_head(
    motion: Motion,
    tracks: Tracks,
    code: FaceCode,
    geometry: Geometry,
    emotions: Emotions,
    warnings: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Head poses (T, 6) to draw, and the angles (T, 3) they show, as changes from the photo."""
    tempo = emotions.head_tempo(tracks.emotion)
    head = motion.head_pose * (tracks.head_motion * tempo)[:, None]
    photo, pose_held = code.head_pose[:3], tracks.pose_held[:, None]
    life = head[:, :3] - pose_held * running_mean(head[:, :3], fps=float(motion.fps))
    axes = own_axes(code, geometry)
    held = rotation_angles(rotation_matrix(tracks.pose) @ axes.T) - photo
    turn = life + pose_held * held + (1 - pose_held) * emotions.head_offset(tracks.emotion)
    turn = turn + tracks.pose_offset
    if tracks.gaze_held.any():
        towards = Eyes.of(code, geometry).head + tracks.pose_offset[:, :2]
        turns = head_follows(tracks.gaze, towards, step_s=1 / float(motion.fps))
        turn[:, :2] += turns * (tracks.gaze_held * (1 - tracks.pose_held))[:, None]
    shown = soft_limit(turn, TURN_EXACT, TURN_LIMIT)
    k = int(np.abs(shown - turn).max(0).argmax())
    asked = (tracks.pose_held, tracks.pose_offset, tracks.head_motion - 1)
    if np.abs(shown - turn).max() > 1 and any(track.any() for track in asked):
        warnings.append(
            f"the head turns at most {np.abs(shown[:, k]).max():.0f} degrees in"
            f" {('yaw', 'pitch', 'roll')[k]} from the photo where {np.abs(turn[:, k]).max():.0f}"
            " were asked for: the photo supports no more"
        )
    head[:, :3] = life + TURN_DRAWN * (shown - life)
    log_ratio = np.log(tracks.distance)
    log_soft = soft_limit(log_ratio, LOG_DISTANCE_EXACT, LOG_DISTANCE_LIMIT)
    k = int(np.abs(log_ratio - log_soft).argmax())
    if abs(log_ratio[k] - log_soft[k]) > 0.02:
        warnings.append(
            f"the distance is {np.exp(log_soft[k]):.2f} where {tracks.distance[k]:g} was asked for:"
            " the photo supports no more"
        )
    head[:, 5] += log_soft
    head[:, 3:5] += neck_shift(code, geometry) * (1 - np.exp(-log_soft))[:, None]
    return head, shown


def aim_eyes(
    motion: Motion,
    turn: np.ndarray,
    tracks: Tracks,
    code: FaceCode,
    geometry: Geometry,
    times_s: np.ndarray,
    seed: int,
    warnings: list[str],
) -> np.ndarray:
    """Gaze dynamics (T, 2), as changes from the photo.

    Without a gaze that is asked for, the eyes do as the speech has them; the less they may wander,
    the more they fixate what the photo looks at while the head moves. With one, they stray from it
    by small saccades.
    """
    eyes, photo = Eyes.of(code, geometry), code.head_pose[:3]
    wander, held = tracks.gaze_wander[:, None], tracks.gaze_held[:, None]
    life = motion.head_pose[:, :3] * tracks.head_motion[:, None]
    fixating = eyes.dynamics(np.repeat(eyes.photo_gaze[None], len(life), 0), photo + life, photo)
    free = wander * motion.dynamics[:, GAZE] + np.maximum(1 - wander, 0) * fixating
    if not held.any():
        return free
    aims = tracks.gaze + wander * saccades(times_s, seed=seed)
    aimed, lost = eyes.limited(eyes.dynamics(gaze_vector(aims), photo + turn, photo))
    if lost > 1:
        warnings.append(
            f"the eyes fall short of the gaze by up to {lost:.0f} degrees: they cannot turn further"
            " in the head; turn it too with --pose"
        )
    return free + (aimed - free) * held


def own_axes(code: FaceCode, geometry: Geometry) -> np.ndarray:
    """Right, down and away of this face at rest (3, 3), columns, in canonical space.

    The pose that is asked for is that of these axes, as anyone can measure it on the landmarks:
    from ear to ear, and from forehead to chin.
    """
    rest = resting_dynamics(code, geometry.dynamics_limit)
    face = geometry.neutral(code.identity) + code.detail + geometry.displacement(rest)
    right = face[[263, 362, 454, 356]].mean(0) - face[[33, 133, 234, 127]].mean(0)
    down = face[[152, 199, 17]].mean(0) - face[[10, 151, 9]].mean(0)
    right = right / np.linalg.norm(right)
    away = np.cross(right, down)
    away = away / np.linalg.norm(away)
    return np.stack([right, np.cross(away, right), away], 1)


def neck_shift(code: FaceCode, geometry: Geometry) -> np.ndarray:
    """From the head's origin to the neck's base, in crop units as x, y (2,)."""
    chin = geometry.neutral(code.identity)[152, 1]
    below = (chin + NECK_BASE_BELOW_CHIN) * CROP_FACE_HEIGHT / code.head_pose[5]
    # the neck stands under the middle of the picture of the head, whichever way that leans
    return np.array([0.0, below])


def running_mean(values: np.ndarray, *, fps: float) -> np.ndarray:
    """Rows (T, D) averaged over LIFE_S about each, the ends over what there is."""
    reach = int(np.ceil(3 * LIFE_S * fps))
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (LIFE_S * fps)) ** 2)
    share = np.convolve(np.ones(len(values)), bell)[reach : reach + len(values)]
    sums = [np.convolve(column, bell)[reach : reach + len(values)] for column in values.T]
    return np.stack(sums, 1) / share[:, None]


def lid_openings(dynamics: np.ndarray, rest: np.ndarray, geometry: Geometry) -> np.ndarray:
    """How far both eyes are open, (T, 2), 1 as in the neutral mean face."""
    return 1 + (dynamics[:, LIDS] + rest[list(LIDS)]) * _lid_unit(geometry)


def lids_of(openings: np.ndarray, rest: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Lid dynamics (T, 2) as changes from rest; the inverse of `lid_openings`."""
    return (openings - 1) / _lid_unit(geometry) - rest[list(LIDS)]


def _lid_unit(geometry: Geometry) -> np.ndarray:
    unit = [face_measures(geometry.dynamics_basis[..., k])[k] for k in LIDS]
    return np.array(unit) / face_measures(geometry.mean)[list(LIDS)]


def follow_gaze(
    code: FaceCode, geometry: Geometry, sampled: np.ndarray, gaze: np.ndarray
) -> np.ndarray:
    """Factor (T, 1) on the eyes' opening: lids go with eyes that look up or down.

    Within clips of filmed people the gap narrows by 2 to 3 % a degree downward and widens by 3 to
    5 % upward. Only what the controls add to the gaze counts; the speech's own has its lids.
    """
    change = Eyes.of(code, geometry).degrees(gaze - sampled[:, GAZE])[:, 1:]
    down, up = LIDS_PER_DEGREE
    return np.clip(1 + np.where(change < 0, down, up) * change, *LIDS_RANGE)
