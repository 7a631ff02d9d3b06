"""Hard but cheap changes of sound: rooms, noise, music, other speakers, bad lines, other mouths.

All linear changes of a batch are one multiplication in the frequency domain.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.config import SAMPLE_RATE
from vasa_cli.models.audio_encoder import SILENCE, VOWELS, CLASSES
from vasa_cli.speech import log_mels, normalise, running_level
from vasa_cli.training.speech_corpus import LABEL_HOP

CROP_LABELS = 200
CROP_SAMPLES = CROP_LABELS * LABEL_HOP
SOURCE_LABELS = 250  # as much as the fastest crop takes
SPEEDS = (0.8, 1.25)

_N_FFT = 65_536  # the smallest power of two above a crop
_N_BUMPS = 10
_FIRST_VOWEL = CLASSES.index(VOWELS[0])


class Sounds:
    """Banks of rooms and music, made once from a seed, and the changes that use them."""

    def __init__(
        self, *, device: str = "cpu", n_rooms: int = 48, n_pieces: int = 48, seed: int = 0
    ):
        torch.manual_seed(seed)
        self.device = device
        self.rooms = torch.cat([_room() for _ in range(n_rooms)]).to(device)  # (n, F) complex
        self.music = torch.stack([_music() for _ in range(n_pieces)]).to(device)  # (n, _N_FFT)
        hertz = torch.linspace(0, SAMPLE_RATE / 2, _N_FFT // 2 + 1, device=device)
        self.octaves = torch.log2(hertz.clamp_min(30.0) / 30.0)  # 0 to 8
        centres = torch.linspace(0, 8, _N_BUMPS, device=device)
        self.bumps = torch.exp(-0.5 * ((self.octaves - centres[:, None]) / 0.8) ** 2)

    def hard(self, source: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder is trained on.

        Args:
            source: (B, SOURCE_LABELS * LABEL_HOP) float32 in -1..1, speech.
            labels: (B, SOURCE_LABELS) classes.

        Returns:
            Normalised mels (B, 2 CROP_LABELS, N_MELS) and labels (B, CROP_LABELS).
        """
        wave, labels = respeed(source, labels)
        wave, labels = self._mix(wave, labels)
        mels, energy = log_mels(_line(wave))
        level = running_level(energy) + _normal(wave, 2.0)[:, None]
        mels, labels = _sing(normalise(_mouth(mels), level), labels)
        return _mask(mels), labels

    def _mix(self, wave: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Speech in a room with other sounds; sometimes those alone, where the mouth rests."""
        n = len(wave)
        rests = _chance(wave, 0.08)
        loudness = wave.square().mean(1, keepdim=True).sqrt().clamp_min(1e-3)
        crowd = sum(wave.roll(k, 0) / loudness.roll(k, 0) for k in (1, 2, 3))
        wave = torch.where(rests, 0.0, F.pad(wave, (0, _N_FFT - wave.shape[1])))
        wave[:, :CROP_SAMPLES] += _amount(n, wave, 0.15, 8, 25) * loudness * crowd
        piece = self.music[torch.randint(len(self.music), (n,), device=self.device)]
        share = _amount(n, wave, 0.2, 0, 25)
        share = torch.where(rests & _chance(wave, 0.5), 1.0, share)
        wave = wave + share * loudness * piece
        spectrum = torch.fft.rfft(wave) * self._colour(n)
        rooms = self.rooms[torch.randint(len(self.rooms), (n,), device=self.device)]
        spectrum = torch.where(_chance(wave, 0.35), spectrum * rooms, spectrum)
        noise = torch.randn(spectrum.shape, dtype=torch.complex64, device=self.device)
        slope = torch.empty(n, 1, device=self.device).uniform_(-1.2, 0.3)
        noise = noise * torch.exp2(slope * (self.octaves - 4))
        noise = noise / noise.abs().square().mean(1, keepdim=True).sqrt()
        share = torch.maximum(_amount(n, wave, 0.5, 3, 35), _amount(n, wave, 1.0, 35, 65))
        # The rms of a spectrum is that of the wave times the root of its length.
        spectrum = spectrum + noise * share * loudness * (_N_FFT**0.5)
        labels = torch.where(rests, SILENCE, labels)
        return torch.fft.irfft(spectrum)[:, :CROP_SAMPLES], labels

    def _colour(self, n: int) -> Tensor:
        """Gains (n, F) of microphones: broad bumps, a tilt, sometimes a telephone's band."""
        bumps = torch.randn(n, _N_BUMPS, device=self.device) * 0.35
        tilt = torch.randn(n, 1, device=self.device) * 0.2
        log_gain = bumps @ self.bumps + tilt * (self.octaves - 4)
        narrow = torch.rand(n, 1, device=self.device) < 0.2
        top = torch.empty(n, 1, device=self.device).uniform_(6.7, 8.0)  # 3.1 to 7.7 kHz
        bottom = torch.empty(n, 1, device=self.device).uniform_(0.0, 3.4)  # 30 to 320 Hz
        cut = 25 * (F.relu(self.octaves - top) + 0.3 * F.relu(bottom - self.octaves))
        return torch.exp(log_gain - torch.where(narrow, cut, 0.0))


def plain(wave: Tensor) -> Tensor:
    """Normalised mels (B, 2 T, N_MELS) of sounds (B, N), as SpeechReader makes them."""
    mels, energy = log_mels(wave)
    return normalise(mels, running_level(energy))


def another_voice(mels: Tensor) -> Tensor:
    """Mels (B, K, N_MELS) as of another mouth, microphone and room noise, with tones and holes.

    For sounds of which only mels are kept; the time does not change.
    """
    n, n_mels = len(mels), mels.shape[-1]
    mels = _mouth(mels)
    bumps = torch.randn(n, 1, 6, device=mels.device) * 0.12
    colour = F.interpolate(bumps, n_mels, mode="linear", align_corners=True)
    loudness = _normal(mels, 0.1)[:, None, None]
    mels = torch.where(mels > 0, (mels + colour + loudness).clamp_min(0), mels)
    floor = torch.where(_chance(mels, 0.3), torch.rand(n, 1, device=mels.device), 0.0)[..., None]
    noise = floor + torch.where(floor > 0, 0.1 * torch.randn_like(mels), 0.0)
    return _mask(torch.maximum(torch.maximum(mels, noise), _tones(mels)))


def _tones(mels: Tensor) -> Tensor:
    """Beeps, squeaks, hum and whistled s in a quarter of the sounds, 0 elsewhere.

    Lines in mels, for mels (B, K, N_MELS) and of their shape.
    """
    n, n_frames, n_mels = mels.shape
    time = torch.linspace(0, 1, n_frames, device=mels.device)
    start = torch.rand(n, 1, device=mels.device) * 1.2 - 0.2
    length = torch.rand(n, 1, device=mels.device).pow(3) + 0.02  # from 60 ms on, often short
    lasts = (time >= start) & (time < start + length)  # (n, K)
    glide = _normal(mels, 12.0)[:, None] * (torch.rand(n, 1, device=mels.device) < 0.5)
    centre = torch.rand(n, 1, device=mels.device) * n_mels + glide * (time - start)
    width = torch.rand(n, 1, 1, device=mels.device) * 2.5 + 0.5
    away = (torch.arange(n_mels, device=mels.device) - centre[..., None]) / width
    level = torch.empty(n, 1, device=mels.device).uniform_(1.0, 5.0) * lasts * _chance(mels, 0.25)
    return level[..., None] * torch.exp(-0.5 * away.square())


def respeed(source: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each sound faster and higher or slower and lower: (B, CROP_SAMPLES) and (B, CROP_LABELS)."""
    n, device = len(source), source.device
    speed = torch.empty(n, 1, device=device).uniform_(*SPEEDS)
    speed = torch.where(_chance(source, 0.3), 1.0, speed)
    place = torch.arange(CROP_SAMPLES, device=device) * speed
    before = place.long().clamp_max(source.shape[1] - 2)
    wave = torch.lerp(source.gather(1, before), source.gather(1, before + 1), place - before)
    frame = ((torch.arange(CROP_LABELS, device=device) + 0.5) * speed).long()
    return wave, labels.gather(1, frame.clamp_max(labels.shape[1] - 1))


def _line(wave: Tensor) -> Tensor:
    """Some sounds clipped, some in eight bits of mu-law."""
    peak = wave.abs().amax(1, keepdim=True).clamp_min(1e-4)
    limit = torch.where(_chance(wave, 0.1), torch.rand_like(peak) * 0.5 + 0.15, 1.0)
    wave = (wave / peak).clamp(-limit, limit)
    coarse = torch.log1p(255 * wave.abs()) / 5.545  # ln 256
    coarse = ((coarse * 127).round() / 127 * 5.545).expm1() / 255 * wave.sign()
    return torch.where(_chance(wave, 0.1), coarse, wave)


def _mouth(mels: Tensor) -> Tensor:
    """Formants as of a longer or shorter throat: the mel axis stretched and moved."""
    n, n_mels = len(mels), mels.shape[-1]
    stretch = 1 + _normal(mels, 0.06).clamp(-0.15, 0.15)[:, None]
    place = torch.arange(n_mels, device=mels.device) * stretch + _normal(mels, 0.8)[:, None]
    place = place.clamp(0, n_mels - 1.001)
    below = place.long()[:, None].expand(n, mels.shape[1], n_mels)
    share = (place - place.long())[:, None]
    return torch.lerp(mels.gather(2, below), mels.gather(2, below + 1), share)


def _sing(mels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """In some pieces each vowel lasts two to eight times as long."""
    is_vowel = (labels >= _FIRST_VOWEL) & (labels < len(CLASSES))
    factor = torch.empty(len(labels), 1, device=labels.device).uniform_(2, 8)
    lasts = torch.where(is_vowel & _chance(labels, 0.12), factor, 1.0)  # (B, T)
    ends = lasts.cumsum(1)
    n_mel_frames = mels.shape[1]
    time = (torch.arange(n_mel_frames, device=mels.device) + 0.5) / 2
    time = time.expand(len(labels), n_mel_frames).contiguous()
    frame = torch.searchsorted(ends, time, right=True).clamp_max(labels.shape[1] - 1)
    share = 1 - (ends.gather(1, frame) - time) / lasts.gather(1, frame)
    place = (2 * (frame + share) - 0.5).clamp(0, n_mel_frames - 1.001)
    below = place.long()[..., None].expand(mels.shape)
    mels = torch.lerp(
        mels.gather(1, below), mels.gather(1, below + 1), (place - place.long())[..., None]
    )
    # The label of each pair is that in force between its two mel frames.
    middle = torch.arange(labels.shape[1], device=labels.device) + 0.5
    middle = middle.expand(labels.shape).contiguous()
    frame = torch.searchsorted(ends, middle, right=True).clamp_max(labels.shape[1] - 1)
    return mels, labels.gather(1, frame)


def _mask(mels: Tensor) -> Tensor:
    """Holes of up to 80 ms and of up to eight mels, at the floor."""
    n, n_frames, n_mels = mels.shape
    keep_time = torch.ones(n, n_frames, device=mels.device)
    for _ in range(2):
        keep_time = keep_time * _hole(n, n_frames, 8, mels)
    keep_mel = torch.where(_chance(mels, 0.4), _hole(n, n_mels, 8, mels), 1.0)
    return mels * keep_time[..., None] * keep_mel[:, None]


def _hole(n: int, size: int, longest: int, like: Tensor) -> Tensor:
    start = torch.rand(n, 1, device=like.device) * size
    length = torch.rand(n, 1, device=like.device) * longest
    place = torch.arange(size, device=like.device)
    return ((place < start) | (place >= start + length)).float()


def _chance(like: Tensor, share: float) -> Tensor:
    """True for that share of a batch: (B, 1)."""
    return torch.rand(len(like), 1, device=like.device) < share


def _normal(like: Tensor, spread: float) -> Tensor:
    """(B,)"""
    return torch.randn(len(like), device=like.device) * spread


def _amount(n: int, like: Tensor, share: float, low_db: float, high_db: float) -> Tensor:
    """Amplitudes (n, 1) that lie so many dB under the speech, or 0."""
    below = torch.empty(n, 1, device=like.device).uniform_(low_db, high_db)
    return torch.where(_chance(like, share), 10 ** (-below / 20), 0.0)


def _room() -> Tensor:
    """The spectrum (1, F) of a direct sound and an exponentially dying tail."""
    decay_s = float(torch.empty(1).uniform_(0.08, 0.6))  # to -60 dB
    time = torch.arange(int(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = torch.randn(len(time)) * torch.exp(-6.9 * time / decay_s)
    gap = int(torch.randint(20, 200, (1,)))
    tail[:gap] = 0
    tail = tail / tail.square().sum().sqrt().clamp_min(1e-6)
    tail = tail * 10 ** (-float(torch.empty(1).uniform_(-2, 14)) / 20)
    tail[0] = 1.0
    return torch.fft.rfft(tail / tail.square().sum().sqrt(), _N_FFT)[None]


def _music() -> Tensor:
    """_N_FFT samples of rms 1: one to four voices of notes with overtones, some with drums."""
    time = torch.arange(_N_FFT) / SAMPLE_RATE
    sound = torch.zeros(_N_FFT)
    for _ in range(int(torch.randint(1, 5, (1,)))):
        beat_s = float(torch.empty(1).uniform_(0.12, 1.0))
        step = (time / beat_s).long()
        notes = torch.randint(0, 36, (int(step[-1]) + 1,))
        hertz = 80 * 2 ** (notes[step] / 12)
        phase = 2 * torch.pi * torch.cumsum(hertz / SAMPLE_RATE, 0)
        envelope = torch.exp(-float(torch.empty(1).uniform_(0, 6)) * (time % beat_s) / beat_s)
        steep = float(torch.empty(1).uniform_(0.5, 2.5))
        n_overtones = int(torch.randint(1, 12, (1,)))
        voice = sum(torch.sin(k * phase) * k**-steep for k in range(1, n_overtones + 1))
        sound = sound + voice * envelope
    if torch.rand(1) < 0.3:  # a drum on every beat
        beat = torch.exp(-30 * (time % 0.4))
        sound = sound + torch.randn(_N_FFT) * beat
    return sound / sound.square().mean().sqrt()
