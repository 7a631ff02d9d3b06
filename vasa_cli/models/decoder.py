"""The decoder: one photo, its points and the points of a frame to that frame.

A motion field at 64x64 says for every pixel where in the photo it comes from, and the photo is
sampled once at the output's own resolution. Mouth and eyes are then laid in layers in closed form
(`layers`), and two local generators change what the layers cannot know: teeth and tongue that the
photo does not show, folds, shadows, lashes.

All geometry is in crop units, [-1, 1] over the square around the head. Points are (B, 478, 3);
images (B, 3, H, W) in [-1, 1]. The right eye is shown to the eye generator mirrored, so that one
network draws both.
"""

from __future__ import annotations

from dataclasses import dataclass, fields as fields_of, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.models import fields, layers
from vasa_cli.models.blocks import UNet, channels_last
from vasa_cli.models.fields import Patch
from vasa_cli.models.layers import Shape, mix

FIELD_SIDE = 64  # cells of the motion field
COARSE_SIDE = 32  # cells of the landmark flows and distance maps it is made from
MOUTH_SIDE, EYE_SIDE = 128, 96  # pixels of the local generators
LAYER_SIDES = (96, 128, 160, 192, 256, 320, 384, 512)  # pixels at which layers are laid
OVERSAMPLING = 1.15  # of a square's own pixels
MOUTH_EXTENT, EYE_EXTENT = 0.60, 0.40  # their sides in face heights
SIGMAS = (0.18, 0.05)  # widths of the soft-landmark flows
N_FLOWS = 2 + len(SIGMAS)
RESIDUAL_FLOW_SCALE, FLOW_INPUT_SCALE = 0.1, 4.0
N_ATLAS, ATLAS_SIDE = 4, 64  # learned pictures of upper and of lower teeth: channels, cells
ATLAS_GAIN = 5.0  # they learn so much faster than a weight
ATLAS_REACH = 0.6  # their half sides, in the mouth square's
TEETH_FROM_NOSE, TEETH_FROM_CHIN = 0.45, -0.5  # their middles
EYES = ("left", "right")
MOUTH_RESIDUAL = 4


@dataclass(frozen=True)
class Own:
    """What the photo shows of a mouth or an eye."""

    shape: Shape
    picture: Tensor  # (B, n, s / 2, s / 2) for the generator: the square unshuffled, its maps
    inside: Tensor  # (B, 4 or 5, l, l) the square, where it is open, where its sclera shows
    behind: Tensor  # (B, 3 or 6, 1, 1) colours of what it does not show


@dataclass(frozen=True)
class Appearance:
    """All that depends on the photo alone, computed once."""

    photo: Tensor  # (B, 3, S, S)
    points: Tensor  # (B, 478, 3)
    small: Tensor  # (B, 3, 64, 64)
    outlines: Tensor  # (B, n, 64, 64)
    mouth: Own
    eyes: tuple[Own, Own]  # left and right as the viewer sees them

    def expand(self, n_frames: int) -> Appearance:
        """The same photo for a batch of frames, without copying it."""
        repeated: Appearance = expanded(self, n_frames)
        return repeated


def expanded(x: Any, n: int) -> Any:
    """Every tensor (1, ...) of a tree of dataclasses and tuples as (n, ...)."""
    if isinstance(x, Tensor):
        return x.expand(n, *x.shape[1:])
    if is_dataclass(x):
        made: Any = type(x)
        return made(*(expanded(getattr(x, f.name), n) for f in fields_of(x)))
    return tuple(expanded(part, n) for part in x)


@dataclass(frozen=True)
class MotionField:
    """Where every pixel comes from, and what to paint where nothing was seen."""

    flow: Tensor  # (B, 2, 64, 64) backward flow in crop units
    fill: Tensor  # (B, 3, 64, 64)
    hidden: Tensor  # (B, 1, 64, 64) share of fill, 0 to 1


@dataclass(frozen=True)
class Laid:
    """A mouth or an eye in layers, before its generator."""

    patch: Patch
    warped: Tensor  # (B, 3, l, l) what the motion field alone gives there
    layered: Tensor  # (B, 3, l, l)
    share: Tensor  # (B, 1, l, l) of the layers in the frame
    given: Tensor  # (B, n, s / 2, s / 2) what the generator sees


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


