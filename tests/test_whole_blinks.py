"""Half blinks made whole, and nothing else of what lids do."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.blinks import reach, whole_blinks

FPS = 25.0


def lids(*dips: tuple[int, float, float], n_frames: int = 120, up: float = 1.0) -> np.ndarray:
    """Openings (T, 2) with dips: middle, share of the opening, and half length in frames."""
    t = np.arange(n_frames)
    both = up * np.ones(n_frames)
    for middle, share, half in dips:
        both *= 1 - share * np.clip(1 - np.abs(t - middle) / half, 0, 1)
    return np.repeat(both[:, None], 2, 1)


@pytest.mark.parametrize("up", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_half_a_blink_becomes_a_whole_one_where_it_was(up: float, share: float) -> None:
    before = lids((60, share, 4.0), up=up)
    after = whole_blinks(before, fps=FPS)
    assert after.shape == before.shape and (after <= before + 1e-9).all()
    assert after[60].max() < 0.05 * up and after.argmin(0).tolist() == [60, 60]
    assert np.allclose(after[:50], before[:50]) and np.allclose(after[70:], before[70:])
    assert (after[:, 0] < 0.5 * up).sum() <= 5  # a fifth of a second


def test_what_is_no_blink_stays() -> None:
    squint = lids((60, 0.15, 4.0))
    assert np.allclose(whole_blinks(squint, fps=FPS), squint)
    narrowed = lids()
    narrowed[40:100] *= 0.6  # for 2.4 s
    still = whole_blinks(narrowed, fps=FPS)[60:80]
    assert np.allclose(still, narrowed[60:80])


def test_a_wink_stays_one() -> None:
    wink = lids((60, 0.8, 4.0))
    wink[:, 1] = 1.0
    left, right = whole_blinks(wink, fps=FPS)[60]
    assert left < 0.05 and right > left


def test_no_frame_beyond_the_reach_bears_on_one() -> None:
    long = lids((50, 0.5, 4.0), (90, 0.45, 3.0))
    middle, around = 60, reach(FPS)
    cut = long[middle - around : middle + around + 1]
    assert np.allclose(whole_blinks(cut, fps=FPS)[around], whole_blinks(long, fps=FPS)[middle])
