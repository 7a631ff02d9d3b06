"""Features of sound: times, levels, pitch, and independence from how the work is cut up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.audio import Audio
from vasa_cli.models.audio_encoder import (
    AHEAD_FRAMES,
    CLASSES,
    LOOK_AHEAD_S,
    N_CLASSES,
    N_MELS,
    OPENNESS,
    PAST_FRAMES,
    AudioEncoder,
)
from vasa_cli.speech import (
    FEATURE_FPS,
    MEL_RANGE_HZ,
    N_FEATURES,
    N_FFT,
    SpeechReader,
    _filter_bank,
    frame_count,
    log_mels,
)

SAMPLE_RATE = 16_000


def sound(wave: np.ndarray, *, gain: float = 1.0) -> Audio:
    samples = np.clip(np.round(wave * gain * 32767), -32768, 32767).astype(np.int16)
    return Audio(path=Path("made-up.wav"), samples=samples)


def voice(duration_s: float, hertz: float = 120.0) -> np.ndarray:
    """A buzz of that pitch, with pauses and a little noise: like speech to all but an ear."""
    time = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 20))
    loud = (np.sin(2 * np.pi * 1.1 * time) > -0.3).astype(float)
    noise = np.random.default_rng(0).normal(size=len(time))
    return 0.1 * buzz * loud + 1e-3 * noise


@pytest.fixture(scope="module")
def reader() -> SpeechReader:
    torch.manual_seed(0)
    encoder = AudioEncoder(width=16)
    for layer in encoder.layers:  # which start as the identity
        torch.nn.init.normal_(layer.mix.weight, std=0.2)
    return SpeechReader(encoder)


@pytest.mark.parametrize("n_samples", [3200, 3201, 3519, 3520, 16_000, 16_161])
def test_frames_last_as_long_as_the_sound_rounded_up(reader: SpeechReader, n_samples: int) -> None:
    features = reader.read(sound(voice(2.0)[:n_samples]))
    n_frames = int(np.ceil(n_samples / SAMPLE_RATE * FEATURE_FPS))
    assert frame_count(n_samples) == n_frames
    assert features.phones.shape == (n_frames, N_CLASSES)
    for line in (features.energy, features.pitch, features.voicing):
        assert line.shape == (n_frames,) and line.dtype == np.float32
    assert features.stacked().shape == (n_frames, N_FEATURES)
    assert features.stacked().dtype == np.float32
    np.testing.assert_allclose(features.phones.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("block_frames", [7, 64, 333])
def test_features_do_not_depend_on_the_size_of_blocks(
    reader: SpeechReader, block_frames: int
) -> None:
    audio = sound(voice(9.37))
    whole = reader.read(audio, block_frames=10_000).stacked()
    np.testing.assert_allclose(
        reader.read(audio, block_frames=block_frames).stacked(), whole, atol=2e-4
    )


def test_features_do_not_depend_on_the_level_of_the_recording(reader: SpeechReader) -> None:
    loud = reader.read(sound(voice(6.0)))
    quiet = reader.read(sound(voice(6.0), gain=0.1))
    np.testing.assert_allclose(quiet.energy, loud.energy, atol=0.03)
    np.testing.assert_allclose(quiet.phones, loud.phones, atol=0.05)
    np.testing.assert_allclose(quiet.voicing, loud.voicing, atol=0.1)


def test_energy_is_about_one_in_speech_and_below_zero_in_pauses(reader: SpeechReader) -> None:
    wave = voice(4.0)
    features = reader.read(sound(wave))
    power = (wave.reshape(-1, 320) ** 2).mean(1)
    around = np.convolve(power > 1e-4, np.ones(5), mode="same")
    assert 0.7 < np.median(features.energy[around == 5]) < 1.1
    assert np.median(features.energy[around == 0]) < 0.1


def test_an_event_lies_in_the_frame_of_its_time(reader: SpeechReader) -> None:
    wave = np.zeros(3 * SAMPLE_RATE)
    first = round(1.53 * SAMPLE_RATE)
    wave[first - 100 : first + 100] = 0.5
    features = reader.read(sound(wave))
    assert features.energy.argmax() == int(1.53 * FEATURE_FPS)


@pytest.mark.parametrize("hertz", [85.0, 120.0, 220.0, 400.0])
def test_pitch_is_that_of_the_voice(reader: SpeechReader, hertz: float) -> None:
    low, high = voice(2.0, hertz), voice(2.0, hertz * 2**0.25)
    features = reader.read(sound(np.concatenate([low, high])))
    first, second = features.pitch[:100], features.pitch[100:]
    step = np.median(second[second != 0]) - np.median(first[first != 0])
    assert step == pytest.approx(0.25, abs=0.01)


def test_noise_has_no_pitch_and_a_voice_has(reader: SpeechReader) -> None:
    noise = reader.read(sound(0.1 * np.random.default_rng(1).normal(size=32_000)))
    assert noise.voicing.mean() < 0.1
    assert np.mean(noise.pitch == 0) > 0.9
    spoken = reader.read(sound(voice(3.0)))
    assert np.median(spoken.voicing[spoken.energy > 0.6]) > 0.9


def test_digital_silence_has_the_least_energy_and_no_voice(reader: SpeechReader) -> None:
    features = reader.read(sound(np.zeros(SAMPLE_RATE)))
    assert np.all(features.energy == -0.5)
    assert not features.voicing.any() and not features.pitch.any()
    assert np.isfinite(features.phones).all()


def test_the_encoder_looks_ahead_as_far_as_it_says() -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(width=16)
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.mix.weight, std=0.5)
    mels = torch.rand(1, 600, N_MELS, requires_grad=True)
    encoder(mels)[0, 150].sum().backward()  # type: ignore[no-untyped-call]
    assert mels.grad is not None
    seen = torch.nonzero(mels.grad[0].abs().sum(1))[:, 0]
    assert seen.max() < 2 * (150 + AHEAD_FRAMES) + 1
    assert seen.min() >= 2 * (150 - PAST_FRAMES)
    # Mel frame k is centred at (k + 0.5) / 100 s and 25 ms wide, output t at (t + 0.5) / 50 s.
    ahead_s = (float(seen.max()) + 0.5) / 100 + 0.0125 - 150.5 / 50
    assert ahead_s == pytest.approx(LOOK_AHEAD_S) and ahead_s <= 0.2


def test_the_filter_bank_is_that_of_librosa() -> None:
    import librosa

    low, high = MEL_RANGE_HZ
    true = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=low, fmax=high)
    assert np.allclose(_filter_bank().T.numpy(), true, rtol=1e-5, atol=1e-8)


def test_mels_are_those_of_librosa() -> None:
    import librosa

    wave = voice(1.0).astype(np.float32)
    found, _ = log_mels(torch.from_numpy(wave)[None])
    # librosa centres frame k at k hops; ours lies half a hop later.
    ours = np.pad(wave, (256 - 80, 512))
    true = librosa.feature.melspectrogram(
        y=ours, sr=16_000, n_fft=512, hop_length=160, win_length=400, window="hann",
        center=False, n_mels=N_MELS, fmin=60, fmax=7600,
    )  # fmt: skip
    expected = np.log(true.T[:100] + 1e-10)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-2)


def test_the_encoder_is_small_and_carries_its_dimensions() -> None:
    encoder = AudioEncoder()
    assert sum(p.numel() for p in encoder.parameters()) < 1_500_000
    AudioEncoder(**encoder.dims).load_state_dict(encoder.state_dict())
    assert set(OPENNESS) == set(CLASSES)
