"""The sampler of motion: noise schedule, guidance and overlapping windows, all functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Protocol, Sequence

import torch
from torch import Tensor

from vasa_cli.models.denoiser import EARSHOT

WINDOW, CONTEXT = 50, 10  # frames drawn at once, and frames of the past they join on to


class Denoise(Protocol):
    """Predicts clean motion (B, T, D) from noisy motion of the same shape.

    Args: level (B,) 0 clean to 1 noise; past (B, P, D) clean; heard (B, P + T, width) from
        `listen`; style (B, S).
    """

    def listen(self, speech: Tensor | None) -> Tensor:
        """What P + T frames hear of speech (B, 2 (P + T), F); of None, what is heard without it."""
        ...

    def look(self, gaze: Tensor) -> Tensor:
        """What P + T frames know of a gaze (B, P + T, N_GAZE); it is added to what they hear."""
        ...

    def __call__(
        self, noisy: Tensor, level: Tensor, *, past: Tensor, heard: Tensor, style: Tensor
    ) -> Tensor: ...


@dataclass(frozen=True)
class Known:
    """What some columns of the motion do, decided beforehand; the others are sampled to match."""

    motion: Tensor  # (T, D), of which only the known columns count
    columns: Tensor  # (D,) True where known

    def window(self, start: int) -> Known:
        """That of one window (1, WINDOW, D), the last frame held beyond the end."""
        index = torch.arange(start, start + WINDOW).clamp_max(len(self.motion) - 1)
        return Known(self.motion[index.to(self.motion.device)][None], self.columns)

    def put(self, motion: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """Into motion (1, WINDOW, D) at a noise level. Source: Lugmayr et al. 2022, RePaint."""
        return torch.where(self.columns, add_noise(self.motion, noise, level[None]), motion)


def signal_share(level: Tensor) -> Tensor:
    """The factor of the signal at noise level 0 (clean) to 1 (noise): the cosine schedule.

    Source: Nichol and Dhariwal 2021.
    """
    return torch.cos(level.clamp(0, 1) * torch.pi / 2)


def noise_share(level: Tensor) -> Tensor:
    """The factor of the noise at a level, so that both factors' squares add up to 1."""
    return torch.sin(level.clamp(0, 1) * torch.pi / 2)


