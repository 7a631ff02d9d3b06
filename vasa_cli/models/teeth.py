"""Upper teeth that a photo does not show, in closed form.

Where somebody's teeth end is not to be known from a shut mouth, and a network that is trained to
come near the truth on average draws the average: a bright band without edges. So the row is laid by
anatomy, sharp at every size: it hangs from the nose, ends a little below where the upper lip rests,
and has the colour that the photo's light gives to white. Teeth that the photo does show are kept.

All lengths are in half sides of the mouth's square (about 55 mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa_cli.models import layers
from vasa_cli.models.layers import Shape

# Where one tooth ends and the next begins from the middle outwards, foreshortened by the arch, and
# how much shorter than the first each is; from 484 portraits that smile.
BOUNDS = (0.0, 0.12, 0.219, 0.312, 0.396, 0.468, 0.528, 0.582)
SHORTER = (0.0, 0.013, 0.002, 0.018, 0.027, 0.036, 0.042)
ARC = 0.33  # how the row rises outwards, over the square of the distance
ROUND = 0.017  # how much lower a tooth is in its middle than at its corners
EDGE_BELOW_NOSE = 0.55  # of the middle incisors, in portraits that smile
EDGE_RANGE = (0.42, 0.70)
BELOW_REST = 0.055  # by which incisors hang below an upper lip at rest
BELOW_SHOWN = 0.012  # by which they go on below what a smiling photo shows of them
# Openings from which a photo begins to show its own teeth, and from which no others are laid. What
# is seen through a slit is a shadow or a strip of white that says nothing of where teeth end; a few
# teeth that a narrow smile shows between dark corners would be all that a wide open mouth has.
SLIT, OPEN = 0.07, 0.08
NARROWER = 0.03  # by which a smile must be more open of which teeth are seen in its middle only
IN_MIDDLE, ALL_ALONG = 0.50, 0.60  # shares of the lips' inner width over which they are seen then
WIDE = 0.18  # opening from which it is the photo's own without being bright
STRAY = 0.03  # of what looks like teeth, on either side, that may be something else
WHITE_SHARE = 0.2  # of what is open, to look like teeth
# Brightness of teeth in the shade of a lip, of the skin's, and how white they are, whiter than the
# skin too: the darker of green and blue over red. Tongues have 0.60.
IN_SHADE, IN_SHADE_WHITE = 0.75, 0.62

# Teeth are as white as the light, which the skin's colour tells: in 2,100 pictures and frames that
# show both, the logs of green and blue over red go with the skin's by 0.64 and 0.68 (r 0.50, 0.74).
WHITE = (0.835, 0.963, 0.973)  # times (skin's colour over its brightness) ** CAST
CAST = 0.68
LEAST_CAST = 0.5  # of skin's colour over its brightness: paint may be yellower than any light
# Brightness of teeth as that of the skin around the mouth goes from 0 to 1, and the most of it: a
# little over that of light skin, twice that of dark.
BRIGHTNESS, BRIGHTEST = (0.30, 1.25), 1.0
OPACITY = 0.94  # the rest is the generator's shading
GAP = 0.2  # darkness between two teeth
GAP_WIDTH = 0.008  # of it, below which in pixels it is fainter: in small heads it would be a grid
GAP_HEIGHT = 0.18  # from the edge up to where gaps are gone
LIP_SHADOW, LIP_SHADOW_HEIGHT = 0.20, 0.06
# Of the row on what is behind it, below its edge: lower teeth that nearly meet it would be one
# mottled wall with it.
EDGE_SHADOW, EDGE_SHADOW_HEIGHT = 0.6, 0.06
SIDE_SHADOW, SIDE = 0.55, 0.48  # towards the corners
BEHIND = 0.13  # of the row, behind the foot of the nose
FADES = (0.36, 0.51)  # distance from the middle at which the row begins to fade, and is gone


@dataclass(frozen=True)
class Teeth:
    """What is expected of a person's upper teeth, from the photo alone."""

    colour: Tensor  # (B, 3, 1, 1), 0 to 1
    white: Tensor  # (B, 3, 1, 1) what the light in the mouth makes of white
    edge: Tensor  # (B, 1, 1) of the middle incisors, below the nose
    share: Tensor  # (B, 1, 1) how surely they are laid: not where the photo shows its own
    own: Tensor  # (B, 1, 1) how surely what the photo shows inside is kept


