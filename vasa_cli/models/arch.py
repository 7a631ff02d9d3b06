"""How rows of teeth, which stand in an arch, are foreshortened when the head is turned.

Seen from the front a row shows its teeth in the widths that were measured there. When the face
turns to one side, the teeth of the far side hide behind the front ones, those of the near side come
into view, and all of them go towards the near side of a nose or a chin that lies before them. A row
that does not know of it ends in the dark halfway to the near corner.

All lengths are in half sides of the mouth's square (about 55 mm).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa_cli.models import fields

# How far behind the incisors a tooth stands, over the square of its distance from the middle: 9 mm
# of canines that are 35 mm apart, 28 mm of molars that are 50 mm apart.
DEPTH = 1.8
HIDDEN = 1.0  # where nothing is laid any more


def turn(points: Tensor) -> Tensor:
    """The sine of a head's yaw, (B,), of points (B, 478, 3): positive when it faces left.

    Left is the viewer's. Depths grow away from the viewer.
    """
    left, right = (points[:, list(ends)].mean(1) for ends in fields.EYE_CORNERS.values())
    across = right - left
    return -across[:, 2] / across.norm(dim=1).clamp_min(1e-6)


def along(across: Tensor, points: Tensor, behind: float) -> Tensor:
    """Where on the arch, as it is seen from the front, columns of turned mouths lie: (B, w).

    It is HIDDEN beyond the far end of what is seen of the arch.

    Args: across (B, w), to the right of a place on the head's middle; points (B, 478, 3) of the
        frames; how far behind that place the incisors stand.
    """
    sine = turn(points)[:, None].clamp(-0.9, 0.9)
    cosine = (1 - sine.square()).sqrt()
    off = across - behind * sine
    # of off = cosine x + DEPTH sine x**2 the solution that is nearer, and x itself at no turn
    rest = cosine.square() + 4 * DEPTH * sine * off
    found = 2 * off / (cosine + rest.clamp_min(0).sqrt())
    return torch.where(rest > 0, found, HIDDEN)
