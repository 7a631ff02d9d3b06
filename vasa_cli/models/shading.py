"""Shadow at and between lips, in closed form: what changes about a mouth's light as it opens.

Lips that a photo shows apart have no dark line where they would meet, and teeth seen through a slit
would be as white as in the smile they come from. Both are shaded as real mouths are: the line as on
577 portraits whose lips are shut, against smiles that the layers alone had shut; the light by how
bright mouths of filmed people are inside, by how far they are open.

All lengths are in half sides of the mouth's square (about 55 mm).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasa_cli.models import layers
from vasa_cli.models.layers import Shape

LINE_DEPTH = 0.40  # darkness of the line where it is darkest
LINE_REACH = 0.016  # over which two thirds of it go
LINE_ROUND = 0.006  # of its darkest place, lest it flickers between pixels
LINE_BELOW = 0.006  # how far below the meeting it is darkest
LINE_GONE = 0.1  # opening of the frame's mouth from which it is gone
MELTED = 1.5  # pixels on either side of where skin meets over which it is mixed
LIGHT_HALVED = 0.04  # opening that lets in half of the light
FULLY_LIT = 0.2  # opening at which teeth that are not the photo's own have their colour
# Distance from the edges of open lips up to which a generator's light is left out, and from which
# it is all there; openings from which on that begins, and is so.
LIPS_BARE, LIPS_LIT = 0.04, 0.10
BARE_FROM, BARE_BY = 0.03, 0.12
LINE_OWN, LINE_CHANGED = 0.02, 0.05  # the same for detail where lips meet
# Powers of that light in red, green and blue: what comes in through lips is red. The brightest
# pixels between the lips of 713 portraits say how much, over skin and against wide open mouths;
# means of whole openings are of lips as well, and made teeth pink (0.50 for red). In half of the
# slits nothing is as white as teeth; of a smile's own, which are there, those tell that have it.
LIGHT_POWERS, OWN_POWERS = (0.85, 1.30, 1.25), (0.60, 0.90, 0.87)
LIGHT_SIDE = 9  # pixels of a square over which a change is averaged where it is light only
LIGHT_MOST = 0.15  # that such a change comes to, in colours of [-1, 1]


def about_meeting(
    columns: Tensor, reach: float, *, margin: int = 0
) -> tuple[slice, Tensor, Tensor]:
    """Rows of a square about where upper and lower skin meet, in all frames of a batch.

    All rows on a GPU, which would have to be waited for.

    Args: columns (B, 4, l), heights of the curves; reach beyond them; margin, rows of the square's
        own border that are left out.
    Returns: the rows, heights below the meeting (B, h, l), and the opening (B, l), 0 of shut ones.
    """
    side = columns.shape[-1]
    upper, lower = columns[:, 1], columns[:, 2]  # (B, l)
    first, last = margin, side - margin
    if columns.device.type == "cpu":
        ends = float(upper.amin()) - reach, float(lower.amax()) + reach
        first, last = (min(max(round((end + 1) / 2 * side), first), last) for end in ends)
    rows = slice(first, last)
    below = layers.middles(side, columns)[rows, None] - ((upper + lower) / 2)[:, None]
    return rows, below, (lower - upper).clamp_min(0)


def shade_line(skin: Tensor, source: Shape, shape: Shape, columns: Tensor) -> None:
    """Darken skin (B, 3, l, l) in [-1, 1] where lips meet that the photo shows apart, in place.

    Args: shapes of the photo's mouths and of the frames'; columns (B, 4, l), the latter's heights.
    """
    parted = (source.gap / layers.PARTED).clamp_max(1)[:, None, None]
    if skin.device.type == "cpu" and not parted.any():  # a GPU would have to be waited for
        return
    side = columns.shape[-1]
    rows, below, gap = about_meeting(columns, 5 * LINE_REACH)
    outside = (below.abs() - gap[:, None] / 2).clamp_min(0)
    away = torch.copysign(outside, below) - LINE_BELOW
    away = (away.square() + LINE_ROUND**2).sqrt() - LINE_ROUND
    fade = shape.between_corners(side) * (1 - gap / LINE_GONE).clamp(0, 1)
    dark = torch.exp(away / -LINE_REACH) * (LINE_DEPTH * fade[:, None] * parted)
    here = skin[:, :, rows]
    here.sub_((here + 1) * dark[:, None])


def melt(skin: Tensor, source: Shape, columns: Tensor) -> None:
    """Mix upper and lower skin (B, 3, l, l) where they meet that the photo shows apart, in place.

    They part between two pixels, in steps where lips or lids slope.

    Args: the photo's shapes; columns (B, 4, l), heights of the frames' curves.
    """
    parted, side = (source.gap / layers.PARTED).clamp_max(1)[:, None, None], columns.shape[-1]
    rows, below, gap = about_meeting(columns, 2 * (2 * MELTED + 1) / side, margin=1)
    met = (1 - gap / LINE_GONE).clamp(0, 1)[:, None] * parted
    share = torch.exp(-((below * (side / 2 / MELTED)) ** 2)) * met  # (B, h, l)
    above, beneath = (skin[:, :, rows.start + by : rows.stop + by] for by in (-1, 1))
    skin[:, :, rows].lerp_((above + beneath) / 2, share[:, None] / 2)


def light_through(source: Shape, shape: Shape, invented: Tensor, hue: Tensor) -> Tensor:
    """How bright mouths are inside, of what was laid there: (B, 3, 1, 1), at most 1.

    Args: shapes of the photo's mouths and of the frames'; invented (B, 1, 1), how much of the teeth
        is not the photo's own; hue (B, 1, 1, 1) 0 where the photo has no colour.
    """
    own, now = (part.gap[:, None, None] for part in (source, shape))
    before = layers.mix(own, torch.full_like(own, FULLY_LIT), invented)
    lit = now * (before + LIGHT_HALVED) / (before * (now + LIGHT_HALVED)).clamp_min(1e-6)
    seen, guessed = (
        torch.tensor(powers, device=now.device)[:, None, None]
        for powers in (OWN_POWERS, LIGHT_POWERS)
    )
    powers = layers.mix(seen, guessed, invented[:, None])
    powers = layers.mix(powers.mean(1, keepdim=True), powers, hue)
    return lit.clamp_max(1)[:, None] ** powers


def off_lips_edges(shape: Shape, side: int) -> tuple[Tensor, Tensor]:
    """Of a generator's change what is seen near the lips' inner edges, and of its detail.

    It takes the landmarks' mean error for light: a white line along open lower lips, a red one
    along upper ones, of beads where the edge crosses its pixels. The dark line in which lips meet
    it drew at 0.65 of the lips' brightness; the layers alone have it at 0.56, portraits at 0.53.

    Returns: 0 along the edges of open lips, and 0 where shut ones meet; 1 well away from them and
        along the others: (B, 1, side, side) both.
    """
    columns = shape.columns(side)
    upper, lower = columns[:, 1, None], columns[:, 2, None]  # (B, 1, side)
    gap = (lower - upper).clamp_min(0)
    line = layers.middles(side, columns)[:, None]
    away = (line - (upper + lower) / 2).abs() - gap / 2  # (B, side, side)
    lit, own = (
        ((away - near) / (far - near)).clamp(0, 1)
        for near, far in ((LIPS_BARE, LIPS_LIT), (LINE_OWN, LINE_CHANGED))
    )
    bare = ((gap - BARE_FROM) / (BARE_BY - BARE_FROM)).clamp(0, 1)
    met = (1 - gap / BARE_FROM).clamp(0, 1)
    return (1 - bare * (1 - lit))[:, None], (1 - met * (1 - own))[:, None]


def light_of(change: Tensor) -> Tensor:
    """What a change of colours (B, 3, s, s) in [-1, 1] is as light: soft, and not much of it."""
    side, off = change.shape[-1], LIGHT_SIDE // 2
    # means as products: a tenth of what pooling takes of a CPU
    means = change.new_ones(side, side).triu(-off).tril(off) / LIGHT_SIDE
    return torch.tanh(means @ change @ means / LIGHT_MOST) * LIGHT_MOST