class Decoder(nn.Module):
    """Motion field, mouth generator, eye generator."""

    mouth_window: Tensor  # (1, 1, MOUTH_SIDE, MOUTH_SIDE)
    eye_window: Tensor  # (1, 1, EYE_SIDE, EYE_SIDE)

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.width = w = width
        self.bf16 = False  # whether the networks run in bfloat16; the geometry never does
        n_outlines = fields.N_OUTLINES
        self.motion = UNet(
            3 + 3 * (N_FLOWS - 1) + 2 * (N_FLOWS - 1) + len(SIGMAS) + 2 * n_outlines,
            N_FLOWS + 2 + 4,
            (w, 2 * w, 4 * w),
            n_residual=3,
        )
        n_own = 12 + layers.N_MAPS
        self.mouth = UNet(
            2 * n_own + 4 + 8 * N_ATLAS, 12, (w, 2 * w, 4 * w), n_residual=MOUTH_RESIDUAL
        )
        self.eye = UNet(2 * n_own + 3, 12, (3 * w // 4, 3 * w // 2, 3 * w), n_residual=2)
        self.teeth = nn.Parameter(torch.randn(1, 2 * N_ATLAS, ATLAS_SIDE, ATLAS_SIDE) * 0.02)
        self.register_buffer("mouth_window", soft_window(MOUTH_SIDE), persistent=False)
        self.register_buffer("eye_window", soft_window(EYE_SIDE), persistent=False)

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    def _run(self, network: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return network(channels_last(x)).float()

    def lower(self) -> None:
        """Run the networks in bfloat16, weights too: for drawing, not for training."""
        self.bf16 = True
        for network in (self.motion, self.mouth, self.eye):
            network.bfloat16()

    def look(self, photo: Tensor, points: Tensor) -> Appearance:
        """Encode the photo (B, 3, S, S) and its points (B, 478, 3) once."""
        side = photo.shape[-1]
        small = F.interpolate(
            photo, size=(FIELD_SIDE, FIELD_SIDE), mode="area" if side >= FIELD_SIDE else "bilinear"
        )
        shape = mouth_shape(points)
        mouth = own_part(photo, shape, MOUTH_SIDE)
        eyes = [own_part(photo, eye_shape(points, eye), EYE_SIDE) for eye in EYES]
        outlines = double(fields.outline_maps(points, COARSE_SIDE))
        return Appearance(photo, points, small, outlines, mouth, (eyes[0], eyes[1]))

    def move(self, seen: Appearance, points: Tensor) -> MotionField:
        """The motion field of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            flows, nears = fields.candidate_flows(seen.points, points, COARSE_SIDE, SIGMAS)
            flows = double(flows.flatten(1, 2)).unflatten(1, (N_FLOWS - 1, 2))  # (B, 3, 2, 64, 64)
            tried = [fields.warp(seen.small, flows[:, k]) for k in range(N_FLOWS - 1)]
            outlines = double(fields.outline_maps(points, COARSE_SIDE))
            x = torch.cat(
                [
                    seen.small,
                    *tried,
                    flows.flatten(1, 2) * FLOW_INPUT_SCALE,
                    double(nears),
                    seen.outlines,
                    outlines,
                ],
                1,
            )
        out = self._run(self.motion, x)
        choice = torch.softmax(out[:, :N_FLOWS], 1)[:, 1:, None]  # the first choice is to stay
        flow = (choice * flows).sum(1) + out[:, N_FLOWS : N_FLOWS + 2] * RESIDUAL_FLOW_SCALE
        fill = fields.warp(seen.small, flow) + out[:, N_FLOWS + 2 : N_FLOWS + 5]
        return MotionField(flow, fill, torch.sigmoid(out[:, N_FLOWS + 5 :] - 3))

    def paint_mouth(self, seen: Appearance, points: Tensor, field: MotionField) -> Painted:
        """The mouths of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            laid, seats = lay_mouth(seen, points, field)
        atlases = self.teeth * ATLAS_GAIN
        teeth = [
            F.grid_sample(atlas, seat, align_corners=False)
            for atlas, seat in zip(atlases.expand(len(points), -1, -1, -1).chunk(2, 1), seats)
        ]
        given = torch.cat([laid.given, F.pixel_unshuffle(torch.cat(teeth, 1), 2)], 1)
        return paint(laid, self._run(self.mouth, given), self.mouth_window)

    def paint_eyes(
        self, seen: Appearance, points: Tensor, field: MotionField
    ) -> tuple[Painted, Painted]:
        """The left and right eyes of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            laid = [lay_eye(seen, own, points, field, eye) for own, eye in zip(seen.eyes, EYES)]
        out = self._run(self.eye, torch.cat([eye.given for eye in laid]))
        left, right = (paint(e, o, self.eye_window) for e, o in zip(laid, out.chunk(2)))
        return left, right

    def compose(self, seen: Appearance, points: Tensor) -> Tensor:
        """Finished frames (B, 3, S, S), the photo's own size, with the points (B, 478, 3)."""
        field = self.move(seen, points)
        frame = sample_whole(seen.photo, field)
        for painted in (
            *self.paint_eyes(seen, points, field),
            self.paint_mouth(seen, points, field),
        ):
            painted.put(frame)
        return frame

    def forward(self, photo: Tensor, source: Tensor, points: Tensor) -> Tensor:
        """Frames (B, 3, S, S) from photos (B, 3, S, S), their points and the frames' points."""
        return self.compose(self.look(photo, source), points)


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def soft_window(side: int) -> Tensor:
    """1 in the middle of a square, 0 at its border, (1, 1, side, side)."""
    edge = 1 - torch.linspace(-1, 1, side).abs() ** 6
    return (edge[:, None] * edge)[None, None]


def sample_moved(photo: Tensor, field: MotionField, grid: Tensor) -> Tensor:
    """The moved photo, fill included, at the positions of a grid (B, h, w, 2): (B, 3, h, w).

    One sampling, whatever the resolution.
    """
    maps = torch.cat([field.flow, 1 - field.hidden, field.fill * field.hidden], 1)
    maps = F.grid_sample(maps, grid, align_corners=False, padding_mode="border")
    where = grid + maps[:, :2].permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return torch.addcmul(maps[:, 3:], moved, maps[:, 2:3])


def sample_whole(photo: Tensor, field: MotionField) -> Tensor:
    """The whole moved photo, fill included, (B, 3, S, S): `sample_moved` at every pixel.

    On a CPU a frame at a time, which its caches hold: several times faster than all at once.
    """
    side, n_frames = photo.shape[-1], len(field.flow)
    maps = torch.cat([field.flow, 1 - field.hidden, field.fill * field.hidden], 1)
    grid = fields.pixel_grid(side, photo.device)
    frames = photo.new_empty(n_frames, *photo.shape[1:])
    step = 1 if photo.device.type == "cpu" else n_frames
    for first in range(0, n_frames, step):
        part = slice(first, first + step)
        large = fields.enlarged(maps[part], side)
        where = grid + large[:, :2].permute(0, 2, 3, 1)
        moved = F.grid_sample(photo[part], where, align_corners=False, padding_mode="border")
        frames[part] = torch.addcmul(large[:, 3:], moved, large[:, 2:3])
    return frames


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
    return Own(shape, generator_view(shape, picture, side), inside, behind)


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
    seen: Appearance, own: Own, shape: Shape, field: MotionField, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Moved photo and skin in a square, (B, 3, side, side) both, and the layers' share."""
    grid = shape.patch.grid(side)
    warped = sample_moved(seen.photo, field, grid)
    flow = F.grid_sample(field.flow, grid, align_corners=False, padding_mode="border")
    there = grid + flow.permute(0, 2, 3, 1)
    reach = shape.reach(side)
    places = mix(there, layers.skin_places(own.shape, shape, side), reach.permute(0, 2, 3, 1))
    skin = F.grid_sample(seen.photo, places, align_corners=False, padding_mode="border")
    return warped, skin, (8 * reach).clamp(0, 1) * soft_window(side).to(reach.device)


def lay_mouth(
    seen: Appearance, points: Tensor, field: MotionField
) -> tuple[Laid, tuple[Tensor, Tensor]]:
    """Mouths in layers, and where in the learned teeth each of the generator's pixels lies."""
    own, shape = seen.mouth, mouth_shape(points)
    side = layer_side(shape.patch, seen.photo, MOUTH_SIDE)
    warped, skin, share = lay_skin(seen, own, shape, field, side)
    places = layers.teeth_places(seen.points, points, (own.shape, shape), side)
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
    return Laid(shape.patch, warped, layered, share, given), seats


def lay_eye(seen: Appearance, own: Own, points: Tensor, field: MotionField, eye: str) -> Laid:
    """Eyes in layers: lids over an iris that moves over a sclera that stays."""
    shape = eye_shape(points, eye)
    side = layer_side(shape.patch, seen.photo, EYE_SIDE)
    warped, skin, share = lay_skin(seen, own, shape, field, side)
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
    return Laid(shape.patch, warped, layered, share, given)


def paint(laid: Laid, out: Tensor, window: Tensor) -> Painted:
    """Layers and a generator's output (B, 12, s / 2, s / 2)."""
    change = resized(F.pixel_shuffle(out, 2) * window, laid.layered.shape[-1])
    return Painted(laid.patch, laid.warped, laid.layered, laid.share, change)
