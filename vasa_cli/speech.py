"""Sound to what a lip-motion model needs: phonetic posteriors, energy, pitch and voicing at 50 Hz,
and what the articulator makes of it at 25.

All of it is made in blocks: an hour of sound costs the features and a few MB more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.audio import Audio
from vasa_cli.config import SAMPLE_RATE
from vasa_cli.geometry import N_DYNAMICS
from vasa_cli.models.articulator import (
    AHEAD_FEATURES,
    PAST_FEATURES,
    Articulator,
    articulation,
)
from vasa_cli.models.audio_encoder import (
    AHEAD_FRAMES,
    N_CLASSES,
    N_MELS,
    PAST_FRAMES,
    AudioEncoder,
    posteriors,
)

FEATURE_FPS = 50
N_FEATURES = N_CLASSES + 3
HOP_LENGTH = 160  # samples between mel frames; two of them make one feature frame
N_FFT = 512
WINDOW_LENGTH = 400  # samples of the FFT that the window lets through
MEL_RANGE_HZ = (60.0, 7600.0)
PITCH_RANGE_HZ = (60.0, 600.0)
BLOCK_FRAMES = 250  # feature frames at a time: 5 s

_SAMPLES_PER_FRAME = SAMPLE_RATE // FEATURE_FPS
_PITCH_WINDOW = 1024  # samples
_QUIETEST_DB = -120.0
_LOWEST_LEVEL_DB = -60.0  # speech quieter than that is silence
_ACTIVE_DB = 25.0  # a frame so far below the loudest still counts as speech
_NEPERS_PER_DB = math.log(10) / 10  # of power
_MEL_DEPTH = 11.0  # log power below the level at which mels are cut: 48 dB
_MEL_SCALE = 4.0  # log power
_MEL_BREAK_HZ, _HZ_PER_MEL, _NEPERS_PER_MEL = 1000.0, 200 / 3, math.log(6.4) / 27
_RUN_FRAMES = 601  # mel frames of the running level


@dataclass(frozen=True, eq=False)
class SpeechFeatures:
    """Frame t is centred at (t + 0.5) / FEATURE_FPS seconds; T = ceil(duration x FEATURE_FPS)."""

    phones: np.ndarray  # (T, N_CLASSES) float32, probabilities
    energy: (
        np.ndarray
    )  # (T,) float32: speech 0 to about 1 however loud the recording, silence below
    pitch: np.ndarray  # (T,) float32: octaves from the speaker's median, 0 where unvoiced
    voicing: np.ndarray  # (T,) float32 in 0..1

    @property
    def prosody(self) -> np.ndarray:
        """(T, 3) float32: energy, pitch, voicing."""
        return np.stack([self.energy, self.pitch, self.voicing], axis=1)

    def stacked(self) -> np.ndarray:
        """(T, N_FEATURES) float32: phones, energy, pitch, voicing."""
        return np.concatenate([self.phones, self.prosody], axis=1)


class SpeechReader:
    """Reads speech with a trained encoder, and what it asks of a face with an articulator."""

    def __init__(
        self,
        encoder: AudioEncoder,
        device: torch.device | str = "cpu",
        *,
        articulator: Articulator | None = None,
    ) -> None:
        self._encoder = encoder.to(device).eval()
        self._articulator = articulator.to(device).eval() if articulator is not None else None
        self._device = device

    def read(self, audio: Audio, *, block_frames: int = BLOCK_FRAMES) -> SpeechFeatures:
        """The features of a whole sound.

        Args:
            block_frames: feature frames held in memory at a time; the result is the same for all.
        """
        n_frames = frame_count(len(audio.samples))
        blocks = _blocks(n_frames, block_frames)
        energy = torch.cat([_energy_block(audio, *block) for block in blocks])  # (2 T,)
        tones = [_pitch_block(audio, *block) for block in blocks]
        level = running_level(energy[None])[0]
        phones = np.concatenate([self._phones(audio, level, *b, n_frames) for b in blocks])
        above = _pair_mean_db(energy) - float(active_level(energy[None]))
        voicing = np.concatenate([strength for _, strength in tones])
        voicing = (voicing * np.clip((above + 40) / 10, 0, 1)).astype(np.float32)
        return SpeechFeatures(
            phones=phones,
            energy=np.clip((above + 35) / 40, -0.5, 1.25).astype(np.float32),
            pitch=_relative_pitch(np.concatenate([pitch for pitch, _ in tones]), voicing),
            voicing=voicing,
        )

    @property
    def trust(self) -> np.ndarray:
        """How well each of the dynamics follows from sound, (N_DYNAMICS,); 0 if unknown."""
        if self._articulator is None:
            return np.zeros(N_DYNAMICS, np.float32)
        return self._articulator.trust.cpu().numpy()

    def articulate(
        self, audio: Audio, features: SpeechFeatures, *, block_frames: int = BLOCK_FRAMES
    ) -> np.ndarray:
        """Dynamics at half the features' rate, (ceil(T / 2), N_DYNAMICS) float32.

        Args:
            features: what `read` made of the same sound.
            block_frames: as for `read`, an even number.

        Raises:
            ValueError: the reader has no articulator.
        """
        if self._articulator is None:
            raise ValueError("this reader was made without an articulator")
        n_features = len(features.phones)
        blocks = _blocks(n_features, block_frames)
        energy = torch.cat([_energy_block(audio, *block) for block in blocks])
        odd = n_features % 2
        level = F.pad(running_level(energy[None]), (0, 2 * odd), mode="replicate")[0]
        prosody = torch.from_numpy(np.pad(features.prosody, ((0, odd), (0, 0)), mode="edge"))
        found = []
        for start, stop in blocks:
            stop += stop % 2
            first = max(0, start - PAST_FEATURES)
            last = min(n_features + odd, stop + AHEAD_FEATURES)
            mels = _log_mels(_mel_windows(audio, first, last))
            mels = normalise(mels, level[2 * first : 2 * last])[None].to(self._device)
            given = prosody[None, first:last].to(self._device)
            made = articulation(self._articulator, mels, given)[0].cpu().numpy()
            found.append(made[(start - first) // 2 : (stop - first) // 2])
        return np.concatenate(found)

    def _phones(
        self, audio: Audio, level: Tensor, start: int, stop: int, n_frames: int
    ) -> np.ndarray:
        """Posteriors (n, N_CLASSES) of frames start to stop, from them and their context."""
        first, last = max(0, start - PAST_FRAMES), min(n_frames, stop + AHEAD_FRAMES)
        frames = _mel_windows(audio, first, last)
        mels = normalise(_log_mels(frames), level[2 * first : 2 * last])
        found = posteriors(self._encoder, mels[None].to(self._device))[0].cpu().numpy()
        return found[start - first : stop - first]


def _blocks(n_frames: int, block_frames: int) -> list[tuple[int, int]]:
    """Where blocks of so many frames start and stop."""
    starts = range(0, n_frames, block_frames)
    return [(start, min(start + block_frames, n_frames)) for start in starts]


def frame_count(n_samples: int) -> int:
    """Feature frames of a sound of so many samples; the last may be part empty."""
    return -(-n_samples // _SAMPLES_PER_FRAME)


def log_mels(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Log power mels and energy of sounds that are whole in memory, as training has them.

    Args:
        samples: (B, N) float32 in -1..1.

    Returns:
        (B, 2 T, N_MELS) natural logarithms and (B, 2 T) dB of full scale; mel frame k is
        centred at sample 160 k + 80.
    """
    n_mel_frames = 2 * frame_count(samples.shape[-1])
    before = (N_FFT - HOP_LENGTH) // 2
    after = (n_mel_frames - 1) * HOP_LENGTH + N_FFT - before - samples.shape[-1]
    frames = F.pad(samples, (before, after)).unfold(-1, N_FFT, HOP_LENGTH)
    return _log_mels(frames), _energy_db(frames)


