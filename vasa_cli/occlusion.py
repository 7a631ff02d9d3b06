"""Frames in which something passes before the mouth: a hand, a cup, a microphone.

A thumbnail of the lower face, laid straight by eyes and nose, is compared with those of other
frames. Skin, chin and beard around the mouth look the same in most frames in which the head is held
alike; where many pixels do not, something else is there. The mouth changes all the time, but it has
looked much as it does before: where it is unlike itself in all other frames, it is not to be seen.
A smooth patch in just the colour of the skin is missed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasa_cli.models.fields import Patch, across_eyes, turned_square

SIDE = 32  # pixels of the thumbnails
# Side, and middle below the eyes, in distances from forehead to nose, which the jaw does not move.
EXTENT, BELOW = 1.04, 0.71
MOUTH_OVER_NOSE = 0.42  # how far a mouth goes sideways in a turn, of what the nose's tip does
ALIKE_DEG = 6.0  # heads that are turned by less from each other are compared
LEAST_ALIKE = 12  # frames to compare with; where there are fewer, all are
SPREAD = 3.0  # median deviations by which a pixel may differ
TOLERANCE = 14.0  # of 255, by which it may differ anyway
HIDDEN_SHARE = 0.10  # share of pixels that differ from which on something is there
MOUTH = (0.0, -0.05, 0.64, 0.42)  # middle and half axes of the mouth in the square
EXEMPLARS = 48  # frames, spread over a shot, that a mouth is compared with
FRIENDS = 5  # of these must look like it: a few may be hidden ones themselves
APART = 12  # frames that such a friend is away at least
UNLIKE, UNLIKE_LEVELS = 6.0, 8.0  # median deviations, and levels of 255, beyond what is usual
AROUND = 2  # frames before and after a hidden one that are taken as hidden too


def lower_face_square(points: Tensor) -> Patch:
    """The square below the eyes of points (B, 478, 3), placed without looking at the mouth."""
    eyes = points[:, [33, 133, 362, 263], :2].mean(1)
    across = across_eyes(points)
    along = across / across.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    down = torch.stack([-along[:, 1], along[:, 0]], -1)
    size = (points[:, 10] - points[:, 2]).norm(dim=-1, keepdim=True)
    nose = ((points[:, 4, :2] - eyes) * along).sum(-1, keepdim=True)
    middle = eyes + along * nose * MOUTH_OVER_NOSE + down * size * BELOW
    return turned_square(middle, size[:, 0] * EXTENT / 2, torch.atan2(across[:, 1], across[:, 0]))


def thumbnails(pictures: Tensor, points: Tensor) -> np.ndarray:
    """Lower faces (B, SIDE, SIDE, 3) uint8.

    Args: pictures (B, 3, S, S) in [-1, 1]; points (B, 478, 3) in their [-1, 1].
    """
    cut = lower_face_square(points.to(pictures.device)).cut(pictures, SIDE)
    levels = cut.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def hidden(lower_faces: np.ndarray, angles_deg: np.ndarray, found: np.ndarray) -> np.ndarray:
    """In which frames something is before the mouth, (T,).

    Args: lower_faces (T, SIDE, SIDE, 3) of one shot; angles_deg (T, 2) yaw and pitch; found (T,),
        the frames that show the face at all.
    """
    covered = differing(lower_faces, angles_deg, found) > HIDDEN_SHARE
    covered |= unlike_itself(lower_faces, found)
    if covered.any():
        reach = np.ones(2 * AROUND + 1)
        covered = np.convolve(covered, reach, mode="same") > 0
    return covered & found


def differing(lower_faces: np.ndarray, angles_deg: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The share of pixels around the mouth that look unlike those of like frames, (T,)."""
    shares = np.zeros(len(lower_faces))
    known = np.flatnonzero(found)
    if len(known) < LEAST_ALIKE:
        return shares
    looked_at = ~_mouth_mask()
    pixels = lower_faces[known][:, looked_at].astype(np.float32)  # (K, P, 3)
    # the light on a face changes with its turn: only what differs from its mean is compared
    pixels -= np.median(pixels, 1, keepdims=True)
    bins = np.rint(angles_deg[known] / ALIKE_DEG).astype(int)
    for held in np.unique(bins, axis=0):
        here = np.flatnonzero((bins == held).all(1))
        alike = np.flatnonzero(np.abs(bins - held).max(1) <= 1)
        if len(alike) < LEAST_ALIKE:
            alike = np.arange(len(known))
        usual = np.median(pixels[alike], 0)
        spread = np.median(np.abs(pixels[alike] - usual), 0)
        unlike = (np.abs(pixels[here] - usual) > SPREAD * 1.48 * spread + TOLERANCE).any(-1)
        shares[known[here]] = unlike.mean(1)
    return shares


def unlike_itself(lower_faces: np.ndarray, found: np.ndarray) -> np.ndarray:
    """In which frames the mouth looks like that of no other frame, (T,)."""
    strange = np.zeros(len(lower_faces), bool)
    known = np.flatnonzero(found)
    if len(known) < FRIENDS + 2 * APART:
        return strange
    mouths = lower_faces[known][:, _mouth_mask()].astype(np.float32)  # (K, P, 3)
    chosen = np.linspace(0, len(known) - 1, min(EXEMPLARS, len(known))).astype(int)
    distance = np.stack([np.abs(mouths - mouths[k]).mean((1, 2)) for k in chosen], 1)  # (K, E)
    distance[np.abs(known[:, None] - known[chosen]) < APART] = np.inf
    friends = min(FRIENDS, len(chosen) - 1)
    nearest = np.partition(distance, friends - 1, axis=1)[:, friends - 1]
    usual = np.median(nearest)
    spread = 1.48 * np.median(np.abs(nearest - usual))
    strange[known] = nearest > usual + UNLIKE * spread + UNLIKE_LEVELS
    return strange


def _mouth_mask() -> np.ndarray:
    """Where the mouth is in the square, (SIDE, SIDE)."""
    line = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y, half_x, half_y = MOUTH
    inside: np.ndarray = ((line[None] - x) / half_x) ** 2 + ((line[:, None] - y) / half_y) ** 2 < 1
    return inside
