"""Mouths and eyes in their squares: laid in layers, changed by a generator, put into the frame."""

from __future__ import annotations

from dataclasses import dataclass, field, fields as fields_of

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import arch, cavity, fields, iris, layers, shading, teeth
from vasa_cli.models.enlarging import enlarged
from vasa_cli.models.fields import Patch
from vasa_cli.models.layers import Shape, mix
from vasa_cli.models.moved import MotionField

EYES = ("left", "right")
CHROMA = 0.25  # how much of what the mouth's changes in colour, beyond brightness, is taken
MOST_LIT = 0.6  # share of a pixel's light that the mouth's generator may add: more makes shade red
DIM = 1.1  # added to a colour in [-1, 1] to tell its brightness, so that none is black
MOUTH_SIDE, EYE_SIDE = 128, 96  # pixels of the local generators
LAYER_SIDES = (96, 128, 160, 192, 256, 320, 384, 512)  # pixels at which layers are laid
OVERSAMPLING = 1.15  # of a square's own pixels
GREY = 0.01  # mean chroma up to which a picture counts as grey, of 1
MOUTH_EXTENT, EYE_EXTENT = 0.60, 0.40  # their sides in face heights
LIP_RIM = 0.03  # above the photo's lower lip, taken for teeth only where it looks like them
# Brightness of the darker of green and blue, of the teeth's own, from which it begins to, and does
TOOTHLIKE = (0.72, 0.85)
OUTLINE_SIDE = 16  # cells at which a square's distance to the face's outline is found
OUTLINE_KEPT = 0.15  # of that, in half sides, over which a generator's change fades


@dataclass(frozen=True)
class Own:
    """What the photo shows of a mouth or an eye."""

    shape: Shape
    # (B, n, s / 2, s / 2) for the generator: the square unshuffled, its maps, an eye's iris
    picture: Tensor
    inside: Tensor  # (B, 4 or 5, l, l) the square, where it is open, where its sclera shows
    behind: Tensor  # (B, 3, 1, 1) colour of what it does not show
    colour: Tensor  # (B, 1, 1, 1) 0 where the photo has none, so that none is added; else 1
    # one of a mouth each: what is expected of its teeth and of its inside
    teeth: tuple[teeth.Teeth, ...] = ()
    cavity: tuple[cavity.Cavity, ...] = ()
    iris: tuple[iris.Iris, ...] = ()  # one of an eye


@dataclass(frozen=True)
class Laid:
    """A mouth or an eye in layers, before its generator."""

    patch: Patch
    moved: Tensor  # (B, 12, s / 2, s / 2) what the motion field alone gives there, unshuffled
    drawn: Tensor  # (B, 4, l, l) the layers, and their share in the frame
    given: tuple[Tensor, ...]  # (B, n, s / 2, s / 2) each, what the generator sees
    colour: Tensor  # (B, 1, 1, 1) as the photo's own part has it
    kept: Tensor  # (B, 1, s, s) share of the generator's change that is seen: on skin
    calm: Tensor  # (B, 1, s, s) where of that change only the light is taken

    @property
    def warped(self) -> Tensor:
        """What the motion field alone gives, (B, 3, s, s)."""
        return F.pixel_shuffle(self.moved, 2)

    @property
    def share(self) -> Tensor:
        """Of the layers in the frame, (B, 1, l, l)."""
        return self.drawn[:, 3:]

    @property
    def layered(self) -> Tensor:
        """The layers over the moved photo, (B, 3, l, l)."""
        below = resized(self.warped, self.drawn.shape[-1])
        return mix(below, self.drawn[:, :3], self.share)


@dataclass(frozen=True)
class Painted(Laid):
    """A mouth or an eye as it goes into the frame.

    The generator's change is added. With colours under an alpha the generator of the eyes died
    within a thousand steps (alpha 0, no gradient) and that of the mouth learned far slower.
    """

    change: Tensor = field(kw_only=True)  # (B, 3, s, s), 0 at the square's border

    @property
    def composed(self) -> Tensor:
        return self.layered + resized(self.change, self.drawn.shape[-1])

    def put(self, frame: Tensor) -> None:
        """Into frames (B, 3, S, S) of the moved photo, in place."""
        self.patch.put(frame, self.drawn, self.change)


