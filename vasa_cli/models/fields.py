"""Maps made from landmarks in closed form.

Flows, distances to outlines, and the squares in which mouth and eyes are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
OUTER_LIPS = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
INNER_LIPS = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
EYE_CORNERS = {"left": (33, 133), "right": (263, 362)}  # outer and inner
LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
RIGHT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
IRISES = {"left": (468, 469, 470, 471, 472), "right": (473, 474, 475, 476, 477)}
EYE_OUTLINES = {"left": LEFT_EYE, "right": RIGHT_EYE}
OUTLINES = (OVAL, OUTER_LIPS, INNER_LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW)
N_OUTLINES = len(OUTLINES)
RIGID = (
    *(33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 10),
    *(151, 9, 8, 127, 356, 234, 454, 109, 338, 67, 297),
)
HEAD_RADII = (0.56, 0.72, 0.60)  # of the ellipsoid that stands for the head, in face heights
Part = tuple[slice, slice]  # rows and columns of a square
WHOLE: Part = (slice(None), slice(None))
HEAD_CENTRE_BEHIND_FACE, HEAD_CENTRE_ABOVE_FACE = 0.42, 0.02


def pixel_grid(side: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel centres (1, side, side, 2), x then y, in [-1, 1]."""
    line = pixel_line(side, device)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]


def pixel_line(side: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel centres of a row or column, (side,), in [-1, 1]."""
    return (torch.arange(side, device=device) + 0.5) / side * 2 - 1


def spread(affine: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where affine maps (B, 2, 3) take all pairs of x (w,) and y (h,): (B, 2, h, w)."""
    from_x = affine[:, :, :1] * across  # (B, 2, w)
    from_y = affine[:, :, 1:2] * down + affine[:, :, 2:]  # (B, 2, h)
    return from_x[:, :, None] + from_y[..., None]


def unshuffled(affine: Tensor, side: int) -> Tensor:
    """Where affine maps (B, 2, 3) take a square's pixels, as a grid (B, 2 side, side / 2, 2).

    What is sampled there, (B, C, 2 side, side / 2), is (B, 4 C, side / 2, side / 2) as it stands in
    memory, and as `pixel_unshuffle` would order what is sampled at the square.
    """
    turns = pixel_line(side, affine.device).view(-1, 2).T.contiguous()  # of even and odd pixels
    from_x = affine[:, :, :1, None] * turns  # (B, 2, 2, side / 2)
    from_y = affine[:, :, 1:2, None] * turns + affine[:, :, 2:, None]
    places = from_x[:, :, None, :, None] + from_y[:, :, :, None, :, None]
    return places.flatten(2, 4).permute(0, 2, 3, 1)


def unshuffled_double(maps: Tensor) -> Tensor:
    """Maps (B, C, h, h) as (B, C, 4 h, h): bilinear of 2 h, in the order of `unshuffled`."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    size = maps.shape[-1]
    near = padded[..., 1:-1, :]
    rows = [torch.lerp(near, padded[..., k : k + size, :], 0.25) for k in (0, 2)]
    both = torch.stack(rows, 2)  # (B, C, 2, h, h + 2)
    near = both[..., 1:-1]
    columns = [torch.lerp(near, both[..., k : k + size], 0.25) for k in (0, 2)]
    return torch.stack(columns, 3).flatten(2, 4)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Backward warp by a flow (B, 2, H, W) in units of [-1, 1], of the image's size."""
    grid = pixel_grid(image.shape[-1], image.device) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, align_corners=False, padding_mode="border")


