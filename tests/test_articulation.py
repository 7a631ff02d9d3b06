"""Lips that must close do, for as long as the ear hears it and no longer."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.articulation import CLOSURES, articulate, closures
from vasa_cli.models.audio_encoder import CLASSES, CLOSES_LIPS, LIP_TO_TEETH, N_CLASSES


def spoken(n_frames: int, name: str, start: int, stop: int, *, sure: float = 1.0) -> np.ndarray:
    """Posteriors (2 n_frames, N_CLASSES) of an open vowel, one class between two features."""
    phones = np.zeros((2 * n_frames, N_CLASSES))
    phones[:, CLASSES.index("open")] = 1.0
    phones[start:stop] = 0.0
    phones[start:stop, CLASSES.index(name)] = sure
    phones[start:stop, CLASSES.index("open")] = 1 - sure
    return phones


def test_a_bilabial_closes_the_lips_while_it_lasts() -> None:
    opened = articulate(spoken(30, "bilabial", 20, 26), 30)
    assert (opened[10:13] == 0).all()
    assert (opened[:8] == 1).all() and (opened[15:] == 1).all()


def test_lips_do_not_jump_to_a_closure_or_from_it() -> None:
    opened = articulate(spoken(30, "bilabial", 20, 26), 30)
    assert np.abs(np.diff(opened)).max() <= 0.5
    np.testing.assert_allclose(opened[8:10], opened[14:12:-1])
    two = spoken(30, "bilabial", 20, 22) + spoken(30, "bilabial", 28, 30)
    between = articulate(two / two.sum(1, keepdims=True), 30)
    assert between[10] > 0 and 0.3 < between[12] < 1  # the vowel of "my pet" is seen


@pytest.mark.parametrize("start", range(20, 24))
def test_a_closure_of_forty_milliseconds_shuts_a_frame_wherever_it_falls(start: int) -> None:
    phones = spoken(30, "bilabial", start, start + 2)
    assert articulate(phones, 30).min() == 0


def test_f_and_v_leave_a_slit() -> None:
    opened = articulate(spoken(30, "labiodental", 20, 26), 30)
    assert opened.min() == pytest.approx(1 - CLOSURES[LIP_TO_TEETH])


def test_a_guess_closes_nothing_and_half_a_guess_closes_half() -> None:
    guessed = closures(spoken(30, "bilabial", 20, 26, sure=0.4), CLOSES_LIPS, 30)
    half = closures(spoken(30, "bilabial", 20, 26, sure=0.625), CLOSES_LIPS, 30)
    assert guessed.max() == 0
    assert half.max() == pytest.approx(0.5)


def test_a_last_feature_that_is_missing_is_no_fault() -> None:
    phones = spoken(30, "bilabial", 50, 59)[:59]
    assert articulate(phones, 30)[-1] == 0
