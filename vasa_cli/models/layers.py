"""A mouth or an eye in layers, in closed form: the sitter's own skin, and behind it what opens.

The motion field is smooth and cannot part two lips or two lids; drawn by it alone an opening mouth
stretches its lips. Here upper and lower skin are carried each by their own landmarks, and meet at
curves that the landmarks give. Behind them the teeth move with the skull, the iris with the eye.
The generators then draw only what the photo does not show.

All of it is in the unit of a square (`fields.Patch`): [-1, 1], x along the eyes' line.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasa_cli.models import fields
from vasa_cli.models.fields import WHOLE, Part, Patch

FLOW_SIDE = 32  # cells at which skin is carried; 64 are 65 dB from it
# widths of the kernels that carry skin, in half sides, and their weights
KERNELS = ((0.06, 1.0), (0.15, 0.02), (0.4, 1e-4))
EDGE = 1 / 128  # softness of an opening's edge
MARGINS = (0.18, 0.20)  # how far beyond the outline skin is carried by its own landmarks
# So far from the photo's own inner edge, where it is open, skin at an edge is taken: over and below
# a mouth, above and below an eye, whose lashes are on the upper edge; and how far that reaches.
LIP_INSETS, LID_INSETS = (0.032, 0.032), (-0.004, 0.012)
INSET_REACH = 0.05
PARTED = 1.5 * INSET_REACH  # opening of the photo's from which its edges are not the other side's
CORNERS = (0.8, 1.1)  # of half an opening's width, between which its two sides become one
IRIS_MARGIN = 1.1  # of the iris's radius: its dark rim goes with it
TEETH_DEPTH = 0.02  # of the upper teeth behind the lips, in face heights
DARK = 0.25  # brightness of an unseen mouth's inside, of the face's


@dataclass(frozen=True)
class Parts:
    """Landmarks of a mouth or an eye, from the square's left to its right."""

    upper: tuple[int, ...]  # carry the skin above
    lower: tuple[int, ...]
    curves: tuple[tuple[int, ...], ...]  # outer upper, inner upper, inner lower, outer lower
    iris: tuple[int, ...] = ()


