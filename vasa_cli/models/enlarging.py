"""Maps of few cells brought to a picture's pixels, a part of them where no more is wanted."""

from __future__ import annotations

from typing import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models.fields import WHOLE, Part

CELLS_AT_ONCE = 4  # that `enlarged` cuts into pixels in one row of its product


def enlarged(maps: Tensor, side: int) -> Tensor:
    """Maps (B, C, h, h) as (B, C, side, side), bilinear."""
    ((_, large),) = enlarged_strips(maps, side, side)
    return large


def enlarged_strips(
    maps: Tensor, side: int, n_rows: int, part: Part = WHOLE
) -> Iterator[tuple[slice, Tensor]]:
    """Maps (B, C, h, h) as (B, C, side, side), bilinear, so many rows at a time with their place.

    By a whole factor the last step is a matrix product, on CPUs three times faster than PyTorch's
    own: every cell is cut into pixels by the same weights of it and its two neighbours.

    Args: part, rows and columns that are wanted.
    """
    n_cells = maps.shape[-1]
    down, across = (slice(*lines.indices(side)) for lines in part)
    strips = [slice(y, min(y + n_rows, down.stop)) for y in range(down.start, down.stop, n_rows)]
    if side % n_cells or n_cells % CELLS_AT_ONCE or maps.device.type != "cpu":
        large = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
        yield from ((rows, large[:, :, rows, across]) for rows in strips)
        return
    padded = F.pad(maps, (1, 1, 0, 0), mode="replicate")
    tall = F.interpolate(padded, size=(side, n_cells + 2), mode="bilinear", align_corners=False)
    zoom = side // n_cells
    pixel = (torch.arange(CELLS_AT_ONCE * zoom) + 0.5) / zoom + 0.5  # from the run's first cell
    away = (pixel - torch.arange(CELLS_AT_ONCE + 2)[:, None]).abs()
    weights = (1 - away).clamp_min(0)
    run = CELLS_AT_ONCE * zoom
    first, last = across.start // run, -(-across.stop // run)
    here = slice(across.start - first * run, across.stop - first * run)
    for rows in strips:
        cells = tall[:, :, rows].unfold(3, CELLS_AT_ONCE + 2, CELLS_AT_ONCE)[:, :, :, first:last]
        wide = cells.reshape(-1, CELLS_AT_ONCE + 2) @ weights  # (B C rows runs, pixels of a run)
        yield rows, wide.view(*maps.shape[:2], -1, (last - first) * run)[..., here]
