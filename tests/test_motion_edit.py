"""Cutting, joining and resampling recordings."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.test_motion import wave
from tests.test_motion_file import recorded
from vasa_cli.errors import UsageError
from vasa_cli.loading import load_geometry
from vasa_cli.motion import MOUTH_OPEN
from vasa_cli.motion_edit import (
    cut,
    fit_positions,
    fitted,
    join,
    mix,
    part,
    resample,
    smoothed,
    stacked,
)
from vasa_cli.motion_file import Recording
from vasa_cli.weights import find_weights_dir


def test_a_cut_keeps_frames_shots_and_gaps_of_its_part() -> None:
    found = cut(recorded(), 4, 20)
    assert np.array_equal(stacked(found.motion), stacked(recorded().motion)[4:21])
    assert (found.cuts, found.filled) == ((8,), ((0, 1),))
    assert found.origin is not None and len(found.origin) == 2


def test_a_cut_within_the_second_shot_forgets_the_first() -> None:
    found = cut(recorded(), 12, 29)
    assert (found.cuts, found.filled) == ((), ())
    assert found.origin is not None and found.origin[0, 0] == 54


@pytest.mark.parametrize(("first", "last"), [(0, 30), (-1, 3), (5, 4)])
def test_frames_that_are_not_there_cannot_be_cut(first: int, last: int) -> None:
    with pytest.raises(UsageError, match="which has 0-29"):
        cut(recorded(), first, last)


def test_cut_parts_joined_again_are_the_whole() -> None:
    whole = recorded()
    again = join([cut(whole, 0, 6), cut(whole, 7, 20), cut(whole, 21, 29)])
    assert np.array_equal(stacked(again.motion), stacked(whole.motion))
    assert again.cuts == (7, 12, 21)
    assert again.filled == whole.filled
    assert again.origin is not None and again.origin[:, 0].tolist() == [0, 0, 54, 54]


def test_a_blend_passes_smoothly_from_one_to_the_other() -> None:
    still = replace(wave(50), head_pose=np.zeros((50, 6)), dynamics=np.zeros((50, 48)))
    turned = replace(still, head_pose=np.full((50, 6), 8.0))
    found = join([Recording(still), Recording(turned)], blend_s=0.4)
    yaw = found.motion.head_pose[:, 0]
    assert len(yaw) == 90 and not found.cuts
    assert (yaw[:40] == 0).all() and (yaw[50:] == 8).all()
    assert (np.diff(yaw[39:51]) > 0).all() and np.diff(yaw).max() < 8 / 5


def test_a_blend_longer_than_a_motion_is_refused() -> None:
    with pytest.raises(UsageError, match="a blend of 1 s is too long for a motion of 1.20 s"):
        join([recorded(), Recording(wave(90))], blend_s=1.0)


def test_motions_of_different_bases_cannot_be_joined() -> None:
    with pytest.raises(UsageError, match="different geometry weights"):
        join([recorded(), replace(recorded(), basis="ef" * 32)])


def test_joining_takes_the_first_ones_rate() -> None:
    found = join([Recording(wave(50, 50)), Recording(wave(25, 25))])
    assert found.motion.fps == 50 and len(found.motion) == 100
    t = (np.arange(50) + 0.5) / 50
    second = found.motion.head_pose[50:, 0]
    assert np.abs(second - np.sin(2 * np.pi * 1.5 * t))[3:-3].max() < 0.02


def test_resampling_keeps_what_happens_when_and_every_shot_apart() -> None:
    jump = recorded()
    jump.motion.head_pose[12:] += 100  # another shot: nothing between the two may appear
    found = resample(jump, Fraction(60))
    yaw = found.motion.head_pose[:, 0]
    assert (len(yaw), found.cuts, found.filled) == (72, (29,), ((7, 13),))
    assert (np.abs(yaw[:29]) < 2).all() and (yaw[29:] > 98).all()


def test_a_shot_shorter_than_a_new_frame_goes() -> None:
    short = replace(recorded(), cuts=(12, 13), origin=np.zeros((3, 54)))
    found = resample(short, Fraction(2))
    assert len(found.motion) == 2 and found.cuts == (1,)
    assert found.origin is not None and len(found.origin) == 2


@pytest.mark.parametrize(
    ("policy", "n_wanted", "shown"),
    [
        ("trim", 3, [0, 1, 2]),
        ("hold", 6, [0, 1, 2, 3, 3, 3]),
        ("hold", 2, [0, 1]),
        ("loop", 9, [0, 1, 2, 3, 2, 1, 0, 1, 2]),
        ("stretch", 8, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]),
        ("stretch", 2, [0.5, 2.5]),
    ],
)
def test_lengths_are_fitted_as_the_policy_says(
    policy: str, n_wanted: int, shown: list[float]
) -> None:
    assert fit_positions(4, n_wanted, policy).tolist() == shown


def test_a_single_frame_can_be_looped() -> None:
    assert fit_positions(1, 3, "loop").tolist() == [0, 0, 0]


def test_trim_makes_nothing_longer() -> None:
    assert len(fitted(recorded(), 7, "trim").motion) == 7
    with pytest.raises(UsageError, match="has 30 frames where 40 are needed; take --fit hold"):
        fitted(recorded(), 40, "trim")


def test_mixing_takes_the_lips_at_the_bases_rate_and_length() -> None:
    geometry = load_geometry(find_weights_dir())
    base, other = recorded(30), replace(Recording(wave(100, 50)), basis=recorded().basis)
    other.motion.dynamics[:] *= 3
    found = mix(base, other, ("lips",), geometry, policy="trim")
    assert (len(found.motion), found.motion.fps, found.cuts) == (30, 25, base.cuts)
    assert np.array_equal(found.motion.head_pose, base.motion.head_pose)
    mouth = found.motion.dynamics[:, MOUTH_OPEN]
    assert np.abs(mouth - 3 * base.motion.dynamics[:, MOUTH_OPEN])[2:-2].max() < 0.1
    with pytest.raises(UsageError, match="different geometry weights"):
        mix(base, replace(other, basis="ef" * 32), ("lips",), geometry, policy="trim")
    with pytest.raises(UsageError, match="--fit hold"):
        mix(other, base, ("lips",), geometry, policy="trim")
    assert len(mix(other, base, ("lips",), geometry, policy="loop").motion) == 100


def test_smoothing_does_not_cross_a_cut() -> None:
    rng = np.random.default_rng(0)
    shaky = replace(recorded(60), cuts=(30,))
    shaky.motion.head_pose[:] += rng.normal(0, 0.1, (60, 6))
    shaky.motion.head_pose[30:] += 50
    calm = smoothed(shaky, 1.0).motion.head_pose
    assert (
        np.diff(calm, n=2, axis=0)[:25].std()
        < np.diff(shaky.motion.head_pose, n=2, axis=0)[:25].std()
    )
    assert (calm[:30] < 10).all() and (calm[30:] > 40).all()


def test_a_part_is_a_part() -> None:
    assert len(part(wave(9), slice(2, 5))) == 3
