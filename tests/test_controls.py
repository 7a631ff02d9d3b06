"""Each control moves what it names, as far as it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vasa_cli.blinks import find_blinks
from vasa_cli.config import Controls
from vasa_cli.controls import (
    TURN_DRAWN,
    apply_controls,
    ease,
    follow,
    lid_openings,
    own_axes,
)
from vasa_cli.control_values import EMOTIONS
from vasa_cli.emotion import Emotions
from vasa_cli.gaze import DRAWN, GAZE, Eyes, angles_of, gaze_vector, likely_gaze, saccades
from vasa_cli.geometry import (
    EXPLICIT,
    N_DYNAMICS,
    N_IDENTITY,
    FaceCode,
    Geometry,
    face_measures,
    rotation_angles,
    rotation_matrix,
)
from vasa_cli.loading import load_emotions, load_geometry
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, perform, resting_dynamics
from vasa_cli.timeline import EASES, Keyframe, Timeline
from vasa_cli.weights import find_weights_dir

FPS = 25
N_FRAMES = 150
BLINKS_AT = (30, 75, 120)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


@pytest.fixture(scope="module")
def emotions() -> Emotions:
    return load_emotions(find_weights_dir())


@pytest.fixture(scope="module")
def code() -> FaceCode:
    """Somebody who turns the head a little and smiles a little."""
    rng = np.random.default_rng(4)
    dynamics = rng.normal(size=N_DYNAMICS) * 0.3
    dynamics[list(GAZE)] = 0.0
    pose = np.array([4.0, -3.0, 2.0, 0.0, 0.0, 1.0])
    return FaceCode(rng.normal(size=N_IDENTITY) * 0.5, pose, dynamics, np.zeros((478, 3)))


@pytest.fixture(scope="module")
def motion() -> Motion:
    """Six seconds of a head that sways, a mouth that talks, and three blinks."""
    t = np.arange(N_FRAMES) / FPS
    head = np.stack([3 * np.sin(3 * t), 2 * np.sin(4 * t), np.sin(2 * t)], 1)
    rest = np.stack([0.01 * np.sin(t), 0.01 * np.cos(t), 0.01 * np.sin(2 * t)], 1)
    dynamics = np.sin(np.outer(t, np.linspace(2, 6, N_DYNAMICS))) * 0.4
    dynamics[:, MOUTH_OPEN] = np.clip(np.sin(9 * t), 0, 1) * 3
    dynamics[:, LIDS] = 0.0
    for k in BLINKS_AT:
        dynamics[k - 2 : k + 3, LIDS] = np.array([-2.5, -5.0, -5.5, -4.0, -2.0])[:, None]
    return Motion(np.concatenate([head, rest], 1), dynamics, Fraction(FPS))


@pytest.fixture
def control(motion: Motion, code: FaceCode, geometry: Geometry, emotions: Emotions) -> Any:
    """Applies controls to the motion; the warnings must be none unless they are wanted."""

    def apply(*, warned: bool = False, motion: Motion = motion, **asked: Any) -> Motion:
        changed, warnings = apply_controls(
            motion, Controls(**asked), code=code, geometry=geometry, emotions=emotions
        )
        assert bool(warnings) == warned
        return changed

    return apply


def openings(motion: Motion, code: FaceCode, geometry: Geometry) -> np.ndarray:
    rest = resting_dynamics(code, geometry.dynamics_limit)
    return lid_openings(motion.dynamics, rest, geometry)


FACE = [k for k in range(N_DYNAMICS) if k not in (*GAZE, *LIDS)]


def test_nothing_asked_changes_nothing(motion: Motion, control: Any) -> None:
    assert control() is motion


# What a control does not name: the columns that it must leave as they are.
UNNAMED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"gaze": (5, 0)}, ("head", "place", "face", "mouth")),  # lids go with the eyes
    ({"gaze_wander": 0.5}, ("head", "place", "face", "mouth")),
    ({"distance": 0.8}, ("head", "face", "mouth", "lids", "gaze")),
    ({"emotion": "happy:0.5"}, ("gaze", "mouth")),
    ({"pose": (10, 0, 0)}, ("place", "face", "mouth", "lids", "gaze")),
    ({"pose_offset": (5, 5, 5)}, ("place", "face", "mouth", "lids", "gaze")),
    ({"head_motion": 0.5}, ("face", "mouth", "lids", "gaze")),
    ({"expression": 0.5}, ("head", "place", "lids", "gaze")),
    ({"blink": 0}, ("head", "place", "face", "mouth", "gaze")),
    ({"still": True}, ("face", "mouth")),
]


@pytest.mark.parametrize(("asked", "kept"), UNNAMED, ids=lambda v: str(v))
def test_a_control_leaves_alone_what_it_does_not_name(
    asked: dict[str, Any], kept: tuple[str, ...], motion: Motion, control: Any
) -> None:
    changed = control(**asked)
    parts = {
        "head": lambda m: m.head_pose[:, :3],
        "place": lambda m: m.head_pose[:, 3:],
        "face": lambda m: m.dynamics[:, FACE],
        "mouth": lambda m: m.dynamics[:, MOUTH_OPEN],
        "lids": lambda m: m.dynamics[:, LIDS],
        "gaze": lambda m: m.dynamics[:, GAZE],
    }
    for name, part in parts.items():
        same = np.allclose(part(changed), part(motion), atol=1e-9)
        assert same == (name in kept), name


# --- gaze ---


def camera_gaze(motion: Motion, turn: np.ndarray, code: FaceCode, geometry: Geometry) -> np.ndarray:
    """Where the eyes look in the camera's frame, read back from the dynamics: (T, 2) degrees."""
    eyes = Eyes.of(code, geometry)
    photo = rotation_matrix(code.head_pose[:3]).T @ eyes.photo_gaze
    offset = photo[:2] * [1, -1] + motion.dynamics[:, GAZE] / eyes.radius / DRAWN
    own = np.stack(
        [offset[:, 0], -offset[:, 1], -np.sqrt(1 - np.square(offset).sum(1))], 1
    )  # (T, 3)
    return angles_of(np.einsum("tij,tj->ti", rotation_matrix(code.head_pose[:3] + turn), own))


