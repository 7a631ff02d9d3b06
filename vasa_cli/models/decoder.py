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
from typing import Any, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.models import fields, layers
from vasa_cli.models.blocks import DoublingConv, Residual, UNet, conv, turned
from vasa_cli.models.fields import WHOLE, Part
from vasa_cli.models.moved import MotionField, each_whole
from vasa_cli.models.painting import (
    EYE_SIDE,
    EYES,
    MOUTH_SIDE,
    Own,
    Painted,
    eye_shape,
    in_own_colour,
    lay_eye,
    lay_mouth,
    own_mouth,
    own_part,
    paint,
    soft_window,
)
from vasa_cli.models.tweens import Evenness, Tweens
from vasa_cli.models.zoom import Zoom, beyond_free

FIELD_SIDE = 64  # cells of the motion field
COARSE_SIDE = 32  # cells of the landmark flows and distance maps it is made from
SIGMAS = (0.18, 0.05)  # widths of the soft-landmark flows
N_FLOWS = 2 + len(SIGMAS)
RESIDUAL_FLOW_SCALE, FLOW_INPUT_SCALE = 0.1, 4.0
LOCAL_PARTS = ("mouth", "eyes")  # that are drawn over what the motion field moves
# How evenly lids, irises and head move in frames of which the eyes' generator is not asked
EYES_EVEN, HEAD_EVEN = Evenness(bend=0.006, step=0.02), Evenness(bend=0.03, step=0.1)


@dataclass(frozen=True)
class Entered:
    """What each network's first layer makes of the photo, (B, w, s, s)."""

    motion: Tensor
    mouths: tuple[Tensor, ...]
    eyes: tuple[Tensor, ...]


