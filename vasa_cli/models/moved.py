"""The motion field and the photo as it moves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields
from vasa_cli.models.enlarging import enlarged, enlarged_strips
from vasa_cli.models.fields import WHOLE, Part

# What is hidden up to here loses no detail of the photo, beyond it ever more, by the square.
DETAIL_KEPT = 0.45
# Up to here nothing is seen to move, in crop units (a tenth of a pixel of 512), to lose detail, or
# to change, in halves of white; four times as much is moved or changed in full.
STILL_FLOW, STILL_LOST, STILL_CHANGE = 4e-4, 2e-3, 4e-3
# How far a pull from beyond the photo's edge is spread inwards, in lengths of that pull: what is at
# the edge stays there and what is within stretches by 2.3 at most.
EDGE_REACH = 1.5
PIXELS_AT_ONCE = 1 << 14  # of a frame, whose maps then lie in a core's own cache


@dataclass(frozen=True)
class MotionField:
    """Where every pixel comes from, and what to paint where nothing was seen."""

    flow: Tensor  # (B, 2, 64, 64) backward flow in crop units
    moved: Tensor  # (B, 3, 64, 64) the photo as it moves it
    change: Tensor  # (B, 3, 64, 64) of that, where nothing was seen
    hidden: Tensor  # (B, 1, 64, 64) how much of the change is made, 0 to 1

    @cached_property
    def maps(self) -> Tensor:
        """The flow, what is left of the photo, and what is added to that: (B, 6, 64, 64).

        The network hides a third of nearly every place about a face a little. Were so much of the
        photo lost, so would be its detail, and skin and hair lie under a haze; only what is well
        hidden loses it, while the colours are the network's.
        """
        change, lost = self.change * self.hidden, detail_lost(self.hidden)
        busy = self._busy(change, lost)
        added = torch.addcmul(change, self.moved, lost)
        return torch.cat([self.flow * busy, 1 - lost * busy, added * busy], 1)

    def attached(self, edges: Tensor) -> MotionField:
        """The field with nothing taken from beyond the photo's edges.

        There is nothing but its last row, which would be drawn out to streaks: a neck cut off by
        the picture is held at its edge and stretches when the head is lifted.

        Args: edges (B, 4), left, top, right and bottom of the photo in crop units.
        """
        line = fields.pixel_line(self.flow.shape[-1], self.flow.device)
        left, top, right, bottom = edges[:, :, None, None].unbind(1)
        x, y = self.flow.unbind(1)
        held = _held(x, line, left, right), _held(y, line[:, None], top, bottom)
        return MotionField(torch.stack(held, 1), self.moved, self.change, self.hidden)

    @torch.no_grad()
    def _busy(self, change: Tensor, lost: Tensor) -> Tensor:
        """0 where the photo stays as it is, 1 where it is moved or changed, (B, 1, 64, 64).

        What moves by less than can be seen stays, so that a background does not breathe. The
        outermost cells, of which the network sees one side only, do as those within.
        """
        parts = (self.flow, STILL_FLOW), (change, STILL_CHANGE), (lost, STILL_LOST)
        much = torch.cat([part.abs().amax(1, keepdim=True) / still for part, still in parts], 1)
        most = much.amax(1, keepdim=True)
        return F.pad(((most - 1) / 3).clamp(0, 1)[:, :, 1:-1, 1:-1], (1, 1, 1, 1), mode="replicate")


def detail_lost(hidden: Tensor) -> Tensor:
    """The share of the photo's detail that goes where so much of it is hidden, both 0 to 1."""
    return ((hidden - DETAIL_KEPT) / (1 - DETAIL_KEPT)).clamp_min(0).square()


def _held(flow: Tensor, line: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Flows (B, h, w) along one axis, less where they would leave the photo.

    Args: line, places along that axis; low and high (B, 1, 1), where on it the photo ends.
    """
    inward = torch.where(flow > 0, high - line, line - low).clamp_min(0)
    near = inward / (EDGE_REACH * flow.abs()).clamp_min(1e-6)
    return flow * (1 - torch.exp(-near.square()))


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
    """The whole moved photo, fill included, (B, 3, S, S): `sample_moved` at every pixel."""
    return torch.cat(list(each_whole(photo, field)))


def each_whole(
    photo: Tensor, field: MotionField, parts: Sequence[Part] | None = None
) -> Iterator[Tensor]:
    """The frames of `sample_whole`, (1, 3, S, S) one by one as they are asked for.

    On a CPU some rows at a time, which its caches hold, several times faster than all at once; a
    GPU does all frames at once.

    Args: parts, the rows and columns of each frame that are wanted, all unless given.
    """
    side, n_frames = photo.shape[-1], len(field.flow)
    parts = [WHOLE] * n_frames if parts is None else parts
    pixels = fields.pixel_grid(side, photo.device).permute(0, 3, 1, 2)
    if photo.device.type != "cpu":
        frames = _sampled(photo, pixels, enlarged(field.maps, side))
        yield from (
            frame[:, :, rows, across] for frame, (rows, across) in zip(frames.split(1), parts)
        )
        return
    pixels = pixels.contiguous()
    for one, part in zip((slice(k, k + 1) for k in range(n_frames)), parts):
        top, across = part[0].indices(side)[0], part[1]
        here = pixels[:, :, part[0], across]
        frame = photo.new_empty(1, *photo.shape[1:2], *here.shape[2:])
        n_rows = max(1, PIXELS_AT_ONCE // max(1, frame.shape[-1]))
        for rows, large in enlarged_strips(field.maps[one], side, n_rows, part):
            rows = slice(rows.start - top, rows.stop - top)
            _sampled(photo[one], here[:, :, rows], large, out=frame[:, :, rows])
        yield frame


def _sampled(photo: Tensor, pixels: Tensor, maps: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Photos (B, 3, S, S) at pixels (1, 2, h, w) as maps (B, 6, h, w) have them."""
    where = (maps[:, :2] + pixels).permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return torch.addcmul(maps[:, 3:], moved, maps[:, 2:3], out=out)