def soft_window(side: int) -> Tensor:
    """1 in the middle of a square, 0 at its border, (1, 1, side, side)."""
    edge = 1 - torch.linspace(-1, 1, side).abs() ** 6
    return (edge[:, None] * edge)[None, None]


def mouth_shape(points: Tensor) -> Shape:
    """The mouths of points (B, 478, 3) in their squares."""
    return Shape.of(points, fields.mouth_patch(points, MOUTH_EXTENT), layers.MOUTH)


def eye_shape(points: Tensor, eye: str) -> Shape:
    """The "left" or "right" eyes of points (B, 478, 3) in their squares."""
    return Shape.of(points, fields.eye_patch(points, eye, EYE_EXTENT), layers.EYES[eye])


def layer_side(patch: Patch, photo: Tensor, least: int) -> int:
    """Pixels at which a square of a photo (B, 3, S, S) is laid: a little more than its own."""
    wanted = float(patch.half[0]) * photo.shape[-1] * OVERSAMPLING
    return next((s for s in LAYER_SIDES if s >= max(wanted, least)), LAYER_SIDES[-1])


def own_part(photo: Tensor, shape: Shape, side: int, places: tuple[Tensor, ...] = ()) -> Own:
    """What photos (B, 3, S, S) show of a mouth or an eye, for a generator of so many pixels.

    Args: places, of a mouth: where nose and chin are in its square, (B, 2) both.
    """
    fine = layer_side(shape.patch, photo, side)
    picture = shape.patch.cut(photo, fine)
    columns = shape.columns(fine)
    opening = shape.opening(columns)
    mean = picture.mean((2, 3), keepdim=True)
    if shape.iris.shape[1]:
        ball = iris.expect(photo, opening, shape)
        sclera = opening * (1 - shape.iris_disk(fine, iris_radius(shape)))
        behind = layers.masked_colour(picture, sclera, (mean + 1) * 0.8 - 0.6)
        sclera = sclera * (1 - iris.strays(picture, behind, ball, shape))
        inside = torch.cat([picture, opening, sclera], 1)
    else:
        behind = (mean + 1) * layers.DARK - 1
        inside = torch.cat([picture, opening], 1)
    coarse = resized(picture, side)  # enough for what is but a mean
    colour = colour_share(coarse)
    view = generator_view(shape, coarse)
    if not places:
        disk = shape.iris_disk(side // 2, iris_radius(shape))
        return Own(shape, torch.cat([view, disk], 1), inside, behind, colour, iris=(ball,))
    nose, chin = places
    row = teeth.expect(coarse, resized(opening, side), shape, nose, colour)
    behind_it = cavity.expect(shape, chin, row, colour)
    rim = layers.middles(fine, columns)[:, None] - columns[:, 2:3] + LIP_RIM  # (B, fine, fine)
    above = torch.sigmoid(rim / -layers.EDGE)[:, None]
    inside[:, 3:] *= row.own[..., None] * torch.maximum(above, toothlike(picture, row.colour))
    return Own(shape, view, inside, behind, colour, (row,), (behind_it,))


def within_face(points: Tensor, patch: Patch, side: int) -> Tensor:
    """1 well within the face's outline, 0 from it on, (B, 1, side, side) in squares on it.

    A generator softens an edge that it cannot place; the motion field has it sharp.

    Args: points (B, 478, 3).
    """
    outline = patch.to_square(points[:, fields.OVAL, :2])
    corners = tuple(range(len(fields.OVAL)))
    beyond = fields.outline_distances(outline, (corners,), OUTLINE_SIDE)
    return (resized(beyond, side) / -OUTLINE_KEPT).clamp_(0, 1)


def toothlike(picture: Tensor, colour: Tensor) -> Tensor:
    """Where pictures (B, 3, l, l) in [-1, 1] look like teeth of a colour (B, 3, 1, 1) in [0, 1].

    Lips may be as bright, but hardly in green and blue.
    """
    seen, wanted = (x[:, 1:].amin(1, keepdim=True) for x in ((picture + 1) / 2, colour))
    begins, ends = TOOTHLIKE
    return ((seen / wanted.clamp_min(0.05) - begins) / (ends - begins)).clamp(0, 1)


def own_mouth(photo: Tensor, points: Tensor) -> Own:
    """What photos (B, 3, S, S) with points (B, 478, 3) show of a mouth."""
    shape = mouth_shape(points)
    nose, chin = (
        shape.patch.to_square(points[:, index, :2]).mean(1) for index in (layers.NOSE, layers.CHIN)
    )
    return own_part(photo, shape, MOUTH_SIDE, (nose, chin))


def colour_share(picture: Tensor) -> Tensor:
    """0 of grey pictures (B, 3, h, w), 1 of those with colour: (B, 1, 1, 1)."""
    chroma = (picture - picture.mean(1, keepdim=True)).abs().mean((1, 2, 3), keepdim=True)
    return ((chroma - GREY) / GREY).clamp(0, 1)


def generator_view(shape: Shape, picture: Tensor) -> Tensor:
    """A square (B, 3, s, s) with its maps, (B, 12 + N_MAPS, s / 2, s / 2)."""
    columns = shape.columns(picture.shape[-1] // 2)
    maps = shape.maps(columns, shape.opening(columns))
    return torch.cat([F.pixel_unshuffle(picture, 2), maps], 1)


def resized(x: Tensor, side: int) -> Tensor:
    """(B, C, l, l) to (B, C, side, side), averaging when it shrinks."""
    while x.shape[-1] >= 2 * side and x.shape[-1] % 2 == 0:
        x = halved(x)
    if x.shape[-1] == side:
        return x
    if x.shape[-1] > side:
        return F.interpolate(x, size=(side, side), mode="area")
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Means of two by two pixels of (B, C, l, l), which PyTorch finds faster so than as areas."""
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


def iris_radius(shape: Shape) -> Tensor:
    """(B,) in the square's unit, with a margin for the dark rim."""
    arms = shape.iris[:, 1:] - shape.iris[:, :1]
    return arms.norm(dim=-1).mean(1) * layers.IRIS_MARGIN


def lay_skin(
    photo: Tensor, own: Own, shape: Shape, field: MotionField, columns: Tensor, within: Tensor
) -> tuple[Tensor, Tensor]:
    """Skin in a square, (B, 3, l, l), and the layers' share (B, 1, l, l).

    Where skin comes from is found on a coarse grid, as far as it is smooth. Beyond the face's
    outline, within (B, 1, s, s), the motion field has it: landmarks would lift a necklace to the
    chin.
    """
    side = columns.shape[-1]
    cells = shape.patch.places(layers.FLOW_SIDE)
    there = cells + F.grid_sample(
        field.flow, cells.permute(0, 2, 3, 1), align_corners=False, padding_mode="border"
    )
    reach = shape.reach(layers.FLOW_SIDE) * resized(within, layers.FLOW_SIDE)
    skins = [mix(there, skin, reach) for skin in layers.skin_cells(own.shape, shape)]
    large = enlarged(torch.cat([*skins, reach], 1), side)
    upper, lower, reach = large.split((2, 2, 1), 1)
    places, below = layers.part_at_curves(upper, lower, columns)
    inset = layers.inset(own.shape, shape, below).mul_(reach)
    places.addcmul_(own.shape.patch.affine[:, :, 1, None, None], inset)
    grid = places.permute(0, 2, 3, 1)
    skin = F.grid_sample(photo, grid, align_corners=False, padding_mode="border")
    shading.melt(skin, own.shape, columns)
    return skin, (8 * reach).clamp_(0, 1).mul_(soft_window(side).to(reach.device))


def moved_view(photo: Tensor, shape: Shape, field: MotionField, side: int) -> Tensor:
    """The moved photo in a square of so many pixels, unshuffled: (B, 12, side / 2, side / 2)."""
    half, grid = side // 2, shape.patch.grid(side // 2)
    maps = F.grid_sample(field.maps, grid, align_corners=False, padding_mode="border")
    maps = fields.unshuffled_double(maps)  # (B, 6, 2 side, side / 2)
    where = fields.unshuffled(shape.patch.affine, side) + maps[:, :2].permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return torch.addcmul(maps[:, 3:], moved, maps[:, 2:3]).view(-1, 12, half, half)


def generator_layers(
    shape: Shape, moved: Tensor, both: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What a generator of so many pixels is shown of the layers over the moved photo.

    Args: moved (B, 12, side / 2, side / 2); both (B, 5, l, l), the layers, their share, and how far
        what is behind them is known.
    Returns: picture (B, 12, side / 2, side / 2) and maps (B, N_MAPS, ...) as in `generator_view`,
        and what is known (B, 1, ...).
    """
    half = side // 2
    while both.shape[-1] > 2 * side:
        both = halved(both)
    still = fields.unshuffled(torch.eye(2, 3, device=moved.device)[None], side)
    still = still.expand(len(moved), -1, -1, -1)
    # bilinear, which down to half the size is as good as a mean
    both = F.grid_sample(both, still, align_corners=False, padding_mode="border")
    both = both.view(-1, 5, 4, half, half)
    seen = mix(moved.unflatten(1, (3, 4)), both[:, :3], both[:, 3:4]).flatten(1, 2)
    columns = shape.columns(half)
    maps = shape.maps(columns, shape.opening(columns))
    return seen, maps, both[:, 4].mean(1, keepdim=True)


def lay_mouth(photo: Tensor, own: Own, source: Tensor, points: Tensor, field: MotionField) -> Laid:
    """Mouths in layers.

    Args: photo (B, 3, S, S), its own mouth and its points (B, 478, 3); the frames' points.
    """
    shape = mouth_shape(points)
    side, half = layer_side(shape.patch, photo, MOUTH_SIDE), MOUTH_SIDE // 2
    columns = shape.columns(side)
    on_face = within_face(points, shape.patch, MOUTH_SIDE)
    skin, share = lay_skin(photo, own, shape, field, columns, on_face)
    shading.shade_line(skin, own.shape, shape, columns)
    known, kept = torch.zeros_like(share), torch.ones_like(share)
    nose, chin = (
        shape.patch.to_square(points[:, index, :2]).mean(1) for index in (layers.NOSE, layers.CHIN)
    )  # (B, 2)
    part = rows, across = layers.open_part(columns)
    is_open = rows.start != rows.stop or rows.stop is None
    if is_open:
        line = fields.pixel_line(side, points.device)
        affine = layers.teeth_affine(source, points, (own.shape, shape))
        places = fields.spread(affine, line[across], line[rows]).permute(0, 2, 3, 1)
        shown = F.grid_sample(own.inside, places, align_corners=False, padding_mode="border")
        inside = mix(own.behind, shown[:, :3], shown[:, 3:])
        opening = shape.opening(columns, part)
        skin[:, :, rows, across].lerp_(inside, opening)
        known[:, :, rows, across] = shown[:, 3:] * opening
        where = {"columns": columns[:, :, across], "rows": line[rows], "pixel": 2 / side}
        for layer, expected, off in ((cavity, own.cavity[0], chin), (teeth, own.teeth[0], nose)):
            layer.lay(
                skin[:, :, rows, across],
                opening * (1 - shown[:, 3:]),
                expected,
                across=arch.along(line[across] - off[:, :1], points, layer.BEHIND)[:, None],
                down=(line[rows] - off[:, 1:])[:, :, None],
                **where,
            )
        lit = shading.light_through(own.shape, shape, 1 - own.teeth[0].own, own.colour)
        seen_in = skin[:, :, rows, across]
        seen_in.sub_((seen_in + 1) * ((1 - lit) * opening))
        kept[:, :, rows, across] -= opening  # the generator would blur them
    both = torch.cat([skin, share, known], 1)
    moved = moved_view(photo, shape, field, MOUTH_SIDE)
    seen, outlines, known = generator_layers(shape, moved, both, MOUTH_SIDE)
    line = fields.pixel_line(half, points.device)
    maps = [
        (line - nose[:, :1])[:, None, None].expand(-1, 1, half, -1),
        (line - nose[:, 1:])[:, None, :, None].expand(-1, 1, -1, half),
        (line - chin[:, 1:])[:, None, :, None].expand(-1, 1, -1, half),
    ]
    given = (seen, outlines, known, *maps)
    bare, detailed = shading.off_lips_edges(shape, MOUTH_SIDE)
    kept = resized(kept, MOUTH_SIDE) * on_face * bare
    calm = 1 - shape.reach(MOUTH_SIDE) * detailed
    return Laid(shape.patch, moved, both[:, :4], given, own.colour, kept, calm)


def lay_eye(photo: Tensor, own: Own, points: Tensor, field: MotionField, eye: str) -> Laid:
    """Eyes in layers: lids over an iris that moves over a sclera that stays.

    Args: photo (B, 3, S, S) and its own eye; the frames' points (B, 478, 3).
    """
    shape = eye_shape(points, eye)
    side = layer_side(shape.patch, photo, EYE_SIDE)
    columns = shape.columns(side)
    kept = within_face(points, shape.patch, EYE_SIDE)
    skin, share = lay_skin(photo, own, shape, field, columns, kept)
    known = torch.zeros_like(share)
    radius = iris_radius(shape)
    part = rows, across = layers.open_part(columns)
    if rows.start != rows.stop or rows.stop is None:
        line = fields.pixel_line(side, points.device)
        still = fields.spread(torch.eye(2, 3, device=points.device)[None], line[across], line[rows])
        still = still.expand(len(points), -1, -1, -1).permute(0, 2, 3, 1)  # (B, h, w, 2)
        white = F.grid_sample(own.inside, still, align_corners=False, padding_mode="border")
        (own_iris,) = own.iris
        on_it = (still - shape.iris[:, None, :1]) / own_iris.reach[:, None, None, None]
        ball = F.grid_sample(own_iris.picture, on_it, align_corners=False, padding_mode="border")
        disk = shape.iris_disk(side, radius, part)
        seen = mix(white[:, 4:], ball[:, 3:], disk)
        ball = mix(mix(own.behind, white[:, :3], white[:, 4:]), ball[:, :3], disk)
        opening = shape.opening(columns, part)
        skin[:, :, rows, across].lerp_(ball, opening)
        known[:, :, rows, across] = seen * opening
    both = torch.cat([skin, share, known], 1)
    moved = moved_view(photo, shape, field, EYE_SIDE)
    seen, outlines, known = generator_layers(shape, moved, both, EYE_SIDE)
    disk = shape.iris_disk(EYE_SIDE, radius)
    given = (seen, outlines, known, F.avg_pool2d(disk, 2))
    bare = disk * shape.opening(shape.columns(EYE_SIDE))
    calm = 1 - shape.reach(EYE_SIDE) * (1 - bare)
    return Laid(shape.patch, moved, both[:, :4], given, own.colour, kept, calm)


def paint(laid: Laid, out: Tensor, window: Tensor) -> Painted:
    """Layers and a generator's output (B, 12, s / 2, s / 2).

    Off the lips and lids, and on irises, what a generator does to detail is to take it: what it
    cannot place to a pixel is nearest when it is blurred. There freckles, wrinkles and beards stay
    the photo's, and no more than its light changes, softly.
    """
    change = F.pixel_shuffle(out, 2) * (window * laid.kept)
    change = mix(change, shading.light_of(change) * laid.kept, laid.calm)
    if (laid.colour < 1).any():
        change = mix(change.mean(1, keepdim=True), change, laid.colour)
    parts = (getattr(laid, part.name) for part in fields_of(Laid))
    return Painted(*parts, change=change)


def in_own_colour(out: Tensor, seen: Tensor) -> Tensor:
    """A generator's output as more and less light on what it was shown, (B, 12, h, w) all.

    Light and shadow are what it is needed for about a mouth; the mean of what people's colours do
    made lips go blue as a smile shut. Of eyes it cost 0.8 % of their perceptual distance.
    """
    rgb, shown = out.unflatten(1, (3, 4)), seen.unflatten(1, (3, 4))
    bright = (shown.sum(1, keepdim=True) / 3 + DIM).clamp_min(DIM - 1)
    lighter = (rgb.sum(1, keepdim=True) * ((1 - CHROMA) / 3) / bright).clamp_max(MOST_LIT)
    own = torch.addcmul(rgb * CHROMA, shown, lighter)
    return own.add_(lighter, alpha=DIM).flatten(1, 2)
