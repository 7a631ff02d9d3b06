"""An iris as a disk of its own: what the photo shows of it, and what lids hide of it.

Lids and corners hide a third of most irises, and all but the rim of those that look far aside. What
is hidden is completed by what is seen at the same distance from the middle, since an iris looks
alike all around; where nothing is seen at that distance, by what irises are like: dark in the
middle, and darker again at the rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields
from vasa_cli.models.layers import Shape

REACH = 1.15  # of an iris's radius, the half side of its square
SHARE_OF_EYE = 4  # so many times smaller than an eye's square in pixels
LEAST_SIDE = 16  # pixels
# Brightness of rings from the middle to the rim, of the whole iris's
USUAL = (0.35, 0.35, 0.45, 0.85, 1.1, 1.15, 1.1, 1.0, 0.85, 0.75)
FEW = 0.06  # share of a ring of which what is seen counts for half
GLINT = 4.0  # how fast weights fall with brightness: neither glints nor white are an iris's colour
# Offsets, in eye widths, from which on what is dark beside an iris may be part of it, and is; how
# far from its middle, in reaches; and over which share of the way from iris to white it fades.
ASIDE, NEARBY, STEP = (0.10, 0.20), 2.6, 0.3


@dataclass(frozen=True)
class Iris:
    """An iris of a photo."""

    picture: Tensor  # (B, 4, s, s) its square, completed, and what of it was seen
    reach: Tensor  # (B,) half the side of that, in the unit of the eye's square


def expect(photo: Tensor, opening: Tensor, shape: Shape) -> Iris:
    """The irises of photos (B, 3, S, S).

    Args: opening (B, 1, l, l) of the eyes' squares, and their shape.
    """
    centre = shape.iris[:, 0]
    reach = (shape.iris[:, 1:] - shape.iris[:, :1]).norm(dim=-1).mean(1) * REACH
    side = max(LEAST_SIDE, opening.shape[-1] // SHARE_OF_EYE)
    off = reach[:, None] * fields.pixel_line(side, photo.device)  # (B, side)
    x, y = (centre[:, :1] + off)[:, None], (centre[:, 1:] + off)[:, :, None]
    local = torch.stack(torch.broadcast_tensors(x, y), 1)  # (B, 2, side, side)
    there = shape.patch.affine[:, :, :2] @ local.flatten(2) + shape.patch.affine[:, :, 2:]
    grid = there.unflatten(2, (side, side)).permute(0, 2, 3, 1)
    shown = F.grid_sample(photo, grid, mode="bicubic", align_corners=False, padding_mode="border")
    seen = F.grid_sample(opening, local.permute(0, 2, 3, 1), align_corners=False)
    rings = ring_weights(side).to(photo.device)  # (n, side, side)
    weight = seen * torch.exp(shown.mean(1, keepdim=True) * (-GLINT / 2))
    within = weight * rings[:-1].sum(0)
    colour = (shown * within).sum((2, 3)) / within.sum((2, 3)).clamp_min(1e-4)  # (B, 3)
    usual = (colour + 1)[:, :, None] * shown.new_tensor(USUAL) - 1  # (B, 3, n)
    sums = torch.einsum("rhw,bchw->bcr", rings, torch.cat([shown * weight, weight], 1))
    few = FEW * rings.sum((1, 2)) * weight.mean((2, 3)).clamp_min(1e-4)
    known = sums[:, 3:] / (sums[:, 3:] + few[:, None])
    ring = usual + (sums[:, :3] / sums[:, 3:].clamp_min(1e-6) - usual) * known
    hidden = torch.einsum("rhw,bcr->bchw", rings, ring)
    return Iris(torch.cat([hidden + (shown - hidden) * seen, seen], 1), reach)


def strays(picture: Tensor, white: Tensor, own: Iris, shape: Shape) -> Tensor:
    """What beside an iris that looks far aside is iris too, though beyond its disk: (B, 1, l, l).

    In the corner of an eye an iris is seen from its side, and no disk. Where it looks ahead, what
    is dark beside it is the lids' shadow and stays.

    Args: picture (B, 3, l, l) of the eye's square; white (B, 3, 1, 1).
    """
    line = fields.pixel_line(picture.shape[-1], picture.device)
    x, y = line - shape.iris[:, :1, 0], line - shape.iris[:, :1, 1]  # (B, l)
    away = (x.square()[:, None] + y.square()[:, :, None]).sqrt() / own.reach[:, None, None]
    left, right = (shape.curves[1][:, k, 0] for k in (0, -1))
    aside = (shape.iris[:, 0, 0] - (left + right) / 2).abs() / (right - left).clamp_min(1e-3)
    far = ((aside - ASIDE[0]) / (ASIDE[1] - ASIDE[0])).clamp(0, 1)[:, None, None]
    dark = own.picture[:, :3].mean((1, 2, 3), keepdim=True)
    light = white.mean(1, keepdim=True)
    level = (picture.mean(1, keepdim=True) - dark) / (light - dark).clamp_min(0.1)
    return ((0.5 - level) / STEP + 0.5).clamp(0, 1) * ((NEARBY - away).clamp(0, 1) * far)[:, None]


@lru_cache
def ring_weights(side: int) -> Tensor:
    """How much each pixel of an iris's square belongs to each ring, (n, side, side)."""
    line = fields.pixel_line(side) * REACH
    away = (line[None].square() + line[:, None].square()).sqrt() * (len(USUAL) - 1)
    middles = torch.arange(len(USUAL)).float()[:, None, None]
    return (1 - (away.clamp_max(len(USUAL) - 1) - middles).abs()).clamp_min(0)
