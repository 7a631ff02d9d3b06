"""Mouths and eyes in their squares: laid in layers, changed by a generator, put into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.models import fields, layers
from vasa_cli.models.fields import Patch
from vasa_cli.models.layers import Shape, mix
from vasa_cli.models.moved import MotionField, sample_moved

EYES = ("left", "right")
MOUTH_SIDE, EYE_SIDE = 128, 96  # pixels of the local generators
LAYER_SIDES = (96, 128, 160, 192, 256, 320, 384, 512)  # pixels at which layers are laid
OVERSAMPLING = 1.15  # of a square's own pixels
GREY = 0.01  # mean chroma up to which a picture counts as grey, of 1
MOUTH_EXTENT, EYE_EXTENT = 0.60, 0.40  # their sides in face heights
ATLAS_REACH = 0.6  # their half sides, in the mouth square's
TEETH_FROM_NOSE, TEETH_FROM_CHIN = 0.45, -0.5  # their middles


@dataclass(frozen=True)
class Own:
    """What the photo shows of a mouth or an eye."""

    shape: Shape
    picture: Tensor  # (B, n, s / 2, s / 2) for the generator: the square unshuffled, its maps
    inside: Tensor  # (B, 4 or 5, l, l) the square, where it is open, where its sclera shows
    behind: Tensor  # (B, 3 or 6, 1, 1) colours of what it does not show
    colour: Tensor  # (B, 1, 1, 1) 0 where the photo has none, so that none is added; else 1


@dataclass(frozen=True)
class Laid:
    """A mouth or an eye in layers, before its generator."""

    patch: Patch
    warped: Tensor  # (B, 3, l, l) what the motion field alone gives there
    layered: Tensor  # (B, 3, l, l)
    share: Tensor  # (B, 1, l, l) of the layers in the frame
    given: Tensor  # (B, n, s / 2, s / 2) what the generator sees
    colour: Tensor  # (B, 1, 1, 1) as the photo's own part has it


@dataclass(frozen=True)
class Painted:
    """A mouth or an eye as it goes into the frame.

    The generator's change is added. With colours under an alpha the generator of the eyes died
    within a thousand steps (alpha 0, no gradient) and that of the mouth learned far slower.
    """

    patch: Patch
    warped: Tensor  # (B, 3, l, l)
    layered: Tensor  # (B, 3, l, l) layers over the moved photo
    share: Tensor  # (B, 1, l, l)
    change: Tensor  # (B, 3, l, l), 0 at the square's border

    @property
    def composed(self) -> Tensor:
        return self.layered + self.change

    def put(self, frame: Tensor) -> None:
        """Into frames (B, 3, S, S), in place."""
        drawn = self.layered - self.warped * (1 - self.share) + self.change
        self.patch.put(frame, drawn, self.share)


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


def own_part(photo: Tensor, shape: Shape, side: int) -> Own:
    """What photos (B, 3, S, S) show of a mouth or an eye, for a generator of so many pixels."""
    fine = layer_side(shape.patch, photo, side)
    picture = shape.patch.cut(photo, fine)
    opening = shape.opening(shape.columns(fine))
    mean = picture.mean((2, 3), keepdim=True)
    if shape.iris.shape[1]:
        iris = shape.iris_disk(fine, iris_radius(shape))
        sclera = opening * (1 - iris)
        white = layers.masked_colour(picture, sclera, (mean + 1) * 0.8 - 0.6)
        behind = torch.cat([white, layers.masked_colour(picture, opening * iris, mean - 0.3)], 1)
        inside = torch.cat([picture, opening, sclera], 1)
    else:
        behind = (mean + 1) * layers.DARK - 1
        inside = torch.cat([picture, opening], 1)
    return Own(shape, generator_view(shape, picture, side), inside, behind, colour_share(picture))


def colour_share(picture: Tensor) -> Tensor:
    """0 of grey pictures (B, 3, h, w), 1 of those with colour: (B, 1, 1, 1)."""
    chroma = (picture - picture.mean(1, keepdim=True)).abs().mean((1, 2, 3), keepdim=True)
    return ((chroma - GREY) / GREY).clamp(0, 1)


def generator_view(shape: Shape, picture: Tensor, side: int) -> Tensor:
    """A square (B, 3, l, l) with its maps, (B, 12 + N_MAPS, side / 2, side / 2)."""
    columns = shape.columns(side // 2)
    maps = shape.maps(columns, shape.opening(columns))
    return torch.cat([F.pixel_unshuffle(resized(picture, side), 2), maps], 1)


def resized(x: Tensor, side: int) -> Tensor:
    """(B, C, l, l) to (B, C, side, side), averaging when it shrinks."""
    if x.shape[-1] == side:
        return x
    if x.shape[-1] > side:
        return F.interpolate(x, size=(side, side), mode="area")
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def iris_radius(shape: Shape) -> Tensor:
    """(B,) in the square's unit, with a margin for the dark rim."""
    arms = shape.iris[:, 1:] - shape.iris[:, :1]
    return arms.norm(dim=-1).mean(1) * layers.IRIS_MARGIN


