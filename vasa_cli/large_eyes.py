"""Eyes larger than people's, as drawn figures have them.

A regressor that is shown so much of a face as holds a person's eye sees such an eye beyond its
square, and puts the lower lid across the iris. It is shown more until the eye looks as large as a
person's; a lower lid that still lies across the iris is brought to where the eye's colours end, and
the landmarks about the lids, which come from the whole face, are carried along.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vasa_cli.models.fields import Patch

# All lengths are in face heights. 99.8 % of 1,461 portraits have eyes no wider than 0.190.
USUAL = 0.165
LARGE = (0.190, 0.205)  # widths from which on an eye may be, and surely is, none of a person's
MOST = 2.0  # of a person's width, that is looked for
LOWER = slice(9, 16)  # lid, among an eye's points
MIDDLES = (5, 12)  # of the upper and of the lower lid, among an eye's points
ROUND = (0.40, 0.46)  # openings, in an eye's widths, from which on it may be, and is, round
# From the eye's middle, in distances of the lower lid's points: what surely is eye, what is cheek,
# in how many steps one goes there, and how far the lid may be taken.
EYE, CHEEK, N_STEPS, ROUNDEST = (0.3, 0.9), (2.0, 2.4), 97, 1.8
LIKE_EYE = 0.45  # of the way from the cheek's colour to the eye's, from which on it is eye
BULGE = (0.4, 0.8, 1.0, 1.0, 1.0, 0.8, 0.4)  # share of that, from corner to corner
REACH = 0.035  # over which two thirds of what moves lids are lost on what is about them
FAINT = 0.1  # weight at which half of it is


def widths(points: Tensor, corners: tuple[int, ...]) -> Tensor:
    """How wide an eye is, (B,), of points (B, 478, 3), by its two corners."""
    across = (points[:, corners[0], :2] - points[:, corners[1], :2]).norm(dim=-1)
    return across / _heights(points)


def openings(points: Tensor, index: tuple[int, ...]) -> Tensor:
    """How far an eye is open, (B,), in its widths."""
    upper, lower = (points[:, index[k], :2] for k in MIDDLES)
    across = (points[:, index[0], :2] - points[:, index[1], :2]).norm(dim=-1)
    return (lower - upper).norm(dim=-1) / across.clamp_min(1e-6)


def share(points: Tensor, index: tuple[int, ...]) -> Tensor:
    """How surely eyes of points (B, 478, 3) are none of a person's, 0 to 1, (B,).

    They are both wider and rounder: those that are only wide are read well as they are.
    """
    return _ramp(widths(points, index[:2]), LARGE) * _ramp(openings(points, index), ROUND)


def widened(square: Patch, width: Tensor) -> Patch:
    """Squares (B,) for a person's eye so large that eyes of such widths fill as much of them."""
    size = (width / USUAL).clamp(1, MOST)[:, None, None]
    return Patch(torch.cat([square.affine[:, :, :2] * size, square.affine[:, :, 2:]], 2))


def lowered(pictures: Tensor, points: Tensor, index: tuple[int, ...]) -> Tensor:
    """Points (B, 478, 3) whose lower lid lies where the eye ends in pictures (B, 3, S, S).

    People's eyes are a third as tall as wide; of one that is rounder a regressor leaves the lowest
    part below the lid. One goes on from each of the lid's points, away from the
    eye's middle, as long as the colour is not nearly the cheek's.

    Args: index of the eye's points.
    """
    lid, around = list(index[LOWER]), list(index[: LOWER.stop])
    middle = points[:, around, :2].mean(1)[:, None]  # (B, 1, 2)
    ray = points[:, lid, :2] - middle  # (B, 7, 2)
    reach = torch.linspace(0, CHEEK[1], N_STEPS)
    places = middle[:, :, None] + ray[:, :, None] * reach[:, None]  # (B, 7, N_STEPS, 2)
    seen = grid_sample(
        pictures.float(), places.to(pictures.device), align_corners=False, padding_mode="border"
    )
    colours = seen.cpu().permute(0, 2, 3, 1)  # (B, 7, N_STEPS, 3)
    cheek = colours[:, :, reach >= CHEEK[0]].flatten(1, 2).median(1).values[:, None, None]
    off = (colours - cheek).norm(dim=-1)  # (B, 7, N_STEPS)
    inside = off[:, :, (reach > EYE[0]) & (reach < EYE[1])].flatten(1).median(1).values
    is_eye = (off > inside[:, None, None] * LIKE_EYE) & (reach <= ROUNDEST) | (reach <= 1)
    end = (is_eye * reach).amax(2).clamp_min(1)  # (B, 7)
    padded = torch.cat([end[:, :1], end, end[:, -1:]], 1)
    end = 1 + (padded.unfold(1, 3, 1).median(2).values - 1) * torch.tensor(BULGE)
    found = points.clone()
    found[:, lid, :2] = middle + ray * end[:, :, None]
    return found


def carry(points: Tensor, before: Tensor, index: tuple[int, ...]) -> Tensor:
    """Points (B, 478, 3) with all that is about an eye moved as its lids were.

    Args: before (B, 478, 3), what was read with the lids elsewhere; index of lids and corners.
    """
    lids = list(index)
    moved = points[:, lids] - before[:, lids]  # (B, K, 3)
    off = torch.cdist(before[..., :2], before[:, lids, :2]) / _heights(before)[:, None, None]
    near = torch.exp(off.square() / (-2 * REACH**2))  # (B, 478, K)
    carried = points + near @ moved / (near.sum(2, keepdim=True) + FAINT)
    carried[:, lids] = points[:, lids]
    return carried


def _ramp(x: Tensor, ends: tuple[float, float]) -> Tensor:
    """0 up to the first end, 1 from the second on, smooth between them."""
    t = ((x - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _heights(points: Tensor) -> Tensor:
    """From forehead to chin, (B,), however the head is held."""
    return (points[:, 10] - points[:, 152]).norm(dim=-1).clamp_min(1e-6)
