"""The phonetic ear: log-mel frames to what the mouth does, in broad classes of all languages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_MELS = 64
CLASSES: tuple[str, ...] = (
    "silence",
    "bilabial",  # p b m
    "labiodental",  # f v
    "dental",  # th
    "alveolar_stop",  # t d
    "alveolar_nasal",  # n
    "sibilant",  # s z
    "lateral",  # l
    "postalveolar",  # sh zh ch: lips pushed forward a little
    "rhotic",  # r
    "velar",  # k g ng, palatal and uvular too
    "glottal",  # h, the glottal stop, pharyngeals
    "labial_glide",  # w
    "palatal_glide",  # j as in yes
    "open",  # a
    "open_front",  # e as in bed, a as in cat
    "mid_front",  # e as in French thé
    "close_front",  # i, and other close unrounded vowels
    "central",  # schwa
    "open_back",  # o as in thought
    "mid_rounded",  # o
    "close_rounded",  # u
    "front_rounded",  # German ü, ö
)
N_CLASSES = len(CLASSES)
SILENCE = 0
CLOSES_LIPS = ("bilabial",)
LIP_TO_TEETH = ("labiodental",)
ROUNDS_LIPS = (
    "labial_glide",
    "open_back",
    "mid_rounded",
    "close_rounded",
    "front_rounded",
    "postalveolar",
)
SPREADS_LIPS = ("close_front", "mid_front", "palatal_glide", "sibilant")
VOWELS = CLASSES[CLASSES.index("open") :]
# How far the jaw and lips open, 0 closed to 1; a consonant's is that of its narrowest moment.
OPENNESS = dict.fromkeys(CLASSES, 0.2) | {
    "silence": 0.0,
    "bilabial": 0.0,
    "labiodental": 0.1,
    "velar": 0.3,
    "glottal": 0.4,
    "open": 1.0,
    "open_front": 0.8,
    "mid_front": 0.5,
    "close_front": 0.3,
    "central": 0.5,
    "open_back": 0.75,
    "mid_rounded": 0.5,
    "close_rounded": 0.25,
    "front_rounded": 0.35,
}

# (dilation, how many of the kernel's five taps lie ahead)
_LAYERS = ((1, 2), (1, 2), (2, 1), (1, 1), (4, 0), (1, 1), (8, 0), (1, 0))
_TAPS = 5
AHEAD_FRAMES = 1 + sum(dilation * ahead for dilation, ahead in _LAYERS)
PAST_FRAMES = 1 + sum(dilation * (_TAPS - 1 - ahead) for dilation, ahead in _LAYERS)
# Of the frame's centre: eight frames of 20 ms, 15 ms of the first layer, 12.5 ms of a mel window.
LOOK_AHEAD_S = 0.02 * (AHEAD_FRAMES - 1) + 0.015 + 0.0125
# What enters and leaves the layers is under 15 and 26 in all speech, noise and music measured. Past
# that they feed each other: a whistled s, or a beep, grows tenfold a layer. So it is cut there.
LOUDEST, LOUDEST_LEFT = 16.0, 32.0


class Dilated(nn.Module):
    """A dilated convolution beside a shortcut, some of its taps ahead; (B, C, T) to the same."""

    def __init__(self, channels: int, *, dilation: int, ahead: int) -> None:
        super().__init__()
        self.padding = (dilation * (_TAPS - 1 - ahead), dilation * ahead)
        self.spread = nn.Conv1d(channels, channels, _TAPS, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.spread(F.pad(x, self.padding)))
        return x + self.mix(hidden)


class AudioEncoder(nn.Module):
    """Normalised mels (B, 2 T, N_MELS) at 100 Hz to logits (B, T, N_CLASSES) at 50.

    Output t sees the sound up to LOOK_AHEAD_S after its centre and PAST_FRAMES frames back; zero,
    the input's floor, is assumed outside.
    """

    def __init__(self, *, width: int = 160) -> None:
        super().__init__()
        self.width = width
        # Taps 2t - 1 to 2t + 2: symmetric around the centre of output t.
        self.enter = nn.Conv1d(N_MELS, width, 4, stride=2, padding=1)
        self.layers = nn.ModuleList(
            Dilated(width, dilation=dilation, ahead=ahead) for dilation, ahead in _LAYERS
        )
        self.leave = nn.Conv1d(width, N_CLASSES, 1)

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    def features(self, mels: Tensor) -> Tensor:
        """What the logits are made of, (B, width, T)."""
        x = F.silu(self.enter(mels.transpose(1, 2)))
        for layer in self.layers:
            x = layer(x.clamp(-LOUDEST, LOUDEST))
        return F.silu(x.clamp(-LOUDEST_LEFT, LOUDEST_LEFT))

    def forward(self, mels: Tensor) -> Tensor:
        return self.leave(self.features(mels)).transpose(1, 2).float()  # (B, T, N_CLASSES)


@torch.inference_mode()
def posteriors(encoder: AudioEncoder, mels: Tensor) -> Tensor:
    """Probabilities (B, T, N_CLASSES) float32."""
    probabilities: Tensor = encoder(mels).softmax(-1)
    return probabilities
