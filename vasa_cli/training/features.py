"""MobileFaceNet as a judge, for training and measuring only.

It gives identity embeddings, and inner maps as a perceptual distance.

Source: Chen et al. 2018, MobileFaceNets; the layout of the checkpoint in the model card.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vasa_cli.errors import InputError

# expansion, width, blocks, stride
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
PERCEPTUAL_LAYERS = (0, 4)  # blocks whose outputs are compared
FACE_SIZE = (112, 96)  # height and width of the aligned face it was trained on


class Rectifier(nn.PReLU):
    """PReLU whose slopes are frozen: its backward pass is several times cheaper."""

    def forward(self, x: Tensor) -> Tensor:
        slope = self.weight.detach().to(x.dtype)[:, None, None]
        return torch.addcmul(x * slope, F.relu(x), 1 - slope)


class Unit(nn.Module):
    """Convolution, batch normalisation and, unless linear, PReLU."""

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | tuple[int, int],
        stride: int,
        padding: int,
        *,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(o)
        self.prelu = nn.Identity() if linear else Rectifier(o)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Widen, filter by channel, narrow; beside a shortcut where shapes allow it."""

    def __init__(self, i: int, o: int, stride: int, expansion: int) -> None:
        super().__init__()
        e = i * expansion
        self.shortcut = stride == 1 and i == o
        self.conv = nn.Sequential(
            nn.Conv2d(i, e, 1, bias=False),
            nn.BatchNorm2d(e),
            Rectifier(e),
            nn.Conv2d(e, e, 3, stride, 1, groups=e, bias=False),
            nn.BatchNorm2d(e),
            Rectifier(e),
            nn.Conv2d(e, o, 1, bias=False),
            nn.BatchNorm2d(o),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class FaceFeatures(nn.Module):
    """Frozen; pictures (B, 3, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Unit(3, 64, 3, 2, 1)
        self.dw_conv1 = Unit(64, 64, 3, 1, 1, groups=64)
        blocks, width = [], 64
        for expansion, channels, n, stride in STAGES:
            for k in range(n):
                blocks.append(Bottleneck(width, channels, stride if k == 0 else 1, expansion))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = Unit(128, 512, 1, 1, 0)
        self.linear7 = Unit(512, 512, (7, 6), 1, 0, groups=512, linear=True)
        self.linear1 = Unit(512, 128, 1, 1, 0, linear=True)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Inner maps of the chosen layers, each scaled to unit length over its channels."""
        x, found = self.dw_conv1(self.conv1(pictures)), []
        for k in range(max(PERCEPTUAL_LAYERS) + 1):
            x = self.blocks[k](x)
            if k in PERCEPTUAL_LAYERS:
                found.append(F.normalize(x.float(), dim=1))
        return found

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance (B,) of two batches of pictures."""
        with torch.no_grad():
            theirs = self.maps(b)
        return sum(
            ((x - y).square().sum(1).mean((1, 2)) for x, y in zip(self.maps(a), theirs)),
            torch.zeros(len(a), device=a.device),
        )

    def embedding(self, faces: Tensor) -> Tensor:
        """Identity (B, 128) of aligned faces (B, 3, 112, 96), unit length."""
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(faces))))
        return F.normalize(self.linear1(self.linear7(x)).flatten(1).float(), dim=1)


def load_features(path: Path) -> FaceFeatures:
    """The judge from its checkpoint.

    Raises: InputError when the file is missing.
    """
    if not path.is_file():
        raise InputError(
            f"{path} not found; give the MobileFaceNet checkpoint named in the model card"
        )
    model = FaceFeatures()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"])
    model.eval()
    for unit in model.modules():
        if isinstance(unit, Unit):
            unit.conv, unit.bn = fused(unit.conv, unit.bn), nn.Identity()
        if isinstance(unit, Bottleneck):
            for k in (0, 3, 6):
                unit.conv[k] = fused(unit.conv[k], unit.conv[k + 1])
                unit.conv[k + 1] = nn.Identity()
    return model.requires_grad_(False)


def fused(conv: nn.Module, bn: nn.Module) -> nn.Conv2d:
    """A convolution that does the batch normalisation after it too."""
    return fuse_conv_bn_eval(cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, bn))
