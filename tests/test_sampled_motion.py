"""What the trained ear and denoiser sample, as motion alone: seams, seeds, silence, length."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli import blinks as blinking
from vasa_cli import sampling, steadying
from vasa_cli.audio import Audio, load_audio
from vasa_cli.config import RenderOptions
from vasa_cli.diffusion import WINDOW
from vasa_cli.controls import lid_openings
from vasa_cli.gaze import GAZE
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, articulated, liberty
from vasa_cli.motion_figures import blinks, drift, head_speed, read_face, turn_per_frame
from vasa_cli.pipeline import Renderer
from vasa_cli.steadying import BROWS

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
    renderer: Renderer, speech: Audio, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what the sound shuts at once is no seam, wherever it falls
    monkeypatch.setattr(sampling, "articulate", lambda phones, n_frames: np.ones(n_frames))
    monkeypatch.setattr(sampling, "rest_in_silence", np.ones_like)
    monkeypatch.setattr(blinking, "whole_blinks", lambda openings, fps: openings)  # nor a blink
    long = replace(speech, samples=np.resize(speech.samples, 32 * 16000))
    spread = renderer.models.motion_spread.numpy()
    # blinks are rare: with the seams of one seed alone, a single one that lies on a seam decides
    changes = [
        np.abs(np.diff(stacked(renderer.sample_motion(long, replace(QUICK, seed=s))), order, 0))
        for s in range(4)
    ]
    across = np.arange(len(changes[0])) % WINDOW
    seam = across >= WINDOW - order
    after = (across < 10) & ~seam
    change = np.mean(changes, 0) / spread
    sampled = ~articulated(renderer.models.ear.trust)  # what the sound decides has no seams
    sampled[: N_HEAD_POSE + 4] = False
    for columns in (slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 10), sampled):
        usual = change[:, columns][~seam].mean()
        assert change[:, columns][seam].mean() <= usual
        assert change[:, columns][after].mean() <= 1.2 * usual


def test_a_performance_sets_out_from_the_photo(renderer: Renderer, speech: Audio) -> None:
    spread = renderer.models.motion_spread.numpy()
    sampled = ~articulated(renderer.models.ear.trust)
    motions = [
        stacked(renderer.sample_motion(speech, replace(QUICK, seed=seed))) for seed in range(4)
    ]
    apart = np.abs(motions)[..., sampled] / spread[sampled]  # (4, T, n)
    assert apart[:, 0].mean() < 0.25 * apart.mean()
    assert apart[:, 0].max() < 1.0
    yaw, pitch = np.abs(motions)[:, 0, :2].max(0)
    assert yaw < 1 and pitch < 1  # degrees


def test_sampled_blinks_shut_the_eyes(renderer: Renderer, speech: Audio) -> None:
    lowest = []
    for seed in range(4):
        motion = renderer.sample_motion(speech, RenderOptions(seed=seed))
        both = lid_openings(motion.dynamics, np.zeros(N_DYNAMICS), renderer.models.geometry).mean(1)
        for blink in blinking.find_blinks(both, fps=25):
            lowest.append(both[blink.start : blink.stop].min() / np.median(both))
    assert len(lowest) >= 4  # in 27 s
    assert np.median(lowest) < 0.1 and np.mean(np.array(lowest) < 0.25) > 0.7


def test_one_seed_gives_one_motion_and_another_seed_another(
    renderer: Renderer, speech: Audio
) -> None:
    first, again, other = (
        stacked(renderer.sample_motion(speech, replace(QUICK, seed=seed))) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_a_lively_head_stays_where_it_can_be_drawn(
    renderer: Renderer, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, most = renderer.sample_motion(speech, QUICK).head_pose, sampling.HEAD_LIMIT
    wild = liberty()
    wild[:N_HEAD_POSE] *= 6
    monkeypatch.setattr(sampling, "liberty", lambda: wild)
    limited = renderer.sample_motion(speech, QUICK).head_pose
    monkeypatch.setattr(sampling, "HEAD_EXACT", np.full(N_HEAD_POSE, 1e6))
    monkeypatch.setattr(sampling, "HEAD_LIMIT", np.full(N_HEAD_POSE, 2e6))
    free = renderer.sample_motion(speech, QUICK).head_pose
    assert (np.abs(limited) < most).all()
    assert (np.abs(free) > most).any()
    monkeypatch.setattr(sampling, "liberty", liberty)
    assert np.allclose(renderer.sample_motion(speech, QUICK).head_pose, usual, atol=1e-5)


@pytest.mark.parametrize("hertz", [1000, 3000, 7000])
def test_whistles_neither_distort_a_face_nor_deafen_it(
    renderer: Renderer, speech: Audio, hertz: int
) -> None:
    """Tones, and the s of some people, had made the ear's layers feed each other without end."""
    time_s = np.arange(len(speech.samples)) / 16000
    whistle = np.where(time_s % 1.5 < 0.25, 6000 * np.sin(2 * np.pi * hertz * time_s), 0)
    mixed = (speech.samples + whistle).clip(-32767, 32767).astype(np.int16)
    ear, lips = renderer.models.ear, []
    for audio in (speech, replace(speech, samples=mixed)):
        lips.append(ear.articulate(audio, ear.read(audio))[:, MOUTH_OPEN])
    plain, whistled = lips
    assert np.abs(whistled).max() < 2 * np.abs(plain).max()
    assert np.corrcoef(plain, whistled)[0, 1] > 0.7