@pytest.mark.parametrize("gaze", [(0, 0), (12, 0), (-12, 0), (8, 1), (0, -1)])
def test_the_eyes_aim_in_the_cameras_frame_whatever_the_head_does(
    gaze: tuple[float, float], motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    changed = control(gaze=gaze, gaze_wander=0)
    seen = camera_gaze(changed, motion.head_pose[:, :3], code, geometry)
    assert np.abs(seen - gaze).max() < 0.05
    assert np.ptp(changed.dynamics[:, GAZE[0]]) > 0.3  # the eyes turn against the head


def test_saccades_are_small_sudden_and_have_no_mean() -> None:
    times = np.arange(2000) / FPS
    strayed = saccades(times, seed=3)
    assert np.abs(strayed.mean(0)).max() < 0.15
    assert 0.7 < strayed[:, 0].std() < 2 and np.abs(strayed).max() < 5
    still = (np.abs(np.diff(strayed, axis=0)).max(1) < 1e-9).mean()
    assert still > 0.85  # fixations last; the eye jumps between them
    assert not np.allclose(strayed, saccades(times, seed=4))


def test_saccades_are_the_same_at_every_frame_rate() -> None:
    slow, fast = np.arange(100) / 25, np.arange(200) / 50
    assert np.allclose(saccades(slow, seed=1)[:-1], saccades(fast, seed=1)[::2][:-1], atol=0.2)


def test_wander_scales_how_far_the_eyes_stray(control: Any) -> None:
    spread = {
        w: control(gaze="camera", gaze_wander=w, head_motion=0).dynamics[:, GAZE].std(0)
        for w in (0, 0.5, 1)
    }
    assert np.allclose(spread[0], 0, atol=1e-6)
    assert np.allclose(spread[0.5] * 2, spread[1], rtol=0.02)


def test_the_head_follows_large_gazes_partly_and_later(motion: Motion, control: Any) -> None:
    late = Timeline((("gaze", (Keyframe(0, "camera"), Keyframe(2, "right", "step"))),))
    near, far = control(gaze=(8, 0)), control(gaze=(28, 0), gaze_wander=0)
    assert np.allclose(near.head_pose, motion.head_pose)
    turned = (far.head_pose - motion.head_pose)[:, 0] / TURN_DRAWN[0]
    assert 2 < turned[-1] < 28 - 10
    rising = (control(timeline=late).head_pose - motion.head_pose)[:, 0]
    assert abs(rising[49]) < 1e-6 and rising[51] < 0.5 * rising[-1] and rising[-1] > 0.5


def test_lids_follow_a_gaze_that_goes_up_or_down(
    motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    level, up, down, side = (
        np.median(openings(control(gaze=g, gaze_wander=0), code, geometry))
        for g in ((0, 0), (0, 8), (0, -8), (10, 0))
    )
    assert down < 0.95 * level < level < 0.95 * up
    assert side == pytest.approx(level, rel=0.03)


def test_eyes_that_cannot_turn_so_far_are_told(control: Any) -> None:
    changed = control(gaze=(-40, 0), pose=(20, 0, 0), warned=True)
    assert np.isfinite(changed.dynamics).all()


@pytest.mark.parametrize("seen", [(0.3, -5.0), (2.0, -1.0), (-2.0, -9.0)])
def test_a_photo_that_may_well_look_at_the_camera_is_taken_to(seen: tuple[float, float]) -> None:
    assert np.abs(likely_gaze(np.array(seen))).max() < 0.8


def test_a_photo_that_looks_aside_is_seen_to() -> None:
    assert likely_gaze(np.array([-20.0, -5.0]))[0] == pytest.approx(-20, abs=2)


def test_gaze_vectors_read_back() -> None:
    angles = np.random.default_rng(0).uniform(-35, 35, (50, 2))
    assert np.allclose(angles_of(gaze_vector(angles)), angles)


# --- head ---


@pytest.mark.parametrize("pose", [(0, 0, 0), (15, 0, 0), (0, -12, 0), (0, 0, 14), (-12, 8, -6)])
def test_a_pose_is_held_on_average_with_life_around_it(
    pose: tuple[float, float, float], code: FaceCode, geometry: Geometry, control: Any
) -> None:
    changed = control(pose=pose)
    turn = changed.head_pose[:, :3].mean(0) / TURN_DRAWN
    shown = rotation_matrix(code.head_pose[:3] + turn) @ own_axes(code, geometry)
    assert rotation_angles(shown) == pytest.approx(np.array(pose), abs=0.6)
    assert (changed.head_pose[:, :3].std(0) > 0.3).all()


def test_an_offset_turns_the_head_by_so_much(motion: Motion, control: Any) -> None:
    turned = control(pose_offset=(6, -4, 3)).head_pose[:, :3] - motion.head_pose[:, :3]
    assert np.allclose(turned / TURN_DRAWN, [6, -4, 3])


def test_a_pose_beyond_the_photo_is_limited_softly_and_told(
    motion: Motion, code: FaceCode, geometry: Geometry, emotions: Emotions
) -> None:
    profile = replace(code, head_pose=np.array([-30.0, 0, 0, 0, 0, 1]))
    changed, warnings = apply_controls(
        motion, Controls(pose=(45, 0, 0)), code=profile, geometry=geometry, emotions=emotions
    )
    assert len(warnings) == 1 and "degrees in yaw" in warnings[0]
    assert "the photo supports no more" in warnings[0]
    assert (changed.head_pose[:, 0] / TURN_DRAWN[0]).max() < 45


@pytest.mark.parametrize("scale", [0, 0.5, 2])
def test_head_motion_scales_the_head(scale: float, motion: Motion, control: Any) -> None:
    assert np.allclose(control(head_motion=scale).head_pose, motion.head_pose * scale)


@pytest.mark.parametrize("distance", [0.8, 0.9, 1.25])
def test_distance_scales_the_face_about_the_necks_base(
    distance: float, motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    still = replace(motion, head_pose=np.zeros((N_FRAMES, 6)))
    before = perform(still, code, geometry)[0]
    after = perform(control(motion=still, distance=distance), code, geometry)[0]

    def height(points: np.ndarray) -> float:
        return float(np.linalg.norm(points[10] - points[152]))

    assert height(after) / height(before) == pytest.approx(1 / distance)
    slope, start = np.polyfit(before[:468, 1], (after - before)[:468, 1], 1)
    neck = -start / slope  # the height in the picture at which nothing moves
    below_chin = (neck - before[152, 1]) / height(before)
    assert 0.3 < below_chin < 0.6


def test_a_distance_beyond_the_photo_is_told(control: Any) -> None:
    control(distance=0.5, warned=True)


def test_still_holds_head_and_eyes_and_lets_lips_and_lids_go_on(
    motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    changed = control(still=True)
    assert np.abs(changed.head_pose).max() == 0
    assert np.abs(changed.dynamics[:, GAZE]).max() < 1e-6
    assert np.array_equal(changed.dynamics[:, MOUTH_OPEN], motion.dynamics[:, MOUTH_OPEN])
    assert len(find_blinks(openings(changed, code, geometry).mean(1), fps=FPS)) == len(BLINKS_AT)


# --- face ---


def test_expression_scales_the_face_lips_included(motion: Motion, control: Any) -> None:
    for scale in (0, 0.5, 1.5):
        changed = control(expression=scale).dynamics
        assert np.allclose(changed[:, FACE], motion.dynamics[:, FACE] * scale)


@pytest.mark.parametrize(("scale", "n_blinks"), [(0, 0), (0.34, 1), (1, 3), (2, 6)])
def test_blink_scales_how_often(
    scale: float, n_blinks: int, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    opening = openings(control(blink=scale), code, geometry).mean(1)
    assert len(find_blinks(opening, fps=FPS)) == n_blinks
    if scale == 0:
        assert opening.min() > 0.7 * np.median(opening)


def test_without_blinks_slow_closures_go_too(
    motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    shut = replace(motion, dynamics=motion.dynamics.copy())
    shut.dynamics[40:70, LIDS] = -5
    opening = openings(control(motion=shut, blink=0), code, geometry)
    assert opening.min() > 0.7 * np.median(opening)


SIGNS = {  # of the measures: the way that each emotion moves it
    "happy": {"corner_lift": 1, "mouth_width": 1},
    "sad": {"corner_lift": -1, "lid_right": -1},
    "angry": {"brow_height": -1, "corner_lift": -1, "mouth_width": -1},
    "surprised": {"brow_height": 1, "lid_right": 1},
    "fearful": {"brow_height": 1, "lid_right": 1, "mouth_width": 1},
    "disgusted": {"brow_height": -1, "lid_right": -1, "corner_lift": -1},
}


@pytest.mark.parametrize("name", SIGNS)
def test_an_emotion_grows_with_its_strength_in_its_own_signs(
    name: str, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    def measures(strength: float) -> np.ndarray:
        changed = control(emotion={name: strength})
        dynamics = resting_dynamics(code, geometry.dynamics_limit) + changed.dynamics
        return face_measures(geometry.canonical(code, dynamics)).mean(0)

    seen = np.stack([measures(s) for s in (0, 0.25, 0.5, 0.75, 1)])  # (5, N_EXPLICIT)
    for sign, way in SIGNS[name].items():
        assert (np.diff(seen[:, EXPLICIT.index(sign)]) * way > 0).all(), sign


def test_contempt_lifts_one_corner(geometry: Geometry, emotions: Emotions) -> None:
    moved = geometry.displacement(emotions.dynamics[-1])
    assert moved[61, 1] - moved[291, 1] > 0.008  # y points down: the right one rises


@pytest.mark.parametrize("name", [*SIGNS, "contemptuous"])
def test_lips_that_meet_still_meet_and_blinks_still_shut(
    name: str, motion: Motion, code: FaceCode, geometry: Geometry, control: Any
) -> None:
    changed = control(emotion=name)
    assert np.allclose(changed.dynamics[:, MOUTH_OPEN], motion.dynamics[:, MOUTH_OPEN])
    points = perform(changed, replace(code, head_pose=np.array([0, 0, 0, 0, 0, 1.0])), geometry)
    meeting = motion.dynamics[:, MOUTH_OPEN] == 0
    gap = face_measures(points)[meeting, MOUTH_OPEN]
    assert np.abs(gap).max() < 0.012  # face heights; the heads are turned a little
    opening = openings(changed, code, geometry).mean(1)
    assert len(find_blinks(opening, fps=FPS)) == len(BLINKS_AT)


def test_emotions_mix(control: Any, motion: Motion) -> None:
    def added(emotion: str) -> np.ndarray:
        return (control(emotion=emotion).dynamics - motion.dynamics)[:, FACE]

    both = added("happy:0.4,surprised:0.3")
    assert np.allclose(both, added("happy:0.4") + added("surprised:0.3"))


def test_neutral_takes_the_photos_own_expression_away(
    code: FaceCode, geometry: Geometry, motion: Motion, control: Any
) -> None:
    rest = resting_dynamics(code, geometry.dynamics_limit)[FACE]
    rest[FACE.index(MOUTH_OPEN)] = 0.0
    taken = (control(emotion="neutral").dynamics - motion.dynamics)[:, FACE]
    assert np.allclose(taken, -rest)


def test_a_smile_in_the_photo_gives_way_to_sadness(geometry: Geometry, emotions: Emotions) -> None:
    sad = np.eye(8)[2:3]
    smiling = -emotions.dynamics[2]
    from_smile, from_rest = (
        rest + emotions.face(sad, rest)[0] for rest in (smiling, np.zeros(N_DYNAMICS))
    )
    columns = [k for k in FACE if k != MOUTH_OPEN]
    along = emotions.dynamics[2][columns]
    assert from_smile[columns] @ along > 0.5 * (from_rest[columns] @ along)


@pytest.mark.parametrize("name", ["sad", "angry", "fearful", "disgusted"])
def test_a_photo_that_smiles_stops_where_the_corners_do_not_rise(
    name: str, emotions: Emotions
) -> None:
    smiling = emotions.dynamics[EMOTIONS.index("happy")] * 0.9
    smiling[[*GAZE, *LIDS, MOUTH_OPEN]] = 0.0
    felt = np.eye(len(EMOTIONS))[[EMOTIONS.index(name)]]
    from_smile, from_rest = (
        (rest + emotions.face(felt, rest)[0])[FACE] for rest in (smiling, np.zeros(N_DYNAMICS))
    )
    assert np.allclose(from_smile, from_rest, atol=0.2 * np.abs(from_rest).max())
    surprised = np.eye(len(EMOTIONS))[[EMOTIONS.index("surprised")]]
    kept = smiling + emotions.face(surprised, smiling)[0] - emotions.face(surprised, 0 * smiling)[0]
    lift = EXPLICIT.index("corner_lift")
    assert kept[lift] > 0.9 * smiling[lift]  # a surprise may be a happy one


def test_sadness_slows_the_head_and_lets_it_hang(motion: Motion, control: Any) -> None:
    sad = control(emotion="sad").head_pose[:, :3]
    speed = (
        np.abs(np.diff(sad, axis=0)).mean()
        / np.abs(np.diff(motion.head_pose[:, :3], axis=0)).mean()
    )
    assert 0.5 < speed < 0.8
    assert sad[:, 1].mean() < motion.head_pose[:, 1].mean() - 2


# --- timelines ---


def test_a_step_is_there_at_once(control: Any, motion: Motion) -> None:
    keys = (Keyframe(0, 1.0), Keyframe(2.0, 0.0, "step"))
    changed = control(timeline=Timeline((("head_motion", keys),)))
    assert np.array_equal(changed.head_pose[:50], motion.head_pose[:50])
    assert np.abs(changed.head_pose[50:]).max() == 0


def test_values_rise_between_keyframes_and_stay_after_the_last() -> None:
    keys = (Keyframe(3, 1.0, "step"), Keyframe(4, 3.0, "linear"))
    times = np.array([0.0, 2.9, 3.0, 3.25, 4.0, 9.0])
    values, held = follow(keys, 2.0, times, 1, name="head_motion")
    assert values[:, 0] == pytest.approx([2, 2, 1, 1.5, 3, 3]) and (held == 1).all()


def test_a_gaze_fades_in_and_is_let_go_of() -> None:
    keys = (Keyframe(1, (20.0, 0.0), "step"), Keyframe(2, None, "linear"))
    values, held = follow(keys, None, np.array([0.5, 1.0, 1.5, 2.5]), 2, name="gaze")
    assert held == pytest.approx([0, 1, 0.5, 0])
    assert values[:, 0] == pytest.approx([20, 20, 20, 20])


@pytest.mark.parametrize("kind", EASES)
def test_eases_go_from_0_to_1_and_never_back(kind: str) -> None:
    shape = [ease(share, kind) for share in np.linspace(0, 1, 50)]
    assert shape[0] == 0 and (np.diff(shape) >= 0).all()
    assert shape[-1] == pytest.approx(0 if kind == "step" else 1)


def test_the_example_shows_every_control(repository: Path) -> None:
    from vasa_cli.control_values import READERS
    from vasa_cli.timeline import load_timeline

    example = load_timeline(repository / "examples" / "controls.json")
    assert {name for name, _ in example.tracks} == set(READERS)
    assert 15 <= example.end_s <= 20
