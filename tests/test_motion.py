"""Motion as a value: rates, files, rest, and how a face performs it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vasa_cli.geometry import N_DYNAMICS, FaceCode
from vasa_cli.motion import (
    MOUTH_OPEN,
    Motion,
    from_video,
    rest_in_silence,
    resting_dynamics,
    without_gaps,
)


def wave(n_frames: int, fps: int = 25) -> Motion:
    """Every column a slow sine of the frame's own time."""
    t = (np.arange(n_frames) + 0.5) / fps
    column = np.sin(2 * np.pi * 1.5 * t)[:, None]
    return Motion(np.repeat(column, 6, 1), np.repeat(column, N_DYNAMICS, 1), Fraction(fps))


@pytest.mark.parametrize("fps", [24, 30, 50, 60, Fraction(30000, 1001)])
def test_resampling_keeps_the_curve_in_time(fps: int | Fraction) -> None:
    rate = Fraction(fps)
    n_frames = round(4 * rate)
    found = wave(100).resample(rate, n_frames)
    t = (np.arange(n_frames) + 0.5) / float(rate)
    inside = (t > 0.1) & (t < 3.9)
    assert len(found) == n_frames
    assert np.abs(found.head_pose[inside, 0] - np.sin(2 * np.pi * 1.5 * t[inside])).max() < 0.01


def test_resampling_to_its_own_rate_changes_nothing() -> None:
    motion = wave(40)
    assert motion.resample(Fraction(25), 40) is motion


def test_one_frame_can_be_resampled() -> None:
    assert len(wave(1).resample(Fraction(60), 3)) == 3


def test_rest_closes_the_lips_and_softens_the_expression() -> None:
    code = FaceCode(np.zeros(40), np.zeros(6), np.full(N_DYNAMICS, 2.0), np.zeros((478, 3)))
    rest = resting_dynamics(code, np.stack([np.full(N_DYNAMICS, -9.0), np.full(N_DYNAMICS, 9.0)]))
    assert rest[MOUTH_OPEN] == 0
    assert 0 < rest[-1] < 2
    assert rest[0] == 2  # the eyes look where they looked


def test_motion_of_a_video_is_a_change_from_its_own_median() -> None:
    rng = np.random.default_rng(0)
    pose = np.concatenate([rng.normal(5, 2, (50, 5)), np.exp(rng.normal(0.1, 0.01, (50, 1)))], 1)
    motion = from_video(pose, rng.normal(1, 1, (50, N_DYNAMICS)))
    assert np.allclose(np.median(motion.head_pose, 0), 0)
    assert np.median(motion.dynamics[:, MOUTH_OPEN]) > 0.3  # measured from closed lips


def test_gaps_are_filled_straight() -> None:
    motion, found = wave(5), np.array([True, False, False, True, True])
    filled = without_gaps(motion, found)
    assert np.allclose(np.diff(filled.head_pose[:4, 0], 2), 0)


def test_lips_meet_in_a_lasting_silence_and_not_in_a_short_one() -> None:
    silence = np.zeros(60)
    silence[20:50] = 1.0
    silence[8:10] = 1.0
    left = rest_in_silence(silence)
    assert (left[25:45] == 0).all()
    assert (left[:14] == 1).all() and left[-1] == 1
