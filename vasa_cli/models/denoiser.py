"""The motion denoiser: a transformer over a window of motion that hears the speech meanwhile."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

EARSHOT = 8  # features at 50 Hz before and after a frame's own two that the frame hears: 160 ms
N_STYLE = 2  # how lively head and mouth are, in standard deviations over talkers
N_GAZE = 3  # yaw and pitch as of `gaze.as_condition`, and how far they are held, 0 to 1


class Denoiser(nn.Module):
    """Predicts clean motion from noisy motion, the frames before it, speech and style.

    Every frame is a token: motion, noise level, position, speech (two features a frame). Frames of
    the past come in clean and are marked. Predicts the clean motion, as VASA-1 does. Motion is in
    standard deviations.
    """

    def __init__(
        self,
        *,
        motion_dim: int,
        speech_dim: int,
        width: int = 256,
        n_layers: int = 6,
        n_heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dims = dict(
            motion_dim=motion_dim,
            speech_dim=speech_dim,
            width=width,
            n_layers=n_layers,
            n_heads=n_heads,
        )
        self.hear = nn.Sequential(
            nn.Linear(speech_dim * 2 * (1 + EARSHOT), 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        # stands for speech when it is withheld
        self.silence = nn.Parameter(torch.zeros(1, 1, width))
        self.motion = nn.Linear(motion_dim, width)
        self.past = nn.Parameter(torch.randn(width) * 0.02)
        self.level = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.style = nn.Linear(N_STYLE, width)
        layer = nn.TransformerEncoderLayer(
            width, n_heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, n_layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.clean = nn.Linear(width, motion_dim)
        nn.init.zeros_(self.clean.weight)
        self.aim = nn.Linear(N_GAZE, width, bias=False)
        nn.init.zeros_(self.aim.weight)

    def settle(self) -> None:
        """Keep weights in bfloat16 that autocast would turn into it for each run anew."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.MultiheadAttention)):
                module.bfloat16()

    def listen(self, speech: Tensor | None) -> Tensor:
        """What frames hear, for all noise levels alike: (B, T, width).

        Args: speech (B, 2 T, speech_dim), or None where it is withheld: (1, 1, width) for all.
        """
        return self.silence if speech is None else self.hear(within_earshot(speech))

    def look(self, gaze: Tensor) -> Tensor:
        """What frames know of where the eyes are to look, (B, T, width), to be added to `heard`.

        Args: gaze (B, T, N_GAZE); nothing is known where it is not held.
        """
        return self.aim(gaze * gaze[..., 2:])

    def forward(
        self,
        noisy: Tensor,
        level: Tensor,
        *,
        past: Tensor,
        heard: Tensor,
        style: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Clean motion (B, T, motion_dim), float32.

        Args: noisy (B, T, motion_dim); level (B,) 0 clean to 1 noise; past (B, P, motion_dim)
            clean; heard from `listen`, at least P + T frames of it; style (B, N_STYLE); padding
            (B, P + T) True where a frame is to be ignored.
        """
        n_past, n_frames = past.shape[1], past.shape[1] + noisy.shape[1]
        x = self.motion(torch.cat([past, noisy], 1))  # (B, P + T, width)
        marked = torch.arange(n_frames, device=x.device) < n_past
        x = x + marked[:, None] * self.past
        x = x + waves(torch.arange(n_frames, device=x.device).float() - n_past, x.shape[-1])
        x = x + (self.level(waves(level * 100, x.shape[-1])) + self.style(style))[:, None]
        x = x + heard[:, :n_frames]
        return self.clean(self.layers(x, src_key_padding_mask=padding)[:, n_past:]).float()


def within_earshot(speech: Tensor) -> Tensor:
    """The features around every frame, (B, 2 T, F) to (B, T, 2 (1 + EARSHOT) F).

    The ends are repeated.
    Slices and a linear layer instead of a convolution: several times faster on CPUs in bfloat16.
    """
    before, after = speech[:, :1].expand(-1, EARSHOT, -1), speech[:, -1:].expand(-1, EARSHOT, -1)
    padded = torch.cat([before, speech, after], 1)
    return padded.unfold(1, 2 * (1 + EARSHOT), 2).flatten(2)  # (B, T, F * 2 (1 + EARSHOT))


def waves(position: Tensor, width: int) -> Tensor:
    """Sines and cosines (..., width) of a position (...). Source: Vaswani et al. 2017."""
    rates = torch.exp(
        torch.arange(width // 2, device=position.device) * (-math.log(1000.0) / (width // 2))
    )
    angle = position[..., None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)