MOUTH = Parts(
    upper=(
        *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 78, 191, 80, 81, 82, 13, 312, 311, 310),
        *(415, 308, 76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 62, 183, 42, 41, 38, 12, 268),
        *(271, 272, 407, 292, 57, 186, 92, 165, 167, 164, 393, 391, 322, 410, 287, 2, 97, 326, 98),
        *(327, 129, 358, 203, 206, 423, 426, 216, 436, 205, 425, 207, 427),
    ),
    lower=(
        *(61, 291, 78, 308, 76, 306, 62, 292, 146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88),
        *(178, 87, 14, 317, 402, 318, 324, 77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179),
        *(86, 15, 316, 403, 319, 325, 57, 287, 43, 106, 182, 83, 18, 313, 406, 335, 273, 202, 204),
        *(194, 201, 200, 421, 418, 424, 422, 210, 211, 32, 208, 199, 428, 262, 431, 430, 212, 432),
        *(214, 434, 170, 140, 171, 175, 396, 369, 395, 169, 150, 149, 176, 148, 152, 377, 400, 378),
        *(379, 394),
    ),
    curves=(
        (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
        (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
        (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    ),
)
EYES = {
    "left": Parts(
        upper=(
            *(33, 246, 161, 160, 159, 158, 157, 173, 133, 130, 247, 30, 29, 27, 28, 56, 190, 243),
            *(226, 113, 225, 224, 223, 222, 221, 189, 46, 53, 52, 65, 55, 70, 63, 105, 66, 107),
        ),
        lower=(
            *(33, 7, 163, 144, 145, 153, 154, 155, 133, 130, 25, 110, 24, 23, 22, 26, 112, 243),
            *(226, 31, 228, 229, 230, 231, 232, 233, 244, 111, 117, 118, 119, 120, 121, 128),
        ),
        curves=(
            (130, 247, 30, 29, 27, 28, 56, 190, 243),
            (33, 246, 161, 160, 159, 158, 157, 173, 133),
            (33, 7, 163, 144, 145, 153, 154, 155, 133),
            (130, 25, 110, 24, 23, 22, 26, 112, 243),
        ),
        iris=fields.IRISES["left"],
    ),
    "right": Parts(
        upper=(
            *(263, 466, 388, 387, 386, 385, 384, 398, 362, 359, 467, 260, 259, 257, 258, 286, 414),
            *(463, 446, 342, 445, 444, 443, 442, 441, 413, 276, 283, 282, 295, 285, 300, 293, 334),
            *(296, 336),
        ),
        lower=(
            *(263, 249, 390, 373, 374, 380, 381, 382, 362, 359, 255, 339, 254, 253, 252, 256, 341),
            *(463, 446, 261, 448, 449, 450, 451, 452, 453, 464, 340, 346, 347, 348, 349, 350, 357),
        ),
        curves=(
            (359, 467, 260, 259, 257, 258, 286, 414, 463),
            (263, 466, 388, 387, 386, 385, 384, 398, 362),
            (263, 249, 390, 373, 374, 380, 381, 382, 362),
            (359, 255, 339, 254, 253, 252, 256, 341, 463),
        ),
        iris=fields.IRISES["right"],
    ),
}
N_CURVES = 4
N_MAPS = N_CURVES + 1  # of `maps`
CHIN, NOSE = (152, 175, 199), (2, 97, 326)
EDGE_REACH = 8  # of an opening's soft edge, after which less than a thousandth is left


@dataclass(frozen=True)
class Shape:
    """Where a mouth's or an eye's parts lie in its square."""

    patch: Patch
    upper: Tensor  # (B, K, 2)
    lower: Tensor
    curves: tuple[Tensor, ...]  # N_CURVES times (B, K, 2)
    iris: Tensor  # (B, 5, 2), or (B, 0, 2) of a mouth

    @classmethod
    def of(cls, points: Tensor, patch: Patch, parts: Parts) -> Shape:
        """The shape of parts of points (B, 478, 3) in their square."""
        local = patch.to_square(points[..., :2])
        return cls(
            patch,
            local[:, parts.upper],
            local[:, parts.lower],
            tuple(local[:, curve] for curve in parts.curves),
            local[:, parts.iris] if parts.iris else local[:, :0],
        )

    def columns(self, side: int) -> Tensor:
        """Heights of the curves in each column, (B, N_CURVES, side)."""
        line = middles(side, self.upper)
        if len({curve.shape[1] for curve in self.curves}) == 1:
            return (
                heights(torch.cat(self.curves), line).unflatten(0, (N_CURVES, -1)).transpose(0, 1)
            )
        return torch.stack([heights(curve, line) for curve in self.curves], 1)

    def opening(self, columns: Tensor, part: Part = WHOLE) -> Tensor:
        """1 between the inner curves, 0 beyond, (B, 1, side, side) or a part of that."""
        rows = middles(columns.shape[-1], columns)[part[0], None]
        upper, lower = columns[:, 1, None, part[1]], columns[:, 2, None, part[1]]
        between = torch.sigmoid((rows - upper) / EDGE) * torch.sigmoid((lower - rows) / EDGE)
        return (between * ((lower - upper) / (3 * EDGE)).clamp(0, 1))[:, None]

    def maps(self, columns: Tensor, opening: Tensor) -> Tensor:
        """Soft heights over each curve, and the opening: (B, N_MAPS, side, side)."""
        rows = middles(columns.shape[-1], columns)[:, None]
        return torch.cat([torch.tanh((rows - columns[:, :, None]) * 6), opening], 1)

    @property
    def gap(self) -> Tensor:
        """How far the inner curves are apart where they are so most, (B,), 0 of shut ones."""
        return (self.curves[2] - self.curves[1])[..., 1].amax(1).clamp_min(0)

    def between_corners(self, side: int) -> Tensor:
        """1 in columns where the inner curves may part, 0 beyond their corners, (B, side)."""
        left, right = (self.curves[1][:, k, :1] for k in (0, -1))  # (B, 1)
        aside = (2 * middles(side, left) - left - right).abs() / (right - left).clamp_min(1e-3)
        return ((CORNERS[1] - aside) / (CORNERS[1] - CORNERS[0])).clamp(0, 1)

    def iris_disk(self, side: int, radius: Tensor, part: Part = WHOLE) -> Tensor:
        """1 on the iris, 0 off it, (B, 1, side, side) or a part of that, with a radius (B,)."""
        line = middles(side, self.iris)
        x, y = line[part[1]] - self.iris[:, :1, 0], line[part[0]] - self.iris[:, :1, 1]
        away = (x.square()[:, None] + y.square()[:, :, None] + 1e-8).sqrt()
        return torch.sigmoid((radius[:, None, None] - away) / EDGE)[:, None]

    def reach(self, side: int) -> Tensor:
        """1 on the lips or lids and around them, 0 far off, (B, 1, side, side)."""
        outer = torch.cat([self.curves[0], self.curves[-1]], 1)
        low, high = outer.amin(1), outer.amax(1)  # (B, 2)
        centre = (low + high) / 2
        radius = (high - low) / 2 + torch.tensor(MARGINS, device=low.device)
        line = middles(side, self.upper)
        x, y = ((line - centre[:, k, None]) / radius[:, k, None] for k in range(2))
        away = (x.square()[:, None] + y.square()[:, :, None] + 1e-8).sqrt()
        return torch.sigmoid((1 - away) * 8)[:, None]


def middles(side: int, like: Tensor) -> Tensor:
    """Pixels' middles along one side of a square, (side,)."""
    return (torch.arange(side, device=like.device) + 0.5) / side * 2 - 1


def heights(knots: Tensor, line: Tensor) -> Tensor:
    """Piecewise linear curves through knots (B, K, 2) at the places (n,) along x: (B, n).

    Level beyond its ends; knots that step back in x are moved up to the one before.
    """
    x = knots[..., 0].cummax(1).values.contiguous()
    right = torch.searchsorted(x, line.expand(len(x), -1).contiguous())
    right = right.clamp(1, x.shape[1] - 1)
    x0, x1 = x.gather(1, right - 1), x.gather(1, right)
    y = knots[..., 1]
    y0, y1 = y.gather(1, right - 1), y.gather(1, right)
    return y0 + (y1 - y0) * ((line - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)


def open_part(columns: Tensor) -> Part:
    """Rows and columns of a square outside of which openings are 0 in all frames of a batch.

    Found on CPUs alone; a GPU would have to be waited for.
    """
    side = columns.shape[-1]
    if columns.device.type != "cpu":
        return WHOLE
    upper, lower = columns[:, 1], columns[:, 2]  # (B, side)
    is_open = lower > upper
    across = is_open.any(0).nonzero()
    if len(across) == 0:
        return slice(0, 0), slice(0, 0)
    ends = upper[is_open].amin() - EDGE_REACH * EDGE, lower[is_open].amax() + EDGE_REACH * EDGE
    top, bottom = (min(max(round((float(end) + 1) / 2 * side), 0), side) for end in ends)
    return slice(top, bottom), slice(int(across[0]), int(across[-1]) + 1)


def carry(source: Tensor, driving: Tensor, side: int) -> Tensor:
    """Shifts (B, 2, side, side) that carry landmarks driving (B, K, 2) to source.

    Means of the landmarks' own shifts under a sum of Gaussians, which factor in x and y.
    """
    line = middles(side, driving)
    gap = (line[:, None] - driving.transpose(1, 2)[:, :, None]).square()  # (B, 2, side, K)
    near = [torch.exp(gap / (-2 * width**2)) for width, _ in KERNELS]
    x, y = torch.cat(near, -1).unbind(1)  # (B, side, n K)
    shift = torch.cat([source - driving, torch.ones_like(source[..., :1])], -1)  # (B, K, 3)
    shift = shift.transpose(1, 2).contiguous()
    shift = torch.cat([shift * weight for _, weight in KERNELS], 2)  # (B, 3, n K)
    rows = (y[:, None] * shift[:, :, None]).flatten(1, 2)  # (B, 3 side, n K)
    total = (rows @ x.transpose(1, 2)).unflatten(1, (3, side))
    return total[:, :2] / total[:, 2:].clamp_min(1e-12)


def skin_cells(source: Shape, driving: Shape) -> tuple[Tensor, Tensor]:
    """Where in the photo the skin above and that below was, in crop units.

    Returns: upper and lower, (B, 2, FLOW_SIDE, FLOW_SIDE) both.
    """
    affine = source.patch.affine
    own = source.patch.places(FLOW_SIDE)
    shifts = (
        carry(s, d, FLOW_SIDE)
        for s, d in ((source.upper, driving.upper), (source.lower, driving.lower))
    )
    upper, lower = (own + (affine[:, :, :2] @ s.flatten(2)).view_as(own) for s in shifts)
    # beyond the corners there is one skin
    alike = (1 - driving.between_corners(FLOW_SIDE))[:, None, None] / 2
    return mix(upper, lower, alike), mix(lower, upper, alike)


def part_at_curves(upper: Tensor, lower: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Upper places above the middle of the inner curves and lower ones below it.

    Args: places (B, 2, side, side) both.
    Returns: places (B, 2, side, side), and heights below that middle (B, 1, side, side).
    """
    middle = (columns[:, 1] + columns[:, 2]) / 2  # (B, side)
    below = (middles(columns.shape[-1], columns)[:, None] - middle[:, None])[:, None]
    return torch.where(below < 0, upper, lower), below


def inset(source: Shape, driving: Shape, below: Tensor) -> Tensor:
    """How much farther from the photo's own inner edges, where it is open, skin is taken.

    Args: heights below the middle of the driving curves, (B, 1, side, side).
    Returns: shifts down the photo's square, (B, 1, side, side) in its unit.
    """
    most = (source.gap / PARTED).clamp_max(1)[:, None] * driving.between_corners(below.shape[-1])
    most = most[:, None, None]  # (B, 1, 1, side)
    above, beneath = LID_INSETS if source.iris.shape[1] else LIP_INSETS
    shift = torch.where(below < 0, -above, beneath) * most
    return torch.exp(below.abs() / -INSET_REACH).mul_(shift)


def teeth_affine(source: Tensor, driving: Tensor, shapes: tuple[Shape, Shape]) -> Tensor:
    """Affine maps (B, 2, 3) from the frame's mouth square to the skull's part in the photo's.

    Args: source and driving points (B, 478, 3), and their mouths' shapes.
    """
    scale, rotation, translation = fields.rigid_transform(driving, source)
    a_s, a_d = shapes[0].patch.affine, shapes[1].patch.affine
    depth = driving[:, (13, 14), 2].mean(1) + TEETH_DEPTH * fields.face_height(driving)
    turn = scale[:, None, None] * rotation[:, :2]  # (B, 2, 3)
    inverse = torch.linalg.inv(a_s[:, :, :2])
    centre = torch.cat([a_d[:, :, 2], depth[:, None]], 1)[..., None]  # (B, 3, 1)
    shift = (turn @ centre)[..., 0] + translation[:, :2] - a_s[:, :, 2]
    linear = inverse @ turn[:, :, :2] @ a_d[:, :, :2]
    return torch.cat([linear, inverse @ shift[..., None]], 2)


def masked_colour(picture: Tensor, mask: Tensor, otherwise: Tensor) -> Tensor:
    """Mean colour (B, 3, 1, 1) of pictures under masks (B, 1, s, s); otherwise where empty."""
    weight = mask.sum((2, 3), keepdim=True)
    enough = (weight / 20).clamp(0, 1)
    mean = (picture * mask).sum((2, 3), keepdim=True) / weight.clamp_min(1e-3)
    return otherwise + (mean - otherwise) * enough


def mix(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    """Above over below by its share."""
    return below + (above - below) * share