def halved(image: Tensor) -> Tensor:
    """Means of 2x2 pixels, (B, C, H, W) to (B, C, H // 2, W // 2).

    Rows first: on CPUs three times faster than PyTorch's own pooling.
    """
    height, width = (size // 2 * 2 for size in image.shape[-2:])
    rows = image[..., 0:height:2, :width] + image[..., 1:height:2, :width]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25


def shrunk(image: Tensor, side: int) -> Tensor:
    """(B, C, S, S) to (B, C, side, side), every pixel the mean of those that fall on it."""
    step, rest = divmod(image.shape[-1], side)
    if rest or not image.is_contiguous(memory_format=torch.channels_last):
        return F.interpolate(image, size=(side, side), mode="area")
    n_channels = image.shape[1]  # the same means, several times faster than PyTorch's own
    rows = image.permute(0, 2, 3, 1).unflatten(1, (side, step)).flatten(3).sum(2)
    sums = rows.unflatten(2, (side, step, n_channels)).sum(3)
    return sums.permute(0, 3, 1, 2) / step**2


def face_height(points: Tensor) -> Tensor:
    """(B,) distance of forehead and chin in 3D, which turning the head leaves alone."""
    return (points[:, 10] - points[:, 152]).norm(dim=-1)


@dataclass(frozen=True)
class Patch:
    """Squares on the picture: an affine map (B, 2, 3) from the square's [-1, 1] to crop units."""

    affine: Tensor

    def places(self, side: int) -> Tensor:
        """Where each pixel of the square lies, (B, 2, side, side)."""
        line = pixel_line(side, self.affine.device)
        return spread(self.affine, line, line)

    def grid(self, side: int) -> Tensor:
        """The places as a grid to sample at, (B, side, side, 2)."""
        return self.places(side).permute(0, 2, 3, 1)

    @property
    def half(self) -> Tensor:
        """(B,) half side in crop units."""
        return self.affine[:, :, 1].norm(dim=1)

    def cut(self, image: Tensor, side: int) -> Tensor:
        """(B, C, side, side); strong shrinking is prepared by averaging 2x2 pixels."""
        while float(self.half.mean()) * image.shape[-1] / side > 1.6:
            image = halved(image)
        return F.grid_sample(image, self.grid(side), align_corners=False, padding_mode="border")

    def to_square(self, points: Tensor) -> Tensor:
        """Points (B, n, 2) in crop units to the square's own."""
        return (points - self.affine[:, None, :, 2]) @ torch.linalg.inv(
            self.affine[:, :, :2]
        ).transpose(1, 2)

    def to_square_3d(self, points: Tensor) -> Tensor:
        """Points (B, n, 3) in crop units to the square's own, depth in the same unit."""
        return torch.cat(
            [self.to_square(points[..., :2]), points[..., 2:] / self.half[:, None, None]], -1
        )

    def from_square_3d(self, points: Tensor) -> Tensor:
        """Inverse of `to_square_3d`."""
        flat = points[..., :2] @ self.affine[:, :, :2].transpose(1, 2) + self.affine[:, None, :, 2]
        return torch.cat([flat, points[..., 2:] * self.half[:, None, None]], -1)

    def seats(self, side: int) -> list[Seat]:
        """Where each square lies in a picture of so many pixels."""
        inverse = torch.linalg.inv(self.affine[:, :, :2])
        inverse = torch.cat([inverse, -inverse @ self.affine[:, :, 2:]], 2)
        reach = self.affine[:, :, :2].abs().sum(2)  # (B, 2) half extents along the picture's axes
        low = ((self.affine[:, :, 2] - reach + 1) / 2 * side).floor().long().clamp(0, side - 1)
        high = ((self.affine[:, :, 2] + reach + 1) / 2 * side).ceil().long().clamp(1, side)
        corners = zip(low.tolist(), high.tolist(), inverse.split(1))
        return [Seat(slice(y0, y1), slice(x0, x1), to, side) for (x0, y0), (x1, y1), to in corners]

    def put(self, frames: Tensor, drawn: Tensor, change: Tensor | None = None) -> None:
        """Lay squares into frames (B, 3, S, S), in place, as `Seat.put` does each."""
        for b, seat in enumerate(self.seats(frames.shape[-1])):
            one = slice(b, b + 1)
            seat.put(frames[one], drawn[one], None if change is None else change[one])


@dataclass(frozen=True)
class Seat:
    """Where one square lies in a picture, and the affine map (1, 2, 3) back to its own unit."""

    rows: slice
    columns: slice
    inverse: Tensor
    side: int  # pixels of the picture

    def put(
        self, frame: Tensor, drawn: Tensor, change: Tensor | None = None, *, part: Part = WHOLE
    ) -> None:
        """Lay the square into a part (1, 3, h, w) of a frame, in place, around it only.

        Args: drawn (1, 4, s, s), the picture and its share in the frame; change (1, 3, t, t) is
            added to the frame then.
        """
        kept = [slice(*lines.indices(self.side)) for lines in part]
        rows, columns = (
            slice(max(mine.start, its.start), min(mine.stop, its.stop))
            for mine, its in zip((self.rows, self.columns), kept)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        line = pixel_line(self.side, frame.device)
        grid = spread(self.inverse, line[columns], line[rows]).permute(0, 2, 3, 1)
        top, left = (its.start for its in kept)
        here = frame[:, :, rows.start - top : rows.stop - top]
        here = here[..., columns.start - left : columns.stop - left]
        laid = F.grid_sample(drawn, grid, align_corners=False)
        here.lerp_(laid[:, :3], laid[:, 3:])
        if change is not None:
            here.add_(F.grid_sample(change, grid, align_corners=False))


def turned_square(centre: Tensor, half: Tensor, turn: Tensor, *, mirrored: bool = False) -> Patch:
    """Squares with a centre (B, 2), a half side (B,) and a clockwise turn in radians (B,)."""
    cos, sin = torch.cos(turn) * half, torch.sin(turn) * half
    sign = -1.0 if mirrored else 1.0
    right, down = torch.stack([cos, sin], -1) * sign, torch.stack([-sin, cos], -1)
    return Patch(torch.stack([right, down, centre], -1))


def across_eyes(points: Tensor) -> Tensor:
    """From the middle of the left eye to that of the right, (B, 2), of points (B, 478, 3)."""
    left, right = (points[:, list(corners), :2].mean(1) for corners in EYE_CORNERS.values())
    return right - left


def patch_around(
    points: Tensor, index: tuple[int, ...], extent: float, *, mirrored: bool = False
) -> Patch:
    """Squares around some landmarks of points (B, 478, 3), turned with the eyes' line.

    Args: extent is the side in face heights.
    """
    centre = points[:, index, :2].mean(1)
    across = across_eyes(points)
    right = across / across.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    half = face_height(points)[:, None] * extent / 2
    down = torch.stack([-right[:, 1], right[:, 0]], -1)
    sign = -1.0 if mirrored else 1.0
    return Patch(torch.stack([right * half * sign, down * half, centre], -1))


def mouth_patch(points: Tensor, extent: float) -> Patch:
    """Squares around the mouth; extent is the side in face heights."""
    return patch_around(points, (61, 291, 0, 17, 13, 14, 78, 308), extent)


def eye_patch(points: Tensor, eye: str, extent: float) -> Patch:
    """Squares around an eye, "left" or "right" in the picture, the right one mirrored."""
    return patch_around(points, EYE_CORNERS[eye], extent, mirrored=eye == "right")


def outline_maps(points: Tensor, side: int) -> Tensor:
    """Soft distances (B, N_OUTLINES, side, side) to the outlines of the face.

    -1 well inside to 1 well outside.
    """
    return torch.tanh(outline_distances(points[..., :2], OUTLINES, side) * 8)


def outline_distances(points: Tensor, outlines: tuple[tuple[int, ...], ...], side: int) -> Tensor:
    """Distances of pixel centres to closed polygons, (B, n, side, side); negative inside.

    Args: points (B, N, 2); outlines name each polygon's corners among them, in order.
    """
    first = [k for outline in outlines for k in outline]
    second = [k for outline in outlines for k in (*outline[1:], outline[0])]
    start, edge = points[:, first], points[:, second] - points[:, first]  # (B, K, 2)
    line = pixel_line(side, points.device)
    length = edge.norm(dim=-1, keepdim=True)
    # an edge without a length is a point, and any direction will do
    ahead = torch.where(length > 1e-9, edge / length.clamp_min(1e-9), edge.new_tensor([1.0, 0.0]))
    aside = torch.stack([-ahead[..., 1], ahead[..., 0]], -1)

    def along(axis: Tensor) -> Tensor:
        """How far every pixel is from an edge's start along its axis, (B, K, side, side)."""
        down = axis[..., 1:] * line - (axis * start).sum(-1, keepdim=True)
        return (axis[..., :1] * line)[:, :, None] + down[..., None]

    across, reached = along(aside), along(ahead)
    beyond = reached - torch.minimum(reached.clamp_min(0), length[..., None])
    gaps = torch.addcmul(across.square_(), beyond, beyond)
    # Where in each row an edge crosses it, in pixels from the left; every pixel left of an odd
    # number of crossings is inside.
    rise = torch.where(edge[..., 1:] == 0, 1e-9, edge[..., 1:])
    crossing = start[..., :1] + (line - start[..., 1:]) * (edge[..., :1] / rise)
    straddled = (start[..., 1:] > line) != (start[..., 1:] + edge[..., 1:] > line)
    n_left = ((crossing + 1) * (side / 2) - 0.5).ceil().clamp(0, side)
    n_left = torch.where(straddled, n_left, 0.0).long().transpose(1, 2)  # (B, side, K)
    found, sizes = [], [len(outline) for outline in outlines]
    for gap, ends in zip(gaps.split(sizes, 1), n_left.split(sizes, 2)):
        counts = points.new_zeros(len(points), side, side + 1)
        counts.scatter_add_(2, ends, counts.new_ones(1).expand(ends.shape))
        inside = counts.flip(2).cumsum(2).flip(2)[..., 1:] % 2
        found.append(gap.amin(1).clamp_min(1e-12).sqrt() * (1 - 2 * inside))
    return torch.stack(found, 1)


def candidate_flows(
    source: Tensor, driving: Tensor, side: int, sigmas: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Backward flows from which the motion field is chosen, and how near landmarks are.

    Args: source and driving (B, 478, 3); sigmas in crop units.
    Returns: flows (B, 1 + len(sigmas), 2, side, side), first the head as a rigid body in 3D, then
        soft-landmark flows; nearness (B, len(sigmas), side, side), 0 to 1.
    """
    line = pixel_line(side, driving.device)
    # A Gaussian is the product of one along x and one along y, so that the softmax over landmarks
    # is a matrix product of two thin matrices, and few exponentials are taken.
    x_squares = (line - driving[..., :1]).square()  # (B, 478, side)
    y_squares = (line - driving[..., 1:2]).square()
    distances = nearest_squares(x_squares, y_squares).flatten(1)  # (B, P)
    # Far from all landmarks every weight is tiny, and float32 would lose them.
    exact = torch.float32 if driving.device.type == "mps" else torch.float64
    x_squares = (x_squares - x_squares.amin(1, keepdim=True)).to(exact)
    y_squares = (y_squares - y_squares.amin(1, keepdim=True)).to(exact)
    shift = source[..., :2] - driving[..., :2]
    values = torch.cat([shift, driving[..., 2:], torch.ones_like(shift[..., :1])], -1).to(exact)
    flows, nears, depth = [], [], driving[..., 2]
    for sigma in sigmas:
        across = torch.exp(x_squares / (-2 * sigma**2))  # (B, 478, side)
        down = torch.exp(y_squares / (-2 * sigma**2))
        weighted = (down[:, :, None] * values[..., None]).flatten(2)  # (B, 478, 4 side)
        sums = (weighted.transpose(1, 2) @ across).unflatten(1, (4, side))
        means = sums[:, :3] / sums[:, 3:].clamp_min(torch.finfo(exact).tiny)
        means = means.to(driving.dtype).flatten(2).transpose(1, 2)  # (B, P, 3)
        flows.append(means[..., :2])
        nears.append(torch.exp(distances / (-2 * sigma**2)))
        depth = means[..., 2]  # of the narrowest
    grid = pixel_grid(side, driving.device).reshape(1, -1, 2)
    rigid = rigid_flow(source, driving, grid, depth, nears[-1])
    stacked = torch.stack([rigid, *flows], 1).transpose(2, 3).unflatten(3, (side, side))
    return stacked, torch.stack(nears, 1).unflatten(2, (side, side))


def nearest_squares(x_squares: Tensor, y_squares: Tensor) -> Tensor:
    """Squared distance of every pixel to the nearest point, (B, side, side).

    One picture at a time, which stays in the processor's cache.

    Args: squared distances (B, N, side) of points to columns and to rows.
    """
    both = zip(x_squares, y_squares)
    return torch.stack([(x[:, None] + y[..., None]).amin(0) for x, y in both])


def rigid_flow(
    source: Tensor, driving: Tensor, grid: Tensor, depth: Tensor, near: Tensor
) -> Tensor:
    """Backward flow (B, P, 2) of a rigid head.

    Depth comes from the face where it is near, else from an ellipsoid behind it.

    Args: grid (1, P, 2); depth and near (B, P).
    """
    scale, rotation, translation = rigid_transform(driving, source)
    height = face_height(driving)
    right = driving[:, [263, 362, 454, 356]].mean(1) - driving[:, [33, 133, 234, 127]].mean(1)
    down = driving[:, [152, 199, 17]].mean(1) - driving[:, [10, 151, 9]].mean(1)
    away = F.normalize(torch.linalg.cross(right, down), dim=-1)
    centre = (
        driving[:, RIGID].mean(1)
        + away * (HEAD_CENTRE_BEHIND_FACE * height)[:, None]
        - F.normalize(down, dim=-1) * (HEAD_CENTRE_ABOVE_FACE * height)[:, None]
    )
    radii = height[:, None] * torch.tensor(HEAD_RADII, device=driving.device)
    offset = (grid - centre[:, None, :2]) / radii[:, None, :2]
    front = centre[:, 2:] - radii[:, 2:] * (1 - offset.square().sum(-1)).clamp_min(0).sqrt()
    z = front + (depth - front) * near
    position = torch.cat([grid.expand(len(driving), -1, -1), z[..., None]], -1)
    there = scale[:, None, None] * position @ rotation.transpose(1, 2) + translation[:, None]
    return there[..., :2] - grid


def rigid_transform(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Similarity of the rigid landmarks, there = scale * rotation @ here + translation.

    Args: here and there (B, 478, 3).
    Returns: scale (B,), rotation (B, 3, 3), translation (B, 3).
    Source: Umeyama 1991.
    """
    a, b = here[:, RIGID], there[:, RIGID]
    a_mean, b_mean = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
    u, s, vt = torch.linalg.svd((b - b_mean).transpose(1, 2) @ (a - a_mean))
    sign = torch.ones_like(s)
    sign[:, 2] = torch.det(u @ vt).sign()
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(1) / (a - a_mean).square().sum((1, 2))
    turned = (rotation @ a_mean[:, 0, :, None])[..., 0]
    return scale, rotation, b_mean[:, 0] - scale[:, None] * turned