@dataclass(frozen=True)
class Appearance:
    """All that depends on the photo alone, computed once."""

    photo: Tensor  # (B, 3, S, S)
    points: Tensor  # (B, 478, 3)
    edges: Tensor  # (B, 4) left, top, right, bottom of what of the square is photo, crop units
    small: Tensor  # (B, 3, 64, 64)
    mouths: tuple[Own, ...]  # one, or none where mouths are not drawn
    eyes: tuple[Own, ...]  # left and right as the viewer sees them, or none
    entered: Entered

    @property
    def mouth(self) -> Own:
        """The mouth of a photo that was looked at with it."""
        return self.mouths[0]

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
            3 + n_outlines,
            3 * (N_FLOWS - 1) + 2 * (N_FLOWS - 1) + len(SIGMAS) + n_outlines,
            N_FLOWS + 2 + 4,
            (w, 2 * w),
            middle=nn.Sequential(conv(2 * w, 2 * w), Residual(2 * w, dilations=(2, 4))),
        )
        n_own = 12 + layers.N_MAPS
        self.mouth = UNet(n_own, n_own + 4, 12, (w, 2 * w, 4 * w), middle=Residual(4 * w))
        w = 3 * w // 4
        self.eye = UNet(n_own + 1, n_own + 2, 12, (w, 2 * w, 4 * w), middle=Residual(4 * w))
        self.register_buffer("mouth_window", soft_window(MOUTH_SIDE), persistent=False)
        self.register_buffer("eye_window", soft_window(EYE_SIDE), persistent=False)

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    def _run(self, network: nn.Module, x: Tensor, *entered: Tensor) -> Tensor:
        x = turned(x.bfloat16() if self.bf16 else x)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            made: Tensor = network(x, *entered)
        return made

    def settle(self, *, bf16: bool) -> None:
        """Make the networks ready to draw, in bfloat16 or float32; they learn no more then."""
        self.bf16 = bf16
        for network in (self.motion, self.mouth, self.eye):
            if bf16:
                network.bfloat16()
            for layer in network.modules():
                if isinstance(layer, DoublingConv):
                    layer.hold()

    def look(
        self,
        photo: Tensor,
        points: Tensor,
        *,
        parts: tuple[str, ...] = LOCAL_PARTS,
        edges: tuple[float, float, float, float] = (-1.0, -1.0, 1.0, 1.0),
    ) -> Appearance:
        """Encode the photo (B, 3, S, S) and its points (B, 478, 3) once.

        Args: parts, those of LOCAL_PARTS that will be drawn; the others go as the field moves them;
            edges, left, top, right and bottom of what of the square is photo, in crop units.
        """
        if photo.shape[-1] >= FIELD_SIDE:
            small = fields.shrunk(photo, FIELD_SIDE)
        else:
            small = F.interpolate(photo, size=(FIELD_SIDE, FIELD_SIDE), mode="bilinear")
        mouths = (own_mouth(photo, points),) if "mouth" in parts else ()
        sides = EYES if "eyes" in parts else ()
        eyes = tuple(own_part(photo, eye_shape(points, eye), EYE_SIDE) for eye in sides)
        outlines = double(fields.outline_maps(points, COARSE_SIDE))
        entered = Entered(
            self._run(self.motion.enter_photo, torch.cat([small, outlines], 1)),
            tuple(self._run(self.mouth.enter_photo, own.picture) for own in mouths),
            tuple(self._run(self.eye.enter_photo, own.picture) for own in eyes),
        )
        ends = photo.new_tensor(edges).expand(len(photo), -1)
        return Appearance(photo, points, ends, small, mouths, eyes, entered)

    def move(self, seen: Appearance, points: Tensor) -> MotionField:
        """The motion field of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            flows, nears = fields.candidate_flows(seen.points, points, COARSE_SIDE, SIGMAS)
            flows = double(flows.flatten(1, 2)).unflatten(1, (N_FLOWS - 1, 2))  # (B, 3, 2, 64, 64)
            tried = [fields.warp(seen.small, flows[:, k]) for k in range(N_FLOWS - 1)]
            outlines = double(fields.outline_maps(points, COARSE_SIDE))
            given = flows.flatten(1, 2) * FLOW_INPUT_SCALE, double(nears), outlines
            x = torch.cat([*tried, *given], 1)
        out = self._run(self.motion, x, seen.entered.motion).float()
        choice = torch.softmax(out[:, :N_FLOWS], 1)[:, 1:, None]  # the first choice is to stay
        flow = (choice * flows).sum(1) + out[:, N_FLOWS : N_FLOWS + 2] * RESIDUAL_FLOW_SCALE
        moved, change = fields.warp(seen.small, flow), out[:, N_FLOWS + 2 : N_FLOWS + 5]
        return MotionField(flow, moved, change, torch.sigmoid(out[:, N_FLOWS + 5 :] - 3))

    def paint_mouth(self, seen: Appearance, points: Tensor, field: MotionField) -> Painted:
        """The mouths of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            laid = lay_mouth(seen.photo, seen.mouth, seen.points, points, field)
        change = self._run(self.mouth, torch.cat(laid.given, 1), *seen.entered.mouths).float()
        return paint(laid, in_own_colour(change, laid.given[0]), self.mouth_window)

    def paint_eyes(
        self, seen: Appearance, points: Tensor, field: MotionField, *, in_a_row: bool = False
    ) -> tuple[Painted, Painted]:
        """The left and right eyes of frames with the given points (B, 478, 3).

        Args: in_a_row where the frames follow each other, so that some may be `tweens`.
        """
        with torch.no_grad():
            laid = [
                lay_eye(seen.photo, own, points, field, eye) for own, eye in zip(seen.eyes, EYES)
            ]
        tweens = eye_tweens(points) if in_a_row else Tweens.none(len(points))
        entered = torch.cat([tweens.pick(own) for own in seen.entered.eyes])
        given = torch.cat([tweens.gather(eye.given) for eye in laid])
        out = self._run(self.eye, given, entered).float()
        left, right = (
            paint(eye, tweens.complete(o), self.eye_window) for eye, o in zip(laid, out.chunk(2))
        )
        return left, right

    def compose(self, seen: Appearance, points: Tensor, **how: Any) -> Tensor:
        """Finished frames (B, 3, S, S), the photo's own size: those of `compose_each`, together."""
        return torch.cat(list(self.compose_each(seen, points, **how)))

    def compose_each(
        self,
        seen: Appearance,
        points: Tensor,
        *,
        zoom: Zoom | None = None,
        log_zoom: Tensor | None = None,
        in_a_row: bool = False,
        wanted: Sequence[Part] | None = None,
    ) -> Iterator[Tensor]:
        """Finished frames (1, 3, S, S) with the points (B, 478, 3), one by one.

        The networks see all frames together; each is then made when it is asked for, so that no
        more than one takes memory at a time.

        Args: log_zoom (B,) how much nearer than in the photo the frames' points are, for a zoom
            that does what of it is too much for the motion field; in_a_row as for `paint_eyes`;
            wanted, the rows and columns of each frame that are made, all unless given.
        """
        if zoom is None or log_zoom is None:
            field = self.move(seen, points).attached(seen.edges)
        else:
            rest = beyond_free(log_zoom)
            field = zoom.field(self.move(seen, zoom.undo(points, rest)).attached(seen.edges), rest)
        painted: list[Painted] = []
        if seen.eyes:
            painted += self.paint_eyes(seen, points, field, in_a_row=in_a_row)
        if seen.mouths:
            painted.append(self.paint_mouth(seen, points, field))
        seats = [part.patch.seats(seen.photo.shape[-1]) for part in painted]
        for k, frame in enumerate(each_whole(seen.photo, field, wanted)):
            one, where = slice(k, k + 1), WHOLE if wanted is None else wanted[k]
            for part, there in zip(painted, seats):
                there[k].put(frame, part.drawn[one], part.change[one], part=where)
            yield frame

    def forward(self, photo: Tensor, source: Tensor, points: Tensor) -> Tensor:
        """Frames (B, 3, S, S) from photos (B, 3, S, S), their points and the frames' points."""
        return self.compose(self.look(photo, source), points)


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def eye_tweens(points: Tensor) -> Tweens:
    """Which frames of points (B, 478, 3), one after the other, the eyes' generator may skip."""
    shapes = [eye_shape(points, eye) for eye in EYES]
    lids = [(torch.cat([*shape.curves, shape.iris], 1), EYES_EVEN) for shape in shapes]
    return Tweens.of(*lids, _head_movement(points, shapes[0].patch))


def _head_movement(points: Tensor, patch: fields.Patch) -> tuple[Tensor, Evenness]:
    """How the head turns about a square on it; between two shots of a film it jumps."""
    return patch.to_square(points[:, fields.RIGID, :2]), HEAD_EVEN
