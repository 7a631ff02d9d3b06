"""Heads that move with the voice."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli import stress
from vasa_cli.motion_figures import correlation, head_speed

FPS = 25.0
N_FRAMES = 600


def lively(seed: int = 0) -> np.ndarray:
    """Head poses (T, 6): a slow wander, and quick movements that are the same all the time."""
    rng = np.random.default_rng(seed)
    t = np.arange(N_FRAMES) / FPS
    slow = 6 * np.sin(2 * np.pi * t[:, None] / rng.uniform(9, 14, 6))
    quick = np.sin(2 * np.pi * t[:, None] * rng.uniform(1.2, 2.0, 6) + rng.uniform(0, 6, 6))
    return slow + quick


def voice() -> np.ndarray:
    """Loudness (T,): four seconds of speech, then two of silence, over and over."""
    return np.where(np.arange(N_FRAMES) % 150 < 100, 0.9, -0.2)


def test_a_head_moves_more_where_the_voice_is_loud() -> None:
    head, loud = lively(), voice()
    made = stress.stressed(head, stress.scales(loud, FPS), FPS)
    before, after = (correlation(head_speed(pose[:, :3]), loud) for pose in (head, made))
    assert abs(before) < 0.1 and after > 0.5
    spoken = loud > 0
    speed, was = head_speed(made[:, :3]), head_speed(head[:, :3])
    assert 1.3 < speed[spoken].mean() / was[spoken].mean() < stress.MOST
    assert stress.QUIET < speed[~spoken].mean() / was[~spoken].mean() < 1


def test_where_it_slowly_goes_it_goes_as_before() -> None:
    head = lively()
    made = stress.stressed(head, np.full(N_FRAMES, 1.8), FPS)
    around = np.ones(50) / 50
    slow, was = (np.convolve(pose[:, 0], around, mode="valid") for pose in (made, head))
    assert np.abs(slow - was).max() < 0.15 * np.abs(head[:, 0]).max()
    assert np.array_equal(made[:, 5], head[:, 5])  # the distance


def test_a_scale_of_one_changes_nothing() -> None:
    head = lively()
    assert np.allclose(stress.stressed(head, np.ones(N_FRAMES), FPS), head, atol=1e-12)


def test_it_moves_before_the_voice_begins() -> None:
    loud = np.where(np.arange(N_FRAMES) >= 300, 1.0, -0.5)
    scale = stress.scales(loud, FPS)
    half_way = (scale.min() + scale.max()) / 2
    assert np.argmax(scale > half_way) == pytest.approx(300 - stress.LEAD_S * FPS, abs=1)
    assert stress.QUIET <= scale.min() and scale.max() <= stress.MOST


def test_no_more_than_its_reach_bears_on_a_frame() -> None:
    head, reach = lively(), stress.reach(FPS)
    scale = stress.scales(voice(), FPS)
    whole = stress.stressed(head, scale, FPS)
    some = slice(200 - reach, 260 + reach)
    piece = stress.stressed(head[some], scale[some], FPS)[reach:-reach]
    assert np.allclose(piece, whole[200:260], atol=1e-9)


@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_short_motions_are_scaled_too(n_frames: int) -> None:
    made = stress.stressed(lively()[:n_frames], stress.scales(voice()[:n_frames], FPS), FPS)
    assert made.shape == (n_frames, 6) and np.isfinite(made).all()