def add_noise(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Noisy motion (B, T, D) at levels (B,)."""
    return signal_share(level)[:, None, None] * clean + noise_share(level)[:, None, None] * noise


def guided(
    denoise: Denoise,
    noisy: Tensor,
    level: Tensor,
    *,
    past: Tensor,
    heard: Tensor,
    without: Sequence[tuple[Tensor, float]],
    style: Tensor,
) -> Tensor:
    """Clean motion (B, T, D): (1 + sum s) H(all) - sum s H(all but one), s the guidances.

    All in one pass; what has no guidance is not looked at.

    Args: heard with everything; without: what is heard when one condition is withheld, and its
        guidance.
    Source: VASA-1, equation 3.
    """
    without = [(less, scale) for less, scale in without if scale]
    every = torch.cat([heard, *(less.expand_as(heard) for less, _ in without)])
    noisy, level, past, style = (
        torch.cat([x] * (1 + len(without))) for x in (noisy, level, past, style)
    )
    full, *free = denoise(noisy, level, past=past, heard=every, style=style).chunk(len(without) + 1)
    return full + sum(scale * (full - one) for one, (_, scale) in zip(free, without))


def sample_window(
    denoise: Denoise,
    noise: Tensor,
    *,
    past: Tensor,
    speech: Tensor,
    style: Tensor,
    num_steps: int,
    guidance_audio: float,
    gaze: Tensor | None = None,
    guidance_gaze: float = 0.0,
    known: Known | None = None,
) -> Tensor:
    """One window of motion (1, T, D) from noise (1, T, D), by DDIM without added noise.

    Args: past (1, CONTEXT, D) clean frames before the window; speech (1, 2 (CONTEXT + T), F); gaze
        (1, CONTEXT + T, N_GAZE) where one is asked; known: this window's.
    Source: Song et al. 2021, Denoising diffusion implicit models.
    """
    x, speaking = noise, denoise.listen(speech)
    heard, without = speaking, [(denoise.listen(None), guidance_audio)]
    if gaze is not None:
        aim = denoise.look(gaze)
        speaking = speaking[:, : aim.shape[1]]
        heard = speaking + aim
        without = [(denoise.listen(None) + aim, guidance_audio), (speaking, guidance_gaze)]
    levels = torch.linspace(1, 0, num_steps + 1, device=noise.device)
    for now, then in zip(levels[:-1], levels[1:]):
        if known is not None:
            x = known.put(x, now, noise)
        clean = guided(
            denoise,
            x,
            now[None],
            past=past,
            heard=heard,
            without=without,
            style=style,
        )
        implied = (x - signal_share(now) * clean) / noise_share(now)
        x = signal_share(then) * clean + noise_share(then) * implied
    return x if known is None else torch.where(known.columns, known.motion, x)


def joined(past: Tensor, window: Tensor, settling: Tensor) -> Tensor:
    """The window (1, T, D) brought to where the past (1, P, D) leads, P at least 2.

    The denoiser sees the past but need not meet it. What is left between them, of place and half of
    pace, is taken out of the window's first frames, less and less, by a cubic Hermite curve: no
    frame moves faster than its neighbours.

    Args: settling (D,) frames after which a column is as sampled.
    """
    before, after = past[:, -1] - past[:, -2], window[:, 1] - window[:, 0]  # (1, D)
    pace = (before + after) / 2
    step = past[:, -1] + pace - window[:, 0]
    age = torch.arange(window.shape[1], device=window.device)[:, None] / settling  # (T, D)
    age = age.clamp(max=1)
    place, speed = (1 + 2 * age) * (1 - age) ** 2, age * (1 - age) ** 2
    return window + step[:, None] * place + ((pace - after) * settling)[:, None] * speed


def sample_windows(
    denoise: Denoise,
    speech: Tensor,
    *,
    n_frames: int,
    motion_dim: int,
    style: Tensor,
    seed: int,
    num_steps: int,
    guidance_audio: float,
    gaze: Tensor | None = None,
    guidance_gaze: float = 0.0,
    liberty: Tensor | None = None,
    settling: Tensor | None = None,
    known: Known | None = None,
) -> Iterator[Tensor]:
    """Motion (n, motion_dim) for speech features, window after window, n_frames in all.

    The noise comes from a CPU generator, so one seed gives one motion on every device. The past of
    the first window is rest (zeros), from which it sets out.

    Args: speech (T, F) at two a frame, its end repeated where it is short; style (1, S); gaze
        (n_frames, N_GAZE) where one is asked; liberty (motion_dim,) scales the noise of each
        column: 1 samples it, towards 0 it is what the sound makes most likely; settling
        (motion_dim,) frames in which a step between windows is taken out, see `joined`; known:
        columns that are not sampled.
    """
    generator = torch.Generator().manual_seed(seed)
    n_windows = -(-n_frames // WINDOW)
    wanted = 2 * (CONTEXT + n_windows * WINDOW) + EARSHOT  # the last frame hears what follows it
    speech = torch.cat([speech[:1].expand(2 * CONTEXT, -1), speech])[:wanted]
    if len(speech) < wanted:
        speech = torch.cat([speech, speech[-1:].expand(wanted - len(speech), -1)])
    past = torch.zeros(1, CONTEXT, motion_dim, device=speech.device)
    for k in range(n_windows):
        noise = torch.randn(1, WINDOW, motion_dim, generator=generator).to(speech.device)
        if liberty is not None:
            noise = noise * liberty
        heard = speech[None, 2 * k * WINDOW : 2 * ((k + 1) * WINDOW + CONTEXT) + EARSHOT]
        decided = known.window(k * WINDOW) if known is not None else None
        frames = torch.arange(k * WINDOW - CONTEXT, (k + 1) * WINDOW).clamp(0, n_frames - 1)
        window = sample_window(
            denoise,
            noise,
            past=past,
            speech=heard,
            style=style,
            num_steps=num_steps,
            guidance_audio=guidance_audio,
            gaze=gaze[frames.to(gaze.device)][None] if gaze is not None else None,
            guidance_gaze=guidance_gaze,
            known=decided,
        )
        if settling is not None:
            met = joined(past, window, settling)
            window = met if known is None else torch.where(known.columns, window, met)
        past = window[:, -CONTEXT:]
        yield window[0, : n_frames - k * WINDOW]


def sample(denoise: Denoise, speech: Tensor, **how: Any) -> Tensor:
    """All windows of `sample_windows` in one: (n_frames, motion_dim)."""
    return torch.cat(list(sample_windows(denoise, speech, **how)))
