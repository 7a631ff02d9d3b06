"""The inside of a mouth that a photo does not show, in closed form: dark, tongue and lower teeth.

As with the upper teeth (`teeth`), a network trained to come near the truth on average draws the
average of tongues, teeth and shadow: a milky brown without depth. Here the space behind the teeth
is dark, the tongue lies on the floor of the mouth with a soft edge, and the lower teeth go with the
jaw: they are seen where the lower lip is drawn down from them.

All lengths are in half sides of the mouth's square (about 55 mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa_cli.models import layers
from vasa_cli.models.layers import Shape
from vasa_cli.models.teeth import Teeth, along_row, gap_between

# Colours of the dark behind and of the tongue, of white's at that place; of the lower teeth, of the
# upper ones'.
DARK, TONGUE, LOWER = (0.15, 0.06, 0.06), (1.12, 0.68, 0.68), (0.98, 0.95, 0.92)
# From 1,400 portraits: how far the edge of the lower lip is above the chin when lips are shut (0.80
# on average), and by how much less for each unit that they are open: the lip leaves the jaw.
OVER_CHIN_RANGE, LEAVES_JAW = (0.70, 0.90), 0.33
EDGE_BELOW_LIP = 0.02  # the lower incisors' edge, below that of a lip at rest
MOST_SHOWN = 0.065  # of the row above the lower lip, however far that is drawn down
# Where one lower tooth ends and the next begins from the middle outwards, foreshortened.
BOUNDS = (0.0, 0.095, 0.193, 0.296, 0.38, 0.45)
ARC = 0.22  # how the row rises outwards, over the square of the distance
ROUND = 0.012  # how much lower a tooth's corners are than its middle
GAP = 0.3  # darkness between two teeth
BEHIND = -0.04  # of the row, behind the chin, which lies farther back
FADES = (0.24, 0.40)  # distance from the middle at which the row begins to fade, and is gone
SHOWN_FROM, SHOWN_BY = (
    0.05,
    0.10,
)  # openings of the mouth at which the row begins to be seen, is seen
SPECKS = 0.018  # what rises over the lip by so little is left out: it would be a line of specks
TONGUE_HIGH = 0.62  # of the opening's height, in a mouth that is open by WIDE or more
WIDE = 0.24
TONGUE_HALF = 0.34  # half its width
TONGUE_SOFT = 0.045  # of its edge
TONGUE_BACK = 0.7  # brightness of its back, of the front's
GROOVE, GROOVE_HALF = 0.14, 0.03  # darkness along its middle, and how wide
LIP_SHADOW, LIP_SHADOW_HEIGHT = 0.22, 0.05  # of the lower lip on what lies behind it


@dataclass(frozen=True)
class Cavity:
    """What is expected of the inside of a person's mouth, from the photo alone."""

    dark: Tensor  # (B, 3, 1, 1) colours, 0 to 1
    tongue: Tensor
    lower: Tensor
    edge: Tensor  # (B, 1, 1) of the lower incisors, below the chin, thus negative


def expect(shape: Shape, chin: Tensor, row: Teeth, hue: Tensor) -> Cavity:
    """The inside of photos' mouths.

    Args: their shape and chin (B, 2) in the mouth's square; their upper teeth; hue (B, 1, 1, 1) 0
        where the photo has no colour.
    """
    lit = (
        torch.tensor(share, device=chin.device)[:, None, None] * of
        for share, of in ((DARK, row.white), (TONGUE, row.white), (LOWER, row.colour))
    )
    dark, tongue, teeth = (layers.mix(x.mean(1, keepdim=True), x, hue) for x in lit)
    middle = shape.curves[1].shape[1] // 2
    upper, lower = (shape.curves[k][:, middle, 1] for k in (1, 2))
    lip = chin[:, 1] - lower + LEAVES_JAW * (lower - upper).clamp_min(0)
    edge = EDGE_BELOW_LIP - lip.clamp(*OVER_CHIN_RANGE)
    return Cavity(dark, tongue, teeth, edge[:, None, None])


def row_heights(across: Tensor, edge: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """How far below the row's edge pixels lie, and how far from a gap: (B, h, w), (B, 1, w).

    Args: across (B, 1, w) from the chin; down (B, h, 1) below it; edge (B, 1, 1).
    """
    _, aside, beside = along_row(across, BOUNDS)
    begins = edge - ARC * across.square() + ROUND * aside**3.5
    return down - begins, beside


def lay(
    inside: Tensor,
    unknown: Tensor,
    cavity: Cavity,
    *,
    across: Tensor,
    down: Tensor,
    columns: Tensor,
    rows: Tensor,
    pixel: float,
) -> None:
    """Lay what is behind the teeth over mouths (B, 3, h, w) in [-1, 1], in place.

    Args: unknown (B, 1, h, w), where a mouth is open and the photo does not show what is in it;
        across (B, 1, w) and down (B, h, 1) from the chin; columns (B, 4, w), heights of the lips'
        curves, in the rows (h,); pixel: a pixel's size.
    """
    upper, lower = columns[:, 1, None], columns[:, 2, None]  # (B, 1, w)
    gap = (lower - upper).amax(2, keepdim=True).clamp_min(1e-3)  # (B, 1, 1)
    # its deepest place: where it is open, so that it does not hang on how many columns there are
    floor = torch.where(lower > upper, lower, upper.amin(2, keepdim=True)).amax(2, keepdim=True)
    over_lip = (lower - rows[:, None]).clamp_min(0)  # (B, h, w)
    # the tongue
    wide = (gap / WIDE).clamp(0, 1)
    high = TONGUE_HIGH * gap * wide
    top = floor - high * (1 - (across / TONGUE_HALF).square()).clamp_min(-0.5)
    within = rows[:, None] - top  # (B, h, w)
    tongue = torch.sigmoid(within / (TONGUE_SOFT * (0.3 + wide))) * wide
    front = (within / high.clamp_min(0.05)).clamp(0, 1)
    groove = 1 - GROOVE * torch.exp(-((across / GROOVE_HALF) ** 2))
    lit = (TONGUE_BACK + (1 - TONGUE_BACK) * front) * groove
    # the lower teeth
    most = floor - MOST_SHOWN - (rows[None, :1, None] - down[:, :1])  # in the chin's heights
    below, beside = row_heights(across, torch.maximum(cavity.edge, most), down)
    fade = ((FADES[1] - across.abs()) / (FADES[1] - FADES[0])).clamp(0, 1)
    shown = ((gap - SHOWN_FROM) / (SHOWN_BY - SHOWN_FROM)).clamp(0, 1)
    over = below[:, :1] + lower - rows[:1]  # the lip, of the row
    rises = ((over - SPECKS) / SPECKS).clamp(0, 1)
    tooth = torch.sigmoid(below / (0.7 * pixel)) * (fade * shown * rises)
    ivory = 1 - GAP * gap_between(beside, pixel)
    shadow = 1 - LIP_SHADOW * (1 - (over_lip / LIP_SHADOW_HEIGHT).clamp(0, 1))
    drawn = layers.mix(cavity.dark, cavity.tongue * lit[:, None], tongue[:, None])
    drawn = layers.mix(drawn, cavity.lower * ivory[:, None], tooth[:, None]) * shadow[:, None]
    inside.add_((2 * drawn - 1 - inside) * unknown)
