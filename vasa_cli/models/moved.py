"""The motion field and the photo as it moves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields

PIXELS_AT_ONCE = 1 << 14  # of a frame, whose maps then lie in a core's own cache


@dataclass(frozen=True)
class MotionField:
    """Where every pixel comes from, and what to paint where nothing was seen."""

    flow: Tensor  # (B, 2, 64, 64) backward flow in crop units
    fill: Tensor  # (B, 3, 64, 64)
    hidden: Tensor  # (B, 1, 64, 64) share of fill, 0 to 1

    @cached_property
    def maps(self) -> Tensor:
        """The flow, what is left of the photo, and what is added to that: (B, 6, 64, 64)."""
        return torch.cat([self.flow, 1 - self.hidden, self.fill * self.hidden], 1)


def sample_moved(photo: Tensor, field: MotionField, grid: Tensor) -> Tensor:
    """The moved photo, fill included, at the positions of a grid (B, h, w, 2): (B, 3, h, w).

    One sampling, whatever the resolution.
    """
    maps = F.grid_sample(field.maps, grid, align_corners=False, padding_mode="border")
    where = grid + maps[:, :2].permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return torch.addcmul(maps[:, 3:], moved, maps[:, 2:3])


@torch.no_grad()
def sample_whole(photo: Tensor, field: MotionField) -> Tensor:
    """The whole moved photo, fill included, (B, 3, S, S): `sample_moved` at every pixel.

    On a CPU some rows of a frame at a time, which its caches hold: several times faster than all at
    once.
    """
    side, n_frames = photo.shape[-1], len(field.flow)
    on_cpu = photo.device.type == "cpu"
    pixels = fields.pixel_grid(side, photo.device).permute(0, 3, 1, 2).contiguous()
    frames = photo.new_empty(n_frames, *photo.shape[1:])
    step, n_rows = (1, max(1, PIXELS_AT_ONCE // side)) if on_cpu else (n_frames, side)
    for first in range(0, n_frames, step):
        part = slice(first, first + step)
        for rows, large in fields.enlarged_strips(field.maps[part], side, n_rows):
            where = (large[:, :2] + pixels[:, :, rows]).permute(0, 2, 3, 1)
            moved = F.grid_sample(photo[part], where, align_corners=False, padding_mode="border")
            torch.addcmul(large[:, 3:], moved, large[:, 2:3], out=frames[part, :, rows])
    return frames
