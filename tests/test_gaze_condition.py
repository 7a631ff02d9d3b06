"""Gaze as a condition of the sampler: what is read of films, what is asked, what it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.config import Controls, RenderOptions
from vasa_cli.controls import asked_gaze
from vasa_cli.gaze import CONDITION_DEG, CONDITION_MOST, GAZE, as_condition, filmed_gaze
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.timeline import Keyframe, Timeline
from vasa_cli.training.motion import DROP_GAZE, MOTION_DIM, WindowSampler, measure_scale
from vasa_cli.training.motion_data import Take
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def test_eyes_that_make_up_for_the_head_look_where_they_did(geometry: Geometry) -> None:
    head = np.zeros((50, 3))
    head[:, 0] = np.linspace(-10, 10, 50)
    still = filmed_gaze(head, np.zeros((50, 2)), geometry)
    np.testing.assert_allclose(still[5:-5], head[5:-5, :2], atol=1e-9)
    eyes = np.zeros((50, 2))
    eyes[:, 0] = 1.0
    per_unit = filmed_gaze(np.zeros((50, 3)), eyes, geometry)[0]
    assert per_unit[0] > 3 and per_unit[1] == 0
    eyes[:, 0] = -head[:, 0] / per_unit[0]
    steady = filmed_gaze(head, eyes, geometry)
    assert np.abs(steady).max() < 1.0


def test_a_blink_does_not_move_the_gaze(geometry: Geometry) -> None:
    eyes = np.zeros((40, 2))
    eyes[20:23, 1] = -5.0
    assert np.abs(filmed_gaze(np.zeros((40, 3)), eyes, geometry)).max() < 1e-9


def test_a_condition_has_its_unit_and_an_end() -> None:
    made = as_condition(np.array([[CONDITION_DEG, -2 * CONDITION_DEG], [1e3, 0]]), np.array([1, 0]))
    np.testing.assert_allclose(made, [[1, -2, 1], [CONDITION_MOST, 0, 0]])
    assert made.dtype == np.float32


def test_what_options_and_timelines_ask_is_known() -> None:
    assert asked_gaze(Controls(), 10, 25.0) is None
    aside = asked_gaze(Controls(gaze=(25.0, -12.0)), 10, 25.0)
    assert aside is not None and aside.shape == (10, 3)
    np.testing.assert_allclose(aside, [[0.4, -0.55, 1.0]] * 10, atol=1e-6)
    near = asked_gaze(Controls(gaze=(10.0, 1.0)), 10, 25.0)  # the eyes go there alone
    assert near is not None and not near[:, :2].any() and near[:, 2].all()
    keys = (Keyframe(0.2, (20.0, 0.0), "step"), Keyframe(0.3, None))
    partly = asked_gaze(Controls(timeline=Timeline((("gaze", keys),))), 20, 25.0)
    assert partly is not None
    assert partly[0, 2] == 0 and partly[5, 2] > 0.5 and partly[-1, 2] == 0


def takes(n: int) -> list[Take]:
    rng = np.random.default_rng(0)
    motion = rng.normal(size=(n, 200, MOTION_DIM)).cumsum(1).astype(np.float32) * 0.1
    speech = rng.normal(size=(n, 400, 7)).astype(np.float32)
    return [
        Take(str(k), False, True, motion[k], speech[k], np.zeros((800, 4), np.float16), 1.0)
        for k in range(n)
    ]


def test_windows_know_the_gaze_of_their_own_frames(geometry: Geometry) -> None:
    filmed = takes(1)
    sampler = WindowSampler(filmed, measure_scale(filmed), geometry, seed=0)
    batch = sampler.draw(64)
    held = batch.gaze[..., 2]
    assert set(held.unique().tolist()) == {0.0, 1.0}
    whole = (held == 1).all(1).float().mean()
    assert 0.1 < float(whole) < 1 - DROP_GAZE + 0.1
    looks = filmed_gaze(
        filmed[0].motion[:, :3], filmed[0].motion[:, [N_HEAD_POSE + k for k in GAZE]], geometry
    )
    spread = measure_scale(filmed).spread
    for row in range(8):
        clean = (batch.clean[row] * spread).numpy()
        start = int(np.abs(filmed[0].motion[:, None] - clean[:1]).sum((1, 2)).argmin())
        expected = as_condition(looks[start : start + 50], np.zeros(50))[:, :2]
        np.testing.assert_allclose(batch.gaze[row, 10:, :2].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("yaw", [20.0, -20.0])
def test_the_gaze_turns_the_sampled_head(yaw: float) -> None:
    """With the real weights: more with guidance than without it."""
    from vasa_cli.audio import load_audio
    from vasa_cli.pipeline import Renderer

    renderer = Renderer(device="cpu")
    audio = load_audio(Path(__file__).parent.parent / "examples" / "speech.wav", max_seconds=4)
    plain = renderer.sample_motion(audio, RenderOptions(num_steps=4))
    turned = []
    for scale in (0.0, 1.0):
        options = RenderOptions(num_steps=4, gaze=(yaw, 0.0), guidance_gaze=scale)
        motion = renderer.sample_motion(audio, options)
        turned.append(float((motion.head_pose[:, 0] - plain.head_pose[:, 0]).mean() / yaw))
        assert motion.dynamics.shape[1] == N_DYNAMICS
    assert 0 < turned[0] < turned[1] < 1.5


def test_without_a_gaze_the_guidance_is_not_looked_at() -> None:
    from vasa_cli.diffusion import WINDOW, sample
    from vasa_cli.models.denoiser import Denoiser

    torch.manual_seed(0)
    model = Denoiser(motion_dim=4, speech_dim=3, width=16, n_layers=1, n_heads=2).eval()
    drawn = []
    with torch.inference_mode():
        for scale in (0.0, 3.0):
            drawn.append(
                sample(
                    model,
                    torch.zeros(2, 3),
                    n_frames=WINDOW,
                    motion_dim=4,
                    style=torch.zeros(1, 2),
                    seed=0,
                    num_steps=2,
                    guidance_audio=0.0,
                    guidance_gaze=scale,
                )
            )
    assert torch.equal(*drawn)
