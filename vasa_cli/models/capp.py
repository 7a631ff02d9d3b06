"""CAPP: says how well motion and sound belong together, for the lips and for the head apart.

Both are read frame by frame into vectors that are trained to agree where motion and sound are of
one moment of one person, and not where one is moved in time or somebody else's. What counts is how
they change together: their means over a window are taken out, so that neither a voice nor a resting
face gives a pair away.

Source: VASA-1's contrastive audio and pose pretraining, after CLIP (Radford et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PARTS = ("lips", "head")
_TAPS, _N_LAYERS = 5, 3
REACH = _N_LAYERS * (_TAPS // 2)  # frames before and after its own that a vector is made of


class Reader(nn.Module):
    """Frames (B, T, C) to vectors (B, T, E)."""

    def __init__(self, channels: int, *, width: int, embed_dim: int, dropout: float) -> None:
        super().__init__()
        sizes = [channels, *[width] * _N_LAYERS]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, _TAPS, padding=_TAPS // 2) for a, b in zip(sizes[:-1], sizes[1:])
        )
        self.leave = nn.Conv1d(width, embed_dim, 1)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # (B, C, T)
        for layer in self.layers:
            x = F.dropout(F.gelu(layer(x)), self.dropout, self.training)
        return self.leave(x).transpose(1, 2)


class Pairing(nn.Module):
    """Motion and sound of one part of the face, and how well they agree."""

    def __init__(
        self, *, motion_dim: int, speech_dim: int, width: int, embed_dim: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        shape = dict(width=width, embed_dim=embed_dim, dropout=dropout)
        self.motion = Reader(motion_dim, **shape)  # type: ignore[arg-type]
        self.speech = Reader(2 * speech_dim, **shape)  # type: ignore[arg-type]
        # what one unit of each column of motion is; set before training
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(motion_dim))
        self.sharpness = nn.Parameter(torch.tensor(2.5))  # logarithm, of the softmax over pairs

    def read_motion(self, motion: Tensor) -> Tensor:
        """Directions (B, T, E) of windows of motion (B, T, motion_dim)."""
        return directions(self.motion(motion / self.spread))

    def read_speech(self, speech: Tensor) -> Tensor:
        """Directions (B, T, E) of windows of speech (B, 2 T, speech_dim), two features a frame."""
        return directions(self.speech(speech.unflatten(1, (-1, 2)).flatten(2)))

    def score(self, motion: Tensor, speech: Tensor) -> Tensor:
        """How well each window's motion and speech agree, (B,) in -1 to 1."""
        return (self.read_motion(motion) * self.read_speech(speech)).sum((1, 2))


class Capp(nn.Module):
    """The pairings of lips and head."""

    def __init__(
        self,
        *,
        lips_dim: int,
        head_dim: int,
        speech_dim: int,
        width: int = 64,
        embed_dim: int = 32,
    ) -> None:
        super().__init__()
        self.dims = dict(
            lips_dim=lips_dim,
            head_dim=head_dim,
            speech_dim=speech_dim,
            width=width,
            embed_dim=embed_dim,
        )
        shape = dict(speech_dim=speech_dim, width=width, embed_dim=embed_dim)
        self.lips = Pairing(motion_dim=lips_dim, **shape)
        self.head = Pairing(motion_dim=head_dim, **shape)

    def part(self, name: str) -> Pairing:
        """The pairing of one of PARTS."""
        pairing: Pairing = getattr(self, name)
        return pairing


def directions(vectors: Tensor) -> Tensor:
    """Vectors (B, T, E) less their mean over time, each window scaled to length 1."""
    changing = vectors.float() - vectors.float().mean(1, keepdim=True)
    return changing / changing.flatten(1).norm(dim=1).clamp_min(1e-6)[:, None, None]