def lay_skin(
    photo: Tensor, own: Own, shape: Shape, field: MotionField, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Moved photo and skin in a square, (B, 3, side, side) both, and the layers' share."""
    grid = shape.patch.grid(side)
    warped = sample_moved(photo, field, grid)
    flow = F.grid_sample(field.flow, grid, align_corners=False, padding_mode="border")
    there = grid + flow.permute(0, 2, 3, 1)
    reach = shape.reach(side)
    places = mix(there, layers.skin_places(own.shape, shape, side), reach.permute(0, 2, 3, 1))
    skin = F.grid_sample(photo, places, align_corners=False, padding_mode="border")
    return warped, skin, (8 * reach).clamp(0, 1) * soft_window(side).to(reach.device)


def lay_mouth(
    photo: Tensor, own: Own, source: Tensor, points: Tensor, field: MotionField
) -> tuple[Laid, tuple[Tensor, Tensor]]:
    """Mouths in layers, and where in the learned teeth each of the generator's pixels lies.

    Args: photo (B, 3, S, S), its own mouth and its points (B, 478, 3); the frames' points.
    """
    shape = mouth_shape(points)
    side = layer_side(shape.patch, photo, MOUTH_SIDE)
    warped, skin, share = lay_skin(photo, own, shape, field, side)
    places = layers.teeth_places(source, points, (own.shape, shape), side)
    shown = F.grid_sample(own.inside, places, align_corners=False, padding_mode="border")
    inside = mix(own.behind, shown[:, :3], shown[:, 3:])
    opening = shape.opening(shape.columns(side))
    layered = mix(warped, mix(skin, inside, opening), share)
    nose, chin = (
        shape.patch.to_square(points[:, index, :2]).mean(1)[:, None, None]
        for index in (layers.NOSE, layers.CHIN)
    )
    pixels = fields.pixel_grid(MOUTH_SIDE, points.device)
    from_nose, from_chin = pixels - nose, pixels - chin  # (B, s, s, 2)
    half = MOUTH_SIDE // 2
    maps = [
        resized(shown[:, 3:] * opening, half),
        *(resized(x[:, None], half) for x in from_nose.unbind(-1)),
        resized(from_chin[..., 1][:, None], half),
    ]
    given = torch.cat([generator_view(shape, layered, MOUTH_SIDE), own.picture, *maps], 1)
    down = torch.tensor([0.0, 1.0], device=points.device)
    across = torch.cat([from_nose[..., :1], from_chin[..., 1:]], -1)
    seats = (
        (from_nose - down * TEETH_FROM_NOSE) / ATLAS_REACH,
        (across - down * TEETH_FROM_CHIN) / ATLAS_REACH,
    )
    return Laid(shape.patch, warped, layered, share, given, own.colour), seats


def lay_eye(photo: Tensor, own: Own, points: Tensor, field: MotionField, eye: str) -> Laid:
    """Eyes in layers: lids over an iris that moves over a sclera that stays.

    Args: photo (B, 3, S, S) and its own eye; the frames' points (B, 478, 3).
    """
    shape = eye_shape(points, eye)
    side = layer_side(shape.patch, photo, EYE_SIDE)
    warped, skin, share = lay_skin(photo, own, shape, field, side)
    pixels = fields.pixel_grid(side, points.device)
    moved = (own.shape.iris[:, 0] - shape.iris[:, 0])[:, None, None]
    both = torch.cat([pixels + moved, pixels.expand(len(points), -1, -1, -1)], 1)
    shown = F.grid_sample(own.inside, both, align_corners=False, padding_mode="border")
    iris, white = shown.chunk(2, 2)
    disk = shape.iris_disk(side, iris_radius(shape))
    ball = mix(own.behind[:, :3], white[:, :3], white[:, 4:])
    ball = mix(ball, mix(own.behind[:, 3:], iris[:, :3], iris[:, 3:4]), disk)
    opening = shape.opening(shape.columns(side))
    layered = mix(warped, mix(skin, ball, opening), share)
    half = EYE_SIDE // 2
    known = mix(white[:, 4:], iris[:, 3:4], disk)
    maps = [
        resized(known * opening, half),
        resized(disk, half),
        own.shape.iris_disk(half, iris_radius(own.shape)),
    ]
    given = torch.cat([generator_view(shape, layered, EYE_SIDE), own.picture, *maps], 1)
    return Laid(shape.patch, warped, layered, share, given, own.colour)


def paint(laid: Laid, out: Tensor, window: Tensor) -> Painted:
    """Layers and a generator's output (B, 12, s / 2, s / 2)."""
    change = F.pixel_shuffle(out, 2) * window
    change = mix(change.mean(1, keepdim=True), change, laid.colour)
    change = resized(change, laid.layered.shape[-1])
    return Painted(laid.patch, laid.warped, laid.layered, laid.share, change)