def test_motion_does_not_hang_on_the_number_of_cores(renderer: Renderer, speech: Audio) -> None:
    before, options, motions = torch.get_num_threads(), replace(QUICK, gaze=(10.0, 0.0)), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            motions.append(stacked(renderer.sample_motion(speech, options)))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(motions[0], motion) for motion in motions[1:])


def test_pieces_are_the_motion_and_the_first_does_not_wait_for_the_last(
    renderer: Renderer, speech: Audio
) -> None:
    whole = stacked(renderer.sample_motion(speech, QUICK))
    pieces = sampling.sample_pieces(renderer.models, speech, QUICK)
    begun_s = time.perf_counter()
    found = [stacked(next(pieces))]
    first_s = time.perf_counter() - begun_s
    found += map(stacked, pieces)
    assert np.array_equal(np.concatenate(found), whole)
    assert len(found[0]) == WINDOW - steadying.reach(25) - blinking.reach(
        25
    )  # which wait for what may bear on them
    assert first_s < 0.8 * (time.perf_counter() - begun_s)


def test_in_silence_the_mouth_rests_and_the_face_lives(renderer: Renderer, speech: Audio) -> None:
    silent = replace(speech, samples=np.zeros(60 * 16000, np.int16))
    resting = read_face(renderer.sample_motion(silent, QUICK), renderer.models.geometry)
    talking = read_face(renderer.sample_motion(speech, QUICK), renderer.models.geometry)
    assert np.percentile(resting.opening, 95) < 0.1 * np.percentile(talking.opening, 95)
    assert len(blinks(resting.eyes, resting.fps)) >= 2
    assert turn_per_frame(resting.angles) > 0.02


def resident_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_minutes_neither_drift_nor_fill_the_memory(renderer: Renderer, speech: Audio) -> None:
    long = replace(speech, samples=np.resize(speech.samples, 600 * 16000))
    held: dict[int, float] = {}

    def note(done: int, total: int) -> None:
        held[done] = resident_mb()

    motion = renderer.sample_motion(long, replace(QUICK, num_steps=1), note)
    assert len(motion) == 15000
    assert (
        max(held.values()) - next(mb for n, mb in held.items() if n >= 20 * WINDOW) < 40
    )  # the motion itself is 3 MB
    found = drift(motion.head_pose)
    assert found["trend"] < 1.0 and found["spread"] < 1.5


def test_what_the_sound_decides_is_no_livelier_than_it_says(renderer: Renderer) -> None:
    trust = renderer.models.ear.trust
    scale, decided = sampling.livelier(trust), articulated(trust)[N_HEAD_POSE:]
    assert (scale[decided] == 1).all() and decided.any()
    assert (scale[[*GAZE, *LIDS]] == 1).all()
    assert scale[BROWS] > 1 and (scale >= 1).all()


def test_faces_are_livelier_than_what_is_sampled(
    renderer: Renderer, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = sampling.livelier(renderer.models.ear.trust)
    lively = sampling.sample_motion(renderer.models, speech, QUICK)
    monkeypatch.setattr(sampling, "livelier", lambda trust: np.ones(N_DYNAMICS))
    plain = sampling.sample_motion(renderer.models, speech, QUICK)
    others = np.setdiff1d(np.arange(N_DYNAMICS), LIDS)  # blinks are carried on
    assert np.allclose(lively.dynamics[:, others], (plain.dynamics * scale)[:, others])


def test_heads_move_more_where_the_voice_is_loud(
    renderer: Renderer, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = renderer.models.ear.read(speech).energy
    loudness = heard[: len(heard) // 2 * 2].reshape(-1, 2).mean(1)
    made = sampling.sample_motion(renderer.models, speech, QUICK)
    monkeypatch.setattr(sampling.stress, "stressed", lambda head, scale, fps: head)
    plain = sampling.sample_motion(renderer.models, speech, QUICK)
    gain = head_speed(made.head_pose[:, :3]) / head_speed(plain.head_pose[:, :3])
    n = min(len(gain), len(loudness))
    gain, loudness = gain[:n], loudness[:n]
    loud, quiet = (np.median(gain[which]) for which in (loudness > 0.6, loudness < 0))
    assert loud > 1.25 and quiet < 0.85 * loud
    assert np.array_equal(made.dynamics, plain.dynamics)
