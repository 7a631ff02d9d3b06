"""Sampled motion without tremble and starts at blinks, and with all else it had."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.gaze import GAZE
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion
from vasa_cli.motion_edit import stacked
from vasa_cli.steadying import BROWS, TREMBLE, steadied
from vasa_cli.training.motion import steady
from vasa_cli.training.motion_data import Take

N_FRAMES = 120
SPREAD = np.full(N_HEAD_POSE + N_DYNAMICS, 0.5)
SAMPLED = np.ones(N_HEAD_POSE + N_DYNAMICS, bool)
SAMPLED[N_HEAD_POSE + MOUTH_OPEN] = False
BLINK = slice(60, 65)


def calm() -> Motion:
    """A head that turns slowly, twice from left to right."""
    turn = 5 * np.sin(np.arange(N_FRAMES) * 4 * np.pi / N_FRAMES)
    return Motion(np.repeat(turn[:, None], N_HEAD_POSE, 1), np.zeros((N_FRAMES, N_DYNAMICS)))


def blinking(motion: Motion) -> Motion:
    """The same with a blink, in which head, gaze and brows start as the face mesh sees them."""
    motion.dynamics[BLINK, LIDS[0]] = motion.dynamics[BLINK, LIDS[1]] = -2.0
    motion.head_pose[BLINK] += 2.0
    motion.dynamics[BLINK, GAZE[1]] -= 2.0
    motion.dynamics[BLINK, BROWS] += 1.0
    return motion


def test_a_blink_moves_the_lids_and_nothing_else() -> None:
    found, still = (steadied(motion, SPREAD, SAMPLED) for motion in (blinking(calm()), calm()))
    assert (found.dynamics[BLINK][1:-1, LIDS] < -1.9).all()
    assert np.abs(found.head_pose - still.head_pose).max() < 0.2
    assert np.abs(found.dynamics[:, [GAZE[1], BROWS]]).max() < 0.1


def test_tremble_goes_and_slow_turns_stay() -> None:
    noise = np.random.default_rng(0).normal(size=(N_FRAMES, N_HEAD_POSE + N_DYNAMICS))
    motion, clean = calm(), calm()
    motion.head_pose[:] += 0.2 * noise[:, :N_HEAD_POSE]
    motion.dynamics[:] += TREMBLE * SPREAD[N_HEAD_POSE:] * noise[:, N_HEAD_POSE:]
    found = steadied(motion, SPREAD, SAMPLED)
    second = [np.diff(stacked(m), 2, axis=0).std(0) for m in (found, motion)]
    kept = np.arange(len(SAMPLED)) == N_HEAD_POSE + MOUTH_OPEN
    assert (second[0][~kept] < 0.6 * second[1][~kept]).all()
    assert np.abs(found.head_pose - clean.head_pose).std() < 0.15


def test_what_was_decided_stays_to_the_bit() -> None:
    motion = calm()
    motion.dynamics[:, MOUTH_OPEN] = np.random.default_rng(1).normal(size=N_FRAMES)
    found = steadied(motion, SPREAD, SAMPLED)
    assert np.array_equal(found.dynamics[:, MOUTH_OPEN], motion.dynamics[:, MOUTH_OPEN])


@pytest.mark.parametrize("column", [GAZE[0], LIDS[0], BROWS])
def test_quick_changes_that_are_no_tremble_stay_quick(column: int) -> None:
    motion = calm()
    motion.dynamics[N_FRAMES // 2 :, column] = 1.5
    found = steadied(motion, SPREAD, SAMPLED).dynamics[:, column]
    assert np.diff(found).max() > 1.0 and found[-1] == pytest.approx(1.5)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 20])
def test_short_motions_are_steadied_too(n_frames: int) -> None:
    motion = Motion(np.ones((n_frames, N_HEAD_POSE)), np.ones((n_frames, N_DYNAMICS)))
    np.testing.assert_allclose(stacked(steadied(motion, SPREAD, SAMPLED)), 1.0)


def test_takes_are_learned_without_what_their_labels_tremble_by() -> None:
    rng = np.random.default_rng(3)
    trembling = stacked(blinking(calm())) + 0.1 * rng.normal(size=(N_FRAMES, len(SAMPLED)))
    speech, mels = np.ones((2 * N_FRAMES, 3), np.float32), np.ones((4 * N_FRAMES, 2), np.float16)
    take = Take("a", False, True, trembling.astype(np.float32), speech, mels, 1.0)
    found = steady(take, SPREAD)
    assert found.motion.dtype == np.float32 and found.motion.shape == take.motion.shape
    second = [np.diff(m[:, :N_HEAD_POSE], 2, axis=0).std() for m in (found.motion, take.motion)]
    assert second[0] < 0.2 * second[1]
    assert np.abs(found.motion - stacked(calm()))[BLINK, :3].max() < 0.4
    assert found.speech is take.speech and found.mels is take.mels
