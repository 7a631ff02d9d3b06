"""A person made larger or smaller about the neck's base, before a background that hardly moves.

The motion field has seen heads that turn, not heads that come nearer. So what goes beyond a little
is done here in closed form: a velocity at every place of the picture, which is that of a zoom where
the person is and fades out around, and is followed for as long as the zoom asks. Following a
velocity neither folds nor tears, however long; where it is a zoom's own, the zoom is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields
from vasa_cli.models.moved import MotionField

SIDE = 64  # cells of the velocity, as of the motion field
FREE = 0.05  # logarithm of the zoom up to which the motion field does it alone
EXACT = 0.3  # the same up to which one who comes nearer is zoomed exactly
NECK_BASE_BELOW_CHIN = 0.42  # face heights; what is zoomed about
# The person, in face heights: the head with its hair as an ellipse, and a neck that widens from the
# chin to the shoulders.
HEAD_RADII, FACE_RADII, HEAD_ABOVE_MIDDLE = (0.62, 0.86), (0.52, 0.70), 0.12
NECK_HALF, SHOULDERS_HALF, SHOULDERS_BELOW_CHIN = 0.30, 0.75, 0.60
FADES_OVER = 0.25  # face heights over which the velocity falls by e beside the person
RELAXATIONS = 250
STEPS_PER_LOG = 40  # of following the velocity, for each unit of the zoom's logarithm


@dataclass(frozen=True)
class Zoom:
    """How one photo's picture moves when the person in it comes nearer or goes away."""

    centre: Tensor  # (2,) the neck's base, crop units
    nearer: Tensor  # (1, 2, SIDE, SIDE) velocity outward, per unit of the zoom's logarithm
    farther: Tensor  # the same; nought at the picture's border, from beyond which nothing is known

    @staticmethod
    def of(points: Tensor, *, pinned: bool = False) -> Zoom:
        """The zoom of a photo with the points (1, 478, 3).

        Args: pinned keeps the border where it is whichever way, for a square within a picture.
        """
        height = fields.face_height(points)[0]
        chin = points[0, 152, :2]
        centre = chin + height * chin.new_tensor([0.0, NECK_BASE_BELOW_CHIN])
        grid = fields.pixel_grid(SIDE, points.device)[0].permute(2, 0, 1)  # (2, SIDE, SIDE)
        outward = grid - centre[:, None, None]
        # shoulders that sink would bare what lies under the picture
        outward[1] = outward[1].clamp_max(0)
        person = _person(points, grid)
        farther = _fading(outward, person, height, pinned=True)
        # who comes nearer has to find the same velocity all the way
        near = undone(points, centre, points.new_tensor([-EXACT]))
        person = person | _person(near, grid, radii=FACE_RADII)
        return Zoom(centre, _fading(outward, person, height, pinned=pinned), farther)

    def undo(self, points: Tensor, log_zoom: Tensor) -> Tensor:
        """Points (B, 478, 3) as they were before a zoom (B,)."""
        return undone(points, self.centre, log_zoom)

    def field(self, field: MotionField, log_zoom: Tensor) -> MotionField:
        """The field of pictures that are moved first and zoomed then, by (B,)."""
        there = self.before(log_zoom)
        maps = torch.cat([field.flow, field.moved, field.change, field.hidden], 1)
        maps = F.grid_sample(maps, there, align_corners=False, padding_mode="border")
        step = (there - fields.pixel_grid(SIDE, there.device)).permute(0, 3, 1, 2)
        flow, moved, change, hidden = maps.split((2, 3, 3, 1), 1)
        return MotionField(flow + step, moved, change, hidden)

    def before(self, log_zoom: Tensor) -> Tensor:
        """Where every pixel was before a zoom (B,), (B, SIDE, SIDE, 2)."""
        n_frames = len(log_zoom)
        start = fields.pixel_grid(SIDE, log_zoom.device).expand(n_frames, -1, -1, -1)
        n_steps = max(1, int((log_zoom.abs().max() * STEPS_PER_LOG).ceil()))
        step = (log_zoom / n_steps)[:, None, None, None]
        there = start
        for _ in range(n_steps):
            middle = there - self._velocity(there, step) * (step / 2)
            there = there - self._velocity(middle, step) * step
        return there

    def _velocity(self, places: Tensor, step: Tensor) -> Tensor:
        """At places (B, SIDE, SIDE, 2), of those that come nearer or go away."""
        both = torch.cat([self.nearer, self.farther], 1).expand(len(places), -1, -1, -1)
        found = F.grid_sample(both, places, align_corners=False, padding_mode="border")
        nearer, farther = found.permute(0, 2, 3, 1).split(2, -1)
        return torch.where(step > 0, nearer, farther)


def undone(points: Tensor, centre: Tensor, log_zoom: Tensor) -> Tensor:
    """Points (B, 478, 3) as they were before a zoom (B,) about a centre (2,)."""
    about = F.pad(centre, (0, 1))
    return (points - about) * torch.exp(-log_zoom)[:, None, None] + about


def beyond_free(log_zoom: Tensor) -> Tensor:
    """What of a zoom's logarithm the motion field is not left to do alone."""
    return log_zoom - log_zoom.clamp(-FREE, FREE)


def _person(points: Tensor, grid: Tensor, *, radii: tuple[float, float] = HEAD_RADII) -> Tensor:
    """Where the person is in the picture, (SIDE, SIDE) bool."""
    height = fields.face_height(points)[0]
    chin, forehead = points[0, 152, :2], points[0, 10, :2]
    up = F.normalize(forehead - chin, dim=0)
    middle = (chin + forehead) / 2 + up * height * HEAD_ABOVE_MIDDLE
    offset = (grid - middle[:, None, None]) / height
    along = offset[0] * up[0] + offset[1] * up[1]
    across = offset[0] * up[1] - offset[1] * up[0]
    head = (across / radii[0]) ** 2 + (along / radii[1]) ** 2 < 1
    below = (grid[1] - chin[1]) / height
    share = (below / SHOULDERS_BELOW_CHIN).clamp(0, 1)
    half = NECK_HALF + (SHOULDERS_HALF - NECK_HALF) * share
    body = (below > 0) & ((grid[0] - chin[0]).abs() / height < half)
    return head | body


def _fading(outward: Tensor, person: Tensor, height: Tensor, *, pinned: bool) -> Tensor:
    """A velocity (1, 2, SIDE, SIDE) as given on the person, smooth and less and less around.

    Relaxes the screened Laplace equation; the border is nought where it is pinned, but for the
    bottom, at which the body ends.
    """
    around = 4 + (2 / SIDE / (FADES_OVER * height)) ** 2
    given, fixed = outward * person, person.clone()
    if pinned:
        edge = torch.ones_like(person)
        edge[1:, 1:-1] = False
        given, fixed = given * ~edge, fixed | edge
    given = velocity = given[None]
    for _ in range(RELAXATIONS):
        padded = F.pad(velocity, (1, 1, 1, 1), mode="replicate")
        mean = (
            padded[:, :, :-2, 1:-1]
            + padded[:, :, 2:, 1:-1]
            + padded[:, :, 1:-1, :-2]
            + padded[:, :, 1:-1, 2:]
        ) / around
        velocity = torch.where(fixed, given, mean)
    return velocity
