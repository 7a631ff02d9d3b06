"""What the trained ear and denoiser sample, as motion alone: seams, seeds, length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.audio import Audio, load_audio
from vasa_cli.config import RenderOptions
from vasa_cli.diffusion import WINDOW
from vasa_cli.motion import Motion
from vasa_cli.pipeline import Renderer

QUICK = RenderOptions(num_steps=2, guidance_audio=0.0)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def speech(repository: Path) -> Audio:
    return load_audio(repository / "examples" / "speech.wav")


def stacked(motion: Motion) -> np.ndarray:
    return np.concatenate([motion.head_pose, motion.dynamics], 1)


@pytest.mark.parametrize("order", [1, 2])
def test_seams_between_windows_are_no_faster_than_other_frames(
    renderer: Renderer, speech: Audio, order: int
) -> None:
    long = replace(speech, samples=np.tile(speech.samples, 6)[: 16 * 2 * 16000])
    motion = stacked(renderer.sample_motion(long, QUICK)) / renderer.models.motion_spread.numpy()
    change = np.abs(np.diff(motion, n=order, axis=0))
    across = np.arange(len(change)) % WINDOW
    seam = (across == WINDOW - 1) | ((across == WINDOW - 2) & (order == 2))
    after = (across < 10) & ~seam
    for columns in (slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 10), slice(10, 12)):
        usual = change[:, columns][~seam].mean()
        assert change[:, columns][seam].mean() <= usual
        assert change[:, columns][after].mean() <= 1.5 * usual


def test_one_seed_gives_one_motion_and_another_seed_another(
    renderer: Renderer, speech: Audio
) -> None:
    first, again, other = (
        stacked(renderer.sample_motion(speech, replace(QUICK, seed=seed))) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.5
