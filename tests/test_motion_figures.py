"""Figures of motion against series whose figures are known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, perform
from vasa_cli.motion_figures import (
    LOWER_LIP,
    UPPER_LIP,
    blinks,
    drift,
    head_speed,
    jitter,
    lag_curve,
    mean_face_code,
    over_speakers,
    peak,
    read_face,
    seam_ratio,
    smooth,
    turn_per_frame,
)
from vasa_cli.weights import find_weights_dir

FPS = Fraction(25)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def still(n_frames: int) -> Motion:
    return Motion(np.zeros((n_frames, N_HEAD_POSE)), np.zeros((n_frames, N_DYNAMICS)))


def test_a_face_is_read_as_it_would_be_performed(geometry: Geometry) -> None:
    rng = np.random.default_rng(0)
    dynamics = rng.normal(size=(40, N_DYNAMICS)) * 0.5
    dynamics[:, MOUTH_OPEN] = np.linspace(-1, 3, 40)
    motion = Motion(np.zeros((40, N_HEAD_POSE)), dynamics)
    face = read_face(motion, geometry)
    points = geometry.canonical(mean_face_code(), dynamics)
    gap = points[:, LOWER_LIP, 1].mean(1) - points[:, UPPER_LIP, 1].mean(1)
    assert np.allclose(face.opening, gap, atol=1e-9)
    assert np.all(face.opening[:10] == 0) and face.opening[-1] > 0.05
    rest = geometry.mean[list(LOWER_LIP), 1].mean()
    assert np.allclose(face.lower_lip, points[:, LOWER_LIP, 1].mean(1) - rest, atol=1e-9)
    mouth = geometry.mean[291, 0] - geometry.mean[61, 0]
    assert np.allclose(face.width, points[:, 291, 0] - points[:, 61, 0] - mouth, atol=1e-9)


def test_lids_and_gaze_at_rest_are_one_and_straight(geometry: Geometry) -> None:
    face = read_face(still(3), geometry)
    assert np.allclose(face.eyes, 1) and np.allclose(face.gaze, 0)
    motion = still(3)
    motion.dynamics[:, LIDS] = -3
    motion.dynamics[:, EXPLICIT.index("gaze_yaw")] = 1
    moved = read_face(motion, geometry)
    assert np.all(moved.eyes < 0.6)
    assert np.all(moved.gaze[:, 0] > 1) and np.allclose(moved.gaze[:, 1], 0, atol=0.1)


def test_blinks_are_found_with_their_lengths() -> None:
    eyes = np.ones(100)
    eyes[20:26] = [0.9, 0.5, 0.1, 0.1, 0.5, 0.9]  # through 0.8 a quarter on, and as much back
    eyes[50:54] = [0.7, 0.65, 0.7, 0.65]  # no blink: not low enough
    eyes[70:90] = 0.2  # no blink: too long
    ((time_s, length_s),) = blinks(eyes, FPS)
    assert time_s == pytest.approx(23 / 25)
    assert length_s == pytest.approx(4.5 / 25)


def test_two_dips_of_one_blink_count_once_and_the_edges_not() -> None:
    eyes = np.ones(60)
    eyes[:2] = eyes[-2:] = 0.1
    eyes[20:25] = [0.4, 0.7, 0.7, 0.4, 0.75]
    assert len(blinks(eyes, FPS)) == 1


def test_turning_evenly_has_its_speed() -> None:
    angles = np.stack([np.arange(50) * 0.3, np.arange(50) * 0.4, np.zeros(50)], 1)
    assert turn_per_frame(angles) == pytest.approx(0.7 / 3)
    assert head_speed(angles) == pytest.approx(np.full(50, 0.5))


def test_jitter_is_that_of_what_shakes(geometry: Geometry) -> None:
    shaking = still(40)
    shaking.head_pose[::2, 3] = 0.01  # x, in crop units: second differences of 0.02
    found = jitter(shaking, geometry)
    assert found["head"] == pytest.approx(0.02) and found["lips"] == pytest.approx(0)
    talking = still(40)
    talking.dynamics[::2, MOUTH_OPEN] = 1
    found = jitter(talking, geometry)
    assert found["head"] == pytest.approx(0) and found["lips"] > 0.01
    assert perform(talking, mean_face_code(), geometry).shape == (40, 478, 3)


def test_drift_is_seen_in_place_and_in_size() -> None:
    rng = np.random.default_rng(1)
    steady = rng.normal(size=(6000, 2))
    assert drift(steady)["trend"] < 0.2 and drift(steady)["spread"] < 1.1
    wandering = steady + np.linspace(0, 3, 6000)[:, None] * [0, 1]
    assert drift(wandering)["trend"] == pytest.approx(3 / np.sqrt(1 + 9 / 12), rel=0.1)
    growing = steady * np.linspace(1, 4, 6000)[:, None]
    assert drift(growing)["spread"] > 2


@pytest.mark.parametrize("order", [1, 2])
def test_a_step_at_every_seam_is_seen(order: int) -> None:
    rng = np.random.default_rng(2)
    smoothly = np.cumsum(rng.normal(size=(1000, 3)), 0)
    assert seam_ratio(smoothly, 50, order=order) == pytest.approx(1, abs=0.4)
    stepped = smoothly + 8 * (np.arange(1000) // 50 % 2)[:, None]
    assert seam_ratio(stepped, 50, order=order) > 2


def test_lags_are_found_between_frames() -> None:
    t = np.arange(400) / 25
    early = np.sin(2 * np.pi * 1.3 * t) + np.sin(2 * np.pi * 0.7 * t)
    late = np.sin(2 * np.pi * 1.3 * (t - 0.1)) + np.sin(2 * np.pi * 0.7 * (t - 0.1))
    lags = range(-5, 6)
    height, lag = peak(lag_curve(late, early, lags), lags)
    assert height > 0.99 and lag == pytest.approx(2.5, abs=0.1)
    assert peak(lag_curve(early, late, lags), lags)[1] == pytest.approx(-2.5, abs=0.1)


def test_what_does_not_vary_correlates_with_nothing_and_is_left_out() -> None:
    curve = lag_curve(np.ones(30), np.arange(30.0), range(-2, 3))
    assert np.isnan(curve).all()
    mean = over_speakers(
        {"a": [np.array([0.2]), np.array([0.4]), np.array([np.nan])], "b": [[0.9]]}
    )
    assert mean == pytest.approx([0.6])


def test_smoothing_keeps_the_length_and_the_mean_of_a_line() -> None:
    line = np.arange(20.0)
    assert smooth(line, 5)[2:-2] == pytest.approx(line[2:-2])
    assert len(smooth(line, 5)) == 20
