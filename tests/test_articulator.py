"""The articulator: blocks, frames, and what it learns from made-up clips."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vasa_cli.audio import Audio
from vasa_cli.errors import UsageError
from vasa_cli.geometry import EXPLICIT, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models.articulator import (
    AHEAD_FEATURES,
    FURTHEST,
    N_PROSODY,
    PAST_FEATURES,
    Articulator,
    articulation,
)
from vasa_cli.models.audio_encoder import LOUDEST_LEFT, N_CLASSES, N_MELS, AudioEncoder
from vasa_cli.motion import FREE, LIDS, MOUTH_OPEN, articulated
from vasa_cli.speech import N_FEATURES, SpeechReader
from vasa_cli.training import articulator as training
from vasa_cli.training.motion_data import Take
from vasa_cli.weights import find_weights_dir, load_weights

RATE = 16_000


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


@pytest.fixture(scope="module")
def network() -> Articulator:
    torch.manual_seed(0)
    made = Articulator(n_dynamics=N_DYNAMICS, ear_width=16, width=16).eval()
    for layer in made.ear.layers:  # which start as the identity
        torch.nn.init.normal_(layer.mix.weight, std=0.2)
    return made


@pytest.fixture(scope="module")
def reader(network: Articulator) -> SpeechReader:
    torch.manual_seed(1)
    return SpeechReader(AudioEncoder(width=16), articulator=network)


def babble(n_samples: int) -> Audio:
    rng = np.random.default_rng(0)
    loud = 1 + np.sin(np.arange(n_samples) / RATE * 9.0)
    return Audio(Path("made-up.wav"), (1500 * loud * rng.normal(size=n_samples)).astype(np.int16))


@pytest.mark.parametrize("n_samples", [3200, 3519, 3521, 50_001])
def test_there_is_a_row_for_every_frame_of_the_video(reader: SpeechReader, n_samples: int) -> None:
    audio = babble(n_samples)
    features = reader.read(audio)
    dynamics = reader.articulate(audio, features)
    assert dynamics.shape == (-(-len(features.phones) // 2), N_DYNAMICS)
    assert dynamics.dtype == np.float32


@pytest.mark.parametrize("block_frames", [8, 64, 250])
def test_the_size_of_blocks_changes_nothing(reader: SpeechReader, block_frames: int) -> None:
    audio = babble(9 * RATE + 77)
    features = reader.read(audio)
    whole = reader.articulate(audio, features, block_frames=10_000)
    parts = reader.articulate(audio, features, block_frames=block_frames)
    assert whole.std() > 1e-3
    np.testing.assert_allclose(parts, whole, atol=2e-4 * float(np.abs(whole).max() + 1))


def test_what_is_far_away_is_not_heard(network: Articulator) -> None:
    torch.manual_seed(2)
    n, k = 400, 200  # features, and the one that changes
    mels, prosody = torch.rand(1, 2 * n, N_MELS), torch.rand(1, n, N_PROSODY)
    other_mels, other_prosody = mels.clone(), prosody.clone()
    other_mels[:, 2 * k : 2 * k + 2] += 1
    other_prosody[:, k] += 1
    before = articulation(network, mels, prosody)
    by_mels = articulation(network, other_mels, prosody) != before
    by_prosody = articulation(network, mels, other_prosody) != before
    frames = torch.nonzero((by_mels | by_prosody)[0].any(1))[:, 0]
    assert k // 2 in frames
    assert 2 * int(frames.min()) >= k - AHEAD_FEATURES - 1
    assert 2 * int(frames.max()) <= k + PAST_FEATURES + 1


def test_layers_that_feed_each_other_stay_within_bounds(network: Articulator) -> None:
    wild = copy.deepcopy(network)
    for layer in wild.ear.layers:
        layer.mix.weight.data.mul_(50)
    mels, prosody = torch.rand(1, 4 * 40, N_MELS), torch.rand(1, 2 * 40, N_PROSODY)
    assert float(wild.ear.features(mels).detach().max()) <= LOUDEST_LEFT
    assert float((articulation(wild, mels, prosody) / wild.gain).abs().max()) <= FURTHEST


def test_what_comes_near_the_bound_costs_in_training(network: Articulator) -> None:
    wild = copy.deepcopy(network)
    excess = training.Excess(wild.ear)
    mels = torch.rand(1, 4 * 40, N_MELS)
    wild.ear.features(mels)
    assert excess.taken().item() == 0
    for layer in wild.ear.layers:
        layer.mix.weight.data.mul_(50)
    wild.ear.features(mels)
    cost = excess.taken()
    cost.backward()  # type: ignore[no-untyped-call]
    assert cost.item() > 1 and wild.ear.layers[0].mix.weight.grad.abs().max() > 0
    for layer in wild.ear.layers:
        layer.mix.weight.data.mul_(0.02)
    wild.ear.features(mels)
    assert excess.taken().item() == 0  # what was before is forgotten


def test_a_reader_without_an_articulator_says_so() -> None:
    reader = SpeechReader(AudioEncoder(width=16))
    audio = babble(3200)
    with pytest.raises(ValueError, match="without an articulator"):
        reader.articulate(audio, reader.read(audio))
    assert not reader.trust.any()


def test_gaze_lids_and_brows_are_never_decided_by_sound() -> None:
    chosen = articulated(np.ones(N_DYNAMICS))
    free = [N_HEAD_POSE + EXPLICIT.index(name) for name in FREE]
    assert not chosen[:N_HEAD_POSE].any() and not chosen[free].any()
    assert not chosen[[N_HEAD_POSE + k for k in LIDS]].any()
    assert chosen[N_HEAD_POSE + MOUTH_OPEN]
    assert not articulated(np.zeros(N_DYNAMICS)).any()


def take(seed: int, *, validation: bool, n_frames: int = 120) -> Take:
    """A clip whose mouth opens with one band of its sound."""
    rng = np.random.default_rng(seed)
    level = np.convolve(rng.normal(size=n_frames + 8), np.hanning(7), mode="same")[4:-4]
    level = np.clip(level - level.min(), 0, None)
    motion = rng.normal(0, 0.05, (n_frames, N_HEAD_POSE + N_DYNAMICS)).astype(np.float32)
    motion[:, N_HEAD_POSE + MOUTH_OPEN] += level
    mels = rng.uniform(0, 0.3, (4 * n_frames, N_MELS))
    mels[:, 20:40] += np.repeat(level, 4)[:, None]
    speech = np.zeros((2 * n_frames, N_FEATURES), np.float32)
    speech[:, N_CLASSES] = np.repeat(level, 2)
    return Take(f"{seed}", validation, True, motion, speech, mels.astype(np.float16), 1.0)


def test_it_learns_what_a_mouth_does(tmp_path: Path, geometry: Geometry) -> None:
    takes = [take(k, validation=k >= 10) for k in range(12)]
    ear = AudioEncoder(width=16)
    settings: dict[str, Any] = dict(minutes=5.0, device="cpu", batch=8, width=16, max_steps=60)
    made = training.train(tmp_path, takes, geometry, ear, report=lambda line: None, **settings)
    assert made.trust[MOUTH_OPEN] > 0.7
    assert made.trust[EXPLICIT.index("mouth_width")].abs() < 0.4  # there is nothing to learn
    assert (made.gain > 0).all()
    held = takes[-1]
    found = articulation(
        made,
        torch.from_numpy(held.mels.astype(np.float32))[None],
        torch.from_numpy(held.speech[:, -N_PROSODY:])[None],
    )[0, :, MOUTH_OPEN].numpy()
    truth = held.motion[:, N_HEAD_POSE + MOUTH_OPEN]
    assert np.corrcoef(found, truth)[0, 1] > 0.7
    assert 0.5 < found.std() / truth.std() < 2


def test_training_goes_on_from_weights(tmp_path: Path, geometry: Geometry) -> None:
    takes, begin = [take(k, validation=k >= 2) for k in range(3)], find_weights_dir()
    settings: dict[str, Any] = dict(minutes=5.0, device="cpu", batch=2, max_steps=1, rate=1e-12)
    settings |= dict(begin=begin, report=lambda line: None)
    given = takes, geometry, AudioEncoder()
    made = training.train(tmp_path / "a", *given, width=160, **settings)
    shipped, _ = load_weights("articulator", weights_dir=begin)
    torch.testing.assert_close(made.leave.weight.cpu(), shipped["leave.weight"].float())
    with pytest.raises(UsageError, match="give --width 160"):
        training.train(tmp_path / "b", *given, width=16, **settings)


def test_windows_keep_sound_and_motion_together() -> None:
    """At every tempo: the band that opens the mouth goes with the opening."""
    takes = [take(k, validation=False) for k in range(4)]
    sampler = training.WindowSampler(takes, np.ones(N_DYNAMICS), seed=0)
    mels, prosody, dynamics, weight = sampler.draw(24)
    assert weight.shape == (24, training.WINDOW, 1) and set(weight.unique().tolist()) == {0.0, 1.0}
    band = mels[..., 20:40].mean(-1).unflatten(1, (-1, 4)).mean(-1)
    level = prosody[..., 0].unflatten(1, (-1, 2)).mean(-1)
    for heard in (band, level):
        both = training.correlation(heard[..., None], dynamics[..., [MOUTH_OPEN]], weight)
        assert both.min() > 0.9