def expect(picture: Tensor, opening: Tensor, shape: Shape, nose: Tensor, hue: Tensor) -> Teeth:
    """The teeth of photos.

    Args: the photo's mouth square (B, 3, l, l) in [-1, 1], where it is open (B, 1, l, l); its shape
        and its nose (B, 2) there; hue (B, 1, 1, 1) 0 where the photo has no colour.
    """
    bright = (picture + 1) / 2
    skin = shape.reach(picture.shape[-1]) * (1 - opening)
    around = layers.masked_colour(bright, skin, bright.mean((2, 3), keepdim=True))
    light = around.mean(1, keepdim=True)
    white = torch.tensor(WHITE, device=picture.device)[None, :, None, None]
    colour = white * (around / light.clamp_min(0.05)).clamp_min(LEAST_CAST) ** CAST
    dark, bright_skin = BRIGHTNESS
    colour = colour * (dark + (bright_skin - dark) * light).clamp_max(BRIGHTEST)
    grey = colour.mean(1, keepdim=True)
    colour = lit = layers.mix(grey, colour, hue)
    middle = shape.curves[1].shape[1] // 2
    upper, lower = (shape.curves[k][:, middle, 1] - nose[:, 1] for k in (1, 2))
    gap = lower - upper
    shown = opening * looks_like_teeth(bright, around, hue)
    seen = shown.sum((1, 2, 3)) / opening.sum((1, 2, 3)).clamp_min(1) / WHITE_SHARE
    seen = seen.clamp_max(1)
    surely = torch.maximum(seen, (gap - OPEN) / (WIDE - OPEN)).clamp(0, 1)
    short = (ALL_ALONG - seen_along(shown, shape)) / (ALL_ALONG - IN_MIDDLE)
    enough = gap - NARROWER * short.clamp(0, 1)
    own = ((enough - SLIT) / (OPEN - SLIT)).clamp(0, 1) * surely
    colour = layers.masked_colour(bright, shown * own[:, None, None, None], colour)
    ends = (lower + BELOW_SHOWN).clamp_max(EDGE_BELOW_NOSE)
    edge = layers.mix(upper + BELOW_REST, ends, own).clamp(*EDGE_RANGE)
    # teeth that an open mouth does not show end at the lip, or the photo would show them
    edge = layers.mix(edge, upper.clamp_max(EDGE_RANGE[1]), own * (1 - seen))
    share = 1 - own * seen
    return Teeth(colour, lit, *(x[:, None, None] for x in (edge, share, own)))


def seen_along(shown: Tensor, shape: Shape) -> Tensor:
    """Of the lips' inner width, how much of it teeth take that are seen: (B,).

    Args: shown (B, 1, l, l), where they are.
    """
    columns = shown.sum((1, 2))  # (B, l)
    mass = columns.cumsum(1) / columns.sum(1, keepdim=True).clamp_min(1e-6)
    n_within = ((mass > STRAY) & (mass < 1 - STRAY)).sum(1)
    left, right = (shape.curves[1][:, k, 0] for k in (0, -1))
    return n_within * (2 / shown.shape[-1]) / (right - left).clamp_min(1e-3)