def active_level(energy_db: Tensor) -> Tensor:
    """How loud the speech in each sound is, its pauses left out: (B, K) dB to (B, 1) dB."""
    loudest = torch.quantile(energy_db, 0.995, dim=-1, keepdim=True)
    active = (energy_db >= loudest - _ACTIVE_DB).float()
    power = (active * 10 ** (energy_db / 10)).sum(-1, keepdim=True) / active.sum(-1, keepdim=True)
    return (10 * torch.log10(power)).clamp_min(_LOWEST_LEVEL_DB)


def running_level(energy_db: Tensor) -> Tensor:
    """The level within three seconds, never far below that of the whole: (B, K) dB to the same."""
    half = _RUN_FRAMES // 2
    smooth = F.avg_pool1d(F.pad(energy_db[:, None], (5, 5), mode="replicate"), 11, 1)
    peak = F.max_pool1d(smooth, _RUN_FRAMES, 1, padding=half)
    wide = F.pad(peak, (half // 2, half // 2), mode="replicate")
    level = F.avg_pool1d(wide, 2 * (half // 2) + 1, 1)[:, 0] - 5.0
    return torch.maximum(level, active_level(energy_db) - 15.0)


def normalise(mels: Tensor, level_db: Tensor) -> Tensor:
    """What the encoder reads: log mels (..., K, N_MELS) over a level (..., K) dB, cut at 0."""
    relative = mels - level_db[..., None] * _NEPERS_PER_DB
    return ((relative + _MEL_DEPTH) / _MEL_SCALE).clamp_min(0.0)


def _mel_windows(audio: Audio, start: int, stop: int) -> Tensor:
    """Windows of the mel frames of feature frames start to stop: (2 n, N_FFT), zero outside."""
    first = start * _SAMPLES_PER_FRAME - (N_FFT - HOP_LENGTH) // 2
    n_samples = (2 * (stop - start) - 1) * HOP_LENGTH + N_FFT
    return _cut(audio, first, n_samples).unfold(0, N_FFT, HOP_LENGTH)


def _cut(audio: Audio, first: int, n_samples: int) -> Tensor:
    """(n_samples,) float32 from sample `first`, which may lie before the sound; zero outside."""
    inside = audio.as_float(max(0, first), max(0, first + n_samples))
    before = max(0, -first)
    return F.pad(torch.from_numpy(inside), (before, n_samples - before - len(inside)))


def _energy_block(audio: Audio, start: int, stop: int) -> Tensor:
    return _energy_db(_mel_windows(audio, start, stop))


def _energy_db(frames: Tensor) -> Tensor:
    """Mean power under the window, (..., N_FFT) to (...) dB of full scale."""
    weight = _window().to(frames.device) ** 2
    power = (frames**2) @ (weight / weight.sum())
    return 10 * torch.log10(power.clamp_min(10 ** (_QUIETEST_DB / 10)))


def _log_mels(frames: Tensor) -> Tensor:
    """(..., N_FFT) to (..., N_MELS), natural logarithm of power."""
    power = torch.fft.rfft(frames * _window().to(frames.device)).abs() ** 2
    return torch.log(power @ _filter_bank().to(frames.device) + 1e-10)


def _pair_mean_db(energy_db: Tensor) -> np.ndarray:
    """Mean power of the two mel frames of each feature frame: (2 T,) to (T,) dB."""
    power = 10 ** (energy_db.double().view(-1, 2) / 10)
    return (10 * torch.log10(power.mean(1))).numpy()


def _pitch_block(audio: Audio, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """log2 of the pitch in Hz, and how periodic the sound is, 0..1, of each frame: (n,), (n,).

    Source: Boersma 1993, the autocorrelation of a windowed sound over that of the window.
    """
    first = start * _SAMPLES_PER_FRAME - (_PITCH_WINDOW - _SAMPLES_PER_FRAME) // 2
    n_samples = (stop - start - 1) * _SAMPLES_PER_FRAME + _PITCH_WINDOW
    frames = _cut(audio, first, n_samples).unfold(0, _PITCH_WINDOW, _SAMPLES_PER_FRAME)
    window = torch.hann_window(_PITCH_WINDOW)
    highest, lowest = PITCH_RANGE_HZ[1], PITCH_RANGE_HZ[0]
    shortest, longest = round(SAMPLE_RATE / highest), round(SAMPLE_RATE / lowest)
    own = _autocorrelation(window[None])
    alike = _autocorrelation((frames - frames.mean(1, keepdim=True)) * window)
    alike = alike / (alike[:, :1] + 1e-7) * (own[:, :1] / own)
    lags = torch.arange(shortest, longest + 1)
    # Twice the period is as good a period: a small price on length picks the first.
    score = alike[:, shortest : longest + 1] - 0.03 * torch.log2(lags / shortest)
    lag = score.argmax(1) + shortest
    left, peak, right = (alike.gather(1, (lag + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = (left - 2 * peak + right).clamp_max(-1e-6)
    period = lag + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    strength = ((peak - 0.35) / 0.45).clamp(0, 1)
    return torch.log2(SAMPLE_RATE / period).numpy(), strength.numpy()


def _autocorrelation(frames: Tensor) -> Tensor:
    """(n, _PITCH_WINDOW) to (n, lags up to a bit beyond the longest period)."""
    spectrum = torch.fft.rfft(frames, 2 * _PITCH_WINDOW)
    longest = round(SAMPLE_RATE / PITCH_RANGE_HZ[0])
    return torch.fft.irfft(spectrum.abs() ** 2)[:, : longest + 2]


def _relative_pitch(log_pitch: np.ndarray, voicing: np.ndarray) -> np.ndarray:
    """Octaves from the median of the voiced frames, single outliers removed; 0 where unvoiced."""
    voiced = voicing > 0.5
    if not voiced.any():
        return np.zeros_like(voicing)
    relative = np.where(voiced, log_pitch - np.median(log_pitch[voiced]), 0.0)
    around = np.pad(relative, 1, mode="edge")
    middle = np.median(np.stack([around[:-2], around[1:-1], around[2:]]), axis=0)
    return np.where(voiced, np.clip(middle, -2, 2), 0.0).astype(np.float32)


@lru_cache(maxsize=1)
def _window() -> Tensor:
    """A Hann window of WINDOW_LENGTH in the middle of N_FFT samples."""
    edge = (N_FFT - WINDOW_LENGTH) // 2
    return F.pad(torch.hann_window(WINDOW_LENGTH), (edge, edge))


@lru_cache(maxsize=1)
def _filter_bank() -> Tensor:
    """Triangles of equal area, evenly spaced in mel: (N_FFT // 2 + 1, N_MELS).

    That of librosa, which takes longer to import than all the rest of the sound takes.

    Source: Slaney 1998, Auditory Toolbox.
    """
    low, high = MEL_RANGE_HZ
    hz = np.array([_mel_to_hz(m) for m in np.linspace(_mel(low), _mel(high), N_MELS + 2)])
    bins = np.arange(N_FFT // 2 + 1)[:, None] * (SAMPLE_RATE / N_FFT)
    rising = (bins - hz[:-2]) / (hz[1:-1] - hz[:-2])
    falling = (hz[2:] - bins) / (hz[2:] - hz[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (hz[2:] - hz[:-2]))
    return torch.from_numpy(triangles.astype(np.float32))


def _mel(hz: float) -> float:
    """Slaney's scale: linear up to _MEL_BREAK_HZ, logarithmic above."""
    if hz < _MEL_BREAK_HZ:
        return hz / _HZ_PER_MEL
    return (_MEL_BREAK_HZ / _HZ_PER_MEL) + math.log(hz / _MEL_BREAK_HZ) / _NEPERS_PER_MEL


def _mel_to_hz(mel: float) -> float:
    """Inverse of `_mel`."""
    above = mel - _MEL_BREAK_HZ / _HZ_PER_MEL
    return mel * _HZ_PER_MEL if above < 0 else _MEL_BREAK_HZ * math.exp(above * _NEPERS_PER_MEL)
