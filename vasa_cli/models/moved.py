"""The motion field and the photo as it moves it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields


@dataclass(frozen=True)
class MotionField:
    """Where every pixel comes from, and what to paint where nothing was seen."""

    flow: Tensor  # (B, 2, 64, 64) backward flow in crop units
    fill: Tensor  # (B, 3, 64, 64)
    hidden: Tensor  # (B, 1, 64, 64) share of fill, 0 to 1


def sample_moved(photo: Tensor, field: MotionField, grid: Tensor) -> Tensor:
    """The moved photo, fill included, at the positions of a grid (B, h, w, 2): (B, 3, h, w).

    One sampling, whatever the resolution.
    """
    maps = torch.cat([field.flow, 1 - field.hidden, field.fill * field.hidden], 1)
    maps = F.grid_sample(maps, grid, align_corners=False, padding_mode="border")
    where = grid + maps[:, :2].permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return torch.addcmul(maps[:, 3:], moved, maps[:, 2:3])


def sample_whole(photo: Tensor, field: MotionField) -> Tensor:
    """The whole moved photo, fill included, (B, 3, S, S): `sample_moved` at every pixel.

    On a CPU a frame at a time, which its caches hold: several times faster than all at once.
    """
    side, n_frames = photo.shape[-1], len(field.flow)
    maps = torch.cat([field.flow, 1 - field.hidden, field.fill * field.hidden], 1)
    grid = fields.pixel_grid(side, photo.device)
    frames = photo.new_empty(n_frames, *photo.shape[1:])
    step = 1 if photo.device.type == "cpu" else n_frames
    for first in range(0, n_frames, step):
        part = slice(first, first + step)
        large = fields.enlarged(maps[part], side)
        where = grid + large[:, :2].permute(0, 2, 3, 1)
        moved = F.grid_sample(photo[part], where, align_corners=False, padding_mode="border")
        frames[part] = torch.addcmul(large[:, 3:], moved, large[:, 2:3])
    return frames