def looks_like_teeth(bright: Tensor, skin: Tensor, hue: Tensor) -> Tensor:
    """Which places of pictures (B, 3, l, l) in [0, 1] are teeth or lip, but not tongue or dark.

    Args: skin (B, 3, 1, 1), its colour; hue (B, 1, 1, 1) 0 where the photo has none.
    Returns: (B, 1, l, l), true or false.
    """
    light, skin_light = (x.mean(1, keepdim=True) for x in (bright, skin))
    white, skin_white = (
        x[:, 1:].amin(1, keepdim=True) / x[:, :1].clamp_min(0.05) for x in (bright, skin)
    )
    shaded = (
        (light > IN_SHADE * skin_light)
        & (white > skin_white.clamp_min(IN_SHADE_WHITE))
        & (hue > 0.5)
    )
    return (light > skin_light) | shaded


def along_row(across: Tensor, bounds: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Which tooth of a row each place is on, counted from the middle; and where on it.

    Args: across (B, 1, w) from the middle; bounds, where one tooth ends and the next begins.
    Returns: numbers, how far aside of the tooth's middle (0 there, 1 at its ends), and how far from
        the nearest gap, (B, 1, w) each.
    """
    away, edges = across.abs(), torch.tensor(bounds, device=across.device)
    k = torch.bucketize(away.contiguous(), edges[1:-1])
    half = (edges[k + 1] - edges[k]) / 2
    aside = ((away - edges[k] - half) / half).clamp(-1, 1).abs()
    return k, aside, half * (1 - aside)


def gap_between(beside: Tensor, pixel: float) -> Tensor:
    """1 in the gaps between teeth, 0 off them, less where they are narrower than a pixel.

    Args: beside, how far from the nearest gap; pixel: a pixel's size.
    """
    return torch.exp(-((beside / (0.75 * pixel)) ** 2)) * min(1.0, GAP_WIDTH / pixel)


def heights_over_edge(across: Tensor, edge: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """How far above the row's edge pixels lie, and how far from a gap: (B, h, w), (B, 1, w).

    Args: across (B, 1, w) and down (B, h, 1) from the nose; edge (B, 1, 1).
    """
    k, aside, beside = along_row(across, BOUNDS)
    shorter = torch.tensor(SHORTER, device=across.device)[k]
    ends = edge - ARC * across.square() - shorter - ROUND * aside**3.5
    return ends - down, beside


def lay(
    inside: Tensor,
    unknown: Tensor,
    teeth: Teeth,
    *,
    across: Tensor,
    down: Tensor,
    columns: Tensor,
    rows: Tensor,
    pixel: float,
) -> None:
    """Lay teeth over mouths (B, 3, h, w) in [-1, 1], in place.

    Args: unknown (B, 1, h, w), where a mouth is open and the photo does not show what is in it;
        across (B, 1, w) and down (B, h, 1) from the nose; columns (B, 4, w), heights of the lips'
        curves, in the rows (h,); pixel: a pixel's size.
    """
    above, beside = heights_over_edge(across, teeth.edge, down)
    tooth = torch.sigmoid(above / (0.7 * pixel))  # (B, h, w)
    gap = gap_between(beside, pixel)  # (B, 1, w)
    gap = gap * ((GAP_HEIGHT - above) / GAP_HEIGHT).clamp(0, 1)
    upper = columns[:, 1, None]  # (B, 1, w)
    below_lip = (rows[:, None] - upper).clamp_min(0)
    aside = across.abs()
    shade = 1 - SIDE_SHADOW * (aside / SIDE).clamp(0, 1).square()
    shade = shade * (1 - LIP_SHADOW + LIP_SHADOW * (below_lip / LIP_SHADOW_HEIGHT).clamp(0, 1))
    shade = shade * (1 - GAP * gap)
    fade = ((FADES[1] - aside) / (FADES[1] - FADES[0])).clamp(0, 1)
    laid = unknown * (teeth.share * fade)[:, None]
    below_edge = (1 + above / EDGE_SHADOW_HEIGHT).clamp(0, 1).square()[:, None]
    inside.sub_((inside + 1) * (EDGE_SHADOW * laid * below_edge))
    alpha = laid * (OPACITY * tooth)[:, None]
    inside.add_((2 * shade[:, None] * teeth.colour - 1 - inside) * alpha)
