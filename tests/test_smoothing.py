"""Smoothing: jitter goes, what the face did stays."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.smoothing import noise_level, parabola_weights, smooth

FPS = 25


def talking(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Openings of a mouth that speaks: hills of a fifth to half a second, and pauses."""
    mouth, frame = np.zeros(n_frames), 0
    while frame < n_frames:
        n = int(rng.integers(6, 12))
        hill = rng.uniform(0.3, 2.0) * np.hanning(n + 2)[1:-1]
        mouth[frame : frame + n] += hill[: n_frames - frame]
        frame += n + (int(rng.integers(5, 40)) if rng.random() < 0.15 else 0)
    return mouth


def shakiness(values: np.ndarray) -> float:
    return float(np.diff(values, n=2).std())


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_noise_is_measured_whatever_else_moves(sigma: float) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, sigma, (3000, 2))
    slow = 30 * np.sin(np.arange(3000) / 60)
    found = noise_level(noise + np.stack([np.zeros(3000), slow], 1))
    assert found == pytest.approx([sigma, sigma], rel=0.1)


@pytest.mark.parametrize("sigma", [0.05, 0.1])
def test_speech_is_kept(sigma: float) -> None:
    rng = np.random.default_rng(2)
    true = talking(2000, rng)
    raw = true + rng.normal(0, sigma, 2000)
    found = smooth(raw[:, None])[:, 0]
    assert np.corrcoef(found, true)[0, 1] > 0.98
    assert np.std(found - true) < 1.1 * sigma
    assert np.percentile(found, 97) > 0.93 * np.percentile(true, 97)
    shifts = [np.corrcoef(np.roll(found, k), true)[0, 1] for k in (-1, 0, 1)]
    assert int(np.argmax(shifts)) == 1  # nothing comes late


def test_a_face_that_rests_does_not_shake() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(0, 0.2, (1000, 1))
    found = smooth(raw)
    assert found.std() < 0.6 * raw.std()
    assert shakiness(found[:, 0]) < 0.4 * shakiness(raw[:, 0])


def test_a_blink_stays_as_deep_and_as_short() -> None:
    rng = np.random.default_rng(4)
    lids = rng.normal(0, 0.05, 300)
    lids[150:155] += [-1.5, -4.0, -4.2, -2.5, -0.8]
    found = smooth(lids[:, None])[:, 0]
    assert found[150:155].min() < -3.8
    assert (np.abs(found[140:148]) < 0.3).all() and (np.abs(found[158:170]) < 0.3).all()


def test_a_step_is_not_smeared() -> None:
    step = np.where(np.arange(100) < 50, 0.0, 5.0) + np.random.default_rng(5).normal(0, 0.02, 100)
    found = smooth(step[:, None])[:, 0]
    assert (np.abs(found[:49]) < 0.2).all() and (np.abs(found[51:] - 5) < 0.2).all()


def test_columns_do_not_mix() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (200, 3))
    alone = np.concatenate([smooth(values[:, k : k + 1]) for k in range(3)], 1)
    assert np.array_equal(smooth(values), alone)


def test_strength_nought_and_short_pieces_change_nothing() -> None:
    values = np.random.default_rng(7).normal(0, 1, (200, 3))
    assert np.array_equal(smooth(values, strength=0), values)
    assert np.array_equal(smooth(values[:5]), values[:5])
    calm = [shakiness(smooth(values, strength=s)[:, 0]) for s in (0, 0.5, 1, 2)]
    assert calm == sorted(calm, reverse=True) and len(set(calm)) == 4


def test_a_parabola_is_not_bent() -> None:
    t = np.arange(60.0)
    for half in (2, 6):
        weights = parabola_weights(half)
        window = (0.3 * t**2 - 4 * t + 1)[10 : 10 + 2 * half + 1]
        assert weights @ window == pytest.approx((0.3 * t**2 - 4 * t + 1)[10 + half])
    assert not smooth(np.zeros((50, 1))).any()
