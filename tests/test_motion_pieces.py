"""Motion in pieces: the same frames as of the whole, and none later than it must be."""

from __future__ import annotations

from fractions import Fraction
from typing import Iterator

import numpy as np
import pytest

from tests.test_motion import wave
from vasa_cli.motion import Motion
from vasa_cli.motion_edit import part, stacked, unstacked
from vasa_cli.motion_pieces import filtered, regrouped, resampled, whole

N_FRAMES = 123


def moving() -> Motion:
    noise = np.random.default_rng(1).normal(size=(N_FRAMES, 54))
    return Motion(noise[:, :6], noise[:, 6:])


def pieces(motion: Motion, n_frames: int) -> Iterator[Motion]:
    for start in range(0, len(motion), n_frames):
        yield part(motion, slice(start, start + n_frames))


@pytest.mark.parametrize("fps", [25, 12, 24, Fraction(30000, 1001), 50, 60])
@pytest.mark.parametrize("n_frames", [1, 2, 7, 50, N_FRAMES])
def test_resampled_piece_by_piece_it_is_the_whole_resampled(fps: Fraction, n_frames: int) -> None:
    motion, wanted = moving(), int(N_FRAMES * Fraction(fps) / 25) + 3
    found = whole(resampled(pieces(motion, n_frames), Fraction(fps), wanted))
    assert found.fps == fps
    assert np.array_equal(stacked(found), stacked(motion.resample(Fraction(fps), wanted)))


def test_what_is_not_wanted_is_left_out() -> None:
    found = whole(resampled(pieces(moving(), 50), Fraction(25), 60))
    assert np.array_equal(stacked(found), stacked(moving())[:60])


def mean_of_seven(motion: Motion, first: int = 0) -> Motion:
    assert np.array_equal(stacked(motion), stacked(moving())[first : first + len(motion)])
    padded = np.pad(stacked(motion), ((3, 3), (0, 0)), mode="edge")
    return unstacked(np.lib.stride_tricks.sliding_window_view(padded, 7, 0).mean(-1), motion.fps)


@pytest.mark.parametrize("n_frames", [1, 2, 7, 50, N_FRAMES])
def test_filtered_piece_by_piece_it_is_the_whole_filtered(n_frames: int) -> None:
    found = whole(filtered(pieces(moving(), n_frames), mean_of_seven, 3))
    np.testing.assert_allclose(stacked(found), stacked(mean_of_seven(moving())), atol=1e-12)


def test_what_is_filtered_waits_for_no_more_than_may_bear_on_it() -> None:
    found = filtered(pieces(moving(), 50), mean_of_seven, 3)
    assert [len(piece) for piece in found] == [47, 50, 23, 3]


@pytest.mark.parametrize("size", [1, 9, 50, 200])
def test_regrouped_frames_are_the_same_in_their_order(size: int) -> None:
    found = list(regrouped(pieces(moving(), 50), size))
    assert [len(one) for one in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size
    assert np.array_equal(stacked(whole(found)), stacked(moving()))


def test_of_nothing_there_is_nothing() -> None:
    assert list(regrouped(iter(()), 9)) == []


def test_frames_do_not_wait_for_pieces_that_they_do_not_need() -> None:
    taken: list[int] = []

    def watched() -> Iterator[Motion]:
        for number, piece in enumerate(pieces(wave(200), 50)):
            taken.append(number)
            yield piece

    next(regrouped(resampled(watched(), Fraction(30), 240), 9))
    assert taken == [0]
