"""CAPP: what its scores ignore and what they tell, and a training that learns."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from vasa_cli.audio import Audio
from vasa_cli.capp import (
    HEAD_DIM,
    LIPS_DIM,
    SHIFTS,
    WINDOWS,
    load_capp,
    signals,
    synchrony,
    windows_of,
)
from vasa_cli.errors import InputError, WeightsError
from vasa_cli.evaluate_motion import evaluate
from vasa_cli.filmed_figures import Filmed
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models.audio_encoder import N_MELS
from vasa_cli.models.capp import PARTS, REACH, Capp, Pairing, directions
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_figures import mean_face_code
from vasa_cli.speech import N_FEATURES
from vasa_cli.training import capp as training
from vasa_cli.training.capp import Clip, PairSampler, loss_of
from vasa_cli.training.motion_data import ENERGY_COLUMN, Take
from vasa_cli.weights import find_weights_dir, save_weights, write_manifest

N_FRAMES = 120


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def take(seed: int, n_frames: int = N_FRAMES, *, validation: bool = False) -> Take:
    """A mouth and a head that do what the loudness does."""
    rng = np.random.default_rng(seed)
    loud = np.convolve(rng.normal(size=n_frames + 8), np.hanning(5), mode="same")[4:-4]
    motion = np.zeros((n_frames, N_HEAD_POSE + N_DYNAMICS), np.float32)
    motion[:, N_HEAD_POSE + MOUTH_OPEN] = loud
    motion[:, 1] = loud
    speech = np.zeros((2 * n_frames, N_FEATURES), np.float32)
    speech[:, ENERGY_COLUMN] = np.repeat(loud, 2)
    mels = np.zeros((4 * n_frames, N_MELS), np.float16)
    return Take(f"{seed}", validation, True, motion, speech, mels, 1.0)


def as_motion(one: Take) -> Motion:
    return Motion(one.motion[:, :N_HEAD_POSE], one.motion[:, N_HEAD_POSE:])


class Knowing:
    """Scores by what `take` made: the second column of the head against the loudness."""

    def part(self, name: str) -> Any:
        assert name == "head"

        def score(motion: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
            heard = speech[:, ::2, ENERGY_COLUMN]
            pairs = zip(motion[:, :, 1].numpy(), heard.numpy())
            return torch.tensor([float(np.corrcoef(a, b)[0, 1]) for a, b in pairs])

        return SimpleNamespace(score=score)


def test_directions_have_no_mean_and_length_one() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(3, 9, 4)
    found = directions(vectors)
    assert torch.allclose(found.mean(1), torch.zeros(3, 4), atol=1e-6)
    assert torch.allclose(found.flatten(1).norm(dim=1), torch.ones(3))
    assert torch.allclose(directions(7 * vectors + 3), found, atol=1e-5)
    assert torch.equal(directions(torch.ones(1, 5, 4)), torch.zeros(1, 5, 4))  # nothing changes


def test_a_frame_is_made_of_those_within_reach() -> None:
    torch.manual_seed(0)
    pairing = Pairing(motion_dim=3, speech_dim=4, width=8, embed_dim=4).eval()
    motion = torch.randn(1, 40, 3)
    changed = motion.clone()
    changed[:, 20] += 1
    differs = (pairing.motion(motion) - pairing.motion(changed)).abs().amax((0, 2)) > 1e-6
    assert torch.nonzero(differs)[[0, -1], 0].tolist() == [20 - REACH, 20 + REACH]


def test_signals_are_those_of_the_performed_points(geometry: Geometry) -> None:
    rng = np.random.default_rng(0)
    dynamics = rng.normal(size=(5, N_DYNAMICS)) * 0.3
    dynamics[:, MOUTH_OPEN] += 2  # parted lips, which need no mending
    motion = Motion(rng.normal(size=(5, N_HEAD_POSE)), dynamics)
    found = signals(motion, geometry)
    assert found["lips"].shape == (5, LIPS_DIM) and found["head"].shape == (5, HEAD_DIM)
    points = geometry.canonical(mean_face_code(), dynamics) - geometry.mean
    assert np.allclose(found["lips"][:, 2], points[:, 14, 1], atol=1e-9)  # lower inner lip
    assert np.array_equal(found["head"][:, :6], motion.head_pose)


@pytest.mark.parametrize("shift", [0, 3, -8])
def test_windows_lie_side_by_side_and_move(shift: int) -> None:
    values = np.arange(200.0)[:, None]
    found = windows_of(values, 16, 8, shift=shift, per_frame=2)
    assert found.shape == ((100 - 16) // 16, 32, 1)
    assert found[0, 0, 0] == 2 * (8 + shift) and found[1, 0, 0] == 2 * (8 + shift + 16)


def test_scores_tell_own_moved_and_foreign_sound_apart(geometry: Geometry) -> None:
    clips = [take(k) for k in range(4)]
    real = [SimpleNamespace(motion=as_motion(one), speech=one.speech) for one in clips]
    late = [Motion(np.roll(clip.motion.head_pose, 2, 0), clip.motion.dynamics) for clip in real]
    knowing: Any = Knowing()
    found = synchrony(knowing, "head", real, late, geometry)
    assert found["windows"] == 4 * ((N_FRAMES - 2 * max(SHIFTS)) // WINDOWS["head"])
    assert found["real"] == pytest.approx(1)
    assert found["accuracy_shifted"] == found["accuracy_foreign"] == 1
    assert found["made"] == pytest.approx(found["shifted_2"], abs=0.15)
    assert found["made"] < 0.7 and abs(found["foreign"]) < 0.4
    exact = synchrony(knowing, "head", real, [clip.motion for clip in real], geometry)
    assert exact["made"] == exact["real"]


def test_clips_too_few_or_short_are_not_scored(geometry: Geometry) -> None:
    clips = [take(0), take(1, 20), take(2, 30)]
    real = [SimpleNamespace(motion=as_motion(one), speech=one.speech) for one in clips]
    knowing: Any = Knowing()
    made = [clip.motion for clip in real]
    assert synchrony(knowing, "head", real, made, geometry) == {"windows": 0.0}


# --- training ---


def test_pairs_are_of_one_time_and_moved_ones_of_another(geometry: Geometry) -> None:
    clips = [Clip.of(take(k, 25 if k else N_FRAMES), geometry) for k in range(3)]
    sampler = PairSampler(clips, "lips", seed=0)
    motion, own, moved = sampler.draw(40)
    assert motion.shape == (40, WINDOWS["lips"], LIPS_DIM)
    assert own.shape == moved.shape == (40, 2 * WINDOWS["lips"], N_FEATURES)
    lower = motion[:, :, 2] - motion[:, :, 1]  # gap of the inner lips
    for gap, heard, other in zip(lower, own, moved):
        loud = heard[::2, ENERGY_COLUMN]
        assert np.corrcoef(gap, loud)[0, 1] > 0.999
        assert not torch.equal(heard, other)


def test_what_cannot_be_learnt_from_is_left_out(geometry: Geometry) -> None:
    silent = take(0)
    silent.speech[:] = 0
    dubbed = replace(take(1), sync=0.0)
    clips = [Clip.of(one, geometry) for one in (silent, dubbed, take(2, 15))]
    assert clips[0].weights == {"lips": 0, "head": 0}
    assert clips[1].weights["lips"] == 0 < clips[1].weights["head"]  # its head is real
    with pytest.raises(InputError, match="no clip to learn the lips from"):
        PairSampler(clips, "lips", seed=0)


def test_a_pairing_learns_whose_sound_is_whose(geometry: Geometry) -> None:
    torch.manual_seed(0)
    clips = [Clip.of(take(k), geometry) for k in range(30)]
    pairing = Pairing(
        motion_dim=HEAD_DIM, speech_dim=N_FEATURES, width=16, embed_dim=8, dropout=0.0
    )
    pairing.spread.copy_(training.measure_spread(clips, "head"))
    sampler = PairSampler(clips, "head", seed=0)
    optimiser = torch.optim.AdamW(pairing.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = loss_of(pairing, *sampler.draw(16))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    held = [take(k) for k in range(100, 106)]
    real = [SimpleNamespace(motion=as_motion(one), speech=one.speech) for one in held]
    learnt: Any = SimpleNamespace(part=lambda name: pairing.eval())
    found = synchrony(learnt, "head", real, [clip.motion for clip in real], geometry)
    assert found["accuracy_shifted"] > 0.9 and found["accuracy_foreign"] > 0.9
    assert found["real"] > found["shifted_8"] + 0.3


def test_training_takes_two_steps_resumes_and_reports(tmp_path: Path, geometry: Geometry) -> None:
    takes = [take(k, validation=k > 3) for k in range(7)]
    told: list[str] = []

    def train(max_steps: int) -> Capp:
        return training.train(
            tmp_path,
            takes,
            geometry,
            minutes=60,
            device="cpu",
            batch=4,
            width=8,
            max_steps=max_steps,
            report=told.append,
        )

    model = train(2)
    assert [line for line in told if "resumed" in line] == []
    assert {"lips_accuracy_shifted", "head_real", "head_foreign"} <= set(json.loads(told[-1]))
    again = train(3)
    assert any("resumed at step 2 " in line for line in told)
    assert torch.allclose(model.lips.spread, again.lips.spread)
    before, after = (m.head.motion.leave.weight for m in (model, again))
    assert not torch.equal(before, after)
    assert json.loads(told[-1])["step"] == 3


# --- weights ---


def test_weights_without_capp_are_whole_and_with_it_give_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(find_weights_dir(), folder)
    (folder / "capp.safetensors").unlink(missing_ok=True)
    write_manifest(folder, version="0", licence="Apache-2.0")
    assert load_capp(folder) is None
    torch.manual_seed(0)
    made = Capp(lips_dim=LIPS_DIM, head_dim=HEAD_DIM, speech_dim=N_FEATURES, width=8, embed_dim=4)
    made.lips.spread.fill_(0.5)
    save_weights(folder / "capp.safetensors", made.state_dict(), name="capp", dims=made.dims)
    write_manifest(folder, version="0", licence="Apache-2.0", origins={"capp": "a test"})
    found = load_capp(folder)
    assert found is not None and found.dims == made.dims
    for name, value in made.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    (folder / "capp.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="capp"):
        load_capp(folder)


def test_the_command_trains_and_the_evaluation_scores(
    geometry: Geometry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = [take(k, validation=k > 3) for k in range(7)]
    monkeypatch.setattr("vasa_cli.cli.train.gathered", lambda *places: (geometry, takes))
    folder = tmp_path / "weights"
    shutil.copytree(find_weights_dir(), folder)
    places = ("--data", tmp_path, "--cache", tmp_path / "cache", "--output", folder)
    result = run("train", "capp", *places, "--preset", "tiny")
    assert result.exit_code == 0, result.stderr
    assert "capp       ok" in run("weights", "verify", "--weights-dir", folder).stdout
    network = load_capp(folder)
    assert network is not None and network.dims["width"] == 8

    clips = [
        Filmed(
            sound(tmp_path / f"{k}.wav", N_FRAMES / 25), f"{k}", as_motion(one), one.speech, True
        )
        for k, one in enumerate(takes)
    ]
    motions = {clip.path: clip.motion for clip in clips}

    def perform(audio: Audio, seed: int) -> Motion:
        return motions.get(audio.path, clips[0].motion)

    monkeypatch.setattr("vasa_cli.evaluate_motion.QUIET_S", 4.0)
    found = evaluate(clips, [], perform, geometry, capp=network, minutes=0.5)
    for part in PARTS:
        row = found[f"capp_{part}"]
        assert row["made"] == row["real"]  # each does what its own person did
        assert row["margin"] == row["real"] - row["shifted_4"]
    without = evaluate(clips, [], perform, geometry, minutes=0.5)
    assert not [section for section in without if section.startswith("capp")]


def test_as_shipped_it_is_small() -> None:
    model = Capp(lips_dim=LIPS_DIM, head_dim=HEAD_DIM, speech_dim=N_FEATURES)
    assert 2 * sum(value.numel() for value in model.state_dict().values()) < 3e6  # half precision
    assert {name for name, _ in model.named_children()} == set(PARTS)
