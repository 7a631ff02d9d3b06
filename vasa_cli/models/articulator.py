"""The articulator: what a face most likely does while a sound is heard.

The diffusion model samples one of many performances; of such samples even a perfect one correlates
with the real one no better than the square of what the mean does. Lips are nearly decided by the
sound, so theirs is the mean, from this regressor, and the sampler fills in the rest to match.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.models.audio_encoder import AHEAD_FRAMES, PAST_FRAMES, AudioEncoder

N_PROSODY = 3  # energy, pitch, voicing
_TAPS = 5
_DILATIONS = (1, 1, 2, 4, 1)
_REACH = 2 * sum(_TAPS // 2 * dilation for dilation in _DILATIONS)  # features on either side
# Features before and after a frame's own two that bear on it, even so that blocks fit frames.
PAST_FEATURES = 2 * ((PAST_FRAMES + _REACH + 1) // 2)
AHEAD_FEATURES = 2 * ((AHEAD_FRAMES + _REACH + 1) // 2)
LOOK_AHEAD_S = 0.02 * AHEAD_FEATURES
FURTHEST = 4.0  # standard deviations a face goes; people's voices ask for 3.5 at most


class Articulator(nn.Module):
    """Mels and prosody to dynamics at half the ear's rate, in standard deviations.

    An ear of its own, begun as a copy of the phonetic one and trained on, then convolutions over
    time at 25 frames a second.
    """

    trust: Tensor  # (K,) correlation with the real ones on people kept out of training
    gain: Tensor  # (K,) from the mean's spread to people's

    def __init__(
        self, *, n_dynamics: int, ear_width: int = 160, width: int = 160, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.dims = dict(n_dynamics=n_dynamics, ear_width=ear_width, width=width)
        self.ear = AudioEncoder(width=ear_width)
        self.ear.leave = nn.Identity()  # type: ignore[assignment]  # its classes are not asked for
        self.enter = nn.Conv1d(2 * (ear_width + N_PROSODY), width, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, _TAPS, dilation=d, padding=_TAPS // 2 * d) for d in _DILATIONS
        )
        self.leave = nn.Conv1d(width, n_dynamics, 1)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("trust", torch.zeros(n_dynamics))
        self.register_buffer("gain", torch.ones(n_dynamics))

    def forward(self, mels: Tensor, prosody: Tensor) -> Tensor:
        """Mean dynamics (B, T, K) at 25 frames a second.

        Args: mels (B, 4 T, N_MELS) as the ear reads them; prosody (B, 2 T, N_PROSODY).
        """
        heard = torch.cat([self.ear.features(mels) * 0.5, prosody.transpose(1, 2)], 1)
        pairs = heard.unflatten(2, (-1, 2)).permute(0, 1, 3, 2).flatten(1, 2)  # (B, 2 C, T)
        x = self.dropout(F.silu(self.enter(self.dropout(pairs))))
        for layer in self.layers:
            x = x + self.dropout(F.silu(layer(x)))
        return self.leave(x).transpose(1, 2).float()


@torch.inference_mode()
def articulation(model: Articulator, mels: Tensor, prosody: Tensor) -> Tensor:
    """Dynamics as lively as people's, within what faces do, (B, T, K)."""
    spread: Tensor = model(mels, prosody).clamp(-FURTHEST, FURTHEST) * model.gain
    return spread
